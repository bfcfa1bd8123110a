"""Batches and outputs of anybody's: tensors, or tuples, lists, dicts and objects of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors(part)


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A value whose tensors are changed; mappings become dicts."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(part, change) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [mapped(part, change) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def samples_of(value: Any) -> int | None:
    """How many samples a value is of: the length that all its tensors have in common; None where they have none."""
    lengths = {len(part) if part.ndim else 0 for part in tensors(value)}
    return lengths.pop() if len(lengths) == 1 and 0 not in lengths else None


def rows_of(value: Any, rows: Tensor) -> Any:
    """Some samples of a value, by their place."""
    return mapped(value, lambda part: part[rows.to(part.device)])


def call(model: nn.Module, inputs: Any) -> Any:
    """A model's output for a batch's input: a tuple is spread over its arguments, a dict where it names them all."""
    if isinstance(inputs, Tensor):
        return model(inputs)
    if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields"):
        return model(*inputs)
    if isinstance(inputs, Mapping) and names_all(type(model).forward, *inputs):
        return model(**inputs)
    return model(inputs)


@functools.cache
def names_all(forward: Callable[..., Any], *names: str) -> bool:
    """Whether a function has an argument of each name."""
    parameters = inspect.signature(forward).parameters
    return all(name in parameters for name in names)


def tensor_of(output: Any) -> Any:
    """The tensor of what a model gives: of an object or a dict the part called `logits` (as Hugging Face has it) or
    `out` (torchvision), or `answers` where its loss is inside it."""
    if isinstance(output, Tensor):
        return output
    named = [getattr(output, "logits", None), getattr(output, "answers", None)]
    if isinstance(output, Mapping):
        named += [output.get("logits"), output.get("out")]
    return next((part for part in named if isinstance(part, Tensor)), output)


def own_loss(output: Any) -> Any:
    """The loss that a model gives itself: a number, a part called `loss`, or the sum of a dict of losses."""
    if isinstance(output, Tensor):
        return output
    if isinstance(loss := getattr(output, "loss", None), Tensor):
        return loss
    if isinstance(output, Mapping):
        if isinstance(loss := output.get("loss"), Tensor):
            return loss
        if output and all(isinstance(part, Tensor) and part.numel() == 1 for part in output.values()):
            return sum(output.values())
    return output
