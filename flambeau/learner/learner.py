"""The Learner: what a user holds. Dataset + Model + Objective + Techniques + Trainer."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from flambeau import report
from flambeau.core.display import Pictured, as_html
from flambeau.core.errors import DataError, ModelError, TrainingError, UsageError
from flambeau.core.findings import Finding, Findings, worst_first
from flambeau.core.randomness import mix
from flambeau.core.registry import Asked
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.signatures import spelled_out
from flambeau.data.batch import Batch
from flambeau.data.dataset import Dataset
from flambeau.data.store.encode import EncodeOptions
from flambeau.evaluation import measure, with_tta
from flambeau.fields.augment import Augmentation
from flambeau.learner import assembly, choices, environment, largest, parts, preflight, rates, records, stages, verdicts
from flambeau.learner.feeds import SPLITS, FieldFeed
from flambeau.learner.frozen import computed_once
from flambeau.learner.given import Given
from flambeau.learner.plan import Decision, Plan
from flambeau.learner.torchfeed import as_feed
from flambeau.models import FittedModel, Group
from flambeau.objectives import OBJECTIVES, Objective
from flambeau.predictor import Predictor
from flambeau.predictor.tiling import predictor_of
from flambeau.recipe import Recipe
from flambeau.run import Run
from flambeau.techniques import Technique, made, objects
from flambeau.techniques.transforms import Transforms
from flambeau.training import Fitting, RateCurve, Trainer, calibrate, engine, initialise, processes
from flambeau.training.memory import is_out_of_memory, let_go
from flambeau.training.own import OwnSteps

DECIDED_BY_ENGINE = ("training.device", "training.precision")  # whose reasons the engine gives once it is made


class Learner(Pictured):
    """Trains a model on data and measures it.

    >>> import flambeau as fb, sklearn.datasets
    >>> digits = sklearn.datasets.load_digits()
    >>> data = fb.Dataset.from_arrays(digits.images / 16, digits.target)
    >>> learner = fb.Learner(data, model="mlp", run=False, quiet=True)
    >>> learner.fit(epochs=3)["accuracy"] > 0.8
    True

    Args:
        data: a Dataset; or a torch Dataset or DataLoader, or a pair (train, valid) of them.
        model: a name (see `flambeau models`), `auto`, or any nn.Module.
        loss: a name, {name: …, option: …}, `auto`, or any callable (output, target) to a scalar.
        metrics: beside those that suit the target: names, or own functions (output, target) to a number, or
            torchmetrics objects.
        objective: a name, {name: …, option: …}, or an own Objective, in place of model, loss and metrics.
        augment: `auto`, `none`, `light`, `strong`, or settings as a dict; or callables on a training batch's input.
        techniques: names, `name setting=value …`, Technique objects or {name: settings}, in the order that they act in;
            one name may come twice.
        recipe: settings to start from.
        run: the folder to leave; chosen under `runs/` if not given; False for none.
        size, colour: of all pictures, in pixels; the colour space that the model sees them in.
        tokens: what all texts are cut into, such as `bpe`, see the fields.
        cache, cache_limit, threads: where encoded data lies, its most bytes, and how many threads decode.
        quiet, reporter: says nothing; or what says it.
        settings: of the recipe, such as `epochs=5`, `learning_rate=1e-3`, `pretrained="weights.safetensors"`, and
            `baseline=False` to fit no simple rival beside the model.
    """

    _repr_html_ = as_html

    @spelled_out(Given)
    def __init__(
        self,
        data: Any,
        model: str | nn.Module | None = None,
        *,
        loss: Asked | Callable[..., torch.Tensor] | None = None,
        metrics: Sequence[Any] = (),
        objective: str | Mapping[str, Any] | Objective | None = None,
        augment: str | Mapping[str, Any] | Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
        techniques: str | Sequence[str | Technique | Mapping[str, Any]] | Mapping[str, Any] | None = None,
        recipe: Recipe | None = None,
        run: str | Path | bool | None = None,
        size: int | Sequence[int] | None = None,
        colour: str | None = None,
        tokens: str | None = None,
        cache: str | Path | None = None,
        cache_limit: int | None = None,
        threads: int | None = None,
        quiet: bool = False,
        reporter: Reporter | None = None,
        **settings: Unpack[Given],
    ):
        asked: dict[str, Any] = {**settings}
        self.reporter = QUIET if processes.following() else reporter or Reporter(quiet)
        self.feed = as_feed(data, EncodeOptions(Path(cache or EncodeOptions.cache), cache_limit, threads))
        self.own_model = model if isinstance(model, nn.Module) else None
        self.own_loss = None if isinstance(loss, str | Mapping) else loss
        self.own_objective = objective if isinstance(objective, Objective) else None
        self.own_metrics = [metric for metric in metrics if not isinstance(metric, str | Mapping)]
        self.own_techniques = objects(techniques)
        if isinstance(augment, Augmentation):
            augment = augment.to_dict()
        elif callable(augment) or isinstance(augment, (list, tuple)):
            self.own_techniques["transforms"] = Transforms([augment] if callable(augment) else list(augment))
            augment = "none"
        self.own_steps = OwnSteps.taken_from(asked)
        self.recipe = (recipe or Recipe()).with_settings(asked)
        parts.write(self.recipe, model, loss, metrics, objective, augment, techniques)
        self._name_own_parts()
        self.feed.groups = self.own_model is None and self.own_objective is None
        self.decided: tuple[Decision, ...] = ()  # before the plan is made, such as by a budget of time
        if self.data is not None:
            parts.write_fields(self.recipe, self.data)
            parts.write_objective(self.recipe, self.data)
        parts.write_all(self.recipe, self.data, {"size": size, "colour": colour, "tokens": tokens})
        if self.data is not None:
            self.decided = stages.write(self.recipe, self.data)
        self.asked_run = run  # its folder, False for none, None for a free one; `run` is the one there is
        self.run: Run | None = None
        self.trainer: Trainer | None = None
        self.processes = processes.ALONE
        self.findings = Findings()
        self.began_with: Path | None = None  # the run of the stage before, see `stages`
        self.first_batch: Batch | None = None  # the one that `build` has tried, until the training begins
        self._checked, self._built, self.tried_for = False, False, 0.0  # seconds of that try

    @property
    def data(self) -> Dataset | None:
        """The Dataset; None for a user's own torch data."""
        return self.feed.dataset

    def _name_own_parts(self) -> None:
        own = {"model": self.own_model, "loss": self.own_loss, "objective": self.own_objective,
               "data": getattr(self.feed, "data", {}).get("train"), **vars(self.own_steps)}  # fmt: skip
        parts.write_own(self.recipe, own, [*self.own_techniques.values()])

    def build(self) -> Learner:
        """Fits fields, encodes the data, builds the model and decides what was left to decide. `fit` calls it.

        Raises:
            DataError, ModelError, UsageError: what does not fit together, in one line.
        """
        if self._built:
            return self
        self.processes = processes.join() if self.processes is processes.ALONE else self.processes
        asked, notes = self.recipe, list[str]()
        looked = self.feed.look(asked)
        with self.processes.wait_for_first():
            self.feed.open(looked.recipe, self.reporter, notes)
        if isinstance(self.feed, FieldFeed):
            self.findings = Findings(records.with_left_out(self.findings, self.feed))
        planned = self.planned = self.feed.plan(asked).after(self.decided)  # anew: the rows that can be read are known
        planned.say(self.reporter)
        self.recipe, settings = planned.recipe, planned.recipe.training
        torch.manual_seed(mix(settings.seed, "weights"))
        self.objective = self.own_objective or assembly.objective(
            self.recipe, self.data, planned.num_train, notes, self.reporter,
            model=self.own_model, loss=self.own_loss, metrics=self.own_metrics,
        )  # fmt: skip
        notes += stages.adopt(self)
        own, named = self.own_techniques, self.recipe.techniques
        first = [technique for key, technique in own.items() if key not in named]
        self.techniques = [*first, *(own[key] if key in own else made(key, s) for key, s in named.items())]
        for technique in self.techniques:
            if said := technique.on_build(self.objective):
                notes.append(said)
                self.reporter.say(said)
        self.engine = engine.choose(
            self.objective.model, device=settings.device, precision=settings.precision, compile=settings.compile,
            channels_last=settings.channels_last, exact=self.objective.task.numbers,
        )  # fmt: skip
        self.engine.place(self.objective.model)
        notes += self.own_steps.settle(self.objective.parameters(self.objective.phases[0]), settings)
        self.feed.make_batches(settings, self.objective, self.engine)
        self._try()
        if settings.largest_batch:
            notes.append(largest.settle(self))
            self.reporter.say(notes[-1])
        self._frozen = computed_once(
            self.feed, self.objective, self.engine, self.techniques, settings, notes, self.reporter
        )
        self.recipe.reasons = [*planned.reasons(without=DECIDED_BY_ENGINE), *notes, *self.engine.reasons]
        self._built = True
        return self

    def plan(self) -> Plan:
        """What would be trained, each decision with its reason; nothing is trained or left. Raises as `build`."""
        if self._built:
            return self.planned
        self._check_names()
        return self.feed.unfitted().look(self.recipe).after(self.decided)

    def _try(self) -> None:
        """One batch through the model and the loss, so that what does not fit is told before the first step; of one
        that is too large for the memory the half, the quarter, …"""
        fits = preflight.try_parts(self.objective, self.engine, self.feed.first_batch())
        if fits is None:
            raise self._out_of_memory()
        self.first_batch, output, self.tried_for = fits
        self.feed.tried(self.recipe, self.objective, self.engine, self.first_batch, output)

    def _out_of_memory(self) -> TrainingError:
        return preflight.out_of_memory(self.objective, self.engine, self.recipe.training, *self.feed.largest_batch())

    def doctor(self) -> list[Finding]:
        """What is wrong with the model, the loss and a first batch, see `fb.doctor`. Raises as `build`."""
        return preflight.examine(self.build())

    @spelled_out(Given)
    def fit(
        self, *, resume: bool = False, until: int | None = None, check: bool = True,
        compute_threads: int | None = None, shard: bool = False, **settings: Unpack[Given],
    ) -> dict[str, float]:  # fmt: skip
        """Trains, measures and writes the run.

        Args:
            resume: go on from the run folder's last checkpoint; from the start if it has none.
            until: the epoch after which the training rests, to go on by `resume` to the same bits as in one piece.
            check: look for mistakes first: in the data, and in a model, a loss or an objective of your own.
            compute_threads: that torch computes with, which the last bits of the weights depend on; if not given those
                that a resumed training began with, else as many as torch has.
            shard: each of several processes keeps a part of weights, gradients and optimiser, see `training.sharding`.
            settings: of the recipe, such as `epochs=5`.

        Returns:
            the metrics on the test rows where there are any, else on the validation rows; where it rests, those on the
            validation rows after its last epoch.

        Raises:
            DataError: the check found errors. RunError: the run folder is taken. TrainingError: NaN, no memory.
            Interrupted: a signal came; everything is saved.
        """
        if settings:
            if self._built:
                raise UsageError("the learner is built already", fix="make a new one with these settings")
            asked: dict[str, Any] = {**settings}
            if {"optimizer", "schedule"} & asked.keys():
                self.own_steps = OwnSteps.taken_from(asked)
                self._name_own_parts()
            self.recipe = self.recipe.with_settings(asked)
        if until is not None and (until < 1 or self.asked_run is False):
            raise UsageError(f"until={until} rests at an epoch from 1 on, in a run that can be gone on with",
                             fix="leave it out" if self.asked_run is False else "give 1 or more")  # fmt: skip
        self._check_names()
        self.processes = processes.join(shard)
        if not self.processes.first:
            return self._fit(None, resume, until)
        if self.asked_run is False:
            self._check(check)
            with engine.computing(compute_threads):
                return self._fit(None, resume, until)
        resume = resume or processes.restarted()
        stopped = self.run.path if resume and self.run is not None else None
        run = self.run = records.choose_run(stopped or self.asked_run, self.recipe, resume)
        ours = not run.path.exists()
        with run.locked():
            records.check_free(run, resume)
            try:
                begun = resume and (run.path / "recipe.yaml").exists()
                with environment.compute_threads(run, begun, compute_threads, self.reporter):
                    return self._fit_in(run, begun, check, until)
            except (DataError, ModelError, UsageError):
                if ours and (self.trainer is None or self.trainer.state.step == 0):
                    shutil.rmtree(run.path, ignore_errors=True)  # it holds nothing, and what is asked next will differ
                raise

    def _check_names(self) -> None:
        named = {key: s for key, s in self.recipe.techniques.items() if key not in self.own_techniques}
        own = self.own_objective is not None
        by_name = not own and self.own_model is None
        choices.check_names(self.recipe.model_copy(update={"techniques": named}), model=by_name)
        if not own and self.data is not None and "target" in OBJECTIVES[self.recipe.objective.name].takes:
            choices.check_metric(self.recipe, self.data)

    def _fit_in(self, run: Run, begun: bool, check: bool, until: int | None) -> dict[str, float]:
        if not (begun or check):
            self._write_findings(run)  # that nothing was checked, so that a resume does not either
        environment.write(run, begun, self.reporter)
        if not begun:
            self.recipe.save(run.path / "recipe.yaml")  # as asked: enough to begin again after a crash
        if begun and (run.path / "findings.json").exists():
            # checked, or waved through, when the training began
            self.findings, self._checked = run.findings, bool(run.checked)
        else:
            self._check(check)
            self._write_findings(run)
        return self._fit(run, begun, until)

    def _check(self, wanted: bool) -> None:
        if not wanted or self._built:
            return
        loss = self.own_loss or self.recipe.objective.loss if self.own_objective is None else None
        self.findings, self._checked = Findings(self.feed.check(self.recipe, self.reporter, loss)), True
        records.tell(self.findings, self.data.findings if self.data else (), self.reporter)

    def _fit(self, run: Run | None, resume: bool, until: int | None) -> dict[str, float]:
        several = self.processes
        folder, resume = several.same((run.path if run else None, resume))
        stages.go_on(self, folder)
        self.build()
        several.refuse(self.objective, self.techniques, self.recipe.training)
        feed = self._frozen or self.feed
        timed = several.count == 1 and not resume and feed is self.feed and self.data is not None
        preflight.examine_own(self, self._checked and several.first and not resume, feed.training if timed else None)
        if run is not None:
            records.write_down(run, self.recipe, self.feed, self.engine, resume, self.reporter)
            self._write_findings(run)
        trainer, train = Trainer, feed.training
        if isinstance(self.objective.model, FittedModel):
            trainer, train = Fitting, self.feed.source("train")
        self.trainer = trainer(
            self.objective, self.engine, self.recipe.training,
            train=train, valid=feed.sources.get("valid"), prepare=feed.prepare,
            random=feed.random, techniques=self.techniques, folder=folder, reporter=self.reporter,
            own=self.own_steps, processes=several,
        )  # fmt: skip
        result = None
        try:
            if isinstance(self.feed, FieldFeed):
                initialise(self.objective, self.feed.source("train"), self.feed.prepare)
            rates.settle(self, run, resume)
            if not several.same(run is not None and run.finished):
                self.trainer.fit(resume=resume, until=until)
                if not self.trainer.done:
                    return several.same(self.trainer.state.metrics)
            elif run is not None:  # killed while it was measured
                verdicts.take_weights(self, run)
            if not several.first:
                return several.same(None)
            if (valid := self.feed.sources.get("valid")) is not None:
                calibrate(self.objective, self.engine, valid, self.feed.prepare, self.reporter)
            result = self.evaluate()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            let_go(error)
        if result is None:  # out here, where the error and what it held are gone
            raise self._out_of_memory()
        chose = "its settings" if trainer is Fitting else None
        self.reporter.say(verdicts.headline(result, self.trainer.kept_epoch, chose), style="bold")
        if left_out := self.feed.left_out():
            self.findings = worst_first([*left_out, *(f for f in self.findings if f.check != "unreadable")])
        if run is not None:
            if left_out:
                self._write_findings(run)
            verdicts.write_down(self, run, result)
            self.reporter.say(f"run: {run.path}")
            if self.data is None:
                self.reporter.say(f"report: {report.write(run)}")
        return several.same(result["metrics"])

    def find_lr(self, *, start: float = 1e-6, end: float = 10.0, steps: int = 100) -> RateCurve:
        """Raises the learning rate on a copy, to find one to train with; see `flambeau.training.find_lr`. Raises as
        `build`, and TrainingError where the loss falls at none. `learning_rate="find"` makes `fit` do so."""
        self.build()
        return rates.find(self, start=start, end=end, steps=steps)

    def baselines(self, split: str | None = None) -> list[dict[str, Any]]:
        """What the cheapest rivals reach on one split (see `evaluate`), as `fit` asks for a run: [{name, seconds,
        metrics, note}]."""
        self.build()
        if not isinstance(self.feed, FieldFeed):
            return []
        split = split or next(s for s in reversed(SPLITS) if self.feed.sources.get(s) is not None)
        asked = self.objective, self.engine, self.feed, self.recipe, split, self.reporter
        return [rival.to_dict() for rival in verdicts.rivals(*asked)]

    def _write_findings(self, run: Run) -> None:
        records.write_findings(run, self.findings, self._checked, self.data, self._built)

    def evaluate(self, split: str | None = None, *, tta: Any = None) -> dict[str, Any]:
        """Measures on one split: {split, samples, metric, metrics, intervals, detail}, plain JSON.

        Args:
            split: `train`, `valid` or `test`; test where there is one, else valid, else train, if not given.
            tta: also with test-time augmentation, see `Predictor.with_tta`; the result has it as `tta`.
        """
        self.build()
        split = split or next(s for s in reversed(SPLITS) if self.feed.sources.get(s) is not None)
        feed, said, viewing = self.feed, self.reporter, None if tta is None else self.predictor.with_tta(tta)
        source, samples = feed.source(split), feed.samples(split)
        result = measure(self.objective, self.engine, source, feed.prepare, split, self.data, samples, said)
        if viewing is not None and isinstance(feed, FieldFeed):
            result["tta"] = with_tta(viewing, source, viewing.read(feed.dataset, feed.encoding, said), said)
        return result

    def summary(self) -> Any:
        """Layers, shapes, parameters, FLOPs and memory of the model."""
        self.build()
        return assembly.summary_of(self.objective.model, self.data)

    def groups(self) -> tuple[Group, ...]:
        """The layer groups of the model, from its input to its head; patterns in `model.groups` part it otherwise."""
        self.build()
        return self.objective.groups()

    @property
    def predictor(self) -> Predictor:
        """Raw input in, decoded prediction out."""
        self.build()
        if self.data is None:
            return Predictor(self.objective, self.engine)
        return predictor_of(self.objective, self.engine, self.data.fields, self.data.inputs, self.data.target)

    def predict(self, values: Any, *, batch_size: int = 64, reject_below: float = 0.0, tta: Any = None) -> Any:
        """Predictions for raw values; see `Predictor.predict`."""
        return self.predictor.predict(values, batch_size=batch_size, reject_below=reject_below, tta=tta)

    @classmethod
    def from_recipe(cls, recipe: Recipe, **options: Unpack[parts.Beside]) -> Learner:
        """The Learner that a recipe describes, its data included.

        Raises:
            UsageError: the training had parts of the user's own, which a recipe can only name.
        """
        return cls(parts.dataset_of(recipe), recipe=recipe, **options)
