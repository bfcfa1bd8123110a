"""The contract of objectives that make samples anew: what `generate`, `interpolate`, `reconstruct`, `encode`, the
report and the server ask of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError, check_known
from flambeau.data.batch import Batch
from flambeau.fields import Field
from flambeau.models import Built, InputSpec, OutputSpec
from flambeau.objectives.base import Context, Objective
from flambeau.objectives.generative.portrait import portrait
from flambeau.objectives.generative.watched import Signs
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.programs import BATCH, Port, Program, Runtimes

if TYPE_CHECKING:
    from PIL import Image as PILImage

SHOWN = 8
"""Samples of a kind that an evaluation keeps for the report."""
IN_SHEET, COLUMNS, MOST_COLUMNS = 64, 8, 12
"""Samples side by side in one picture, at most; those in a row."""


class Generative(Objective):
    """A model of what the input is like. Of the methods below a family has those that it can have; the others refuse.

    Attributes:
        conditional: whether samples are of a class that is asked for: the target's.
        field: of the input.
        spec: what the input looks like to a model.
        classes: those that can be asked for, in order; none where it is not conditional.
        code_size: D, numbers of a code or of the noise that a sample is made of.
    """

    takes: ClassVar[tuple[str, ...]] = ("model",)
    tells_oddness = True
    augments = False  # what is made is to be like what is given
    conditional: ClassVar[bool] = False
    next_verb = "generate {run} --grid new.png"
    makes_of_noise: ClassVar[bool] = True
    """Whether `generate` makes samples like the data; not of one whose codes have no prior."""
    measures: ClassVar[tuple[str, ...]] = ("loss",)
    """Names of what `measure` gives."""

    def __init__(self, context: Context):
        self.field, self.spec = context.input, InputSpec.of([context.input])
        self.classes: list[str] = []
        self.code_size = 0
        self.next_verb = self.next_of(self.field)
        if self.conditional:
            if context.target is None or not context.target.classes:
                raise UsageError(
                    f"{type(self).__name__} makes samples of a class, and the data has no classes",
                    fix="give folders of one class each, or a --target of classes",
                )
            self.classes = [*context.target.classes]

    @classmethod
    def next_of(cls, field: Field) -> str:
        if not field.restores:  # nothing raw is made of a sample, as of log-mel pictures
            return Objective.next_verb
        if cls.makes_of_noise and not InputSpec.of([field]).form.pictures:
            return "generate {run} --out new.csv"
        return cls.next_verb

    @classmethod
    def build(cls, context: Context, **options: Any) -> Objective:
        return cls(context, **{**cls.preset, **options})

    # -- what a family provides ---------------------------------------------------------------------------------

    @abstractmethod
    def measure(self, batch: Batch) -> dict[str, Tensor]:
        """What an evaluation averages over rows, each float (B), by name of `measures`; `loss` among them. It draws
        nothing at random, or the same for a row each time."""

    @abstractmethod
    def scores(self, batch: Batch) -> Tensor:
        """How odd each row is, float (B): its reconstruction's error, its negative log-likelihood, or whatever the
        family has; the higher the odder."""

    def encode(self, batch: Batch) -> Tensor:
        """Codes, float (B, D).

        Raises:
            UsageError: nothing gives a code for a sample.
        """
        raise UsageError(f"{type(self).__name__} has no encoder", fix="give seeds, or train with --objective vae")

    def decode_code(self, codes: Tensor, label: Tensor | None = None) -> Any:
        """Samples as they are prepared for a model, of codes or noise (B, D); those between two codes are a way from
        one sample to another. `label` as in `generate`."""
        raise UsageError(f"{type(self).__name__} makes no sample of a code")

    def generate(self, count: int, generator: torch.Generator, label: Tensor | None = None) -> Any:
        """New samples as they are prepared for a model, (count, …). All randomness from `generator`, on the CPU.

        Args:
            label: numbers of classes, int64 (count), of a conditional one; drawn evenly if not given.
        """
        return self.decode_code(*self.drawn(count, generator, label))

    def between(self, first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
        """Codes (N, D) on the way from one (D) to another, at shares (N) in 0…1 of it: on an arc, where codes of a
        Gaussian lie and their mean does not (White 2016, arXiv:1609.04468)."""
        return along_arc(first, second, shares)

    def reconstruct(self, batch: Batch) -> Any:
        """The samples of a batch as they come back from their codes, as they are prepared for a model."""
        return self.decode_code(self.encode(batch), self.labels_of(batch))

    def signs(self, batch: Batch, losses: Mapping[str, float]) -> Signs:
        """What shows that it fails in silence: what a family has of it, see `watched`. Called after each epoch in
        evaluation mode; gradients may be taken, and leave none behind.

        Args:
            batch: some training rows.
            losses: the mean in the epoch of each of several phases.
        """
        return Signs()

    # -- what all have ------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where its parameters lie."""
        return next(self.model.parameters()).device

    def numbers_of(self, prepared: Any) -> Tensor:
        """Prepared samples as numbers, float (B, F)."""
        return self.spec.form.as_decoded(prepared, self.spec.shape).flatten(1)

    @cached_property
    def bounds(self) -> tuple[Tensor, Tensor] | None:
        """The middle of what black and white are to a model, and half of their distance; None of inputs without."""
        found = self.field.input_bounds
        return None if found is None else ((found[1] + found[0]) / 2, (found[1] - found[0]) / 2)

    def unbounded(self, made: Tensor) -> Tensor:
        """What a network makes in -1…1, as it is prepared for a model."""
        if self.bounds is None:
            return made
        middle, half = (bound.to(made.device) for bound in self.bounds)
        return middle + half * made

    def labels_of(self, batch: Batch) -> Tensor | None:
        """Numbers of the classes of a batch, int64 (B), where it is conditional and they are known."""
        return batch.target if self.conditional else None

    def label(self, name: str | None, count: int) -> Tensor | None:
        """A class by its name, for so many samples; None for no name.

        Raises:
            UsageError: it is not conditional, or has no such class.
        """
        if name is None:
            return None
        if not self.classes:
            raise UsageError(f"{type(self).__name__} makes no samples of a class", fix="train a conditional objective")
        check_known("no class is called", [name], self.classes)
        return torch.full((count,), self.classes.index(name))

    def drawn(
        self, count: int, generator: torch.Generator, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What samples are made of, on the device: noise (count, D), and labels; of a conditional one that is given
        none, classes drawn evenly. A sample hangs on one number drawn from `generator`, so that the first are the same
        however many follow, and however they are batched."""
        seeds = torch.randint(2**62, (count,), generator=generator)
        noise = [torch.randn(self.code_size, generator=torch.Generator().manual_seed(s)) for s in seeds.tolist()]
        if self.conditional and label is None:
            label = seeds % len(self.classes)
        label = label.to(self.device) if self.conditional and label is not None else None
        return torch.stack(noise).to(self.device), label

    def samples(self, count: int, seed: int = 0) -> Any:
        """The same noise's samples whenever it is called: how a training goes, and what it has come to. Of a
        conditional one the classes come in turn."""
        generator = torch.Generator().manual_seed(seed)
        label = torch.arange(count) % len(self.classes) if self.classes else None
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                return self.generate(count, generator, label)
        finally:
            self.model.train(training)

    def start_evaluation(self, detail: bool = False) -> None:
        self._sums = {name: torch.zeros((), dtype=torch.float64) for name in self.measures}
        self._count, self._detailed = 0, detail
        self._compared: list[dict[str, Any]] = []

    def evaluate(self, batch: Batch) -> None:
        for name, values in self.measure(batch).items():
            self._sums[name] += values.double().sum().cpu()
        self._count += len(batch)

    def metrics(self) -> dict[str, float]:
        return {name: float(total) / max(self._count, 1) for name, total in self._sums.items()}

    def detail(self) -> dict[str, Any]:
        return {
            "kind": "pictures",
            "pictures": self.shown(self.samples(SHOWN), "generated") if self.makes_of_noise else [],
        }

    def shown(self, prepared: Any, caption: str) -> list[dict[str, Any]]:
        """Samples as an evaluation keeps them for the report; none where they cannot be shown."""
        values = self.field.restore(prepared) if self.field.restores else []
        return [{"caption": caption, "html": self.field.render(value)} for value in values]

    @property
    def encodes(self) -> bool:
        """Whether a sample has a code."""
        return type(self).encode is not Generative.encode

    def sheet(self) -> PILImage.Image | None:
        """Of a conditional one with few classes a column is a class."""
        if not self.makes_of_noise or not self.field.restores:
            return None
        columns = self.sheet_columns
        return self.field.sheet(self.field.restore(self.samples(IN_SHEET // columns * columns)), columns)

    @property
    def sheet_columns(self) -> int:
        """How many samples stand in a row of a sheet."""
        return len(self.classes) if 1 < len(self.classes) <= MOST_COLUMNS else COLUMNS

    def portrait(self, held_out: Iterable[Batch], train: Iterable[Batch]) -> dict[str, Any]:
        return portrait(self, held_out, train)

    def predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self.scores(batch).float()[:, None]

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        return Prediction(float(output[0]))

    def programs(self) -> dict[str, Program]:
        """`predict` gives scores; `encode` codes, where a sample has one; and `decode` samples of codes or noise, as
        numbers of `Form.as_decoded`."""
        programs = {"predict": Program(lambda batch: {"score": self.scores(batch).float()[:, None]})}
        if self.encodes:
            programs["encode"] = Program(lambda batch: {"code": self.encode(batch).float()})
        ports = [Port("code", "float32", (BATCH, self.code_size))]
        ports += [Port("label", "int64", (BATCH,))] if self.classes else []

        def decoded(batch: Batch) -> dict[str, Tensor]:
            made = self.decode_code(batch.input["code"], batch.input.get("label"))
            return {"sample": self.spec.form.as_decoded(made, self.spec.shape).float()}

        return {**programs, "decode": Program(decoded, tuple(ports))}

    @classmethod
    def of_programs(cls, context: Context, runtimes: Runtimes) -> Objective:
        from flambeau.objectives.generative.exported import Exported

        return Exported(context, runtimes, cls)

    def net(self, context: Context, size: int) -> Any:
        """The network that the recipe names, or the default of the objective's layout, for codes of some size."""
        built = context.model(OutputSpec(size, self.layout))
        return built.model if isinstance(built, Built) else built


def along_arc(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """Vectors (N, D) between two (D), turned and lengthened evenly; straight where both point the same way or against
    each other."""
    shares = shares.to(first)[:, None]
    lengths = first.norm(), second.norm()
    cosine = (first @ second / (lengths[0] * lengths[1]).clamp_min(1e-12)).clamp(-1, 1)
    if float(cosine.abs()) > 1 - 1e-6:
        return first + shares * (second - first)
    angle = cosine.acos()
    direction = ((1 - shares) * angle).sin() * first / lengths[0] + (shares * angle).sin() * second / lengths[1]
    return direction / angle.sin() * (lengths[0] + shares * (lengths[1] - lengths[0]))
