"""What is tried before the first step, so that a mistake is told in one line and never as a crash inside it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from flambeau import diagnosis
from flambeau.core.errors import DataError, ModelError, TrainingError, UsageError, first_line, shown
from flambeau.core.findings import Finding, worst_first
from flambeau.core.randomness import isolated
from flambeau.data.batch import Batch
from flambeau.data.custom import split_batch
from flambeau.data.items import form
from flambeau.diagnosis import PROBES, Patient
from flambeau.diagnosis.loop import say
from flambeau.diagnosis.patient import MOST_SAMPLES
from flambeau.fields.encoding import Windows
from flambeau.learner import mismatches
from flambeau.models import FittedModel
from flambeau.objectives import Objective, Supervised
from flambeau.objectives.measured import call
from flambeau.training import Settings, Source
from flambeau.training.engine import Engine
from flambeau.training.memory import in_parts, is_out_of_memory, let_go

if TYPE_CHECKING:
    from flambeau.learner.learner import Learner

EXAMINED = {"model", "loss", "objective"}  # names of own parts in a recipe
LARGE, FEW = 50_000_000, 8  # parameters of a model that is examined with so few samples
TOLD_FROM = 90  # seconds of a training, before it begins
IGNORED = -100  # what torch's losses take for "no class" if not told otherwise


def check_targets(target: Any, num_classes: int | None, rows: Tensor, ndim: int = 1, ignore: int = IGNORED) -> None:
    """Raises DataError where a target does not suit a cross-entropy over class numbers, with the row.

    Args:
        target: as a Dataset gives it: int64 (B) in 0…K-1 is right, and (B, H, W) where each pixel has its class.
        num_classes: K, where it is known.
        ndim: axes that the target must have: those of the model's output less one.
        ignore: the number that stands for no class.
    """
    if isinstance(target, (list, tuple)) and len(target) and isinstance(target[0], (str, bytes)):
        raise DataError(f"the labels are names, such as {shown(target[0])}", expected="class numbers (B)",
                        fix="number them in __getitem__: classes.index(name)")  # fmt: skip
    if not isinstance(target, Tensor):
        raise DataError(f"a target is a {type(target).__name__}", expected="a tensor of class numbers (B)")
    if target.ndim == ndim + 1 and target.shape[1] > 1 and target.numel():
        if target.is_floating_point():
            return  # probabilities are fine
        if bool(((target == 0) | (target == 1)).all() and (target.sum(1) == 1).all()):
            raise DataError(
                f"targets are one-hot rows of {target.shape[1]}", where=f"row {int(rows[0])}",
                expected="class numbers (B), as cross-entropy takes them", fix="give target.argmax(1)",
            )  # fmt: skip
    if target.ndim != ndim:
        expected = f"({len(target)},), one class number a sample" if ndim == 1 else f"{ndim} axes, as the output has"
        raise DataError(
            f"targets have the shape {tuple(target.shape)}",
            expected=expected,
            fix="give target.squeeze(1)" if target.ndim == ndim + 1 and target.shape[1] == 1 else None,
        )
    if target.is_floating_point():
        whole = bool((target == target.round()).all())
        raise DataError(
            f"targets are {str(target.dtype)[6:]}, such as {float(target.flatten()[0]):g}",
            where=f"row {int(rows[0])}",
            expected="int64 class numbers",
            fix="give target.long()" if whole else "use loss='mse' for numbers that are not classes",
        )
    if target.dtype == torch.bool:
        target = target.long()
    wrong = (target < 0) | (target >= num_classes) if num_classes is not None else target < 0
    wrong &= target != ignore
    if bool(wrong.any()):
        at = tuple(wrong.nonzero()[0].tolist())
        label = int(target[at])
        top = f"0…{num_classes - 1}, for the model has {num_classes} outputs" if num_classes else "0 or more"
        more = int(wrong.sum()) - 1
        raise DataError(
            f"the label {label} is outside its range" + (f" (and {more} more in the batch)" if more else ""),
            where=f"row {int(rows[at[0]])}",
            expected=top,
            fix=_renumber(target, num_classes),
        )


def _renumber(target: Tensor, num_classes: int | None) -> str | None:
    """How labels in another coding become class numbers."""
    if num_classes == 1:
        return "use nn.BCEWithLogitsLoss with one output, or give the model an output for each class"
    low, high = int(target.min()), int(target.max())
    if {low, high} == {-1, 1} and not bool((target == 0).any()):
        return "labels of -1 and 1 become class numbers by (target > 0).long()"
    if low >= 1 and high == num_classes and len(target) > 1:
        return f"the labels begin at 1, such as {low}…{high} for {num_classes} outputs: give target - 1"
    return "number the classes from 0" if high == num_classes else None


class TargetCheck:
    """Checks each batch of a user's own data on the CPU, where it costs microseconds, before a device sees it.

    Attributes:
        num_classes, ndim, ignore: as for `check_targets`. Nothing is checked before `ndim` is known.
    """

    def __init__(self, num_classes: int | None = None, ndim: int | None = None, ignore: int = IGNORED):
        self.num_classes, self.ndim, self.ignore = num_classes, ndim, ignore

    def __call__(self, rows: Tensor, collated: Any) -> None:
        if self.ndim is not None:
            check_targets(split_batch(collated)[1], self.num_classes, rows, self.ndim, self.ignore)

    def scan(self, dataset: Any) -> None:
        """Checks all targets of a map-style dataset that keeps them together (`targets`, `labels` or `tensors`)."""
        kept = next((getattr(dataset, n) for n in ("targets", "labels") if hasattr(dataset, n)), None)
        if kept is None and hasattr(dataset, "tensors"):
            kept = dataset.tensors[-1]
        if kept is None or self.ndim is None or not hasattr(kept, "__len__") or len(kept) != len(dataset):
            return
        try:
            target = torch.as_tensor(kept)
        except (TypeError, ValueError, RuntimeError):
            return  # names, lists: what __getitem__ makes of them is checked batch by batch
        try:
            check_targets(target, self.num_classes, torch.arange(len(target)), self.ndim, self.ignore)
        except DataError as error:
            row = int(str(error.where).removeprefix("row ")) if error.where else 0
            if self._given_so(dataset, row):
                raise

    def _given_so(self, dataset: Any, row: int) -> bool:
        """Whether `__getitem__` gives the row's target as wrong as it is kept: it may well renumber the classes."""
        try:
            self(torch.tensor([row]), torch.utils.data.default_collate([dataset[row]]))
        except DataError:
            return True
        except TypeError:
            pass  # only the user's own collate function can put these together; it is checked batch by batch
        return False


