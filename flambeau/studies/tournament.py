"""The tournament: simple models, the cheap ones first, then the network that is usual for the data; then the best of
them, or a blend of a few, is the run.

Each candidate is a training like any other, in `candidates/` of the run: killed, it goes on where it was. They are
judged on validation rows, never on the test rows; see `flambeau.studies.selection`. Few rows say little, and the less
as they have chosen an epoch or a penalty too: so where there are few, each candidate is trained again on folds of the
rows that are not for the test, and judged on those that it did not see.
"""

from __future__ import annotations

import copy
import functools
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau import report
from flambeau.baselines import Baseline, baselines
from flambeau.core.errors import FlambeauError, MissingExtra, ModelError, RunError, TrainingError, UsageError
from flambeau.core.files import read_json, write_json
from flambeau.core.findings import Findings
from flambeau.core.printable import duration
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.split import NEAR, TRAIN, UNUSED, VALID, Split
from flambeau.ensembles import ensemble
from flambeau.fields import Views
from flambeau.learner import Learner, choices, records, verdicts
from flambeau.learner.feeds import FieldFeed
from flambeau.learner.plan import Decision, Plan, given
from flambeau.models import InputSpec, auto
from flambeau.objectives.intervals import Grouped
from flambeau.objectives.tasks import task_of
from flambeau.recipe import ModelChoice, ObjectiveChoice, Recipe
from flambeau.run import Run
from flambeau.studies.base import Study, variant
from flambeau.studies.budget import in_a_sitting, seconds_of, within
from flambeau.studies.rows import Answers, answers
from flambeau.studies.selection import Selection, select
from flambeau.techniques import TECHNIQUES, name_of
from flambeau.training.interrupts import Interrupted
from flambeau.training.settings import Settings

KIND, CANDIDATES, FOLDED, BLEND, NETWORK = "tournament", "candidates", "folds", "blend", "network"
USUAL = {"number", "category", "date", "text", "audio", "history", "image"}
"""Kinds of inputs on which simple models are strong, and cheap beside a network."""
MOST_PICTURES = 5_000
"""Of more of them a network is taken to be the better one."""
FOLDS, FEW = 4, 500
"""How many folds there are, and the most rows that are dealt into them."""
MOST_PIXELS = 8_000_000
"""Of all pictures, that are trained on in folds."""
NOT_OF_WINNER = (".lock", "checkpoints", "model.safetensors", "evaluation.json", "recipe.yaml", "report.html")
"""Of a winner's folder, what is not taken over as it is."""


class Entrant(NamedTuple):
    """A simple model that takes part.

    Attributes:
        model: its name in the catalogue.
        inputs: the columns that it reads, where the data has several inputs and it reads one; else none.
    """

    model: str
    inputs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        many = len(self.inputs)
        return f"{self.model} of {many} columns" if many > 1 else " of ".join((self.model, *self.inputs))

    def of(self, data: Dataset) -> Dataset:
        """The data as it reads it."""
        return data.narrowed(self.inputs) if self.inputs else data


class Entrants(NamedTuple):
    """Who takes part.

    Attributes:
        simple: the simple models that stand beside the network by their folders, the cheapest first.
        folds: the data once for each fold, where they are judged on folds.
        why: where there are none: why.
    """

    simple: dict[str, Entrant]
    folds: list[Dataset]
    why: str = ""


