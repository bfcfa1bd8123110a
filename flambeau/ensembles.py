"""Ensembles: several runs made into one, whose answer is the joint one of all (Dietterich 2000, "Ensemble methods in
machine learning"). The members lie in it, so that the folder is all that has to be sent to somebody."""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau import report
from flambeau.core.errors import DataError, RunError, UsageError
from flambeau.core.files import write_json
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.split import NAMES, TRAIN, Split
from flambeau.data.store.encode import EncodeOptions
from flambeau.evaluation import measure
from flambeau.fields import Field
from flambeau.objectives.averaged import HOW, Averaged
from flambeau.predictor import Predictor, Reading
from flambeau.predictor.averaging import EnsemblePredictor
from flambeau.recipe import ModelChoice, ObjectiveChoice, Recipe
from flambeau.run import Run
from flambeau.techniques.snapshots import FOLDER
from flambeau.training import calibrate

COPIED = ("recipe.yaml", "fields.json", "model.safetensors", "examples.json", "evaluation.json", "environment.json")
MOST_NUMBERS = 20_000_000
"""Of the members' answers to validation rows, that weights and ranks are found by: of more rows every k-th is taken."""


def ensemble(
    runs: Sequence[str | Path | Run], out: str | Path | None = None, *, how: str = "mean", data: Dataset | None = None,
    options: EncodeOptions | None = None, device: str = "auto", reporter: Reporter = QUIET,
    measured: dict[str, Any] | None = None, weights: Sequence[float] | None = None,
) -> Run:  # fmt: skip
    """A run whose answer is the joint one of several. They may read other columns of the same rows, or the same ones in
    another way: other sizes, other colour spaces, waves and pictures of a sound.

    Args:
        runs: finished ones with the same target, trained on the same rows.
        out: the folder to leave; under `runs/` if not given.
        how: `mean` of their answers (of probabilities, where there are some); `weighted`, with the weights of the least
            log-loss on validation rows; `rank`, the mean of where an answer stands among the answers of its run.
        data: where they were trained on data in memory, that data.
        measured: of members that were trained on other rows of the same data, so that none of it is held out from all:
            an evaluation, as `evaluation.json` has it, that stands for the ensemble's own.
        weights: of the members, a sum of 1, where they are known: for `weighted`.

    Raises:
        RunError: one is unfinished or itself an ensemble, or there is a run in `out`.
        UsageError: they do not go together.
    """
    members = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    if len(members) < 2:
        raise UsageError(f"{len(members)} run is no ensemble", expected="2 or more")
    for run in members:
        if not run.finished or run.members:
            found = "an ensemble cannot be a member of another" if run.members else "the run is unfinished"
            raise RunError(found, where=run.path, fix="give its members" if run.members else "finish it first")
    if weights is not None and (how != "weighted" or len(weights) != len(members) or not math.isclose(sum(weights), 1)):
        raise UsageError(f"the weights {[*weights]} do not fit",
                         expected=f"how='weighted', {len(members)} of them, a sum of 1")  # fmt: skip
    leaves = Run.free("ensemble") if out is None else Run(out)
    if leaves.path.exists() and any(leaves.path.iterdir()):
        raise RunError("the folder is not empty", where=leaves.path, fix="give another with --out")
    loaded = [Predictor.load(run, device=device, reporter=reporter) for run in members]
    for run, predictor in zip(members[1:], loaded[1:], strict=True):
        _check_target(members[0], loaded[0], run, predictor)
    combination = EnsemblePredictor.combination(loaded, how)
    choice = _objective(members, loaded)
    joint = EnsemblePredictor(loaded, EnsemblePredictor.joined(loaded, combination, choice))
    if data is None and measured is None:
        data = _rows_of(members, joint, reporter)
    if data is None and how != HOW[0]:
        raise DataError(f"{how} needs validation rows, and the runs were trained on data in memory", fix="give data=")
    reading = None if data is None else joint.read(data, options, reporter)
    reasons = [f"ensemble of {len(members)}: {how} of their answers"]
    if reading is not None:
        reasons += _fit(joint, reading, members[0].recipe.training.batch_size or 32, reporter, weights)
    recipe = _recipe(members, joint, choice, how, reasons)
    if measured is not None and "split" in recipe.data:
        recipe.data = {**recipe.data, "split": vars(Split("none")).copy()}  # no row is held out from every member
    try:
        with leaves.locked():
            _write(leaves, members, joint, recipe)
            if reading is not None:
                _measure(leaves, members, joint, reading, reporter)
            elif measured is not None:
                write_json(leaves.path / "evaluation.json", measured | {"members": _alone(members)})
            report.write(leaves)
    except BaseException:
        shutil.rmtree(leaves.path, ignore_errors=True)  # half an ensemble is none
        raise
    return leaves


