"""Cross-validation: each row is answered by a model that did not see it (Stone 1974, "Cross-validatory choice and
assessment of statistical predictions").

A fold is a training like any other whose test rows are the fold: the epoch is chosen on a share of the rows that are
left, never on the fold, which is measured once. It costs as many trainings as there are folds; the data is checked
once, and what is encoded on the disk is read by all. Tokens are counted anew in each fold, since what is fitted on a
fold's rows would know them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flambeau.core.errors import UsageError
from flambeau.core.files import to_json
from flambeau.data.dataset import Dataset
from flambeau.data.packing import batches
from flambeau.data.split import TEST, UNUSED, Split
from flambeau.ensembles import ensemble as joined
from flambeau.fields.category import natural
from flambeau.learner import Learner, records
from flambeau.learner.feeds import FieldFeed
from flambeau.predictor import Predictor
from flambeau.run import Run
from flambeau.studies.base import Study, variant
from flambeau.training import Prepare, Source

if TYPE_CHECKING:
    import polars as pl

OUT_OF_FOLD = "out_of_fold.parquet"
MOST_GROUPS = 30  # that are a fold each without being asked for
Search = Callable[[Learner], Mapping[str, Any]]
"""What finds settings by a Learner whose data is without the fold: nested cross-validation."""


@dataclass
class CrossValidation:
    """What came out of a cross-validation.

    Attributes:
        study: the folder; `fold-…` in it are runs like any other.
        metric: what models are judged by.
        folds: of each training {run, repeat, fold, rows, metrics}.
        mean, deviation: of each metric over all of them; the deviation with n - 1.
        ensemble: the run of all models together, where it was asked for.
    """

    study: Study
    metric: str
    folds: list[dict[str, Any]]
    mean: dict[str, float]
    deviation: dict[str, float]
    ensemble: Run | None = None

    @property
    def out_of_fold(self) -> pl.DataFrame:
        """What each row was answered by the models that did not see it: row, place, repeat, fold, true, predicted, and
        output: the numbers that were decoded, such as the probability of each class in order, of each class for each
        token of a sentence, or the standardised number."""
        import polars as pl

        return pl.read_parquet(self.study.path / OUT_OF_FOLD)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        path = self.study.path
        return {"study": str(path), "metric": self.metric, "mean": self.mean, "deviation": self.deviation,
                "folds": self.folds, "out_of_fold": str(path / OUT_OF_FOLD),
                "ensemble": str(self.ensemble.path) if self.ensemble else None}  # fmt: skip


def cross_validate(
    learner: Learner, folds: int | None = None, *, repeats: int = 1, by: str | None = None, method: str = "auto",
    valid: float | None = None, seed: int | None = None, check: bool = True, ensemble: bool = False,
    search: Search | None = None, study: str | Path | None = None,
) -> CrossValidation:  # fmt: skip
    """Trains a model for each fold of a Learner's data, which tests it. One that was stopped goes on when it is asked
    for again.

    Args:
        learner: what is trained; it is left as it is. All of its rows are dealt into folds, held-out ones too.
        folds: how many; if not given one for each group of `by`, else 5.
        repeats: how many times, by another deal each.
        by: a column that keeps rows together: groups, or folds as they are given; or that of the times.
        method: `auto` (grouped where there is `by`, else each class alike), `random`, `stratified`, `grouped`, or
            `time`: a growing window, each fold later than all that trains.
        valid: share of the other rows that validates and chooses the epoch, as in a training; 0: all of them train,
            and the last epoch is kept.
        seed: of the deal; that of the training if not given.
        check: look for mistakes in the data first, once.
        ensemble: leave a run of all models together in the study.
        search: finds settings for each fold by the other rows alone, for a nested cross-validation.
        study: the folder; under `runs/` if not given.

    Raises:
        UsageError: the data cannot be dealt so. DataError: the check found errors. RunError: another study is there.
    """
    data = learner.data
    if data is None:
        raise UsageError("only a Dataset can be dealt into folds", fix="make one, such as fb.Dataset.from_arrays(x, y)")
    seed = learner.recipe.training.seed if seed is None else seed
    valid = Split().decided(len(data), few=False).valid if valid is None else valid
    deals = [[*data.folds(folds, by=by, seed=seed + turn, method=method, valid=valid)] for turn in range(repeats)]
    if not deals:
        raise UsageError(f"{repeats} repeats do not fit", expected="1 or more")
    if folds is None and len(deals[0]) > MOST_GROUPS:
        raise UsageError(f"the column '{by}' has {len(deals[0])} groups, which would be as many trainings",
                         fix="say how many folds with folds= (--folds)")  # fmt: skip
    recipe = learner.recipe.model_dump(mode="json", exclude={"reasons"})
    asked = {"folds": len(deals[0]), "repeats": repeats, "by": by, "method": method, "valid": valid, "seed": seed,
             "rows": len(data), "recipe": recipe}  # fmt: skip
    name = f"{Path(str(data.source.get('path') or 'data')).stem}-cv"
    here = Study.free(name, "folds", asked) if study is None else Study(study, "folds", asked)
    if check and here.result is None and not any(here.path.glob("fold-*")):
        records.tell(learner.feed.check(learner.recipe, learner.reporter, learner.own_loss), (), learner.reporter)
    done: list[tuple[dict[str, Any], Run]] = []
    for turn, deal in enumerate(deals):
        for number, fold in enumerate(deal):
            run = here.run(f"fold-{turn + 1}-{number + 1}")
            learner.reporter.say(f"repeat {turn + 1}, fold {number + 1} of {len(deal)}: {fold.describe_split()}")
            metrics = _trained(learner, run, fold, search)
            done.append(({"run": run.path.name, "repeat": turn + 1, "fold": number + 1,
                          "rows": int((fold.split == TEST).sum()), "metrics": metrics}, run))  # fmt: skip
    _join([run for _, run in done], [facts for facts, _ in done], here.path / OUT_OF_FOLD)
    figures = [facts["metrics"] for facts, _ in done]
    names = [name for name in figures[0] if all(figure.get(name) is not None for figure in figures)]
    values = {name: np.asarray([figure[name] for figure in figures], np.float64) for name in names}
    last = done[-1][1].evaluation
    result = CrossValidation(
        here, last["metric"], [facts for facts, _ in done],
        {name: float(all_.mean()) for name, all_ in values.items()},
        {name: float(all_.std(ddof=1)) for name, all_ in values.items()},
    )  # fmt: skip
    if ensemble:
        measured = {"split": "out_of_fold", "samples": sum(facts["rows"] for facts, _ in done) // repeats,
                    "metric": result.metric, "higher_is_better": last["higher_is_better"], "metrics": result.mean,
                    "intervals": {}, "detail": {}}  # fmt: skip
        result.ensemble = here.run("ensemble")
        if not result.ensemble.measured:
            joined([run for _, run in done], result.ensemble.path, measured=measured, reporter=learner.reporter)
    here.finish({key: value for key, value in result.to_dict().items() if key != "study"})
    return result


def _trained(learner: Learner, run: Run, data: Dataset, search: Search | None) -> dict[str, float]:
    """The metrics of a fold, whose model and answers are in its run: of before, or trained now."""
    answers = run.path / OUT_OF_FOLD
    if not answers.exists():
        if run.measured:  # killed before its answers were written
            predictor = Predictor.load(run, model=copy.deepcopy(learner.own_model), reporter=learner.reporter)
            encoding = learner.feed.encoding if isinstance(learner.feed, FieldFeed) else None
            reading = predictor.read(data, encoding, learner.reporter)
            rows = np.intersect1d(reading.dataset.rows("test"), reading.good, assume_unique=True)
            source = batches(reading.store, torch.from_numpy(rows), 2 * (run.recipe.training.batch_size or 32))
            _write(answers, predictor, source, reading.prepare, reading.dataset)
        else:
            settings: dict[str, Any] = {"baseline": False}
            if search is not None:  # again after a kill: the same, or going on by itself
                rest = copy.copy(data)
                rest.split = np.where(data.split == TEST, UNUSED, data.split)
                settings |= search(variant(learner, {}, False, rest))
            one = variant(learner, settings, run.path, data)
            one.fit(resume=True, check=False)
            assert one.data is not None
            _write(answers, one.predictor, one.feed.source("test"), one.feed.prepare, one.data)
    metrics: dict[str, float] = run.evaluation["metrics"]
    return metrics


def _write(path: Path, predictor: Predictor, source: Source, prepare: Prepare, data: Dataset) -> None:
    """What a model answers the rows of a source, as Parquet."""
    import polars as pl

    target, first = data.target, data.inputs[0]
    found: list[dict[str, Any]] = []
    for rows, gathered in source.epoch(0):
        outputs = predictor.forward(prepare(rows, gathered, False, None))
        for row, output in zip(rows.tolist(), outputs, strict=True):
            answer = predictor.decode(output, value=data.columns[first][row]).to_dict()["label"]
            truth = data.fields[target].portable(data.columns[target][row]) if target else None
            found.append({"row": row, "place": data.place(row), "true": _cell(truth), "predicted": _cell(answer),
                          "output": output.tolist()})  # fmt: skip
    part = path.with_suffix(".part")
    pl.DataFrame(found, infer_schema_length=None).sort("row").write_parquet(part)
    part.replace(path)


def _cell(value: Any) -> Any:
    """An answer as a cell: numbers, texts and lists of texts as they are, all else as JSON."""
    plain = isinstance(value, (str, int, float)) or (isinstance(value, list) and all(isinstance(v, str) for v in value))
    return value if value is None or plain else to_json(value, indent=None)


def _join(runs: list[Run], facts: list[dict[str, Any]], path: Path) -> None:
    """The answers of all folds in one file; where a fold lacks a class, its probability is 0."""
    import polars as pl

    frames, classes = [], []
    for run, fact in zip(runs, facts, strict=True):
        fields, _, target = run.fields()
        classes.append([*fields[target].classes] if target else [])
        frame = pl.read_parquet(run.path / OUT_OF_FOLD)
        numbers = [pl.lit(fact[name]).alias(name) for name in ("repeat", "fold")]
        frames.append(frame.select("row", "place", *numbers, "true", "predicted", "output"))
    every = sorted({name for names in classes for name in names}, key=natural)
    for number, names in enumerate(classes):
        if names != every and len({*names}) < len(every):
            at = [every.index(name) for name in names]
            outputs = [_spread(np.asarray(output), at, len(every)) for output in frames[number]["output"].to_list()]
            frames[number] = frames[number].with_columns(pl.Series("output", outputs))
    part = path.with_suffix(".part")
    pl.concat(frames, how="vertical_relaxed").sort("repeat", "row").write_parquet(part)
    part.replace(path)


def _spread(output: np.ndarray, at: list[int], count: int) -> Any:
    """Probabilities (…, K) of some classes as those (…, count) of all."""
    wide = np.zeros((*output.shape[:-1], count), np.float32)
    wide[..., at] = output
    return wide.tolist()
