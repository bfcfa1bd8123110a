"""One update of one phase: forward, backward, and what a technique may ask of it in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.data.batch import Batch
from flambeau.objectives import Objective
from flambeau.training.engine import Engine
from flambeau.training.scaling import LossScale
from flambeau.training.stopwatch import Stopwatch

Hook = Callable[["Step"], Any]


class Step:
    """An update while it is made. Techniques get it when its gradients are there, before the optimiser steps.

    Attributes:
        objective: what is minimised.
        phase: of the objective, whose parameters are updated.
        number: of the step in the training, from 0.
        batches: prepared, each with its share of the gradient in `weights`; the sum is that of one large batch.
        optimizer: of the phase.
        finite: whether no gradient has overflowed in float16; the update is left out then.
    """

    __slots__ = (
        "_before", "_engine", "_scale", "_stopwatch", "batches", "finite", "number", "objective", "optimizer", "phase",
        "weights",
    )  # fmt: skip

    def __init__(
        self, objective: Objective, phase: str, number: int, batches: Sequence[Batch], weights: Sequence[float],
        optimizer: torch.optim.Optimizer, engine: Engine, stopwatch: Stopwatch,
        scale: LossScale | None = None,
    ):  # fmt: skip
        self.objective, self.phase, self.number, self.batches, self.weights = objective, phase, number, batches, weights
        self.optimizer, self._engine, self._stopwatch, self._scale = optimizer, engine, stopwatch, scale
        self.finite = True
        self._before: Sequence[Hook] = ()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Those that the phase updates."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def backward(self) -> Tensor:
        """Adds the gradients of all batches to those that are there; gives the mean loss, a scalar without graph."""
        total = self.passes()
        if self._scale is not None:
            self.finite = self._scale.unscale([p.grad for p in self.parameters if p.grad is not None])
        return total

    def passes(self) -> Tensor:
        """Forward and backward for each batch; the loss that `backward` gives."""
        total: Tensor | None = None
        for batch, weight in zip(self.batches, self.weights, strict=True):
            if self._engine.autocast_dtype is None:
                loss = self.objective.loss(batch, self.phase)
            else:
                with self._engine.autocast():
                    loss = self.objective.loss(batch, self.phase)
            self._stopwatch.lap("forward")
            if weight != 1.0:
                loss = loss * weight
            (loss if self._scale is None else loss.float() * self._scale.factor).backward()
            total = loss.detach() if total is None else total + loss.detach()
            self._stopwatch.lap("backward")
        assert total is not None
        return total

    def change(self, hooks: Sequence[Hook]) -> None:
        """Lets techniques change the gradients, one after the other, as long as these are finite."""
        for i, hook in enumerate(hooks):
            if not self.finite:  # a second pass may have overflowed
                break
            self._before = hooks[:i]
            hook(self)

    def again(self) -> Tensor:
        """The gradients anew, for the weights as they are now, in place of those that are there, and what the
        techniques before have made of them; the mean loss. For methods that look at the loss in two places, such as
        sharpness-aware minimisation."""
        forget_gradients(self.parameters)
        loss, before = self.backward(), self._before
        self.change(before)
        self._before = before
        return loss


def forget_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """No gradient is left, and its memory is free."""
    for parameter in parameters:
        parameter.grad = None


def shares(objective: Objective, batches: Sequence[Batch]) -> list[float]:
    """What each of some batches counts, 1 in sum, so that their gradients add up to that of one large batch."""
    if len(batches) == 1:
        return [1.0]
    weights = [objective.weight(batch) for batch in batches]
    return [weight / sum(weights) for weight in weights]