def entrants(learner: Learner) -> Entrants:
    """Who takes part beside the network that a learner would train."""
    recipe, data = learner.recipe, learner.data
    if data is None or recipe.own_parts or recipe.objective.name != "supervised" or data.target is None:
        return Entrants({}, [], "it is of labelled data with fields, learned without parts of your own")
    if recipe.model.name != "auto":
        return Entrants({}, [], f"the model {recipe.model.name} is named")
    feed = learner.feed.unfitted()
    assert isinstance(feed, FieldFeed)
    feed.look(recipe)
    inputs, output = feed.dataset.inputs, task_of(feed.dataset.fields[data.target]).output_spec
    if PRESENT in inputs:
        return Entrants({}, [], "some rows lack one of the inputs, which only a network takes")
    if len(inputs) > 1 and all(feed.dataset.fields[name].kind == "text" for name in inputs):
        return Entrants({}, [], "texts are compared, and one of them alone says little")
    simple, large = dict[str, Entrant](), False
    for number, name in enumerate(inputs):
        field = feed.dataset.fields[name]
        spec = InputSpec.of([field])
        columns = tuple(field.gathers or [name]) if len(inputs) > 1 else ()
        for model in auto.fitted(spec, field.kind, output):
            simple[f"{model}.{number}" if columns else model] = Entrant(model, columns)
        large |= spec.form.pictures and len(data) * int(np.prod(spec.size)) > MOST_PIXELS
    if not simple:
        return Entrants({}, [], "no simple model takes such an input and gives such an answer")
    folds = [] if large else dealt(data)
    if not folds and not (data.split == VALID).any():
        found = "there are no validation rows to judge by, and these rows are too many, or too large, for folds"
        return Entrants({}, [], found)
    return Entrants(simple, folds)


def dealt(data: Dataset) -> list[Dataset]:
    """The data once for each fold of the rows that train and validate, where these are few: the fold is its test then,
    and of the others as large a share validates as before. None of many rows, and of rows that hang
    together in time or by groups."""
    said = data.source.get("split") or {}
    rows = np.flatnonzero(np.isin(data.split, (TRAIN, VALID)))
    hang = said.get("by") or said.get("method") == "time" or data.made is not None or "made" in data.source
    if hang or any(isinstance(data.columns[name], Views) for name in data.inputs):
        return []
    if not 2 * FOLDS <= len(rows) <= FEW:
        return []
    firsts = data.firsts_alike if data.together == NEAR else data.firsts_seen[0]
    _, index, inverse = np.unique(firsts[rows], return_index=True, return_inverse=True)
    keys = [(data.keys or range(len(data)))[row] for row in rows.tolist()]
    one_class = data.target is not None and data.fields[data.target].one_class
    labels = [data.columns[data.target or ""][row] for row in rows.tolist()] if one_class else None
    share = float((data.split[rows] == VALID).mean())
    found = []
    for number in range(FOLDS):
        split = Split("auto", share, folds=FOLDS, fold=number)
        fold = copy.copy(data)
        fold.split = np.full(len(data), UNUSED, np.int8)
        fold.split[rows] = split.with_copies(split.assign(keys, labels), index[inverse], labels)
        found.append(fold)
    return found


def is_usual(learner: Learner) -> bool:
    """Whether a tournament is what a learner's settings mean where nothing is said of a model: the data is of a kind
    that simple models are strong on, rivals are wanted, and nothing that is asked for is of a network's steps."""
    recipe, data = learner.recipe, learner.data
    if data is None or not recipe.baseline or recipe.own_parts:
        return False
    kinds = {data.fields[name].kind for name in data.inputs}
    if not kinds <= USUAL or ("image" in kinds and len(data) > MOST_PICTURES):
        return False
    try:
        choices.check_fitted(recipe, given(recipe).keys())
        return bool(entrants(learner).simple)
    except FlambeauError:  # a training tells what is wrong, in its own order
        return False


def _simple(recipe: Recipe, who: Entrant, data: Dataset) -> Recipe:
    """A recipe for a simple model of some data: with what has a meaning there; the rest is the network's."""
    fields = {name: settings for name, settings in recipe.fields.items() if name in data.fields}
    training = Settings(**{setting: getattr(recipe.training, setting) for setting in choices.OF_FITTED})
    weighing = {key: s for key, s in recipe.techniques.items() if TECHNIQUES[name_of(key)].overridden("row_weights")}
    objective = ObjectiveChoice(metric=recipe.objective.metric, metrics=recipe.objective.metrics)
    return recipe.model_copy(
        update={"model": ModelChoice(name=who.model), "training": training, "techniques": weighing, "augment": "auto",
                "fields": fields, "objective": objective, "baseline": False}
    )  # fmt: skip


