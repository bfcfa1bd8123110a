"""The tournament: simple models, the cheap ones first, then the network that is usual for the data; then the best of
them, or a blend of a few, is the run.

Each candidate is a training like any other, in `candidates/` of the run: killed, it goes on where it was. They are
judged on validation rows, never on the test rows; see `flambeau.studies.selection`.
"""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flambeau import report
from flambeau.baselines import Baseline, baselines
from flambeau.core.errors import FlambeauError, MissingExtra, ModelError, RunError, TrainingError, UsageError
from flambeau.core.files import read_json, write_json
from flambeau.core.findings import Findings
from flambeau.core.reporter import QUIET
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.split import TEST, UNUSED, VALID
from flambeau.ensembles import ensemble
from flambeau.learner import Learner, choices, records, verdicts
from flambeau.learner.feeds import FieldFeed
from flambeau.learner.plan import Decision, Plan, given
from flambeau.models import InputSpec, auto
from flambeau.objectives.intervals import Grouped
from flambeau.objectives.tasks import task_of
from flambeau.recipe import Recipe
from flambeau.report.parts import duration
from flambeau.run import Run
from flambeau.studies.base import Study, variant
from flambeau.studies.budget import seconds_of, within
from flambeau.studies.rows import Answers, answers
from flambeau.studies.selection import Selection, select
from flambeau.training.interrupts import Interrupted

KIND, CANDIDATES, BLEND = "tournament", "candidates", "blend"
NOT_OF_WINNER = (".lock", "checkpoints", "model.safetensors", "evaluation.json", "recipe.yaml", "report.html")
"""Of a winner's folder, what is not taken over as it is."""


def entrants(learner: Learner) -> tuple[list[str], str]:
    """The simple models that stand beside the network which a learner would train, the cheapest first; none where
    there are none, and then why."""
    recipe, data = learner.recipe, learner.data
    if data is None or recipe.own_parts or recipe.objective.name != "supervised" or data.target is None:
        return [], "it is of labelled data with fields, a named loss and no parts of your own"
    if recipe.model.name != "auto" or recipe.model.pretrained:
        return [], "a model is named"
    if not (data.split == VALID).any():
        return [], "there are no validation rows to judge by"
    feed = learner.feed.unfitted()
    assert isinstance(feed, FieldFeed)
    feed.look(recipe)
    fields = [feed.dataset.fields[name] for name in feed.dataset.inputs if name != PRESENT]
    if len(fields) > 1:
        return [], "the inputs are of several kinds, which only a network takes together"
    output = task_of(feed.dataset.fields[data.target]).output_spec
    names = auto.fitted(InputSpec.of(fields), fields[0].kind, output)
    if not names:
        return [], "no simple model takes such an input and gives such an answer"
    try:
        choices.check_fitted(recipe.with_settings({"model.name": names[0]}), given(recipe).keys())
    except UsageError as error:
        return [], error.found
    return names, ""


