"""Discriminative learning rates: layers near the input, which are of use for any data, change less than those near the
head (Howard & Ruder 2018, arXiv:1801.06146, section 3.2); layer-wise decay as in Clark et al. 2020, arXiv:2003.10555.
Costs nothing. Gain: none from scratch, −1.0 ± 0.7 points on clothes; it is for weights that know something.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from flambeau.core.errors import UsageError, require, shown
from flambeau.techniques.base import TECHNIQUES, Technique

if TYPE_CHECKING:
    from flambeau.models import Group
    from flambeau.objectives import Objective


@TECHNIQUES.register("discriminative_rates")
class DiscriminativeRates(Technique):
    """A learning rate for each layer group (`flambeau models --groups NAME`), by either of two settings.

    Args:
        learning_rates: from the first group to the head. Two are the ends of a range, in which the groups are spread by
            equal factors. Of more the last is the head's, and the others are for equal parts of the groups before it.
            The last is the learning rate of the training.
        layer_decay: each group learns at this share of the rate of the group behind it; 0.75 if neither is given.
    """

    settings = ("learning_rates", "layer_decay")

    def __init__(self, learning_rates: Sequence[float] | None = None, layer_decay: float | None = None):
        if learning_rates is not None and layer_decay is not None:
            raise UsageError("both learning_rates and layer_decay say how fast each layer learns", expected="one",
                             fix="leave the other out")  # fmt: skip
        if learning_rates is None and layer_decay is None:
            layer_decay = 0.75
        require(
            layer_decay is None or 0 < layer_decay <= 1, f"layer_decay={shown(layer_decay)}", "above 0, and 1 at most"
        )
        self.learning_rates = None if learning_rates is None else _as_rates(learning_rates)
        self.layer_decay = layer_decay

    def describe(self) -> str:
        if self.learning_rates is None:
            return f"each layer group learns at {self.layer_decay:g} of the rate of the one behind it"
        return f"layer groups learn at {', '.join(f'{rate:g}' for rate in self.learning_rates)}, the head at the last"

    def decides(self) -> Mapping[str, tuple[Any, str]]:
        decided: dict[str, tuple[Any, str]] = {"backbone_lr_scale": (1.0, f"{self.name} gives each layer its rate")}
        if self.learning_rates is not None:
            decided["learning_rate"] = (self.learning_rates[-1], f"the head's, of {self.name}")
        return decided

    def shares(self, count: int) -> list[float]:
        """The share of the learning rate of each of `count` groups, that of the head last.

        >>> DiscriminativeRates([1e-4, 1e-2]).shares(3), DiscriminativeRates([1e-4, 1e-3, 1e-2]).shares(5)
        ([0.01, 0.1, 1.0], [0.01, 0.01, 0.1, 0.1, 1.0])

        Raises:
            UsageError: there are more rates than groups.
        """
        if self.layer_decay is not None:
            return [self.layer_decay ** (count - 1 - i) for i in range(count)]
        rates = self.learning_rates or [1.0]
        if len(rates) > count:
            raise UsageError(f"{len(rates)} learning rates are given, and the model has {count} layer groups",
                             fix="give fewer, or part the model by model.groups")  # fmt: skip
        if len(rates) == 2:
            return spread(rates[0] / rates[1], count)
        body = count - 1
        return [rates[i * (len(rates) - 1) // body] / rates[-1] for i in range(body)] + [1.0]

    def on_rates(self, objective: Objective, rates: dict[nn.Parameter, float]) -> None:
        groups = objective.groups()
        slow_down(rates, groups, self.shares(len(groups)))


def spread(lowest: float, count: int) -> list[float]:
    """`count` shares from `lowest` to 1 by equal factors."""
    return [lowest ** ((count - 1 - i) / max(count - 1, 1)) for i in range(count)]


def slow_down(rates: dict[nn.Parameter, float], groups: Sequence[Group], shares: Sequence[float]) -> None:
    """Each group learns at its share of the rate that it would learn at."""
    for group, share in zip(groups, shares, strict=True):
        for parameter in group.parameters.values():
            rates[parameter] = rates.get(parameter, 1.0) * share


def _as_rates(rates: Any) -> list[float]:
    """Learning rates as numbers; YAML takes 1e-5 for text."""
    try:
        numbers = [float(rate) for rate in rates] if isinstance(rates, (list, tuple)) else []
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) < 2 or not all(0 < rate < math.inf for rate in numbers):
        expected = "two numbers above 0 or more, such as [1e-5, 1e-3]"
        raise UsageError(f"learning_rates={shown(rates)} does not fit", expected=expected)
    return numbers