def tournament(
    learner: Learner, *, budget: str | float | None = None, resume: bool = False, check: bool = True,
    compute_threads: int | None = None, began: float | None = None,
) -> Run:  # fmt: skip
    """Trains simple models and then the network that a learner would train, and leaves one run: of the best of them, or
    of a blend of a few. What was tried is in its evaluation, as `tournament`.

    Args:
        learner: whose model is left open; what it is told of steps, such as epochs, is the network's.
        budget: the time for all, such as `10m`: what the simple models leave of it is the network's, see `within`.
        resume: go on with the one that was stopped in the run's folder.
        check: look for mistakes in the data first.
        compute_threads: see `Learner.fit`.
        began: when the time began, as `time.perf_counter` has it; now, if not given.

    Raises:
        UsageError: there is nothing to choose from. RunError: the folder is taken. Others: as `Learner.fit`.
    """
    began = time.perf_counter() if began is None else began
    seconds = None if budget is None else seconds_of(budget)
    if learner.asked_run is False:
        raise UsageError("a tournament leaves a run, and run=False was given", fix="name a folder, or leave it out")
    known = _known(learner)
    run = records.choose_run(learner.asked_run, learner.recipe, resume)
    ours = not run.path.exists()
    with run.locked():
        records.check_free(run, resume)
        if not resume and (run.path / "recipe.yaml").exists():
            raise RunError("a training was begun here already", where=run.path,
                           fix=f"go on with: flambeau resume {run.path}; or give another run folder")  # fmt: skip
        try:
            held = _Held(learner, run, known, seconds, began, compute_threads)
            held.begin(check)
            return held.end(held.all())
        except Interrupted as error:
            raise Interrupted(
                error.found, error.signal_number, fix=f"go on with: flambeau resume {run.path}"
            ) from error
        except FlambeauError:
            if ours and not any((run.path / CANDIDATES).glob("*/model.safetensors")):
                shutil.rmtree(run.path, ignore_errors=True)  # it holds nothing, and what is asked next will differ
            raise


def _known(learner: Learner) -> Entrants:
    known = entrants(learner)
    if not known.simple:
        raise UsageError(f"there is no tournament here: {known.why}", fix="leave it out, or name a model")
    return known


def planned(learner: Learner) -> Plan:
    """What a tournament would do: the network's plan, and before it what else is tried. Raises as `tournament`."""
    known = _known(learner)
    plan = learner.plan()
    judged = f"{FOLDS} folds of the rows that are not for the test" if known.folds else "validation rows"
    why = f"judged on {judged}: the best of them, or a blend of a few, is the run"
    tried = Decision("model", [*(one.name for one in known.simple.values()), plan.recipe.model.name], why)
    return replace(plan, decisions=(tried, *plan.decisions))


def asked_in(run: Run) -> dict[str, Any] | None:
    """What a tournament in a run's folder was asked: {recipe, budget}; None where there is none."""
    file = run.path / Study.FILE
    known = read_json(file) if file.exists() else {}
    return known.get("asked") if known.get("kind") == KIND else None


def resumed(run: Run, *, reporter: Any = None, compute_threads: int | None = None) -> Run:
    """Goes on with a tournament that was stopped.

    Raises:
        RunError: there is none. Others: as `tournament`.
    """
    asked = asked_in(run)
    if asked is None:
        raise RunError("this holds no tournament", where=run.path)
    learner = Learner.from_recipe(Recipe.from_dict(asked["recipe"]), run=run.path, reporter=reporter)
    return tournament(learner, budget=asked["budget"], resume=True, compute_threads=compute_threads)


