"""The tournament: simple models, the cheap ones first, then networks, of which the better half goes on, again and
again, until one is left; then the best of all, or a blend of a few, is the run.

Each candidate is a training like any other, in `candidates/` of the run: killed, it goes on where it was. They are
judged on validation rows, never on the test rows; see `flambeau.studies.selection`. Few rows say little, and the less
as they have chosen an epoch or a penalty too: so where there are few, each candidate is trained again on folds of the
rows that are not for the test, and judged on those that it did not see.
"""

from __future__ import annotations

import copy
import functools
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
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
from flambeau.core.printable import duration, quoted
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.split import TRAIN, UNUSED, VALID
from flambeau.ensembles import ensemble
from flambeau.learner import Learner, choices, records, verdicts
from flambeau.learner.feeds import FieldFeed
from flambeau.learner.plan import Decision, Plan
from flambeau.objectives.intervals import Grouped
from flambeau.objectives.names import higher_is_better
from flambeau.recipe import ModelChoice, ObjectiveChoice, Recipe
from flambeau.run import Run
from flambeau.studies.base import Study, variant
from flambeau.studies.budget import SITTING, in_a_sitting, seconds_of, within
from flambeau.studies.entrants import FOLDS, FROZEN, NETWORK, Entrant, Entrants, entrants
from flambeau.studies.rows import Answers, answers
from flambeau.studies.selection import Selection, select
from flambeau.techniques import TECHNIQUES, name_of
from flambeau.training.interrupts import Interrupted
from flambeau.training.settings import Settings
from flambeau.training.state import merit

HALVED = 0.25
"""The share of their epochs that all networks are trained for, or of many rows that all simple models are fitted to;
each time that half of the networks are left it doubles."""
KIND, CANDIDATES, FOLDED, BLEND = "tournament", "candidates", "folds", "blend"
MANY_ROWS = 20_000
"""Of more, simple models are fitted to a share of the rows first."""
NOT_OF_WINNER = (".lock", "checkpoints", "model.safetensors", "evaluation.json", "recipe.yaml", "report.html")
"""Of a winner's folder, what is not taken over as it is."""


