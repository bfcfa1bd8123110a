"""The contract of a Task: everything that follows from the kind of a target, and from nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from flambeau.core.errors import UsageError, nearest
from flambeau.core.registry import Asked, Registry, name_and_options
from flambeau.data.batch import Batch
from flambeau.fields import Field
from flambeau.models.spec import OutputSpec
from flambeau.objectives import losses
from flambeau.objectives.doubts import Doubt
from flambeau.objectives.losses import Loss
from flambeau.objectives.metrics import Metric, named_metric
from flambeau.objectives.names import METRICS, SYNONYMS, higher_is_better
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.programs import Program
from flambeau.objectives.ranking import Curve

TASKS: Registry[type[Task]] = Registry("task")


class FromErrors(NamedTuple):
    """A metric that follows from errors of rows: to which power these are, and the metric (N) of their means (N)."""

    power: int
    of_mean: Callable[[np.ndarray], np.ndarray]


def complement(mean: np.ndarray) -> np.ndarray:
    """The share of rows that are right, of the share that is wrong."""
    return 1 - mean


class Tiles(NamedTuple):
    """What a picture is cut into, for a model that sees it in parts.

    Attributes:
        size: (height, width) of a tile, in pixels.
        fills: whether a smaller picture is filled up to that, as it was in training.
    """

    size: tuple[int, int]
    fills: bool = False


class Task:
    """What is learned of a target, measured and said. This one is that of a target without a field, a user's own: its
    outputs stay as they are.

    Args:
        field: the target's; fitted before anything is measured.
    """

    objective: ClassVar[str] = "supervised"
    """The way of training that it wants, where none is named: a name of `flambeau.objectives.OBJECTIVES`."""
    default_loss: ClassVar[str] = "cross_entropy"
    metric_names: ClassVar[tuple[str, ...]] = ()
    """What a model can be chosen by beside the loss; the first is its measure if nothing else is asked for."""
    rivals: ClassVar[str] = ""
    """The family of simple rivals that it is put beside: a name of `flambeau.baselines.FAMILIES`."""
    steady: ClassVar[bool] = True
    """Whether its loss asks for the same from step to step; where what it asks for grows with what a model can, a loss
    that rises tells nothing."""
    greatest_error: ClassVar[float] = math.inf
    """What no row error is above."""
    numbers: ClassVar[bool] = False
    """Whether answers are numbers, which need all bits of float32, and not probabilities."""
    unmixable: ClassVar[str] = ""
    """Why a sample that is made of two, as by mixup, has no target, where that is so."""
    blends: ClassVar[bool] = False
    """Whether two targets can be blended; see `blended`."""
    answers: ClassVar[str] = "answers"
    """What a program of an export calls what it gives."""

    def __init__(self, field: Any = None):
        self.field = field
        self.calibration: dict[str, Any] = {}
        """What `calibrate` found, plain JSON: it belongs to the weights, and is saved with them."""
        self.decision: dict[str, Any] = {}
        """Thresholds that `decode` goes by, as `flambeau.objectives.decisions.decide` gives them."""

    # -- what is learned ----------------------------------------------------------------------------------------

    @property
    def output_spec(self) -> OutputSpec:
        """What it wants of a model's output: as many numbers for a sample as the field says, if nothing else."""
        return OutputSpec(int(self.field.num_outputs))

    def criterion(self, loss: Asked) -> Loss:
        """The loss of a name, `auto` for the usual one: a function of output and target to their mean, or to one number
        a sample.

        Raises:
            UsageError: there is none, or it is not for this target.
        """
        return losses.named(self.default_loss if loss == "auto" else loss)

    def learned(self, batch: Batch) -> Any:
        """The part of a batch's target that a model is to learn."""
        return batch.target

    def weight(self, batch: Batch) -> float:
        """What the mean of the loss over a batch is of: samples, or tokens."""
        return len(batch)

    def blended(self, target: Tensor) -> Tensor:
        """Targets (B) or (B, …) as floats whose weighted sum is a target too, and which the loss takes."""
        raise UsageError(f"a target of the kind {self.field.kind} cannot be blended", fix="leave it out")

    def counted(self, target: Tensor) -> Tensor:
        """Targets as floats (B, K): what a model that begins with counts in the data counts by."""
        return target.new_ones(len(target), 1).float()

    @property
    def class_counts(self) -> Sequence[int] | None:
        """How many training rows each class has; None where a sample is not of one class."""
        return None

    def imitated(self, output: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """How far raw output is from a teacher's, both (B, …) and softened by a temperature: one number a sample (B).

        Raises:
            UsageError: such a target is not learned from a teacher.
        """
        kind = f"a target of the kind {self.field.kind}" if self.field else "a target without a field"
        raise UsageError(f"{kind} is not learned from a teacher", fix="leave distill out")

    # -- what is said -------------------------------------------------------------------------------------------

    def activate(self, output: Any) -> Any:
        """Raw output after its activation: probabilities (B, K), or numbers (B, …)."""
        return output

    def deactivate(self, answers: Any) -> Tensor:
        """Raw output that `activate` makes such answers of: for what measures answers that several models have given
        together, averaged as `activate` gives them.

        Raises:
            UsageError: these have no mean.
        """
        kind = f"answers of the kind {self.field.kind}" if self.field else "outputs of data without fields"
        raise UsageError(f"{kind} cannot be averaged", fix="find which run is the best: flambeau compare")

    def answer(self, output: Any, inputs: Any) -> Any:
        """The same, given what was asked: blank where the model does not see an input whole."""
        return self.activate(output)

    def exported(self, output: Any, inputs: Any) -> dict[str, Tensor]:
        """What a program of an export makes of raw output, by name: answers, and whatever of `answer` is no graph is
        left to `finished`."""
        return {self.answers: self.answer(output, inputs)}

    def finished(self, given: Mapping[str, Tensor]) -> Tensor:
        """Answers of what such a program gives."""
        return given[self.answers]

    def programs(self, predict: Callable[[Batch], Mapping[str, Tensor]]) -> dict[str, Program]:
        """Programs of an export for what stands between what `predict` gives and `finished`, by name."""
        return {}

    def raw(self, given: Mapping[str, Tensor]) -> Tensor:
        """Raw output of what such a program gives: for what measures an export.

        Raises:
            UsageError: answers do not say what they were made of.
        """
        return self.deactivate(self.finished(given))

    def tiles(self, inputs: Sequence[Field]) -> Tiles | None:
        """What a picture is cut into where a prediction is for it at its own size; None where the model sees it as it
        was fitted."""
        return None

    def calibrate(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> str | None:
        """After training: mends, on raw outputs and targets of validation batches, what is said of the certainty. What
        was done, in words; None for nothing, and then no pair was taken."""
        return None

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        """The answer for one sample to what a person reads.

        Args:
            reject_below: under this confidence the label is `unknown`.
            asked, value: the first input's field, and its raw value, where they are known.
        """
        return Prediction(output)

    def decided_by(self, curves: Mapping[str, Curve], positive: str | None = None) -> dict[str, Curve]:
        """Of the curves of an evaluation those whose threshold decides what is said; none where no threshold does.

        Args:
            positive: of two classes the one that is looked for; the rarer one if not given.

        Raises:
            UsageError: there is no such class, or there are not two.
        """
        if positive is not None:
            raise UsageError("positive is one of two classes, and this target has not two", fix="leave it out")
        return {}

    def output_of(self, predicted: Any) -> int | None:
        """Which of the outputs speaks for a label; None where no single one does."""
        return None

    def doubts(self, given: Sequence[Any], predicted: Sequence[Any], outputs: Sequence[Any]) -> list[Doubt]:
        """Labels that are probably wrong, the surest first, by answers of models that did not see them: N raw values,
        what was predicted in their place, and the outputs that it was decoded from. None where nobody can say."""
        return []

    # -- what is measured ---------------------------------------------------------------------------------------

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        """The metrics that suit the target, where `asked` is the measure of a model; with `detail` they also collect
        what the report shows. Those of `metric_names` that METRICS has, if nothing else."""
        return [named_metric(name, self.field) for name in self.metric_names if name in METRICS]

    def further(self, asked: str = "auto") -> list[Metric]:
        """What an evaluation measures beyond these; see `Objective.further`."""
        return []

    def measured_by(self, detail: bool, asked: str = "auto", named: Sequence[Asked] = ()) -> list[Metric]:
        """The same, and those of METRICS that are asked for: by name and options, or as the measure of the model.

        Raises:
            UsageError: there is none of that name, it has no such option, or it is not for this target.
        """
        names = [name_and_options(one)[0] for one in named]
        new = asked in METRICS and asked not in (*names, *self.metric_names)
        more = [*named, *([asked] if new else [])]
        known = more if self.field is not None else []
        return [*self.metrics(detail, asked), *(named_metric(one, self.field) for one in known)]

    @property
    def doubts_labels(self) -> bool:
        """Whether `doubts` says which labels are probably wrong."""
        return type(self).doubts is not Task.doubts

    @property
    def tells_rows(self) -> bool:
        """Whether `row_errors` says how wrong the answer to a row is."""
        return type(self).row_errors is not Task.row_errors

    def row_errors(self, answers: Tensor, target: Tensor) -> Tensor | None:
        """How wrong each of B answers, after their activation, is, (B): 0 for right and 1 for wrong; of numbers how far
        off, in natural units. None where rows are not told apart so."""
        return None

    @property
    def of_errors(self) -> Mapping[str, FromErrors]:
        """Metrics that follow from `row_errors` alone, by name."""
        return {}

    @property
    def neighbours(self) -> int:
        """How many rows in a row are not independent of one another."""
        return 1

    @property
    def known(self) -> tuple[str, ...]:
        """The metrics that a model can be chosen by."""
        return (*self.metric_names, "loss")

    @property
    def usual(self) -> str:
        """The one of them that it is chosen by if nothing else is asked for."""
        return self.known[0]

    @property
    def why(self) -> str:
        """Why that one, in words."""
        return f"usual for a target of the kind {self.field.kind}"

    def measure(self, asked: str = "auto") -> tuple[str, bool]:
        """(metric, whether more of it is better): what chooses the epoch, heads the report and decides beside a
        baseline.

        Raises:
            UsageError: there is no such metric for this target.
        """
        name = self.usual if asked == "auto" else SYNONYMS.get(asked, asked)
        if name not in self.known and not (self.field and name in METRICS):
            kind = f" for a target of the kind {self.field.kind}" if self.field else " for data without fields"
            raise UsageError(f"there is no metric '{asked}'{kind}", fix=nearest(name, self.known))
        return name, higher_is_better(name)

    # -- simple rivals ------------------------------------------------------------------------------------------

    @property
    def has_rivals(self) -> bool:
        """Whether this target, as it was fitted, can be put beside simple rivals."""
        return bool(self.rivals)

    @property
    def levels(self) -> Sequence[float]:
        """Of the quantiles that a model gives of each number; none where it gives the number alone."""
        return ()

    @property
    def seasons(self) -> Sequence[int]:
        """Of what goes on in time, how many steps its cycles have."""
        return ()

    def constant(self, target: np.ndarray) -> tuple[str, np.ndarray]:
        """The best answer that is the same for each sample, given the training's encoded targets (N, …): what it is in
        a few words, and the answer."""
        return "mean", np.asarray(target.mean(), np.float32)


def task_of(field: Field | None) -> Task:
    """The task of a target, by what its field says."""
    return TASKS[field.task](field) if field is not None and field.task else Task(field)
