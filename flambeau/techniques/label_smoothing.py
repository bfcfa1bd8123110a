"""Label smoothing: Szegedy et al. 2016, arXiv:1512.00567. Costs nothing; calibrates, and resists wrong labels."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from flambeau.core.errors import UsageError
from flambeau.techniques.base import TECHNIQUES, Technique

if TYPE_CHECKING:
    from torch import Tensor

    from flambeau.objectives import Objective


def smooths(loss: Callable[..., Tensor]) -> bool:
    """Whether a loss takes label smoothing."""
    try:
        return "label_smoothing" in inspect.signature(loss).parameters
    except (TypeError, ValueError):
        return False


@TECHNIQUES.register("label_smoothing")
class LabelSmoothing(Technique):
    """Gives `amount` of the target's probability to all classes alike, in training only."""

    name = "label_smoothing"
    settings = ("amount",)

    def __init__(self, amount: float = 0.1):
        if not 0 <= amount < 1:
            raise UsageError(f"a label smoothing of {amount} does not fit", expected="0 or more, below 1")
        self.amount = amount
        self._plain: Callable[..., Tensor] | None = None
        self._smooth: Callable[..., Tensor] | None = None

    def on_fit_start(self, objective: Objective) -> None:
        plain = objective.loss_function
        if plain is None or not smooths(plain):
            raise UsageError(
                "label smoothing needs a loss over classes", fix="use it with cross_entropy or bce, or leave it out"
            )
        if plain is self._smooth:
            return  # a training that was stopped goes on in the same process
        smooth = functools.partial(plain, label_smoothing=self.amount)
        self._plain, self._smooth = plain, smooth
        objective.loss_function = smooth

    def on_evaluation(self, objective: Objective, starts: bool) -> None:
        objective.loss_function = self._plain if starts else self._smooth

    def on_fit_end(self, objective: Objective) -> None:
        objective.loss_function = self._plain
