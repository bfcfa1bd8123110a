"""Predictors whose answer is the joint one of several: members of an ensemble, or views of a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import RunError, UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT, regrouped
from flambeau.data.several import SeveralPreparer, ViewPreparer, views_of_parts
from flambeau.data.store.encode import EncodeOptions
from flambeau.fields import TTA
from flambeau.objectives.averaged import Averaged, Combination
from flambeau.predictor.base import Predictor, Reading
from flambeau.recipe import ObjectiveChoice
from flambeau.run import Run

Encoded = Mapping[str, np.ndarray]


class EnsemblePredictor(Predictor):
    """Predictors of one target, each by what it reads of a row; the joint answer of all.

    Args:
        members: at least one.
        objective: that joins their answers.
    """

    objective: Averaged

    def __init__(self, members: Sequence[Predictor], objective: Averaged):
        fields = {name: field for member in reversed(members) for name, field in member.fields.items()}
        inputs = list(dict.fromkeys(name for member in members for name in member.inputs))
        super().__init__(objective, members[0].engine, fields, inputs, members[0].target)
        self.members = list(members)

    @classmethod
    def of_run(cls, run: Run, *, device: str, precision: str, reporter: Reporter | None) -> EnsemblePredictor:
        """That of an ensemble's folder.

        Raises:
            RunError: it is damaged.
        """
        recipe, members = run.recipe, run.members
        loaded = [Predictor.load(one, device=device, precision=precision, reporter=reporter) for one in members]
        combination = cls.combination(loaded, str(recipe.model.options.get("how")))
        objective = cls.joined(loaded, combination, recipe.objective)
        if len(members) != recipe.model.options.get("members"):
            raise RunError(
                f"the ensemble is damaged: it holds {len(members)} members", where=run.path / "members",
                expected=str(recipe.model.options.get("members")),
            )  # fmt: skip
        run.load_model(combination)
        objective.calibration, objective.decision = run.calibration, run.decision
        predictor = cls(loaded, objective)
        predictor.examples, predictor.version = run.examples, run.version
        return predictor

    @property
    def parts(self) -> list[Predictor]:
        return [part for member in self.members for part in member.parts]

    def raw_of(self, *inputs: Any, **named: Any) -> torch.Tensor:
        tasks = [member.objective.task for member in self.members]
        outputs = [member.raw_of(*inputs, **named) for member in self.members]
        answers = [task.activate(output) for task, output in zip(tasks, outputs, strict=True)]
        return self.objective.of_members.deactivate(self.objective.model(self.objective.in_one_scale(answers)))

    @property
    def views(self) -> dict[str, Any]:
        return next((member.views for member in self.members if member.views), {})

    @staticmethod
    def joined(members: Sequence[Predictor], combination: Combination, choice: ObjectiveChoice) -> Averaged:
        """The objective that joins the answers of some members.

        Raises:
            UsageError: their answers have no mean.
        """
        target = members[0].fields[members[0].target or ""]
        objectives = [member.objective for member in members]
        return Averaged(objectives, target, combination, choice.loss, choice.metrics, choice.metric)

    @staticmethod
    def combination(members: Sequence[Predictor], how: str) -> Combination:
        """What joins the answers of some members, not fitted yet.

        Raises:
            UsageError: there is no such way, or answers have no ranks.
        """
        task, count = members[0].objective.task, 0
        if how == "rank":
            if task.output_spec.layout != "vector":
                raise UsageError("answers to parts of a row have no ranks", fix="join them by mean or weighted")
            count = task.output_spec.size
        return Combination(how, len(members), count)

    def encode(self, value: Any) -> dict[str, np.ndarray]:
        row = self.by_input(value)
        return {
            f"{name}#{i}": array for i, member in enumerate(self.members) for name, array in member.encode(row).items()
        }

    def outputs(self, encoded: Sequence[Encoded]) -> Any:
        answers = [member.outputs([_part(e, i) for e in encoded]) for i, member in enumerate(self.members)]
        if any(isinstance(answer, list) for answer in answers):  # of pictures at their own sizes, one by one
            return [self._joined([answer[i][None] for answer in answers])[0] for i in range(len(encoded))]
        return self._joined(answers)

    def _joined(self, answers: Sequence[np.ndarray]) -> np.ndarray:
        scaled = self.objective.in_one_scale([torch.from_numpy(answer) for answer in answers])
        return self.objective.joined(scaled).numpy()

    def blank(self) -> dict[str, np.ndarray]:
        return {f"{name}#{i}": a for i, member in enumerate(self.members) for name, a in member.blank().items()}

    def read(self, dataset: Dataset, options: EncodeOptions | None = None, reporter: Reporter = QUIET) -> Reading:
        readings = [member.read(dataset, options, reporter) for member in self.members]
        first, good = readings[0], readings[0].good
        for other in readings[1:]:
            good = np.intersect1d(good, other.good, assume_unique=True)
        parts = [(reading.prepare, None if reading is first else reading.store) for reading in readings]
        findings = list({str(f): f for reading in readings for f in reading.findings}.values())
        whole = regrouped(dataset, self.fields, self.inputs, self.target)
        return Reading(whole, first.store, SeveralPreparer(parts), good, findings)


class ViewingPredictor(Predictor):
    """A predictor that looks at several views of each value, one value at a time, so that an answer does not depend on
    what it is asked with.

    Args:
        predictor: that answers for each view.
        tta: which views, their number known.
    """

    objective: Averaged

    def __init__(self, predictor: Predictor, tta: TTA):
        objective = predictor.objective
        averaged = Averaged([objective] * tta.count, predictor.fields[predictor.target or ""], metric=objective.monitor)
        averaged.calibration = averaged.of_members.calibration = objective.calibration
        averaged.decision = objective.decision
        super().__init__(averaged, predictor.engine, predictor.fields, predictor.inputs, predictor.target)
        self.examples, self.note, self.version = predictor.examples, predictor.note, predictor.version
        self.predictor, self.tta = predictor, tta
        self._prepare = [self._preparer(number) for number in range(tta.count)]

    @classmethod
    def of(cls, predictor: Predictor, tta: TTA) -> Predictor:
        """A predictor, or each member of an ensemble that has such views, with several views.

        Raises:
            UsageError: such views have no meaning for this data.
        """
        if predictor.target is None or not predictor.fields:
            raise UsageError("test-time augmentation needs data with fields and a target", fix="leave tta out")
        fields = {name: predictor.fields[name] for name in predictor.inputs}
        known = tta.of(fields, predictor.fields[predictor.target])
        if not isinstance(predictor, EnsemblePredictor):
            return cls(predictor, known)
        members: list[Predictor] = []
        for member in predictor.members:
            own = {name: member.fields[name] for name in member.inputs}
            members.append(cls.of(member, tta) if tta.fits(own) else member)
        whole = predictor.objective
        objective = Averaged(
            [member.objective for member in members], whole.target, whole.model, metrics=whole.named_metrics,
            metric=whole.monitor,
        )  # fmt: skip
        objective.calibration, objective.decision = whole.calibration, whole.decision
        return EnsemblePredictor(members, objective)

    @property
    def views(self) -> dict[str, Any]:
        tta = self.tta
        return {"views": tta.count, "name": tta.name, "augment": dict(tta.augment), "seed": tta.seed}

    def _preparer(self, number: int, parts: Any = None) -> ViewPreparer:
        seen, device = self.predictor, self.engine.device
        return ViewPreparer(seen.fields, seen.inputs, seen.target, device, self.tta, number, parts)

    def encode(self, value: Any) -> dict[str, np.ndarray]:
        fields = {name: self.fields[name] for name in self.inputs if name != PRESENT}
        parts = self.tta.parts(fields, self.by_input(value))
        return {f"{n}#{i}": a for i, part in enumerate(parts) for n, a in self.predictor.encode(part).items()}

    def outputs(self, encoded: Sequence[Encoded]) -> np.ndarray:
        return np.concatenate([self._output(one) for one in encoded])

    def _output(self, encoded: Encoded) -> np.ndarray:
        """One encoded value to its output (1, …)."""
        answers = []
        for number, prepare in enumerate(self._prepare):
            gathered = self.predictor.gather([_part(encoded, number) or _part(encoded, 0)])
            answers.append(self.predictor.forward(prepare(torch.arange(1), gathered)))
        return self.objective.joined([torch.from_numpy(answer) for answer in answers]).numpy()

    def blank(self) -> dict[str, np.ndarray]:
        return {f"{name}#0": array for name, array in self.predictor.blank().items()}

    def read(self, dataset: Dataset, options: EncodeOptions | None = None, reporter: Reporter = QUIET) -> Reading:
        reading = self.predictor.read(dataset, options, reporter)
        parts = views_of_parts(reading.dataset, reading.good, self.tta, options, reporter)
        prepare = SeveralPreparer([(self._preparer(n, parts and parts[n]), None) for n in range(self.tta.count)])
        return reading._replace(prepare=prepare)


def _part(encoded: Encoded, number: int) -> dict[str, np.ndarray]:
    """What one of several has of a value that all have encoded."""
    named = (name.rpartition("#") for name in encoded)
    return {name: encoded[f"{name}#{which}"] for name, _, which in named if which == str(number)}
