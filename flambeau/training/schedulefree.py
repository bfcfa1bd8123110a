"""Schedule-free AdamW: Defazio et al. 2024, "The road less scheduled", arXiv:2405.15682.

Gradients are taken at y, between the steps z and their mean x; the model is evaluated and saved with x, which takes the
place of a rate that falls. Costs as much memory as AdamW, and a copy of the weights while it is evaluated; where there
is batch normalisation also a pass over some training batches, for none has passed x. Gain: not measured yet. It wants a
constant rate, which a training takes by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.techniques.averages import Averages, copied
from flambeau.techniques.statistics import count_anew

if TYPE_CHECKING:
    from flambeau.objectives import Objective
    from flambeau.training.outlook import Outlook

COUNTED = 50  # batches, at most about twice as many, that statistics are counted in


class ScheduleFree(torch.optim.Optimizer):
    """The parameters are y; the state of each is z and the mean square of its gradients. Decay is decoupled, at y."""

    def __init__(
        self, params: Any, lr: float = 3e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):  # fmt: skip
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "steps": 0, "highest": 0.0, "weights": 0.0})  # fmt: skip

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of all groups. A step counts in the mean by the square of the highest rate so far."""
        for group in self.param_groups:
            rate, (beta1, beta2) = group["lr"], group["betas"]
            group["steps"] += 1
            group["highest"] = max(group["highest"], rate)
            group["weights"] += group["highest"] ** 2
            share = group["highest"] ** 2 / (group["weights"] or 1.0)
            learning = [p for p in group["params"] if p.grad is not None]
            if not learning:
                continue
            for p in learning:
                if not self.state[p]:
                    self.state[p] = {"z": p.detach().clone(), "square": torch.zeros_like(p)}
            z, squares = ([self.state[p][name] for p in learning] for name in ("z", "square"))
            gradients: list[Tensor] = [p.grad for p in learning]
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
            scale = torch._foreach_div(squares, 1 - beta2 ** group["steps"])
            torch._foreach_sqrt_(scale)
            torch._foreach_add_(scale, group["eps"])
            moves = torch._foreach_div(gradients, scale)
            if group["weight_decay"]:
                torch._foreach_add_(moves, learning, alpha=group["weight_decay"])
            torch._foreach_lerp_(learning, z, share)  # y of the mean to come
            torch._foreach_add_(learning, moves, alpha=rate * (beta1 * (1 - share) - 1))
            torch._foreach_sub_(z, moves, alpha=rate)

    @torch.no_grad()
    def average(self) -> None:
        """Sets the parameters to x, from which no step can be made."""
        for group in self.param_groups:
            moved = [p for p in group["params"] if self.state[p]]
            if moved:
                torch._foreach_lerp_(moved, [self.state[p]["z"] for p in moved], 1 - 1 / group["betas"][0])


class Averaged(Averages):
    """While the model is evaluated, and at the end, it has the mean that schedule-free optimisers keep; statistics of
    batch normalisation are counted anew for it. Nothing happens where there is no such optimiser."""

    def on_training(self, training: Outlook) -> None:  # type: ignore[override]
        self._training = training

    def on_epoch_start(self, objective: Objective, epoch: int) -> None:
        self.average = {}

    def on_evaluation(self, objective: Objective, starts: bool) -> None:
        if not self._schedule_free:
            return
        if starts:
            self._take(objective)
        super().on_evaluation(objective, starts)

    def on_fit_end(self, objective: Objective) -> None:
        if self._schedule_free and not self.average:  # nothing was validated
            objective.model.train()
            self._take(objective)
        super().on_fit_end(objective)

    def _take(self, objective: Objective) -> None:
        live = copied(objective)
        for optimizer in self._schedule_free:
            optimizer.average()
        count_anew(objective, self._training.batches(COUNTED))
        self.average = copied(objective)
        objective.model.load_state_dict(live)

    @property
    def _schedule_free(self) -> list[ScheduleFree]:
        return [o for o in self._training.updates.optimizers.values() if isinstance(o, ScheduleFree)]