@contextlib.contextmanager
def snapshots_of(run: str | Path | Run) -> Iterator[list[Run]]:
    """The weights that the technique `snapshots` has kept of a training, each as a run, to make an ensemble of: Huang
    et al. 2017, arXiv:1704.00109. They are links to its files, which are gone afterwards.

    >>> with snapshots_of("runs/photos") as members:  # doctest: +SKIP
    ...     joint = ensemble(members)

    Raises:
        RunError: there is no such run, it is unfinished, or it has kept fewer than two.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if not run.finished:
        raise RunError("the run is unfinished", where=run.path, fix="finish it first")
    kept = sorted((run.path / FOLDER).glob("step-*.safetensors"))
    if len(kept) < 2:
        raise RunError(f"the training has kept {len(kept) or 'no'} snapshot{'s' * (not kept)}", where=run.path,
                       expected="2 or more: train with --technique snapshots --schedule cosine_restarts")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for weights in kept:
            place = Path(folder) / weights.stem
            place.mkdir()
            for name in COPIED:
                file = weights if name == "model.safetensors" else run.path / name
                if name != "evaluation.json" and file.exists():  # which is of the last weights
                    (place / name).symlink_to(file.resolve())
        yield [Run(Path(folder) / weights.stem) for weights in kept]


def _check_target(first: Run, of_first: Predictor, other: Run, of_other: Predictor) -> None:
    """Raises UsageError where two runs do not answer the same question."""
    for run, predictor in ((first, of_first), (other, of_other)):
        if predictor.target is None:
            raise UsageError("the run has no target with a field, so its answers cannot be joined", where=run.path)
    one, two = (p.fields[p.target or ""] for p in (of_first, of_other))
    if of_first.target != of_other.target or one.kind != two.kind:
        found = f"{first.path} answers {of_first.target} ({one.kind}), {other.path} {of_other.target} ({two.kind})"
        raise UsageError(found, expected="the same target")
    if [*one.classes] != [*two.classes]:
        odd = sorted({*one.classes} ^ {*two.classes}, key=str)
        found = f"{first.path} and {other.path} have other classes" + (f", such as '{odd[0]}'" if odd else "")
        raise UsageError(found, expected="the same classes in the same order")
    if not one.classes and one.rescaling(two) is None:
        found = f"{first.path} and {other.path} scale {of_first.target} otherwise"
        raise UsageError(found, expected="the same training rows and settings of the target")
    by_tokens = of_first.objective.task.output_spec.layout == "tokens"
    if by_tokens and {n: _seen(f) for n, f in of_first.fields.items()} != {
        n: _seen(f) for n, f in of_other.fields.items()
    }:
        raise UsageError(f"{first.path} and {other.path} cut sentences otherwise", expected="the same tokens")


def _seen(field: Field) -> dict[str, Any]:
    return {name: value for name, value in field.to_dict().items() if name != "augment"}


def _rows_of(members: Sequence[Run], joint: EnsemblePredictor, reporter: Reporter) -> Dataset | None:
    """The data of all members, with the columns of all; None where it was in memory.

    Raises:
        UsageError: it is not the same, or one was trained on rows that others were not.
    """
    sources = [{k: v for k, v in run.recipe.data.items() if k != "fingerprint"} for run in members]
    if any(source.get("kind", "memory") == "memory" for source in sources):
        reporter.say("nothing is measured, for the runs were trained on data in memory", style="yellow")
        return None
    for run, source in zip(members, sources, strict=True):
        if source.get("path") != sources[0].get("path"):
            found = f"{members[0].path} was trained on {sources[0].get('path')}, {run.path} on {source.get('path')}"
            raise UsageError(found, expected="the same data")
    splits: dict[str, np.ndarray] = {}
    for run, source in zip(members, sources, strict=True):
        key = str({name: value for name, value in source.items() if name != "inputs"})
        own = splits[key] if key in splits else splits.setdefault(key, Dataset.from_source(source).split)
        first = next(iter(splits.values()))
        if len(own) != len(first):
            raise UsageError(f"{members[0].path} has {len(first):,} rows, {run.path} {len(own):,}", expected="the same")
        trained = int(((first != TRAIN) & (own == TRAIN)).sum())
        if trained:
            raise UsageError(
                f"{run.path} was trained on {trained:,} of the rows that {members[0].path} was measured on",
                expected="the same rows held out", fix="train them with the same --split-seed",
            )  # fmt: skip
    return Dataset.from_source({**sources[0], **_inputs(sources, joint)})


def _inputs(sources: Sequence[dict[str, Any]], joint: EnsemblePredictor) -> dict[str, Any]:
    """The columns that are read, where the source has columns."""
    if "inputs" not in sources[0]:
        return {}
    every = any(source["inputs"] is None for source in sources)
    return {"inputs": None if every else list(dict.fromkeys(c for m in joint.members for c in m.columns))}


def _objective(members: Sequence[Run], loaded: Sequence[Predictor]) -> ObjectiveChoice:
    """The loss that all were trained by, else the usual one; the measure of the first."""
    losses = [run.recipe.objective.loss for run in members]
    loss = losses[0] if all(loss == losses[0] for loss in losses) else "auto"
    return ObjectiveChoice(loss=loss, metric=loaded[0].objective.monitor)


def _fit(
    joint: EnsemblePredictor, reading: Reading, batch_size: int, reporter: Reporter,
    weights: Sequence[float] | None = None,
) -> list[str]:  # fmt: skip
    """Finds what the combination needs by validation rows, and how sure it may be; what was found, in clauses.

    Args:
        weights: that are known.

    Raises:
        DataError: there are no validation rows, and it needs some.
    """
    objective, combination = joint.objective, joint.objective.model
    rows = _rows(reading, "valid")
    if not len(rows):
        if combination.how != HOW[0]:
            raise DataError(f"{combination.how} needs validation rows, and the data has none")
        return []
    every = -(-len(rows) * len(joint.members) * objective.task.output_spec.size // MOST_NUMBERS)
    source = Batches(reading.store, torch.from_numpy(rows[:: max(1, every)]), batch_size)
    found: list[str] = []
    if weights is not None:
        combination.weights.copy_(torch.tensor(weights))
    elif combination.how != HOW[0]:
        answers, targets = _answers(objective, source, reading)
        combination.fit(answers, lambda joint: objective.loss_function(objective.of_members.deactivate(joint), targets))
    if combination.how == "weighted":
        shares = ", ".join(f"{weight:.3f}" for weight in combination.weights.tolist())
        found.append(f"weights: {shares}, of the least log-loss on {len(rows):,} validation rows")
        reporter.say(found[-1])
    calibrate(objective, joint.engine, source, reading.prepare, reporter)
    return found


def _answers(objective: Averaged, source: Batches, reading: Reading) -> tuple[list[torch.Tensor], torch.Tensor]:
    """What each member says of all rows of a source, (N, …), and the targets."""
    kept: list[list[torch.Tensor]] = [[] for _ in objective.members]
    targets = []
    objective.start_evaluation()
    with torch.no_grad():
        for rows, gathered in source.epoch(0):
            batch = reading.prepare(rows, gathered, False, None)
            for own, answer in zip(kept, objective.answers(batch), strict=True):
                own.append(answer.cpu())
            targets.append(batch.target.cpu())
    return [torch.cat(own).clone() for own in kept], torch.cat(targets)


def _rows(reading: Reading, split: str) -> np.ndarray:
    return np.intersect1d(reading.dataset.rows(split), reading.good, assume_unique=True)


def _recipe(
    members: Sequence[Run], joint: EnsemblePredictor, choice: ObjectiveChoice, how: str, reasons: list[str]
) -> Recipe:
    recipes = [run.recipe for run in members]
    first = recipes[0]
    return first.model_copy(
        update={
            "data": {**first.data, **_inputs([recipe.data for recipe in recipes], joint)},
            "fields": {name: given for recipe in reversed(recipes) for name, given in recipe.fields.items()},
            "model": ModelChoice(name="ensemble", options={"how": how, "members": len(members)}),
            "objective": choice, "techniques": {}, "own_parts": {}, "reasons": reasons,
            "plugins": list(dict.fromkeys(plugin for recipe in recipes for plugin in recipe.plugins)),
        }
    )  # fmt: skip


def _write(run: Run, members: Sequence[Run], joint: EnsemblePredictor, recipe: Recipe) -> None:
    for number, member in enumerate(members):
        folder = run.path / "members" / str(number)
        folder.mkdir(parents=True)
        for name in COPIED:
            if (member.path / name).exists():
                shutil.copyfile(member.path / name, folder / name)
    recipe.save(run.path / "recipe.yaml")
    run.save_fields(joint.fields, joint.inputs, joint.target)
    rows = [member.examples for member in members]
    joined = [{k: v for row in same for k, v in row.items()} for same in zip(*rows, strict=False)]
    write_json(run.path / "examples.json", {"examples": joined})
    run.save_model(joint.objective.model, joint.objective.calibration)


def _measure(run: Run, members: Sequence[Run], joint: EnsemblePredictor, reading: Reading, reporter: Reporter) -> None:
    """Writes `evaluation.json`: on test rows, else on validation rows, beside what the members reached there."""
    split = reading.dataset.evaluation_split
    if split not in NAMES or not len(rows := _rows(reading, split)):
        return
    source = Batches(reading.store, torch.from_numpy(rows), 2 * (run.recipe.training.batch_size or 32))
    result = measure(
        joint.objective, joint.engine, source, reading.prepare, split, reading.dataset, len(rows), reporter
    )
    write_json(run.path / "evaluation.json", {**result, "members": _alone(members)})


def _alone(members: Sequence[Run]) -> list[dict[str, Any]]:
    """What each member reached."""
    return [{"run": member.path.name, "metrics": member.evaluation.get("metrics", {})} for member in members]
