"""The Learner: what a user holds. Dataset + Model + Objective + Techniques + Trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from flambeau import choices, preflight
from flambeau.core.errors import DataError, RunError, TrainingError, UsageError
from flambeau.core.files import write_json
from flambeau.core.findings import Finding, worst_first
from flambeau.core.randomness import mix
from flambeau.core.reporter import Reporter
from flambeau.data import custom
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.encode import EncodeOptions, encode
from flambeau.data.prepare import Preparer
from flambeau.data.store import Store
from flambeau.evaluation import measure, render
from flambeau.fields import Category, Field, Image
from flambeau.models import InputSpec, auto, build, head_parameters
from flambeau.objectives import OBJECTIVES, Objective, Supervised
from flambeau.predictor import Predictor
from flambeau.recipe import Recipe, technique_settings
from flambeau.run import Run, environment
from flambeau.techniques import TECHNIQUES, Technique
from flambeau.training import Trainer, engine
from flambeau.training.trainer import Prepare, Source


class Learner:
    """Trains a model on a dataset and measures it.

    >>> import flambeau as fb, numpy as np, sklearn.datasets
    >>> digits = sklearn.datasets.load_digits()
    >>> data = fb.Dataset.from_arrays(digits.images / 16, digits.target)
    >>> learner = fb.Learner(data, model="mlp", run=False, quiet=True, epochs=2)
    >>> learner.fit()["accuracy"] > 0.8
    True

    Args:
        data: a Dataset; or a torch Dataset or DataLoader, or a pair (train, valid) of them.
        model: a name (see `flambeau models`), `auto`, or any nn.Module.
        loss: a name, `auto`, or any callable (output, target) to a scalar.
        metrics: own metrics: functions (output, target) to a number, or torchmetrics objects.
        objective: an own Objective, in place of model, loss and metrics.
        augment: `auto`, `none`, a preset, settings as a dict; or callables on a training batch's input.
        techniques: names, Technique objects, or {name: settings}.
        recipe: settings to start from.
        run: the folder to leave; chosen under `runs/` if not given; False for none.
        settings: of the recipe, such as `epochs=5`, `learning_rate=1e-3`, `pretrained="weights.safetensors"`; and
            `cache`, `cache_limit`, `threads` of the store, `quiet`.
    """

    def __init__(
        self,
        data: Any,
        model: str | nn.Module | None = None,
        *,
        loss: str | Callable[..., torch.Tensor] | None = None,
        metrics: Sequence[Any] = (),
        objective: Objective | None = None,
        augment: str | Mapping[str, Any] | Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
        techniques: Sequence[str | Technique] | Mapping[str, Any] | None = None,
        recipe: Recipe | None = None,
        run: str | Path | bool | None = None,
        **settings: Any,
    ):
        self.reporter: Reporter = settings.pop("reporter", None) or Reporter(settings.pop("quiet", False))
        limit, cache = settings.pop("cache_limit", None), settings.pop("cache", None)
        self.encoding = EncodeOptions(Path(cache or EncodeOptions.cache), limit, settings.pop("threads", None))
        self.data: Dataset | None = data if isinstance(data, Dataset) else None
        self.torch_data = None if self.data is not None else _pair(data)
        self.recipe = (recipe or Recipe()).with_settings(settings)
        self.own_metrics, self._run_asked = list(metrics), run
        self.own_model = model if isinstance(model, nn.Module) else None
        self.own_loss = loss if callable(loss) else None
        self.own_objective = objective
        self._own_techniques = [t for t in techniques or () if isinstance(t, Technique)]
        update: dict[str, Any] = {"own_parts": self._own_parts()}
        if isinstance(model, str):
            update["model"] = self.recipe.model.model_copy(update={"name": model})
        if isinstance(loss, str):
            update["objective"] = self.recipe.objective.model_copy(update={"loss": loss})
        self.own_transforms: list[Callable[..., Any]] = []
        if callable(augment):
            self.own_transforms, update["augment"] = [augment], "none"
        elif isinstance(augment, (list, tuple)):
            self.own_transforms, update["augment"] = list(augment), "none"
        elif augment is not None:
            update["augment"] = augment if isinstance(augment, str) else dict(augment)
        if techniques is not None:
            update["techniques"] = technique_settings(techniques)
        if self.data is not None:
            update["data"] = self.data.source
            update["fields"] = {n: _settings_of(f) for n, f in self.data.fields.items()}
        self.recipe = self.recipe.model_copy(update=update)
        self.findings: list[Finding] = []
        self.run: Run | None = None
        self.trainer: Trainer | None = None
        self._built = False

    def _own_parts(self) -> dict[str, str]:
        parts = {"model": self.own_model, "loss": self.own_loss, "objective": self.own_objective,
                 "data": self.torch_data and self.torch_data[0]}  # fmt: skip
        return {k: _qualified(v) for k, v in parts.items() if v is not None}

    def set_size(self, size: int | Sequence[int]) -> None:
        """Sets the size that pictures are brought to, in pixels: one number, or (height, width)."""
        pictures = [n for n in self.data.inputs if isinstance(self.data.fields[n], Image)] if self.data else []
        if not pictures or self.data is None:
            raise UsageError("the data has no pictures to set a size for")
        for name in pictures:
            changed = {**_settings_of(self.data.fields[name]), "size": size}
            self.data.fields[name] = Field.from_dict(changed)
            self.recipe.fields[name] = _settings_of(self.data.fields[name])

    # -- putting the parts together -----------------------------------------------------------------------------

    def build(self) -> Learner:
        """Fits fields, encodes the data, builds the model and decides what was left to decide. `fit` calls it.

        Raises:
            DataError, ModelError, UsageError: what does not fit together, in one line.
        """
        if self._built:
            return self
        reasons: list[str] = []
        num_train = self._build_data(reasons)
        pretrained = self.own_model is None and bool(self.recipe.model.pretrained)
        settings, why = choices.training_settings(self.recipe.training, num_train, pretrained, self.reporter)
        self.recipe.training = settings
        reasons += why
        torch.manual_seed(mix(settings.seed, "weights"))
        self.objective = self._build_objective(reasons)
        numbers = self.data is not None and self.data.target and self.data.fields[self.data.target].kind == "number"
        self.engine = engine.choose(
            self.objective.model, device=settings.device, precision=settings.precision,
            channels_last=settings.channels_last, compile=settings.compile, exact=bool(numbers),
        )  # fmt: skip
        reasons += self.engine.reasons
        self.engine.place(self.objective.model)
        self.techniques = [
            *(TECHNIQUES[n](**s) for n, s in self.recipe.techniques.items() if n not in self._own_names()),
            *self._own_techniques,
        ]
        if self.own_transforms:
            self.techniques.insert(0, _Transforms(self.own_transforms))
        self._build_batches()
        self.recipe.reasons = reasons
        self._built = True
        self._preflight()
        return self

    def _own_names(self) -> set[str]:
        return {t.name for t in self._own_techniques}

    def _build_data(self, reasons: list[str]) -> int:
        if self.data is None:
            assert self.torch_data is not None
            train = self.torch_data[0]
            dataset = getattr(train, "dataset", train)
            return len(dataset) if hasattr(dataset, "__len__") else 10_000
        data = self.data
        reasons += [f"{name} is {why}" for name, why in data.reasons.items()]
        self._before_fit(data)
        data.fit()
        self.store: Store = encode(data, self.encoding, self.reporter)
        self.findings = worst_first([*self.findings, *data.findings, *self.store.findings])
        for finding in self.store.findings:
            self.reporter.say(str(finding), style="yellow")
        good = self.store.good.numpy()
        self.rows = {
            side: torch.from_numpy(np.intersect1d(data.rows(side), good)) for side in ("train", "valid", "test")
        }
        self._choose_augmentation(reasons)
        return len(self.rows["train"])

    def _before_fit(self, data: Dataset) -> None:
        """Settings of the recipe's `fields` section, and the size that a pretrained model wants."""
        for name, given in self.recipe.fields.items():
            if name not in data.fields:
                raise UsageError(f"the recipe has a field '{name}' that the data has not")
            field = data.fields[name]
            for key, value in given.items():
                if key not in ("kind", "augment") and key in field.settings and value is not None:
                    data.fields[name] = field = Field.from_dict({**_settings_of(field), key: value})

    def _choose_augmentation(self, reasons: list[str]) -> None:
        assert self.data is not None
        asked = self.recipe.augment
        for name in self.data.inputs:
            field = self.data.fields[name]
            if not isinstance(field, Image) or field.augmentation is not None:
                continue
            from flambeau.fields.augment.policy import choose, picture_statistics

            rows = self.rows["train"]
            gathered = self.store.gather(rows[:: max(1, len(rows) // 2000)][:2000])
            target = self.data.fields.get(self.data.target or "")
            classes = target.classes if isinstance(target, Category) else None
            statistics = picture_statistics(gathered[name].cpu(), gathered.get(self.data.target or ""), classes)
            augmentation, why = choose(asked, statistics)
            field.augmentation = augmentation or None
            reasons.append(f"augmentation of {name}: {why}")

    def _build_objective(self, reasons: list[str]) -> Objective:
        if self.own_objective is not None:
            return self.own_objective
        target = self.data.fields[self.data.target] if self.data is not None and self.data.target else None
        model, head = self.own_model, []
        if model is None:
            if self.data is None:
                raise UsageError("a torch Dataset needs a model of your own", fix="give model=, an nn.Module")
            if target is None:
                raise UsageError("the data has no target", fix="give target=, or an objective that needs none")
            model, head = self._named_model(target, reasons)
        loss = self.own_loss if self.own_loss is not None else self.recipe.objective.loss
        objective = OBJECTIVES[self.recipe.objective.name](model, target, loss, self.own_metrics, head)  # type: ignore[call-arg]
        reasons.append(f"objective: {objective.describe()}")
        return objective

    def _named_model(self, target: Field, reasons: list[str]) -> tuple[nn.Module, list[nn.Parameter]]:
        assert self.data is not None
        if len(self.data.inputs) != 1:
            raise UsageError(
                f"a model by name takes one input; the data has {len(self.data.inputs)}: {', '.join(self.data.inputs)}",
                fix="choose one with inputs=, or give an nn.Module that takes a dict",
            )
        field = self.data.fields[self.data.inputs[0]]
        spec = InputSpec(field.kind, field.input_shape)
        choice = self.recipe.model
        if choice.name == "auto":
            name, why = auto.choose(spec, len(self.rows["train"]), choice.pretrained)
            choice = self.recipe.model = choice.model_copy(update={"name": name})
            reasons.append(f"model {why}")
            self.reporter.say(reasons[-1])
        model = build(choice.name, spec, target.num_outputs, pretrained=choice.pretrained)
        recommended = getattr(model, "recommended", None)
        if recommended is not None and isinstance(field, Image) and len(recommended.mean) == field.channels:
            field.mean, field.std = [float(m) for m in recommended.mean], [float(s) for s in recommended.std]
            reasons.append("normalisation: that of the pretrained weights")
        return model, head_parameters(model)

    def _build_batches(self) -> None:
        settings = self.recipe.training
        assert settings.batch_size is not None
        has_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in self.objective.model.modules())
        self.sources: dict[str, Source | None] = {}
        if self.data is None:
            assert self.torch_data is not None
            classes = isinstance(self.objective, Supervised) and self.objective.class_numbers
            check = preflight.TargetCheck() if classes else None
            for side, data in zip(("train", "valid"), self.torch_data, strict=True):
                self.sources[side] = None if data is None else custom.batches_of(
                    data, settings.batch_size, seed=settings.seed if side == "train" else None,
                    drop_single=has_norm and side == "train", check=check,
                )  # fmt: skip
            self.prepare: Prepare = custom.CustomPreparer(self.engine.device)
            return
        self.store.hold_on(self.engine.device)
        for side, rows in self.rows.items():
            train = side == "train"
            self.sources[side] = None if not len(rows) else Batches(
                self.store, rows, settings.batch_size if train else max(settings.batch_size, 256),
                seed=settings.seed if train else None, tokens=settings.tokens, drop_single=has_norm and train,
            )  # fmt: skip
        if has_norm and len(self.rows["train"]) == 1:
            raise DataError("there is one training sample only, which batch normalisation cannot train on")
        self.prepare = Preparer(self.data.fields, self.data.inputs, self.data.target, self.engine.device)

    def _preflight(self) -> None:
        source = self.sources["train"]
        assert source is not None
        rows, gathered = next(iter(source.epoch(0)))
        batch = self.prepare(rows, gathered, False, None)
        try:
            output = preflight.try_batch(self.objective, self.engine, batch)
        except (RuntimeError, MemoryError) as error:
            raise self._out_of_memory(error, batch) if preflight.is_out_of_memory(error) else error
        if self.torch_data and isinstance(self.objective, Supervised) and self.objective.class_numbers:
            classes = output.shape[1] if output is not None and output.ndim > 1 else None
            for side, data in zip(("train", "valid"), self.torch_data, strict=True):
                check = getattr(self.sources[side], "check", None)
                if check is not None:
                    check.num_classes = classes
                if data is not None:
                    preflight.scan_targets(getattr(data, "dataset", data), classes)

    def _out_of_memory(self, error: BaseException, batch: Any) -> Exception:
        fits = preflight.largest_that_fits(self.objective, self.engine, batch)
        size = self.recipe.training.batch_size
        if not fits:
            return TrainingError(f"not even one sample fits into the memory of {self.engine.device}",
                                 fix="take a smaller model or smaller inputs (--size)")  # fmt: skip
        return TrainingError(
            f"a batch of {size} does not fit into the memory of {self.engine.device}",
            fix=f"{fits} would: --set batch_size={fits} --set accumulate={-(-size // fits)} trains the same",  # type: ignore[operator]
        )

    # -- training -----------------------------------------------------------------------------------------------

    def fit(self, *, resume: bool = False, check: bool = True, **settings: Any) -> dict[str, float]:
        """Trains, evaluates and writes the run.

        Args:
            resume: go on from the run folder's last checkpoint, from the start if it has none.
            check: look for mistakes in the data first.
            settings: of the recipe, such as `epochs=5`.

        Returns:
            the metrics on the test rows where there are any, else on the validation rows.

        Raises:
            DataError: the check found errors. RunError: the run folder is taken. TrainingError: NaN, no memory.
            Interrupted: a signal came; everything is saved.
        """
        if settings:
            if self._built:
                raise UsageError("the learner is built already", fix="make a new one with these settings")
            self.recipe = self.recipe.with_settings(settings)
        if self._run_asked is False:
            self._check(check)
            return self._fit(None, resume)
        run = self.run = self._choose_run(resume)
        with run.locked():
            if run.finished:
                raise RunError("the run is finished", where=run.path, fix="for a new training give another run folder")
            if not resume and (run.path / "recipe.yaml").exists():
                raise RunError("a training was begun here already", where=run.path,
                               fix=f"go on with: flambeau resume {run.path}; or give another run folder")  # fmt: skip
            if not (run.path / "recipe.yaml").exists():
                self.recipe.save(run.path / "recipe.yaml")  # as asked: enough to begin again after a crash
                write_json(run.path / "environment.json", environment())
            self._check(check)
            return self._fit(run, resume)

    def _choose_run(self, resume: bool) -> Run:
        if isinstance(self._run_asked, (str, Path)):
            return Run(self._run_asked)
        if resume:
            raise UsageError("which run is to be resumed?", fix="give run=, its folder")
        name = Path(str(self.recipe.data.get("path") or "run")).stem
        return Run.free(name)

    def _check(self, wanted: bool) -> None:
        if not wanted or self.data is None or self.findings:
            return
        from flambeau.core.findings import has_errors

        self.findings = self.data.check(reporter=self.reporter)
        for finding in self.findings:
            self.reporter.say(str(finding), style="red" if finding.severity == "error" else None)
        if has_errors(self.findings):
            errors = [f for f in self.findings if f.severity == "error"]
            raise DataError(f"the check found {len(errors)} error(s): {errors[0].message}",
                            fix="mend the data, or train anyway with --no-check")  # fmt: skip

    def _fit(self, run: Run | None, resume: bool) -> dict[str, float]:
        self.build()
        if run is not None:
            self._write_down(run, resume)
        settings = self.recipe.training
        train = self.sources["train"]
        assert train is not None
        self.trainer = Trainer(
            self.objective, self.engine, settings, train=train, valid=self.sources["valid"], prepare=self.prepare,
            random=self.prepare.random, techniques=self.techniques, folder=run.path if run else None,  # type: ignore[attr-defined]
            reporter=self.reporter,
        )  # fmt: skip
        try:
            self.trainer.fit(resume=resume)
        except (RuntimeError, MemoryError) as error:
            if not preflight.is_out_of_memory(error):
                raise
            rows, gathered = next(iter(train.epoch(0)))
            raise self._out_of_memory(error, self.prepare(rows, gathered, False, None)) from error
        result = self.evaluate()
        if run is not None:
            write_json(run.path / "evaluation.json", result)
            run.save_model(self.objective.model)
            self.reporter.say(f"run: {run.path}")
        return result["metrics"]

    def _write_down(self, run: Run, resume: bool) -> None:
        fingerprint = self.store.fingerprint if self.data is not None else None
        kept = run.recipe.data.get("fingerprint") if resume else None
        if kept is not None and kept != fingerprint:
            raise RunError(
                "the data has changed since this training began", where=run.path,
                fix="put the data back as it was, or start a new training",
            )  # fmt: skip
        if self.data is not None:
            self.recipe.data = {**self.recipe.data, "fingerprint": fingerprint}
            run.save_fields(self.data.fields, self.data.inputs, self.data.target)
            write_json(run.path / "findings.json", self._shown_findings())
        self.recipe.save(run.path / "recipe.yaml")

    def _shown_findings(self) -> dict[str, Any]:
        """Findings with thumbnails of their first samples, so that a report needs no data."""
        assert self.data is not None
        shown = []
        for finding in self.findings:
            shown.append([render(self.data, row) for row in finding.rows[:8]])
        return {"findings": [f.to_dict() for f in self.findings], "thumbnails": shown}

    # -- using it -----------------------------------------------------------------------------------------------

    def evaluate(self, side: str | None = None) -> dict[str, Any]:
        """Measures on one side of the split: {side, samples, metrics, detail}, plain JSON.

        Args:
            side: `train`, `valid` or `test`; test where there is one, else valid, else train, if not given.
        """
        self.build()
        side = side or next((s for s in ("test", "valid", "train") if self.sources.get(s) is not None), "train")
        source = self.sources.get(side)
        if source is None:
            raise UsageError(f"the data has no {side} rows")
        if side == "train" and self.data is not None:
            source = Batches(self.store, self.rows["train"], 256)
        samples = len(self.rows[side]) if self.data is not None else None
        return measure(self.objective, self.engine, source, self.prepare, side, self.data, samples, self.reporter)

    def summary(self) -> Any:
        """Layers, shapes, parameters, FLOPs and memory of the model."""
        from flambeau.models.summary import summary

        self.build()
        assert self.data is not None
        field = self.data.fields[self.data.inputs[0]]
        return summary(self.objective.model, InputSpec(field.kind, field.input_shape))

    @property
    def predictor(self) -> Predictor:
        """Raw input in, decoded prediction out."""
        self.build()
        if self.data is None:
            return Predictor(self.objective, self.engine)
        return Predictor(self.objective, self.engine, self.data.fields, self.data.inputs, self.data.target)

    def predict(self, values: Any, **options: Any) -> Any:
        """Predictions for raw values; see `Predictor.predict`."""
        return self.predictor.predict(values, **options)

    @classmethod
    def from_recipe(cls, recipe: Recipe, **options: Any) -> Learner:
        """The Learner that a recipe describes, its data included.

        Raises:
            UsageError: the training had parts of the user's own, which a recipe can only name.
        """
        if recipe.own_parts:
            parts = ", ".join(f"{k} {v}" for k, v in recipe.own_parts.items())
            raise UsageError(
                f"this training has parts of your own ({parts})",
                fix="make the same Learner in Python and call fit(resume=True)",
            )
        data = Dataset.from_source({k: v for k, v in recipe.data.items() if k != "fingerprint"})
        for name, given in recipe.fields.items():
            if name in data.fields and given.get("kind"):
                data.fields[name] = Field.from_dict(given)
        return cls(data, recipe=recipe, **options)


class _Transforms(Technique):
    """A user's own transforms: callables on the input of a training batch."""

    name = "transforms"

    def __init__(self, transforms: Sequence[Callable[..., Any]]):
        self.transforms = transforms

    def on_batch(self, batch: Any, generator: torch.Generator) -> Any:
        for transform in self.transforms:
            batch.input = transform(batch.input)
        return batch


def _pair(data: Any) -> tuple[Any, Any]:
    pair = data if isinstance(data, (tuple, list)) else (data, None)
    iterable = all(d is None or custom.is_torch_data(d) or hasattr(d, "__getitem__") for d in pair)
    if len(pair) != 2 or not iterable or pair[0] is None:
        raise UsageError(
            f"a {type(data).__name__} is not data",
            expected="a Dataset, a torch Dataset or DataLoader, or (train, valid)",
        )
    return pair[0], pair[1]


def _settings_of(field: Field) -> dict[str, Any]:
    return {"kind": field.kind, **{n: getattr(field, n) for n in field.settings}}


def _qualified(part: Any) -> str:
    kind = part if isinstance(part, type) or hasattr(part, "__qualname__") else type(part)
    return f"{kind.__module__}.{kind.__qualname__}"


__all__ = ["Learner"]
