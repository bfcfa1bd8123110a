"""What every loss and every metric that is called by name promises."""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.registry import Asked, in_words, name_and_options
from flambeau.fields import Field
from flambeau.objectives.losses import AFTER, LOSSES, each_sample, named
from flambeau.objectives.metrics import NamedMetric, named_metric
from flambeau.objectives.names import METRICS, bounds

ROUNDING = 1e-5  # relative: of float32 sums in another order


def check_loss(asked: Asked, output: Tensor, target: Tensor) -> None:
    """Checks all that a loss promises.

    Args:
        asked: its name, with options or without, as a recipe has it.
        output, target: of a few rows, as a model gives and a field encodes them: (B, …).
    """
    _wrong_options_are_refused(asked, named)
    loss, output = named(asked), output.detach().clone().requires_grad_()
    before = output.detach().clone(), target.clone()
    mean = loss(output, target)
    assert mean.shape == () and bool(torch.isfinite(mean)), "the mean is one number"
    mean.backward()
    assert output.grad is not None and bool(torch.isfinite(output.grad).all()) and bool(output.grad.any())
    assert torch.equal(output, before[0]) and torch.equal(target, before[1]), "it changes what it is given"
    samples = each_sample(loss, output, target)
    assert samples.shape == (len(output),), "reduction='none' gives one number a sample"
    torch.testing.assert_close(samples.mean(), mean)
    for i in range(len(output)):
        torch.testing.assert_close(loss(output[i : i + 1], target[i : i + 1]), samples[i])
    assert named(in_words(LOSSES, asked, AFTER))(output, target) == mean, "a recipe's words are the same loss"


def check_metric(asked: Asked, field: Field, output: Tensor, target: Tensor) -> None:
    """Checks all that a metric promises.

    Args:
        asked: its name, with options or without, as a recipe has it.
        field: of a target, fitted.
        output: of ten rows or more after the activation, (B, …), and their targets (B, …).
    """
    _wrong_options_are_refused(asked, lambda one: named_metric(one, field))
    name, _ = name_and_options(asked)
    empty, rows = named_metric(asked, field), torch.arange(len(output))
    assert set(empty.values()) == {name} and not empty.without_groups()[name].size, "a metric of nothing is a number"

    def measured(order: Tensor, size: int) -> NamedMetric:
        metric = named_metric(asked, field)
        for part in order.split(size):
            metric.update(output[part], target[part], rows[part])
        return metric

    whole = measured(rows, len(rows))
    value = whole.values()[name]
    low, high = bounds(name)
    assert low <= value <= high and json.dumps(whole.values() | whole.detail(), allow_nan=False)
    assert whole.count == len(rows)
    for order, size in ((rows, 1), (rows.flip(0), 3)):
        again = measured(order, size).values()[name]
        assert abs(again - value) <= ROUNDING * max(abs(value), 1.0), "it depends on how the rows are batched"
    around = whole.intervals()[name]
    assert around[0] - ROUNDING <= value <= around[1] + ROUNDING, "its interval holds it"
    assert METRICS[name].higher_is_better in (True, False)


def _wrong_options_are_refused(asked: Asked, make: Callable[[Asked], object]) -> None:
    name, options = name_and_options(asked)
    try:
        make({"name": name, **options, "no_such_option": 1})
    except UsageError as error:
        assert "no_such_option" in str(error)
    else:
        raise AssertionError("an option that it does not have was taken")