class _Held:
    """A tournament while it is held."""

    def __init__(
        self, learner: Learner, run: Run, known: Entrants, seconds: float | None, began: float, threads: int | None
    ):
        assert learner.data is not None and isinstance(learner.feed, FieldFeed)
        self.learner, self.run, self.seconds, self.began = learner, run, seconds, began
        self.simple, self.folds = known.simple, known.folds
        self.data, self.options, self.threads = learner.data, learner.feed.encoding, threads
        self.say = learner.reporter.say
        asked = asked_in(run) or {"recipe": learner.recipe.model_dump(mode="json"), "budget": seconds}
        self.study = Study(run.path, KIND, asked)
        self.notes: dict[str, str] = {}

    def begin(self, check: bool) -> None:
        """Looks for mistakes, once for all."""
        learner, known = self.learner, self.run.path / "findings.json"
        if known.exists():
            learner.findings, learner._checked = self.run.findings, bool(self.run.checked)
        else:
            learner._check_names()
            learner._check(check)
            learner._write_findings(self.run)
        self.learner.recipe.save(self.run.path / "recipe.yaml")  # as asked, until there is a winner

    def all(self) -> dict[str, Answers]:
        """What the candidates, trained, answer to the rows that they are judged on, by their folders."""
        judged: dict[str, Answers] = {}
        for folder, one in self.simple.items():
            self.say(f"{one.name} is fitted" + (f", and on {FOLDS} folds" if self.folds else ""))
            try:
                recipe = _simple(self.learner.recipe, one, data := one.of(self.data))
                run = self._trained(f"{CANDIDATES}/{folder}", recipe, data, QUIET)
                judged[folder] = self._judged(folder, run, recipe, one)
            except (ModelError, UsageError, TrainingError, MissingExtra) as error:
                self.notes[one.name] = str(error)
                self.say(f"{one.name} is left out: {error}", style="yellow")
        self.say(self._early(judged), style="bold")
        try:
            judged[NETWORK] = self._network()
        except (UsageError, TrainingError) as error:
            if not judged:
                raise
            self.notes[NETWORK] = str(error)
            self.say(f"no network stands beside them: {error}", style="yellow")
        return judged

    def _trained(
        self, folder: str, recipe: Recipe, data: Dataset, reporter: Reporter, decided: tuple[Decision, ...] = ()
    ) -> Run:
        """The run of a training: the one that is there, or trained now."""
        run = self.study.run(folder)
        if not run.measured:
            asked = copy.copy(self.learner)
            asked.recipe = recipe
            one = variant(asked, {"baseline": False}, run.path, data)
            one.decided, one.reporter = decided, reporter
            one.findings, one._checked = Findings(self.learner.findings), self.learner._checked
            one.fit(resume=True, check=False, compute_threads=self.threads)
        return run

    def _network(self) -> Answers:
        """What the network answers, trained in the time that is left."""
        recipe, decided = self.learner.recipe, self.learner.decided
        run, left = self.study.run(f"{CANDIDATES}/{NETWORK}"), self._left()
        if (run.path / "recipe.yaml").exists():
            recipe = run.recipe  # as it was planned
        else:
            beside = variant(self.learner, {"baseline": False}, run.path)
            planned = in_a_sitting(beside) if left is None else within(beside, left / (1 + len(self.folds)))
            recipe, decided = planned.recipe, planned.decided
        run = self._trained(f"{CANDIDATES}/{NETWORK}", recipe, self.data, self.learner.reporter, decided)
        if self.folds:
            self.say(f"the network is trained on {FOLDS} folds")
        return self._judged(NETWORK, run, recipe, Entrant(NETWORK))

    def _left(self) -> float | None:
        """Seconds of the budget; None where there is none."""
        return None if self.seconds is None else max(1.0, self.seconds - (time.perf_counter() - self.began))

    def _judged(self, folder: str, run: Run, recipe: Recipe, who: Entrant) -> Answers:
        """What a candidate answers to rows that it was not fitted to: validation rows, or each row by the one that was
        trained without the row's fold."""
        if not self.folds:
            return self._answers(run, {VALID})
        known = self._answers(run, {TRAIN, VALID})
        output = torch.full_like(known.output, torch.nan)
        for number, fold in enumerate(self.folds):
            part = self._trained(f"{FOLDED}/{folder}-{number + 1}", recipe, who.of(fold), QUIET)
            ((own,), *_) = answers([part], fold, options=self.options)
            there = torch.isin(own.rows, known.rows)
            output[torch.searchsorted(known.rows, own.rows[there])] = _in_terms_of(known, own)[there]
        answered = output.isfinite().flatten(1).all(1)
        return _only(replace(known, output=output), answered)

    def _answers(self, run: Run, splits: set[int]) -> Answers:
        """What a run answers to the rows of some splits."""
        data = copy.copy(self.data)
        data.split = np.where(np.isin(data.split, [*splits]), VALID, UNUSED).astype(np.int8)
        ((found,), *_) = answers([run], data, options=self.options)
        return found

    def _early(self, judged: Mapping[str, Answers]) -> str:
        after = f"after {duration(time.perf_counter() - self.began)}"
        if not judged:
            return f"{after} no simple model could be fitted; a network is trained"
        metric = next(iter(judged.values())).run.evaluation["metric"]
        figures = [{"name": self._name(found.run), "metrics": found.values(metric)} for found in judged.values()]
        best, left = verdicts.best_of(figures, metric), self._left()
        has = f"{best['name']} has {metric} {best['metrics'][metric]:.4g}" if best else "all is fitted"
        within_time = f" for at most {duration(left)}" if left is not None else ""
        return f"{after}: {has} on {self.rows}; a network is trying to beat it{within_time}"

    @property
    def rows(self) -> str:
        """What they are judged on."""
        return f"rows of {FOLDS} folds that it did not see" if self.folds else "validation rows"

    def end(self, judged: Mapping[str, Answers]) -> Run:
        """Leaves the winner, or the blend, as the run."""
        rows = functools.reduce(np.intersect1d, [one.rows.numpy() for one in judged.values()])
        found = [_only(one, torch.from_numpy(np.isin(one.rows, rows))) for one in judged.values()]
        runs = [one.run for one in found]
        names, metric = [self._name(run) for run in runs], runs[0].evaluation["metric"]
        selection = select(found, names, metric, self.rows)
        self.say(selection.why, style="bold")
        chosen = [runs[i] for i in selection.chosen]
        winner = chosen[0]
        if len(chosen) > 1:
            shutil.rmtree(self.run.path / BLEND, ignore_errors=True)
            weights = [selection.weights[i] for i in selection.chosen]
            winner = ensemble(chosen, self.run.path / BLEND, how="weighted", data=self.data, options=self.options,
                              weights=weights)  # fmt: skip
            shutil.copyfile(chosen[0].path / "findings.json", winner.path / "findings.json")
        facts = self._facts(runs, names, found, selection, metric)
        self._become(winner, {**self._beside(winner, runs, metric), "tournament": facts}, facts)
        shutil.rmtree(self.run.path / FOLDED, ignore_errors=True)
        self.study.finish(facts)
        return self.run

    def _name(self, run: Run) -> str:
        simple = self.simple.get(run.path.name)
        return run.recipe.model.name if simple is None else simple.name

    def _facts(
        self, runs: Sequence[Run], names: Sequence[str], found: Sequence[Answers], selection: Selection, metric: str
    ) -> dict[str, Any]:
        tried = [
            {"name": name, "value": value, "loss": loss, "weight": weight, "seconds": _seconds(run)}
            for name, value, loss, weight, run in zip(
                names, selection.metrics, selection.losses, selection.weights, runs, strict=True
            )
        ]
        tried += [{"name": name, "note": note, "weight": 0.0} for name, note in self.notes.items()]
        parts = [f"{one['weight']:.2f} {one['name']}" for one in tried if one["weight"]]
        winner = parts[0].partition(" ")[2] if len(parts) == 1 else f"a blend of {', '.join(parts)}"
        return {"metric": metric, "rows": len(found[0].rows), "folds": len(self.folds), "candidates": tried,
                "value": selection.metric, "loss": selection.loss, "winner": winner, "why": selection.why}  # fmt: skip

    def _beside(self, winner: Run, runs: Sequence[Run], metric: str) -> dict[str, Any]:
        """The winner's evaluation, with the simple models as its rivals: on the same rows, fitted once."""
        evaluation = winner.evaluation
        rivals = [run for run in runs if run.path != winner.path and run.path.name in self.simple]
        split = self.data.evaluation_split
        found, _, _ = answers([winner, *rivals], self.data, options=self.options)
        ours, *theirs = [_measured(one, metric) for one in found]
        beside = [Baseline(self._name(run), round(_seconds(run), 2), values, without=without)
                  for run, (values, without) in zip(rivals, theirs, strict=True)]  # fmt: skip
        predictor = found[-1].predictor
        reading = predictor.parts[0].read(self.data, self.options)
        train, held_out = (np.intersect1d(reading.dataset.rows(part), reading.good) for part in ("train", split))
        task = predictor.objective.task
        constant = baselines(reading.dataset, reading.store, train, held_out, metric=metric, task=task, constant=True)
        told = [rival.beside(*ours) for rival in (*constant, *beside)]
        if line := verdicts.verdict(told, evaluation["metrics"], metric):
            self.say(line, style="bold")
        return {**evaluation, "baselines": told}

    def _become(self, winner: Run, evaluation: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Makes the run that of the winner; from the moment on that its weights are there it is finished."""
        here = self.run.path
        shutil.rmtree(here / "members", ignore_errors=True)
        shutil.copytree(winner.path, here, copy_function=_linked, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns(*NOT_OF_WINNER))  # fmt: skip
        for member in winner.members:
            for name in NOT_OF_WINNER[2:]:
                if (member.path / name).exists():
                    _linked(str(member.path / name), str(here / "members" / member.path.name / name))
        recipe = winner.recipe
        tried = ", ".join(f"{one['name']} {one['value']:.4g}" if "value" in one else f"{one['name']} failed"
                          for one in facts["candidates"])  # fmt: skip
        recipe.reasons = [f"tournament: {facts['why']}", f"tried: {tried} ({facts['metric']})", *recipe.reasons]
        write_json(here / "evaluation.json", evaluation)
        recipe.save(here / "recipe.yaml")
        _linked(str(winner.path / "model.safetensors"), str(here / "model.safetensors"))
        shutil.rmtree(here / BLEND, ignore_errors=True)
        report.write(self.run)


def _linked(source: str, target: str) -> str:
    """A file in another place without its bytes twice, as far as the disk can: nothing writes into it, each new state
    of a file takes its name."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        part = f"{target}.part"
        shutil.copyfile(source, part)
        Path(part).replace(target)
    return target


def _measured(found: Answers, metric: str) -> tuple[dict[str, float], dict[str, Any]]:
    """The metrics of answers, and the same without each group of rows."""
    values: dict[str, float] = {}
    without: dict[str, Any] = {}
    for one in found.measured(metric):
        values |= one.values()
        without |= one.without_groups() if isinstance(one, Grouped) else {}
    return values, without


def _seconds(run: Run) -> float:
    """The time of a run's training epochs."""
    return sum(line.get("speed", {}).get("seconds", 0.0) for line in run.lines if "epoch" in line)


def _only(found: Answers, which: Tensor) -> Answers:
    """Answers to some of the rows, bool (N)."""
    return replace(found, rows=found.rows[which], output=found.output[which], target=found.target[which])


def _in_terms_of(whole: Answers, part: Answers) -> Tensor:
    """Answers (n, …) of a model of some rows as that of all rows gives them: in its scale, or its classes, of which the
    part may lack some."""
    target = whole.predictor.target or ""
    ours, theirs = (one.predictor.fields[target] for one in (whole, part))
    if ours.classes and [*ours.classes] != [*theirs.classes]:
        spread = part.output.new_zeros(len(part.output), len(ours.classes))
        spread[:, [[*ours.classes].index(name) for name in theirs.classes]] = part.output
        return spread
    rescaled = ours.rescaling(theirs)
    return part.output if ours.classes or rescaled is None else rescaled(part.output).float()
