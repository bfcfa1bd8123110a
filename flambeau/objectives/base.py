"""The contract of an Objective: what a step minimises and what validation measures."""

from __future__ import annotations

import copy
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.registry import Asked, Registry, check_options
from flambeau.data.batch import Batch
from flambeau.fields import Field
from flambeau.models import Built, Group, layer_groups
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.programs import Program, Runtimes
from flambeau.objectives.ranking import Curve
from flambeau.objectives.tasks import Task

if TYPE_CHECKING:
    from PIL import Image as PILImage

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
Criterion = Callable[..., Tensor]
"""From (output, target, **options) to a scalar."""


@dataclass(frozen=True)
class Context:
    """What an objective may be made from: the same when a Learner is built and when its run is loaded.

    Attributes:
        fields: of the columns, fitted; empty for a user's own data.
        inputs: the columns that a batch's input is of.
        target: the target's field; None where there is none.
        model: makes the model that the recipe names, or gives the user's own; called with what its output is to be, or
            with nothing for what the target wants.
        loss, metric: of the recipe.
        metrics: by name, and a user's own.
    """

    fields: Mapping[str, Field]
    inputs: Sequence[str]
    target: Field | None
    model: Callable[..., nn.Module | Built]
    loss: Asked | Callable[..., Tensor] = "auto"
    metric: str = "auto"
    metrics: Sequence[Any] = ()

    @property
    def input(self) -> Field:
        """The field of the input.

        Raises:
            UsageError: there are several, or none.
        """
        if len(self.inputs) != 1:
            raise UsageError(f"the data has {len(self.inputs)} inputs", expected="one", fix="choose it with inputs=")
        return self.fields[self.inputs[0]]