def _simple(recipe: Recipe, who: Entrant, data: Dataset) -> Recipe:
    """A recipe for a simple model: with what has a meaning there; the rest is the network's."""
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
                           fix=f"go on with: flambeau resume {quoted(run.path)}; or give another "
                               "run folder")  # fmt: skip
        try:
            held = _Held(learner, run, known, seconds, began, compute_threads)
            held.begin(check)
            return held.end(held.all())
        except Interrupted as error:
            raise Interrupted(
                error.found, error.signal_number, fix=f"go on with: flambeau resume {quoted(run.path)}"
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
    beside = [f"{plan.recipe.model.name}, {FROZEN}" if name == FROZEN else name for name in [*known.networks][1:]]
    tried = Decision("model", [*(one.name for one in known.simple.values()), plan.recipe.model.name, *beside], why)
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


class _Planned(NamedTuple):
    """A network as it is to be trained."""

    recipe: Recipe
    decided: tuple[Decision, ...]
    epochs: int


class _Standing(NamedTuple):
    """How good a network is on the way, the larger the better, and that in words."""

    merit: tuple[float, float]
    said: str


class _Held:
    """A tournament while it is held."""

    def __init__(
        self, learner: Learner, run: Run, known: Entrants, seconds: float | None, began: float, threads: int | None
    ):
        assert learner.data is not None and isinstance(learner.feed, FieldFeed)
        self.learner, self.run, self.seconds, self.began = learner, run, seconds, began
        self.simple, self.networks, self.folds = known.simple, known.networks, known.folds
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
        judged, simple = dict[str, Answers](), [*self.simple]
        if not self.folds and len(simple) > 1 and int((self.data.split == TRAIN).sum()) > MANY_ROWS:
            better = self._better(simple, self._on_few)
            simple = [folder for folder in simple if folder in better]
        for folder in simple:
            one = self.simple[folder]
            self.say(f"{one.name} is fitted" + (f", and on {FOLDS} folds" if self.folds else ""))
            try:
                run = self._trained(f"{CANDIDATES}/{folder}", self._simple(one), one.of(self.data), QUIET)
                judged[folder] = self._judged(folder, run, self._simple(one), one)
            except (ModelError, UsageError, TrainingError, MissingExtra) as error:
                self._fails(folder, error)
        self.say(self._early(judged), style="bold")
        try:
            folder, recipe = self._left_of_networks()
            if self.folds:
                self.say(f"the network is trained on {FOLDS} folds")
            judged[folder] = self._judged(folder, self.study.run(f"{CANDIDATES}/{folder}"), recipe, Entrant(NETWORK))
        except (UsageError, TrainingError) as error:
            if not judged:
                raise
            self.notes[NETWORK] = str(error)
            self.say(f"no network stands beside them: {error}", style="yellow")
        return judged

    def _simple(self, who: Entrant) -> Recipe:
        return _simple(self.learner.recipe, who, who.of(self.data))

    def _trained(
        self, folder: str, recipe: Recipe, data: Dataset, reporter: Reporter, decided: tuple[Decision, ...] = (),
        until: int | None = None,
    ) -> Run:  # fmt: skip
        """The run of a training: the one that is there, or trained now, to its end or until it has so many epochs."""
        run = self.study.run(folder)
        if not run.measured and not (until and _at(run, until)):
            asked = copy.copy(self.learner)
            asked.recipe = recipe
            one = variant(asked, {"baseline": False}, run.path, data)
            one.decided, one.reporter = decided, reporter
            one.findings, one._checked = Findings(self.learner.findings), self.learner._checked
            one.fit(resume=True, until=until, check=False, compute_threads=self.threads)
        return run

    def _left_of_networks(self) -> tuple[str, Recipe]:
        """The folder and recipe of the network that is left, trained, by successive halving: Jamieson & Talwalkar 2016,
        "Non-stochastic best arm identification and hyperparameter optimization", arXiv:1502.07943. Each is trained for
        the same share of its epochs, as it would be alone, and the better half, by validation rows, goes on from there.

        Raises:
            UsageError, ModelError, TrainingError: what is wrong with the first one, where none can be trained.
        """
        going, share = self._planned_networks(), HALVED
        while len(going) > 1:
            better = self._better([*going], lambda folder: self._on_the_way(folder, going[folder], share))  # noqa: B023
            going, share = {folder: going[folder] for folder in going if folder in better}, min(1.0, 2 * share)
        ((folder, planned),) = going.items()
        self._trained(f"{CANDIDATES}/{folder}", planned.recipe, self.data, self.learner.reporter, planned.decided)
        return folder, planned.recipe

    def _better(self, folders: Sequence[str], standing: Callable[[str], _Standing]) -> list[str]:
        """The better half of candidates; the others, and what fails, are noted."""
        found, failed = dict[str, _Standing](), None
        for folder in folders:
            try:
                found[folder] = standing(folder)
            except (UsageError, ModelError, TrainingError, MissingExtra) as error:
                failed = failed or self._fails(folder, error)
        if failed and not found:
            raise failed
        ranked = sorted(found, key=lambda folder: found[folder].merit, reverse=True)
        half = math.ceil(len(folders) / 2)
        for folder in ranked[half:]:
            first = f"{self._called(ranked[0])} has {found[ranked[0]].said}"
            self.notes[self._called(folder)] = why = f"{found[folder].said}, and no further: {first}"
            self.say(f"{self._called(folder)}: {why}")
            shutil.rmtree(self.run.path / CANDIDATES / folder / "checkpoints", ignore_errors=True)
        return ranked[:half]

    def _fails(self, folder: str, error: FlambeauError) -> FlambeauError:
        """The error, once it is noted."""
        self.notes[self._called(folder)] = str(error)
        self.say(f"{self._called(folder)} is left out: {error}", style="yellow")
        return error

    def _planned_networks(self) -> dict[str, _Planned]:
        """How each network would be trained, in its share of the time that is left."""
        found, left, failed = dict[str, _Planned](), self._left(), None
        parts = (1 + len(self.folds)) * (1 + HALVED * (len(self.networks) - 1))
        for folder, settings in self.networks.items():
            path = self.run.path / CANDIDATES / folder
            beside = variant(self.learner, {**settings, "baseline": False}, path)
            try:
                if (path / "recipe.yaml").exists():
                    beside.recipe = Run(path).recipe  # as it was planned
                elif left is not None:
                    beside = within(beside, left / parts)
                else:
                    beside = in_a_sitting(beside, seconds_of(SITTING) / parts)
                epochs = beside.plan().recipe.training.epochs if len(self.networks) > 1 else 1
                found[folder] = _Planned(beside.recipe, beside.decided, epochs or 1)
            except (UsageError, ModelError) as error:
                failed = failed or self._fails(folder, error)
        if failed and not found:
            raise failed
        return found

    def _on_the_way(self, folder: str, planned: _Planned, share: float) -> _Standing:
        """How good a network is after a share of its epochs: the mean of all that are trained."""
        epoch = max(1, round(planned.epochs * share))
        parts = {f"{CANDIDATES}/{folder}": self.data}
        parts |= {f"{FOLDED}/{folder}-{number + 1}": fold for number, fold in enumerate(self.folds)}
        runs = [self._trained(place, planned.recipe, data, QUIET, planned.decided, epoch)
                for place, data in parts.items()]  # fmt: skip
        return _standing(runs, epoch, f"after {epoch} of {planned.epochs} epochs")

    def _on_few(self, folder: str) -> _Standing:
        """How good a simple model is that is fitted to a share of the rows."""
        one, data = self.simple[folder], copy.copy(self.data)
        train = np.flatnonzero(data.split == TRAIN)
        kept = np.random.default_rng(0).permutation(train)[: round(len(train) * HALVED)]
        data.split = data.split.copy()
        data.split[np.setdiff1d(train, kept)] = UNUSED
        run = self._trained(f"{FOLDED}/{folder}-few", self._simple(one), one.of(data), QUIET)
        return _standing([run], 1, f"fitted to {len(kept):,} of {len(train):,} rows")

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
        figures = [
            {"name": self._called(found.run.path.name), "metrics": found.values(metric)} for found in judged.values()
        ]
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
        names, metric = [self._called(run.path.name) for run in runs], runs[0].evaluation["metric"]
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

    def _called(self, folder: str) -> str:
        """What a candidate is called, by its folder."""
        if folder in self.simple:
            return self.simple[folder].name
        path = self.run.path / CANDIDATES / folder
        model = Run(path).recipe.model.name if (path / "recipe.yaml").exists() else folder
        return f"{model}, {FROZEN}" if folder == FROZEN else model

    def _facts(
        self, runs: Sequence[Run], names: Sequence[str], found: Sequence[Answers], selection: Selection, metric: str
    ) -> dict[str, Any]:
        tried = [
            {
                "name": name,
                "folder": run.path.name,
                "value": value,
                "loss": loss,
                "weight": weight,
                "seconds": _seconds(run),
            }
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
        beside = [Baseline(self._called(run.path.name), round(_seconds(run), 2), values, without=without)
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


def _standing(runs: Sequence[Run], epoch: int, when: str) -> _Standing:
    """How good trainings are after an epoch: the mean of what validation rows say of each."""
    metric = runs[0].recipe.objective.metric
    metric = metric if all(metric in _at(run, epoch) for run in runs) else "loss"
    score, loss = (float(np.mean([_at(run, epoch).get(name, math.inf) for run in runs])) for name in (metric, "loss"))
    return _Standing(merit(score, loss, higher_is_better(metric)), f"{metric} {score:.4g} {when}")


def _at(run: Run, epoch: int) -> dict[str, float]:
    """What validation rows said after an epoch; of a training that ended before it, after its last one."""
    said = {line["epoch"]: line["valid"] for line in run.lines if "valid" in line}
    ended = run.finished and said and epoch > max(said)
    return said.get(max(said) if ended else epoch, {})


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