def tournament(
    learner: Learner, *, budget: str | float | None = None, resume: bool = False, check: bool = True,
    compute_threads: int | None = None, began: float | None = None,
) -> Run:  # fmt: skip
    """Trains simple models and then the network that a learner would train, and leaves one run: of the best of them, or
    of a blend of a few. What was tried is in its evaluation, as `tournament`.

    Args:
        learner: whose model is left open.
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
    names, why = entrants(learner)
    if not names:
        raise UsageError(f"there is no tournament here: {why}", fix="leave it out, or name a model")
    run = records.choose_run(learner.asked_run, learner.recipe, resume)
    ours = not run.path.exists()
    with run.locked():
        records.check_free(run, resume)
        if not resume and (run.path / "recipe.yaml").exists():
            raise RunError("a training was begun here already", where=run.path,
                           fix=f"go on with: flambeau resume {run.path}; or give another run folder")  # fmt: skip
        try:
            held = _Held(learner, run, names, seconds, began, compute_threads)
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


def planned(learner: Learner) -> Plan:
    """What a tournament would do: the network's plan, and before it what else is tried. Raises as `tournament`."""
    names, why = entrants(learner)
    if not names:
        raise UsageError(f"there is no tournament here: {why}", fix="leave it out, or name a model")
    plan = learner.plan()
    network = plan.recipe.model.name
    tried = Decision("model", [*names, network], "the best of them on validation rows, or a blend of a few, is the run")
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
        self, learner: Learner, run: Run, names: list[str], seconds: float | None, began: float, threads: int | None
    ):
        assert learner.data is not None and isinstance(learner.feed, FieldFeed)
        self.learner, self.run, self.names, self.seconds, self.began = learner, run, names, seconds, began
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

    def all(self) -> list[Run]:
        """The runs of the candidates, trained."""
        done: list[Run] = []
        for name in self.names:
            self.say(f"{name} is fitted")
            try:
                done.append(self._trained(name, {"model.name": name}))
            except (ModelError, UsageError, TrainingError, MissingExtra) as error:
                self.notes[name] = str(error)
                self.say(f"{name} is left out: {error}", style="yellow")
        network = self._network(done)
        return [*done, *([network] if network is not None else [])]

    def _trained(self, name: str, settings: Mapping[str, Any], learner: Learner | None = None) -> Run:
        run = self.study.run(f"{CANDIDATES}/{name}")
        if run.measured:
            return run
        one = variant(learner or self.learner, {**settings, "baseline": False}, run.path)
        one.decided = (learner or self.learner).decided
        one.findings, one._checked = Findings(self.learner.findings), self.learner._checked
        one.reporter = QUIET if "model.name" in settings else self.learner.reporter
        one.fit(resume=True, check=False, compute_threads=self.threads)
        return run

    def _network(self, done: Sequence[Run]) -> Run | None:
        """The network's run, after it was said what it has to beat; None where there is no time for it, or it failed
        and others did not."""
        learner, left = self.learner, None
        run = self.study.run(f"{CANDIDATES}/network")
        if self.seconds is not None:
            left = max(1.0, self.seconds - (time.perf_counter() - self.began))
        self.say(self._early(done, left), style="bold")
        try:
            if (run.path / "recipe.yaml").exists():  # as it was planned
                learner = copy.copy(learner)
                learner.recipe = run.recipe
            elif left is not None:
                quick = variant(learner, {"baseline": False}, run.path)
                learner = within(quick, left)
            return self._trained("network", {}, learner)
        except (UsageError, TrainingError) as error:
            if not done:
                raise
            self.notes["network"] = str(error)
            self.say(f"no network stands beside it: {error}", style="yellow")
            return None

    def _early(self, done: Sequence[Run], left: float | None) -> str:
        after = f"after {duration(time.perf_counter() - self.began)}"
        if not done:
            return f"{after} no simple model could be fitted; a network is trained"
        metric = done[0].evaluation["metric"]
        figures = [{"name": run.path.name, "metrics": run.lines[-1].get("valid", {})} for run in done]
        best = verdicts.best_of(figures, metric)
        has = (
            f"{best['name']} has {metric} {best['metrics'][metric]:.4g} on validation rows"
            if best
            else "they are fitted"
        )
        within_time = f" for at most {duration(left)}" if left is not None else ""
        return f"{after}: {has}; a network is trying to beat it{within_time}"

    def end(self, runs: Sequence[Run]) -> Run:
        """Leaves the winner, or the blend, as the run."""
        names = [self._name(run) for run in runs]
        metric = runs[0].evaluation["metric"]
        only_valid = copy.copy(self.data)
        only_valid.split = _without(self.data, TEST)
        found, _, _ = answers(runs, only_valid, options=self.options)
        selection = select(found, names, metric)
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
        self.study.finish(facts)
        return self.run

    def _name(self, run: Run) -> str:
        return run.recipe.model.name

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
        return {"metric": metric, "rows": len(found[0].rows), "candidates": tried, "value": selection.metric,
                "loss": selection.loss, "winner": winner, "why": selection.why}  # fmt: skip

    def _beside(self, winner: Run, runs: Sequence[Run], metric: str) -> dict[str, Any]:
        """The winner's evaluation, with the simple models as its rivals: on the same rows, fitted once."""
        evaluation = winner.evaluation
        rivals = [run for run in runs if run.path != winner.path and run.path.name in self.names]
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
    return sum(line.get("speed", {}).get("seconds", 0.0) for line in run.lines if "valid" in line)


def _without(data: Dataset, split: int) -> np.ndarray:
    """The split of each row, where those of one are not used."""
    left = data.split.copy()
    left[left == split] = UNUSED
    return left