def try_batch(objective: Objective, engine: Engine, batch: Batch) -> Any:
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
                if objective.class_numbers and batch.target is not None and isinstance(output, Tensor):
                    num_classes = output.shape[1] if output.ndim > 1 else None
                    target = batch.target.cpu() if isinstance(batch.target, Tensor) else batch.target
                    ignore = getattr(objective.loss_function, "ignore_index", IGNORED)
                    check_targets(target, num_classes, batch.rows.cpu(), max(output.ndim - 1, 1), ignore)
            _loss(objective, batch, output)
    finally:
        model.train(was_training)
    return output


def timed(objective: Objective, engine: Engine, batch: Batch) -> tuple[Any, float]:
    """`try_batch`, and the seconds that it took."""
    began = time.perf_counter()
    output = try_batch(objective, engine, batch)
    engine.synchronise()
    return output, time.perf_counter() - began


def try_parts(objective: Objective, engine: Engine, batch: Batch) -> tuple[Batch, Any, float] | None:
    """`try_batch` on a batch, or on the half, the quarter, … of one that is too large for the memory: what was tried,
    its output, and the seconds that it took. None where not even one sample fits."""
    parts = [batch]
    while True:
        batch = parts[0]
        try:
            return batch, *timed(objective, engine, batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            let_go(error)
        parts = in_parts(batch, 2)
        if len(parts) == 1:
            return None


def _forward(objective: Supervised, batch: Batch) -> Any:
    try:
        return objective.forward(batch)
    except Exception as error:  # a user's model may raise anything
        if is_out_of_memory(error):
            raise
        name = type(objective.model).__name__
        raise ModelError(
            f"the model {name} does not take an input of {form(batch.input)} ({first_line(error)})",
            fix=mismatches.for_input(batch.input, objective.model, str(error)),
        ) from error


def _loss(objective: Objective, batch: Batch, output: Any) -> None:
    if isinstance(objective, Supervised) and (why := mismatches.silent(objective.loss_function, output, batch.target)):
        raise _unfit(objective, batch, output, why)
    try:
        if output is not None and isinstance(objective, Supervised):
            loss = objective.loss_function(output, batch.target)
        else:
            loss = objective.loss(batch, objective.phases[0])
    except Exception as error:  # and so may a loss
        if is_out_of_memory(error):
            raise
        raise _unfit(objective, batch, output, first_line(error)) from error
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise UsageError(
            f"the loss gives {form(loss)}", expected="one number, the mean over the batch", fix="return loss.mean()"
        )
    if not bool(torch.isfinite(loss)):
        raise TrainingError(
            f"the loss is {float(loss)} before the first step",
            fix="look for NaN or infinite values in the data",
            code="loss-not-finite",
        )


def _unfit(objective: Objective, batch: Batch, output: Any, why: str) -> UsageError:
    if output is None or not isinstance(objective, Supervised):
        return UsageError(f"the loss {type(objective).__name__} does not take the batch ({why})")
    shapes = f"output {form(output)} and target {form(batch.target)}"
    if batch.target is None:
        shapes = f"a batch without a target, {form(batch.input)}"
    return UsageError(
        f"the loss {objective.loss_name} does not take {shapes} ({why})",
        fix=mismatches.for_loss(objective.loss_function, output, batch.target, why),
    )


def out_of_memory(
    objective: Objective, engine: Engine, settings: Settings, size: int, tokens: int, make: Callable[[int], Batch]
) -> TrainingError:
    """What to say where memory ran out: how large a batch would fit, and how to train the same with it.

    Args:
        size: samples of the largest batch.
        tokens: what each of them is padded to.
        make: gives the longest of them, at most so many, as a batch.
    """
    where, fits = engine.device, largest_that_fits(objective, engine, make, size)
    if not fits:
        return TrainingError(
            f"not even one sample fits into the memory of {where}",
            fix="take a smaller model, or smaller inputs",
            code="out-of-memory",
        )
    setting, most, would = "batch_size", size, fits
    if settings.max_tokens:
        setting, most, would = "max_tokens", settings.max_tokens, fits * tokens
    accumulate = -(-most * settings.accumulate // would)
    return TrainingError(
        f"a batch of {most}{' tokens' if settings.max_tokens else ''} does not fit into the memory of {where}",
        fix=f"{would} would: --set {setting}={would} --set accumulate={accumulate} trains the same",
        code="out-of-memory",
    )


def largest_that_fits(objective: Objective, engine: Engine, make: Callable[[int], Batch], size: int) -> int:
    """The largest half, quarter, … of `size` whose batch, forward and backward pass fit into memory; 0 if none does.

    Args:
        make: gives a batch of at most so many samples.
    """
    size //= 2
    moments: list[Tensor] = []
    while size >= 1:
        try:
            moments = [torch.zeros_like(p) for p in objective.model.parameters() for _ in range(2)]  # as AdamW keeps
            with engine.autocast():
                objective.loss(make(size), objective.phases[0]).backward()
            return size
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            let_go(error)
            size //= 2
        finally:
            moments.clear()
            objective.model.zero_grad(set_to_none=True)
    return 0


def head(value: Any, size: int) -> Any:
    """The first samples of gathered or collated values: tensors, or tuples or dicts of them."""
    if isinstance(value, Tensor):
        return value[:size]
    if isinstance(value, dict):
        return {k: head(v, size) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [head(v, size) for v in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value


@dataclass
class OwnLoss:
    """The loss of an objective as a function of its model and a batch; of several phases the sum."""

    objective: Objective

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        return sum((self.objective.loss(batch, phase) for phase in self.objective.phases), start=0.0)  # type: ignore[return-value]


def examine_own(learner: Learner, checked: bool, source: Source | None) -> None:
    """Examines a model, a loss and an objective of the user's own before they are trained; what comes from the
    catalogue is tested. Says how long a training takes, if minutes. Lets go of the batch that was tried.

    Args:
        checked: whether it is examined.
        source: the batches of a training of which the time is to be told.
    """
    if checked and EXAMINED.intersection(learner.recipe.own_parts):
        examine(learner)
    fits = isinstance(learner.objective.model, FittedModel)
    if source is not None and learner.first_batch is not None and not fits:
        _tell_time(learner, learner.first_batch, source)
    learner.first_batch = None


def _tell_time(learner: Learner, batch: Batch, source: Source) -> None:
    """Says how long a training takes, if minutes."""
    seconds = seconds_of_training(learner, batch, source, TOLD_FROM)
    if seconds >= TOLD_FROM:
        epochs, batches = learner.recipe.training.epochs or 1, source.count(0)
        several = f"{epochs} epoch{'s' * (epochs > 1)} of {batches:,} batches"
        learner.reporter.say(f"{several} take about {round(seconds / 60):,} min, by the time of one batch; to be done "
                             "sooner: --budget 5m")  # fmt: skip


def seconds_of_training(learner: Learner, batch: Batch, source: Source, least: float) -> float:
    """What the training of a built learner takes, about: by the time of a forward pass, and twice as much for the
    gradients. The first one of all is slower: another is made where it says that the training takes `least`."""
    passes = 3 * (learner.recipe.training.epochs or 1) * source.count(0)
    if learner.tried_for * passes < least:
        return learner.tried_for * passes
    with isolated(0):
        return timed(learner.objective, learner.engine, batch)[1] * passes


def examine(learner: Learner) -> list[Finding]:
    """What the probes find in some samples of a built Learner's first batch, the worst first; it is said, and joins the
    Learner's findings. Nothing else of it changes."""
    if isinstance(learner.objective.model, FittedModel):
        return []  # there is no loss that its weights follow
    objective, batch = learner.objective, learner.first_batch or learner.feed.first_batch()
    size = sum(p.numel() for p in objective.model.parameters())
    batch = in_parts(batch, math.ceil(len(batch) / (FEW if size > LARGE else MOST_SAMPLES)))[0]
    # of several phases one gains what another loses
    probes = [name for name in PROBES if len(objective.phases) == 1 or name != "one-batch"]
    findings = diagnosis.examine(_patient(objective, batch), probes)
    say(findings, learner.reporter)
    learner.findings = worst_first([*learner.findings, *(f for f in findings if f not in learner.findings)])
    return findings


def _patient(objective: Objective, batch: Batch) -> Patient:
    if isinstance(objective, Supervised) and not isinstance(batch.input, Windows) and type(objective) is Supervised:
        was_training = objective.model.training
        objective.model.train()
        target: Any = objective.wanted(batch)
        objective.model.train(was_training)
        return Patient(objective.model, objective.loss_function, batch.input, target, call=call)
    return Patient(objective.model, None, batch, call=OwnLoss(objective))
