"""What to do where a model, a loss and data do not go together: one clause for each common mistake."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from flambeau.core.errors import ModelError
from flambeau.data.custom import TARGETS
from flambeau.objectives.measured import broadcasts, compares_numbers, is_binary, takes_logits


def check_model(model: nn.Module) -> None:
    """Raises ModelError where a user's model cannot be trained as it is."""
    lazy = [layer for layer in map(type, model.modules()) if issubclass(layer, LazyModuleMixin)]
    if lazy:
        raise ModelError(
            f"the model has layers whose size is open ({lazy[0].__name__})",
            expected="a model that was called once",
            fix="call it with inputs of the data's shape first: model(torch.zeros(2, …))",
        )


def for_input(value: Any, model: nn.Module, error: str) -> str:
    """What to do where a model does not take an input."""
    takes = ", ".join(inspect.signature(model.forward).parameters)
    if isinstance(value, dict):
        return (f"its forward takes {takes}: give a collate_fn that gives (x, y), or a dict of these keys and the "
                f"target's ({', '.join(TARGETS)})")  # fmt: skip
    if isinstance(value, tuple):
        if len(value) > 1 and all(isinstance(part, Tensor) and part.ndim == 1 for part in value):
            return "a list of numbers becomes an input each: give torch.tensor(x) in __getitem__"
        return f"its forward takes {takes}: of an item the last is the target, and all others are inputs; give (x, y)"
    if not isinstance(value, Tensor):
        return "make tensors of it in __getitem__, or in a collate_fn"
    weights = next(model.parameters(), None)
    if value.dtype == torch.uint8:
        return "give x.float() / 255"
    if weights is not None and value.is_floating_point() and value.dtype != weights.dtype:
        return f"give x.to({weights.dtype})"
    if weights is not None and not value.is_floating_point() and "dtype" in error:
        return "give x.float()"
    last = value.shape[-1] if value.ndim else 0
    if value.ndim == 4 and last in (1, 3, 4) and value.shape[1] not in (1, 3, 4):
        return "give x.permute(2, 0, 1) in __getitem__: channels come first, (B, C, H, W)"
    if value.ndim == 3 and any(isinstance(module, nn.Conv2d) for module in model.modules()):
        return "give x.unsqueeze(0) in __getitem__: a picture has an axis of channels, (B, C, H, W)"
    return "make the model's first layer fit the input"


def silent(loss: Any, output: Any, target: Any) -> str | None:
    """What torch passes over in a loss's forward pass, or only warns of; None where nothing is wrong."""
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not broadcasts(loss):
        return None
    if output.shape != target.shape:  # (B, 1) against (B) gives (B, B)
        return "they would be broadcast against one another"
    if output.is_floating_point() and target.dtype not in (torch.float32, torch.float16, torch.bfloat16, output.dtype):
        return "the gradient would fail"
    return None


def for_loss(loss: Any, output: Any, target: Any, error: str = "") -> str | None:
    """What to do where a loss does not take an output and a target; None where nothing is seen to be wrong.

    Args:
        error: what the loss said, where it failed.
    """
    if target is None:
        return "give batches (x, y), or dicts with a key labels, label, target, targets or y"
    if not isinstance(output, Tensor):
        return "return one tensor from the model, or give a loss of your own that takes what it returns"
    if not isinstance(target, Tensor):
        return "give the target as a tensor"
    flat = output.ndim == target.ndim + 1 and output.shape[-1] == 1
    if is_binary(loss) or compares_numbers(loss):
        if output.shape != target.shape and flat:
            return "give output.squeeze(1) in the model's forward, or targets of the shape (B, 1)"
        if output.shape != target.shape and target.ndim == output.ndim + 1 and target.shape[-1] == 1:
            return "give target.squeeze(1), or the model an axis (B, 1)"
        if not target.is_floating_point() or target.dtype == torch.float64 != output.dtype:
            return "give target.float()"
        if is_binary(loss) and output.ndim == 2 == target.ndim + 1 and output.shape[1] > 1:
            return "use nn.CrossEntropyLoss for one class of several, or targets (B, K) of 0 and 1"
        if output.shape != target.shape:
            return "make the output's shape that of the target"
        if is_binary(loss) and not takes_logits(loss):
            return "use nn.BCEWithLogitsLoss, or end the model with a sigmoid"
    return "make the head or the loss fit the target" if error else None