class Objective(ABC):
    """What a step minimises. It holds the model; the Trainer calls it and knows nothing of what is inside.

    Attributes:
        phases: names of the updates that make up one step, in order; each has its own optimiser. One for
            supervised training, `("discriminator", "generator")` for a GAN.
        model: every parameter that is trained or saved.
        monitor: the metric that the best checkpoint is chosen by.
        higher_is_better: in which direction.
        task: what follows from the kind of the target, where it has one.
        training_criterion: what techniques have made of `criterion`, for the training that goes on; `loss` uses it
            then.
        group_patterns: regular expressions that part the model's parameters into layer groups; by its modules if there
            are none.
    """

    phases: ClassVar[tuple[str, ...]] = ("train",)
    settings: ClassVar[tuple[str, ...]] = ()
    """Options of `build` that a recipe may set: `objective: {name: vae, beta: 0.5}`."""
    next_verb: str = "predict {run} FILE"
    """What a run is for, as a command after `flambeau`."""
    preset: ClassVar[Mapping[str, Any]] = {}
    """Their values where none is given and the name stands for others than those of the signature."""
    takes: ClassVar[tuple[str, ...]] = ()
    """Which of `model`, `loss`, `metric` and `target` it is made from. Data without a target, or with one that is not
    looked at, does where it takes none; a model or a loss of the recipe's that it does not take is refused."""
    reads: ClassVar[Mapping[str, str]] = {}
    """Kinds of inputs that it reads as another: by the kind that they look like, the one that they are then of."""
    layout: ClassVar[str] = ""
    """Of the model's output, as in `OutputSpec`, where it takes a model and the target does not say."""
    whole: ClassVar[bool] = False
    """Whether pretrained weights are those of all of its model, the last layer too: no head begins fresh."""
    tells_oddness: ClassVar[bool] = False
    """Whether an answer is a number that says how odd the value is."""
    augments: ClassVar[bool] = True
    """Whether inputs are augmented in training where nothing is said of it."""
    model: nn.Module
    monitor: str = "loss"
    higher_is_better: bool = False
    task: Task = Task()
    training_criterion: Criterion | None = None
    group_patterns: Sequence[str] = ()
    observers: Sequence[Callable[[], Metric]] = ()
    """What makes metrics that an evaluation with `detail` has beside its own, where the objective measures answers."""

    @classmethod
    def next_of(cls, field: Field) -> str:
        """`next_verb` of a run whose input is such a field."""
        return cls.next_verb

    @classmethod
    def build(cls, context: Context, **options: Any) -> Objective:
        """The objective for some data, with options of the recipe; its weights are loaded afterwards where a run is."""
        return cls(**options)

    @classmethod
    def fields_of(cls, target: str | None, inputs: Sequence[str]) -> dict[str, Field]:
        """What columns that are named are, whatever their values look like, where it is trained on nothing else."""
        return {}

    @abstractmethod
    def loss(self, batch: Batch, phase: str) -> Tensor:
        """The mean loss of a batch, a scalar with its graph."""

    def criterion(self, output: Any, target: Any, **options: Any) -> Tensor:
        """The mean loss between raw output and target, a scalar; with `reduction="none"` one number a sample (B).
        Techniques make another of it for the training, see `Technique.on_criterion`; `loss` then uses
        `training_criterion`.

        Raises:
            UsageError: it has none, or cannot tell samples apart.
        """
        raise UsageError(f"{type(self).__name__} has no loss between output and target")

    @property
    def blends(self) -> bool:
        """Whether the criterion takes targets that `task.blended` gives."""
        return False

    @property
    def smooths(self) -> bool:
        """Whether the criterion takes `label_smoothing=`."""
        return False

    def weight(self, batch: Batch) -> float:
        """What the mean in `loss` is over: samples, or tokens. Accumulated steps are weighted by it."""
        return len(batch)

    def num_parts(self, batch: Batch) -> int:
        """How many parts a step takes a batch in at least, so that what it computes of it at once stays small. Their
        gradients add up to those of the whole."""
        return 1

    def parameters(self, phase: str) -> list[nn.Parameter]:
        """The parameters that a phase updates."""
        return list(self.model.parameters())

    def head_parameters(self) -> list[nn.Parameter]:
        """Those that start from nothing where the rest is pretrained: they learn at the full rate."""
        return []

    @property
    def fresh_head(self) -> bool:
        """Whether the model's head starts from nothing where the rest is pretrained."""
        return not self.whole

    def replace_parameters(self, others: Mapping[nn.Parameter, nn.Parameter]) -> None:  # noqa: B027 -- most remember none
        """The model's parameters are others now: {the one before: the one in its place}. For what remembers some."""

    def groups(self) -> tuple[Group, ...]:
        """The layer groups of the model, from its input to its head; see `flambeau.models.layer_groups`."""
        return layer_groups(self.model, self.head_parameters(), self.group_patterns)

    def figures(self) -> dict[str, float]:
        """The means of what steps have measured beside their loss since the last call, by name; read from the device
        here, at once. The training writes them beside its losses."""
        return {}

    @abstractmethod
    def start_evaluation(self, detail: bool = False) -> None:
        """Forgets what was measured. With `detail`, also collects what the report shows."""

    @abstractmethod
    def evaluate(self, batch: Batch) -> None:
        """Measures a batch. Memory stays bounded however many follow."""

    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """What was measured since `start_evaluation`, `loss` among it."""

    def detail(self) -> dict[str, Any]:
        """What was collected for the report, as plain JSON."""
        return {}

    def further(self) -> dict[str, Any]:
        """What an evaluation with `detail` measured beyond `metrics`: {metrics, intervals}, by name; empty if nothing.
        No epoch is chosen by these, and no rival has them."""
        return {}

    def curves(self) -> dict[str, Curve]:
        """What an evaluation with `detail` knows of every threshold, by class; empty where there is none to choose."""
        return {}

    def confidence(self) -> Curve | None:
        """The same of how sure the answers were, of which the right ones are the hits; None where none are known."""
        return None

    def measure_by(self, metric: str) -> None:
        """Another metric to choose the best checkpoint by.

        Raises:
            UsageError: it has none of that name.
        """
        if metric not in ("auto", self.monitor):
            raise UsageError(f"{type(self).__name__} has no metric '{metric}'", expected=self.monitor)

    def intervals(self) -> dict[str, Any]:
        """The 95 % interval [low, high] of each metric that has one; see `flambeau.objectives.intervals`."""
        return {}

    def without_groups(self) -> dict[str, np.ndarray]:
        """For the comparison with another model: metrics without each group of rows in turn, float (G)."""
        return {}

    def learning_rates(self) -> Mapping[nn.Parameter, float]:
        """Shares of the learning rate, of the parameters that have one of their own."""
        return {}

    def initialise_from_data(self, batches: Iterable[Batch]) -> None:
        """Before training: lets a model that begins with what it counts in the data look at the training rows once.
        Takes no batch where it does not."""
        return

    def example(self, batch: Batch) -> tuple[Any, Tensor]:
        """What a model that fits itself, a `FittedModel`, learns of a batch: inputs as it is called with, and targets.

        Raises:
            UsageError: this is learned in steps.
        """
        raise UsageError(f"{type(self).__name__} is learned in steps, and the model fits itself at once",
                         fix="name another model")  # fmt: skip

    def calibrate(self, batches: Iterable[Batch]) -> str | None:
        """After training: mends, on validation batches, what the model says of its own certainty. What was done, in
        words; None for nothing, and then no batch was taken."""
        return None

    @property
    def calibration(self) -> dict[str, Any]:
        """What `calibrate` found, plain JSON; it is saved with the weights, and set again where they are loaded."""
        return self.task.calibration

    @calibration.setter
    def calibration(self, found: dict[str, Any]) -> None:
        self.task = copy.copy(self.task)  # objectives without one of their own share it
        self.task.calibration = found

    @property
    def decision(self) -> dict[str, Any]:
        """The thresholds that answers go by, plain JSON; empty for those that need none."""
        return self.task.decision

    @decision.setter
    def decision(self, found: dict[str, Any]) -> None:
        self.task = copy.copy(self.task)
        self.task.decision = found

    def predict(self, batch: Batch) -> Tensor:
        """Model output after its activation: probabilities (B, K), or numbers (B, …)."""
        raise NotImplementedError(f"{type(self).__name__} does not predict")

    def programs(self) -> dict[str, Program]:
        """What is exported of it, by name; `predict` answers as `predict` does.

        Raises:
            UsageError: nothing of it can be.
        """
        raise UsageError(f"{type(self).__name__} has nothing to export", fix="define its programs")

    @classmethod
    def of_programs(cls, context: Context, runtimes: Runtimes) -> Objective:
        """What answers and measures by exported programs in place of a model, which `context` does not give.

        Raises:
            UsageError: nothing of it is exported.
        """
        raise UsageError(f"{cls.__name__} has nothing to export", fix="define its programs")

    def generate(self, count: int, generator: torch.Generator) -> Tensor:
        """New inputs (count, …), as they are prepared for the model. All randomness from `generator`, on the CPU."""
        raise UsageError(f"{type(self).__name__} does not generate")

    def sheet(self) -> PILImage.Image | None:
        """A small picture of what is made of the same noise whenever it is asked for, in inference mode: a training
        keeps one of each epoch. None where what is made cannot be seen."""
        return None

    def portrait(self, held_out: Iterable[Batch], train: Iterable[Batch]) -> dict[str, Any]:
        """After training: what the report shows of what the model makes, plain JSON; empty for one that makes nothing.

        Args:
            held_out: batches from all over the rows that it was not trained on, as an evaluation sees them.
            train: batches of those that it was trained on, as an evaluation sees them.
        """
        return {}

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        """The output of `predict` for one sample to what a person reads; see `Task.decode`."""
        return self.task.decode(output, reject_below, asked, value)

    @classmethod
    def suggests(cls, options: Mapping[str, Any], num_train: int) -> Mapping[str, tuple[Any, str]]:
        """Settings of the training that suit it, taken where nothing is said of them: {name: (value, why)}; `phases` by
        phase, `techniques` that are taken where none is named, and `objective.…` for an option of its own.

        Args:
            options: of the objective, all.
            num_train: how many rows are trained on, as far as is known.
        """
        return {}

    def describe(self) -> str:
        """A sentence: what is minimised and why."""
        return type(self).__name__


def made(name: str, context: Context, options: Mapping[str, Any]) -> Objective:
    """The objective that a recipe describes.

    Raises:
        UsageError: there is none of that name, it has no such option, or it does not fit the data.
    """
    kind = OBJECTIVES[name]
    check_options(f"the objective {name}", options, kind.settings)
    objective = kind.build(context, **options)
    if "metric" not in kind.takes:
        objective.measure_by(context.metric)
    return objective


def defaults(name: str) -> dict[str, Any]:
    """The options of an objective that have a value where none is given."""
    kind = OBJECTIVES[name]
    parameters = {**inspect.signature(kind).parameters, **inspect.signature(kind.build).parameters}
    given = {option: parameters[option].default for option in kind.settings if option in parameters}
    given |= kind.preset
    return {option: value for option, value in given.items() if value is not inspect.Parameter.empty}
