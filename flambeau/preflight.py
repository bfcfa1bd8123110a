"""What is tried before the first step, so that a mistake is told in one line and never as a crash inside it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import DataError, ModelError, TrainingError, UsageError
from flambeau.data.batch import Batch
from flambeau.data.custom import split_batch
from flambeau.objectives import Objective, Supervised
from flambeau.training.engine import Engine

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on whichever device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(m in str(error).lower() for m in OUT_OF_MEMORY)


def check_targets(target: Any, num_classes: int | None, rows: Tensor) -> None:
    """Raises DataError where a target does not suit a cross-entropy over class numbers, with the row.

    Args:
        target: as a Dataset gives it: int64 (B) in 0…K-1 is right.
        num_classes: K, where it is known.
    """
    if not isinstance(target, Tensor):
        raise DataError(f"a target is a {type(target).__name__}", expected="a tensor of class numbers (B)")
    if target.ndim == 2 and target.shape[1] > 1 and target.numel():
        one_hot = bool(((target == 0) | (target == 1)).all() and (target.sum(1) == 1).all())
        if one_hot and not target.is_floating_point():
            raise DataError(
                f"targets are one-hot rows of {target.shape[1]}", where=f"row {int(rows[0])}",
                expected="class numbers (B), as cross-entropy takes them", fix="give target.argmax(1)",
            )  # fmt: skip
        return  # probabilities are fine
    if target.ndim != 1:
        raise DataError(
            f"targets have the shape {tuple(target.shape)}", expected=f"({len(target)},), one class number a sample",
            fix="give target.squeeze(1)" if target.ndim == 2 and target.shape[1] == 1 else None,
        )  # fmt: skip
    if target.is_floating_point():
        whole = bool((target == target.round()).all())
        raise DataError(
            f"targets are {str(target.dtype)[6:]}, such as {float(target[0]):g}", where=f"row {int(rows[0])}",
            expected="int64 class numbers",
            fix="give target.long()" if whole else "use loss='mse' for numbers that are not classes",
        )  # fmt: skip
    wrong = (target < 0) | (target >= num_classes) if num_classes is not None else target < 0
    if bool(wrong.any()):
        at = int(wrong.nonzero()[0])
        top = f"0…{num_classes - 1}, for the model has {num_classes} outputs" if num_classes else "0 or more"
        more = int(wrong.sum()) - 1
        raise DataError(
            f"the label {int(target[at])} is outside its range" + (f" (and {more} more in the batch)" if more else ""),
            where=f"row {int(rows[at])}", expected=top,
            fix="number the classes from 0" if int(target[at]) == num_classes else None,
        )  # fmt: skip


class TargetCheck:
    """Checks each batch of a user's own data on the CPU, where it costs microseconds, before a device sees it."""

    def __init__(self, num_classes: int | None = None):
        self.num_classes = num_classes

    def __call__(self, rows: Tensor, collated: Any) -> None:
        _, target = split_batch(collated)
        check_targets(target, self.num_classes, rows)


def scan_targets(dataset: Any, num_classes: int | None) -> None:
    """Checks all targets of a map-style dataset that keeps them together (`targets`, `labels` or `tensors`)."""
    kept = next((getattr(dataset, n) for n in ("targets", "labels") if hasattr(dataset, n)), None)
    if kept is None and hasattr(dataset, "tensors"):
        kept = dataset.tensors[-1]
    if kept is None or len(kept) != len(dataset):
        return
    try:
        target = torch.as_tensor(kept)
    except (TypeError, ValueError):
        return  # names, lists: what __getitem__ makes of them is checked batch by batch
    check_targets(target, num_classes, torch.arange(len(target)))


def try_batch(objective: Objective, engine: Engine, batch: Batch) -> Tensor | None:
    """One forward pass and loss without gradients, in evaluation mode; leaves no trace. Returns the output.

    Raises:
        DataError, ModelError, UsageError: the input, the model, the loss and the target do not go together.
        TrainingError: memory ran out.
    """
    model = objective.model
    was_training = model.training
    model.eval()
    output = None
    try:
        with torch.no_grad(), engine.autocast():
            if isinstance(objective, Supervised):
                output = _forward(objective, batch)
                if objective.class_numbers and batch.target is not None:
                    num_classes = output.shape[1] if isinstance(output, Tensor) and output.ndim > 1 else None
                    check_targets(batch.target.cpu(), num_classes, batch.rows.cpu())
            _loss(objective, batch, output)
    finally:
        model.train(was_training)
    return output


def _forward(objective: Supervised, batch: Batch) -> Tensor:
    try:
        return objective.forward(batch)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        name = type(objective.model).__name__
        raise ModelError(
            f"the model {name} does not take an input of {_shape(batch.input)} ({_first(error)})",
            fix="make the model's first layer fit the input",
        ) from error


def _loss(objective: Objective, batch: Batch, output: Tensor | None) -> None:
    try:
        if output is not None and isinstance(objective, Supervised):
            loss = objective.loss_function(output, batch.target)
        else:
            loss = objective.loss(batch, objective.phases[0])
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        shapes = f"output {_shape(output)} and target {_shape(batch.target)}" if output is not None else "the batch"
        name = getattr(objective, "loss_name", type(objective).__name__)
        raise UsageError(
            f"the loss {name} does not take {shapes} ({_first(error)})",
            fix="make the head or the loss fit the target",
        ) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise UsageError(
            f"the loss gives {_shape(loss)}",
            expected="one number, the mean over the batch",
            fix="return loss.mean()",
        )
    if not bool(torch.isfinite(loss)):
        raise TrainingError(
            f"the loss is {float(loss)} before the first step",
            fix="look for NaN or infinite values in the data",
        )


def _shape(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype)[6:]} {tuple(value.shape)}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_shape(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        return "(" + ", ".join(_shape(v) for v in value) + ")"
    return type(value).__name__


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def largest_that_fits(objective: Objective, engine: Engine, batch: Batch) -> int:
    """The largest half, quarter, … of a batch whose forward and backward pass fit into memory; 0 if none does."""
    size = len(batch) // 2
    while size >= 1:
        try:
            part = Batch(_head(batch.input, size), _head(batch.target, size), batch.rows[:size])
            with engine.autocast():
                objective.loss(part, objective.phases[0]).backward()
            return size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size //= 2
        finally:
            objective.model.zero_grad(set_to_none=True)
    return 0


def _head(value: Any, size: int) -> Any:
    if isinstance(value, Tensor):
        return value[:size]
    if isinstance(value, dict):
        return {k: _head(v, size) for k, v in value.items()}
    if isinstance(value, tuple):
        parts = [_head(v, size) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
