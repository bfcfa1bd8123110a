"""The Predictor: raw input in, decoded prediction out. What serving, explaining and attacking use."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.core import plugins
from flambeau.core.arrays import as_array
from flambeau.core.errors import DataError, RunError, UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batch import Batch
from flambeau.data.custom import batch_length, to_device
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT, encoded_some, regrouped
from flambeau.data.prepare import Preparer
from flambeau.data.reading import read_rows
from flambeau.data.several import Prepare
from flambeau.data.sources.frames import with_index
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.data.store.store import Gathered, Store, collate
from flambeau.diagnosis.values import tensor_of
from flambeau.fields import TTA, Field
from flambeau.fields.placement import Frames, following, frames_of
from flambeau.hub import fetched
from flambeau.objectives import OBJECTIVES, Context, Objective
from flambeau.objectives import made as made_objective
from flambeau.objectives.prediction import Prediction, Question
from flambeau.objectives.tasks import task_of
from flambeau.predictor import embedding, generating, texts
from flambeau.predictor.building import model_of, rows_of
from flambeau.run import Run
from flambeau.techniques import TECHNIQUES, made, name_of, not_kept
from flambeau.training import engine
from flambeau.training.engine import Engine


class Reading(NamedTuple):
    """The rows of a dataset as a Predictor reads them.

    Attributes:
        dataset: in the form of the predictor's fields.
        store: what batches are gathered from.
        prepare: from gathered rows to a Batch.
        good: rows that could be read, int64, ascending.
        findings: what could not, and what is odd.
    """

    dataset: Dataset
    store: Store
    prepare: Prepare
    good: np.ndarray
    findings: list[Finding]


class Predictor:
    """Predicts from raw values: paths, bytes, PIL images, arrays, numbers.

    Loaded from a run by `flambeau.load`; a Learner has one as `.predictor`.
    """

    def __init__(
        self,
        objective: Objective,
        engine: Engine,
        fields: Mapping[str, Field] | None = None,
        inputs: Sequence[str] = (),
        target: str | None = None,
    ):
        self.objective, self.engine = objective, engine
        self.fields, self.inputs, self.target = dict(fields or {}), list(inputs), target
        self.examples: list[dict[str, Any]] = []
        """A few training rows, raw values by input, as the run kept them."""
        self.prepare = Preparer(self.fields, self.inputs, None, engine.device)
        self._leader, _ = following(self.fields, self.inputs, None)
        self.version = ""
        """Which weights these are, as `Run.version` has it; empty where they are of no run."""
        self.note: str | None = None  # what a person should know of its weights

    @classmethod
    def load(
        cls,
        run: str | Path | Run,
        *,
        model: nn.Module | None = None,
        device: str = "auto",
        precision: str = "float32",
        reporter: Reporter | None = None,
    ) -> Predictor:
        """The Predictor of a run.

        Args:
            run: a run, its folder, or `hf://ORGANISATION/NAME` on a hub, or `s3://BUCKET/RUN`, which are
                downloaded once.
            model: where the run was trained with an nn.Module of the user's own, one built the same way.
            precision: float32 by default, so that a prediction does not depend on what it is batched with.
            reporter: says so where the run is unfinished, and which weights are used; on stderr if not given.

        Raises:
            RunError: there is no such run, or it has no weights yet.
        """
        run = run if isinstance(run, Run) else Run.open(fetched(run))
        recipe = run.recipe
        if run.members:
            from flambeau.predictor.averaging import EnsemblePredictor

            return EnsemblePredictor.of_run(run, device=device, precision=precision, reporter=reporter)
        if run.exported:
            from flambeau.exports import load

            return load(run)
        plugins.need(recipe.plugins, run.path)
        fields: dict[str, Field] = {}
        inputs: list[str] = []
        target = None
        if (run.path / "fields.json").exists():
            fields, inputs, target = run.fields()
        if model is None and {"model", "objective"} & recipe.own_parts.keys():
            raise RunError(
                f"this run was trained with a model of your own, {recipe.own_parts.get('model', 'an objective')}",
                where=run.path,
                fix="load it in Python: fb.load(run, model=YourModel())",
            )
        choice = recipe.objective
        if model is None and (not inputs or (target is None and "target" in OBJECTIVES[choice.name].takes)):
            raise RunError("the run has no fields yet, or has lost them", where=run.path / "fields.json")
        known = [made(name, s) for name, s in recipe.techniques.items() if name_of(name) in TECHNIQUES]
        from_base = any(technique.needs_base for technique in known)
        context = Context(
            fields, inputs, fields[target] if target else None,
            lambda output=None: model
            or model_of(run, fields, inputs, output or task_of(fields.get(target or "")).output_spec, from_base),
            "auto" if "loss" in recipe.own_parts else choice.loss, choice.metric, choice.metrics,
        )  # fmt: skip
        objective = made_objective(choice.name, context, choice.options)
        objective.group_patterns = recipe.model.groups
        for technique in known:
            technique.on_build(objective)
        net = objective.model
        note = run.load_model(net, not_kept(net, known))
        if run.finished:
            for technique in known:
                technique.on_done(objective)
        objective.calibration, objective.decision = run.calibration, run.decision
        if note:
            (reporter or Reporter()).say(note, style="yellow")
        chosen = engine.choose(net, device=device, precision=precision)
        chosen.place(net)
        net.eval()
        from flambeau.predictor.tiling import predictor_of

        predictor = predictor_of(objective, chosen, fields, inputs, target)
        predictor.examples, predictor.version = run.examples, run.version
        predictor.note = note
        return predictor

    @property
    def parts(self) -> list[Predictor]:
        """The predictors of one model each that it is made of: itself, or the members of an ensemble."""
        return [self]

    def raw_of(self, *inputs: Any, **named: Any) -> Tensor:
        """Raw output, before its activation, of what its model is called with."""
        return tensor_of(self.objective.model(*inputs, **named))

    @property
    def views(self) -> dict[str, Any]:
        """What it looks at of each value, plain JSON: {views, name, augment, seed}; empty for the value alone."""
        return {}

    @property
    def classes(self) -> list[str]:
        """The classes in order; empty where the target has none."""
        return [*self.fields[self.target].classes] if self.target in self.fields else []

    @property
    def columns(self) -> list[str]:
        """The columns that a row is read from: the inputs, and those that a table gathers."""
        return [column for n in self.inputs if n != PRESENT for column in self.fields[n].columns_of(n)]

    @property
    def column_fields(self) -> dict[str, Field]:
        """How each column, the target's too, is read: by the field that was fitted to it."""
        inputs = [self.fields[name].columns_of(name) for name in self.inputs if name != PRESENT]
        found = {column: field for columns in inputs for column, field in columns.items()}
        return found | ({self.target: self.fields[self.target]} if self.target in self.fields else {})

    def encode(self, value: Any) -> dict[str, np.ndarray]:
        """One raw value to its encoded columns, as the Store has them. Several inputs come as a dict.

        Raises:
            DataError: the value cannot be read.
        """
        value = self.by_input(value)
        if PRESENT in self.inputs:
            return encoded_some(value, self.fields, self.inputs)
        absent = [n for n in self.inputs if n not in value]
        if absent:
            raise DataError(f"the input has no '{absent[0]}'", expected=f"{', '.join(self.columns)}")
        encoded = {name: self.fields[name].encode(value[name]) for name in self.inputs}
        if self._leader is not None:
            encoded[frames_of(self._leader)] = self.fields[self._leader].frame(value[self._leader])
        return encoded

    def by_input(self, value: Any) -> Mapping[str, Any]:
        """A raw value by input: of a row the columns of a table put together; so are unknown ones, which it names.

        Raises:
            DataError: there are several inputs, and it is no row.
        """
        if len(self.inputs) == 1 and not (isinstance(value, Mapping) and self.inputs[0] in value):
            return {self.inputs[0]: value}
        if not isinstance(value, Mapping):
            raise DataError("the input is not a mapping", expected=", ".join(self.columns))
        tables = [n for n in self.inputs if n not in value and n not in self.fields[n].columns_of(n)]
        for name in tables:
            columns = {c: v for c, v in value.items() if c not in self.inputs}
            value = {**{c: v for c, v in value.items() if c in self.inputs}, name: columns}
        return value

    def outputs(self, encoded: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
        """Encoded values to model outputs after their activation, (B, …) float32; one batch, one forward pass."""
        return self.forward(self.prepare(torch.arange(len(encoded)), self.gather(encoded)))

    def gather(self, encoded: Sequence[Mapping[str, np.ndarray]]) -> Gathered:
        """Encoded values of B rows together, by column, as a Store gathers them."""
        fields = self.fields
        if self._leader is not None:
            fields = {**fields, frames_of(self._leader): Frames(fields[self._leader])}
        return {n: collate([e[n] for e in encoded], fields[n].encoding) for n in encoded[0]}

    def blank(self) -> dict[str, np.ndarray]:
        """An encoded value of zeros; of length one where ragged."""
        forms = {name: self.fields[name].encoding for name in self.inputs if name != PRESENT}
        return {n: np.zeros((1, *form.shape) if form.ragged else form.shape, form.dtype) for n, form in forms.items()}

    def read(self, dataset: Dataset, options: EncodeOptions | None = None, reporter: Reporter = QUIET) -> Reading:
        """The rows of a dataset, encoded by this predictor's fields, to be measured on.

        Raises:
            DataError: a column is missing, or no row can be read.
        """
        dataset = regrouped(dataset, self.fields, self.inputs, self.target)
        store = encode(dataset, options, reporter)
        prepare = Preparer(self.fields, self.inputs, self.target, self.engine.device)
        return Reading(dataset, store, prepare, store.good.numpy(), store.findings)

    def with_tta(self, tta: int | str | Mapping[str, Any] | TTA) -> Predictor:
        """A predictor that answers by the mean over several views of each value: test-time augmentation.

        Args:
            tta: a number of views, of which the first is the plain one and the others are drawn as in training; a name
                (`flip`, `five_crops`, `ten_crops`; a filter: `jpeg`, `median`, `bits`); or either with settings, see
                `flambeau.fields.tta.TTA`.

        Raises:
            UsageError: such views have no meaning for this data.
        """
        from flambeau.predictor.averaging import ViewingPredictor

        return ViewingPredictor.of(self, TTA.asked(tta))

    def forward(self, batch: Batch) -> np.ndarray:
        """A prepared batch to model outputs after their activation, (B, …) float32."""
        self.objective.model.eval()
        with torch.inference_mode(), self.engine.autocast():
            return self.objective.predict(batch).float().cpu().numpy()

    def decode(self, output: np.ndarray, reject_below: float = 0.0, value: Any = None) -> Prediction:
        """One output to a Prediction; `value` is what it was made for, which tags need."""
        name = self.inputs[0] if self.inputs else ""
        value = value[name] if isinstance(value, Mapping) and name in value else value
        return self.objective.decode(output, reject_below, self.fields.get(name), value)

    def predict(self, values: Any, *, batch_size: int = 64, reject_below: float = 0.0, tta: Any = None) -> Any:
        """Predictions for raw values.

        Args:
            values: one raw value, or a list or a frame's column of them (a sentence cut into words is a tuple, or a
                list in a list); of several columns, mappings or a frame; of series to forecast, their rows so far,
                parted by the column that tells series apart. For a run without fields (a user's own data): what the
                model takes, a tensor (B, …) or several; the outputs come back as an array.
            reject_below: under this confidence the label is `unknown`.
            tta: answers are the mean over several views of each value, such as 8 or `flip`; see `with_tta`.

        Returns:
            a Prediction for one value, a list of them for a list.

        Raises:
            DataError: a value cannot be read; it names which.
        """
        if tta is not None:
            return self.with_tta(tta).predict(values, batch_size=batch_size, reject_below=reject_below)
        if not self.fields:
            if not isinstance(values, Tensor) and not (values and isinstance(values, (tuple, dict))):
                raise UsageError("this run has no fields, so it cannot read raw values", fix="give a tensor (B, …)")
            inputs = to_device(values, self.engine.device)
            return self.forward(Batch(inputs, None, torch.arange(batch_length(values))))
        listed, many = self.listed(values)
        out: list[Prediction] = []
        for asked, encoded in self.encoded(listed, many, batch_size):
            outputs = self.outputs(encoded)
            for output, value in zip(outputs, asked, strict=True):
                prediction = self.decode(output, reject_below, value)
                prediction.asked = Question(self.by_input(value), self.fields, self.inputs, self.target)
                out.append(prediction)
        return out if many else out[0]

    def embed(self, values: Any, *, batch_size: int = 64) -> np.ndarray:
        """What the model makes of raw values before its last layer: float32 (B, F), or (F) for one value.

        Args:
            values: as for `predict`.

        Raises:
            UsageError: it is an ensemble. ModelError: there is no one vector for a value. DataError: as `predict`.
        """
        return embedding.of_values(self, values, batch_size)

    def listed(self, values: Any) -> tuple[list[Any], bool]:
        """Raw values one by one, and whether there are several."""
        if isinstance(values, Tensor):
            values = as_array(values)
        field = self.fields[self.inputs[0]]
        rows = field.asked_as == "rows"
        values = with_index(values, self.columns[0], self.target or "") if rows else values
        if hasattr(values, "columns") and not isinstance(values, Mapping):
            values = rows_of(values) if rows else self._rows(values)
        return field.apart(values)

    def encoded(
        self, listed: list[Any], many: bool, batch_size: int
    ) -> Iterator[tuple[list[Any], list[dict[str, np.ndarray]]]]:
        """Batches of raw values with their encoded columns. Raises DataError, which names the one that is bad."""
        for start in range(0, len(listed), batch_size):
            encoded = []
            for i, value in enumerate(listed[start : start + batch_size], start):
                try:
                    encoded.append(self.encode(value))
                except DataError as error:
                    if error.where is not None or not many:
                        raise
                    raise DataError(error.found, where=f"input {i}", expected=error.expected, fix=error.fix) from None
            yield listed[start : start + batch_size], encoded

    def explain(
        self, values: Any, method: str = "auto", *, target: str | None = None, seed: int = 0, **options: Any
    ) -> Any:
        """What each part of raw values weighed in the answer: an `Explanation`, or a list of them for a list.

        Args:
            method: a name of EXPLAINERS; `auto` takes what suits of grad_cam, integrated_gradients and occlusion.
            target, seed: the class, the likeliest if not given; what random methods depend on.
            options: of the method, such as layer="layer4".
        """
        from flambeau.predictor.explaining import PredictorExplaining

        explaining = PredictorExplaining(self, method, target, seed, **options)
        listed, many = self.listed(values)
        out = [explaining(value, encoded) for (value,), (encoded,) in self.encoded(listed, many, 1)]
        return out if many else out[0]

    def generate(self, count: int, *, label: str | None = None, seed: int = 0) -> list[Any]:
        """New raw inputs, such as pictures (H, W, C), of a model that generates them: the first of a seed are the same
        however many follow.

        Args:
            label: the class that they are to be of; drawn evenly for a conditional model if not given.

        Raises:
            UsageError: the model generates nothing, or nothing of that class.
        """
        return [*generating.samples(self, count, label, seed)]

    def interpolate(self, first: Any, second: Any, count: int = 10, *, label: str | None = None) -> list[Any]:
        """Raw inputs on the way from one sample to another, both ends with them, of one class where there are such.

        Args:
            first, second: raw values; or seeds (int), for the first sample that `generate` makes of each.

        Raises:
            UsageError: as `generate`; or the model has no code for a value. DataError: a value cannot be read.
        """
        return generating.between(self, first, second, count, label)

    def generate_text(self, prompts: Any, *, count: int = 1, system: str | None = None, **settings: Any) -> Any:
        """How prompts go on, by a run of a language model; see `flambeau.predictor.texts.generate_text`."""
        return texts.generate_text(self, prompts, count, system, settings)

    def _rows(self, frame: Any) -> list[Mapping[str, Any]]:
        """The rows of a frame, read as the training's were."""
        read = read_rows(frame, self.column_fields, plain=[name for name in self.columns if name not in self.inputs])
        for finding in read.findings:
            if finding.severity is Severity.WARNING:
                warnings.warn(finding.message, stacklevel=3)
        for row, error in read.unread.items():
            raise DataError(error.found, where=f"input {row}", expected=error.expected, fix=error.fix)
        return list(read.rows)
