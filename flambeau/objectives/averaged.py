"""Averaged: what several models say of a row, or one model of several views of it, as one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError, nearest
from flambeau.core.registry import Asked
from flambeau.data.batch import Batch, Several
from flambeau.fields import Field
from flambeau.objectives.base import Objective
from flambeau.objectives.supervised import Supervised
from flambeau.objectives.tasks import Task
from flambeau.objectives.tasks.base import task_of

HOW = ("mean", "weighted", "rank")
LEVELS = 257
"""Of a distribution that is kept, evenly spread."""
STEPS = 100


class Combination(nn.Module):
    """Answers of M members, (B, …) each, to one.

    Args:
        how: `mean`; `weighted`, by what `fit` finds; or `rank`, the mean of where each answer stands among that
            member's answers on validation rows, and what stands there in the mean of them: so a member that is more
            sure than another does not speak louder.
        num_members: M.
        num_outputs: K numbers of an answer; for `rank` alone.

    Raises:
        UsageError: there is no such way.
    """

    weights: Tensor
    levels: Tensor

    def __init__(self, how: str, num_members: int, num_outputs: int = 0):
        super().__init__()
        if how not in HOW:
            raise UsageError(f"no way to join models is called '{how}'", fix=nearest(how, HOW))
        self.how = how
        self.register_buffer("weights", torch.full((num_members,), 1 / num_members))
        if how == "rank":
            self.register_buffer("levels", torch.linspace(0, 1, LEVELS).repeat(num_members, num_outputs, 1))

    def forward(self, answers: Sequence[Tensor]) -> Tensor:
        """(B, …) of each of M members to (B, …)."""
        weights = self.weights.to(answers[0].device)
        if self.how == "rank":
            flat = torch.stack([answer.float().reshape(len(answer), -1) for answer in answers])
            return self._by_rank(flat, weights).view(answers[0].shape)
        return sum(answer.float() * weight for answer, weight in zip(answers, weights, strict=True))

    def _by_rank(self, answers: Tensor, weights: Tensor) -> Tensor:
        levels = self.levels.to(answers.device)  # (M, K, L), ascending
        values = answers.movedim(1, 2).contiguous()  # (M, K, B)
        rank = _between(values, levels, torch.linspace(0, 1, LEVELS, device=answers.device).expand_as(levels))
        mean = (rank * weights.view(-1, 1, 1)).sum(0) * (LEVELS - 1)  # (K, B)
        at = mean.clamp(0, LEVELS - 1)
        low = at.long().clamp_max(LEVELS - 2)
        common = levels.mean(0)
        return torch.lerp(common.gather(1, low), common.gather(1, low + 1), at - low).T

    def fit(self, answers: Sequence[Tensor], loss: Callable[[Tensor], Tensor]) -> None:
        """Finds what `weighted` and `rank` need, by answers (N, …) of each member on validation rows.

        Args:
            loss: of answers that are joined, a scalar; log-loss for classes. The weights are those of the least.
        """
        if self.how == "rank":
            at = torch.linspace(0, 1, LEVELS)
            flat = [answer.double().reshape(len(answer), -1) for answer in answers]
            self.levels.copy_(torch.stack([values.quantile(at.double(), dim=0).T.float() for values in flat]))
        if self.how == "weighted":
            free = torch.zeros(len(answers), dtype=torch.float64, requires_grad=True)
            optimizer = torch.optim.LBFGS([free], max_iter=STEPS, line_search_fn="strong_wolfe")
            exact = [answer.double() for answer in answers]

            def closure() -> Tensor:
                optimizer.zero_grad()
                shares = free.softmax(0)
                value = loss(sum(answer * share for answer, share in zip(exact, shares, strict=True)))
                value.backward()
                return value

            optimizer.step(closure)
            self.weights.copy_(free.detach().softmax(0))


class Averaged(Supervised):
    """Measures and predicts with the joint answer of several objectives; its batches have `Several` as input. It is not
    trained.

    Args:
        members: whose answers are joined, as each gives them.
        combination: how; the mean if not given.
        target, loss, metric: as for `Supervised`.

    Raises:
        UsageError: such answers have no mean.
    """

    model: Combination

    def __init__(
        self,
        members: Sequence[Objective],
        target: Field | None,
        combination: Combination | None = None,
        loss: Asked | Callable[..., Tensor] = "auto",
        metrics: Sequence[Any] = (),
        metric: str = "auto",
    ):
        self.members = list(members)
        super().__init__(combination or Combination("mean", len(members)), target, loss, metrics, metric)
        self.of_members = task_of(target)
        """The task of the answers that are joined, with the calibration that they have been through."""
        fields = [member.task.field for member in self.members]
        self._rescalings = [target.rescaling(field) if target and field else None for field in fields]
        if type(self.task).deactivate is Task.deactivate:
            self.task.deactivate(None)  # told before anything is computed

    def start_evaluation(self, detail: bool = False) -> None:
        super().start_evaluation(detail)
        for member in self.members:
            member.model.eval()

    def answers(self, batch: Batch) -> list[Tensor]:
        """What each member says, (B, …), after its activation, in one scale."""
        batches = zip(self.members, batch.input.batches, strict=True)
        return self.in_one_scale([member.predict(own) for member, own in batches])

    def in_one_scale(self, answers: Sequence[Tensor]) -> list[Tensor]:
        """Answers of each member, (B, …), in the scale of the target of all."""
        return [rescaled(a) if rescaled else a for rescaled, a in zip(self._rescalings, answers, strict=True)]

    def joined(self, answers: Sequence[Tensor]) -> Tensor:
        """The joint answer to answers of each member, (B, …), as `predict` gives it."""
        with torch.inference_mode():
            joint = self.model(answers)
            if self.model.how != "rank" and self.task.calibration == self.of_members.calibration:
                return joint  # to and fro would change nothing
            return self.task.activate(self.of_members.deactivate(joint)).view(joint.shape)

    def forward(self, batch: Batch) -> Tensor:
        return self.of_members.deactivate(self.model(self.answers(batch)))

    def evaluate(self, batch: Batch) -> None:
        self.evaluate_output(self.forward(batch), _first(batch))

    def predict(self, batch: Batch) -> Tensor:
        return self.joined(self.answers(batch))


def _first(batch: Batch) -> Batch:
    """The batch as the first member sees it: what a task asks of an input is the same for all."""
    while isinstance(batch.input, Several):
        batch = Batch(batch.input.batches[0].input, batch.target, batch.rows)
    return batch


def _between(values: Tensor, levels: Tensor, heights: Tensor) -> Tensor:
    """Linear interpolation: `heights` (…, L) at `levels` (…, L), ascending, read off at `values` (…, B)."""
    right = torch.searchsorted(levels, values).clamp(1, levels.shape[-1] - 1)
    low, high = levels.gather(-1, right - 1), levels.gather(-1, right)
    share = ((values - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    return torch.lerp(heights.gather(-1, right - 1), heights.gather(-1, right), share)
