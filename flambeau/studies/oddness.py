"""How well a run that learned what rows are like, without a target, tells odd ones apart where the truth is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.arrays import missing
from flambeau.core.errors import DataError, UsageError, check_known
from flambeau.core.printable import quoted
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.sources.archives import is_archive, unpack
from flambeau.data.sources.opening import from_path, source_of
from flambeau.data.store.encode import EncodeOptions
from flambeau.objectives import OBJECTIVES
from flambeau.objectives.generative import Generative
from flambeau.objectives.intervals import Grouped, groups_of
from flambeau.objectives.ranking import Ranking
from flambeau.predictor import Predictor
from flambeau.run import Run

SHOWN = 5  # rows of each kind that are named
MOST_VALUES = 12  # that an error lists


class Told(Grouped):
    """ROC AUC and average precision of scores, higher for odd rows."""

    def __init__(self) -> None:
        self._ranking, self._count, self._groups = Ranking(), 0, np.zeros(0, np.int64)

    def add(self, scores: np.ndarray, odd: np.ndarray, rows: torch.Tensor) -> None:
        """Scores (B) of rows, and whether they are odd, bool (B)."""
        groups = groups_of(rows).numpy()
        self._ranking.add(scores, odd, groups)
        self._groups, self._count = np.union1d(self._groups, groups), self._count + len(rows)

    @property
    def count(self) -> int:
        return self._count

    def values(self) -> dict[str, float]:
        return self._ranking.values()._asdict()

    def without_groups(self) -> dict[str, np.ndarray]:
        ranks = self._ranking.without(self._groups)
        return {name: np.asarray([getattr(one, name) for one in ranks]) for name in ("roc_auc", "average_precision")}


def tells(run: str | Path | Run) -> bool:
    """Whether a run tells how odd rows are, and of nothing else."""
    run = run if isinstance(run, Run) else Run.open(run)
    kind = OBJECTIVES[run.recipe.objective.name]
    return issubclass(kind, Generative) and not kind.conditional


def measured(
    run: str | Path | Run, data: str | Path | Dataset | None, *, target: str | None = None, positive: str | None = None,
    options: EncodeOptions | None = None, device: str = "auto", reporter: Reporter = QUIET, **source_options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Scores of all rows of data beside a column that says which of them are odd; rows where that is missing are left
    out.

    Args:
        target: the column of the truth; of folders a folder's name is it, and none is given.
        positive: what it says of odd rows; of two values the rarer one if not given.

    Returns:
        {column, odd, rows, odd_rows, metrics, intervals, missed, alarms}, plain JSON: the least odd of the odd rows,
        and the oddest of the others, each {place, truth, score}.

    Raises:
        UsageError: the run scores no rows, or nobody said which rows are odd. DataError: there is no such column, it
        says the same of all rows, or the data cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    predictor = Predictor.load(run, device=device, reporter=reporter)
    if not isinstance(predictor.objective, Generative) or predictor.target is not None:
        raise UsageError("this run does not tell how odd rows are", where=run.path,
                         fix="train with --objective autoencoder or vae, without a target")  # fmt: skip
    if data is None:
        raise UsageError("nothing says which rows are odd",
                         fix=f"give data that does: flambeau evaluate {quoted(run.path)} DATA "
                             "--target COLUMN")  # fmt: skip
    dataset = data if isinstance(data, Dataset) else _read(data, run, predictor, target, source_options)
    column = target or dataset.target
    if column is None or column not in dataset.columns:
        lacks = f"the data has no column '{column}'" if column else "nothing says which rows are odd"
        raise DataError(lacks, where=data, expected="one of " + ", ".join(dataset.columns))
    said = ["" if missing(value) else str(value) for value in dataset.columns[column]]
    odd = _odd(Counter(filter(None, said)), positive, column)
    reading = predictor.read(dataset, options, reporter)
    for finding in reading.findings:
        reporter.say(str(finding), style="yellow")
    rows = np.asarray([row for row in reading.good.tolist() if said[row]], np.int64)
    truth, scores, told = np.asarray([one == odd for one in said]), np.zeros(len(said)), Told()
    for chosen, gathered in Batches(reading.store, torch.from_numpy(rows), run.recipe.training.batch_size or 64).epoch(
        0
    ):
        some = predictor.forward(reading.prepare(chosen, gathered, False, None))[:, 0]
        scores[chosen] = some
        told.add(some, truth[chosen], chosen)

    def named(chosen: np.ndarray) -> list[dict[str, Any]]:
        return [{"place": dataset.place(row), "truth": said[row], "score": float(scores[row])}
                for row in chosen[:SHOWN].tolist()]  # fmt: skip

    order = rows[np.argsort(scores[rows], kind="stable")]
    return {
        "column": column, "odd": odd, "rows": len(rows), "odd_rows": int(truth[rows].sum()),
        "metrics": told.values(), "intervals": told.intervals(),
        "missed": named(order[truth[order]]), "alarms": named(order[~truth[order]][::-1]),
    }  # fmt: skip


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What a terminal shows of `measured`."""
    yield f"{found['rows']:,} rows, of which {found['odd_rows']:,} are odd: {found['column']} is {found['odd']}"
    for name, value in found["metrics"].items():
        low, high = found["intervals"].get(name, (None, None))
        between = "" if low is None else f" (95 % interval {low:.4g} to {high:.4g})"
        by_chance = 0.5 if name == "roc_auc" else found["odd_rows"] / found["rows"]
        yield f"  {name} {value:.4f}{between}; by chance {by_chance:.2g}"
    for name, what in (("missed", "odd and least so to the run"), ("alarms", "not odd and most so to the run")):
        yield f"  {what}: " + ", ".join(f"{one['place']} ({one['score']:.4g})" for one in found[name])


def _odd(counts: Counter[str], positive: str | None, column: str) -> str:
    """What a column says of odd rows."""
    if len(counts) < 2:
        raise DataError(f"'{column}' says {next(iter(counts), 'nothing')!r} of all rows, so none is odd beside others",
                        expected="two values or more")  # fmt: skip
    if positive is not None:
        check_known(f"'{column}' is nowhere", [positive], counts)
        return positive
    if len(counts) > 2:
        known = ", ".join(name for name, _ in counts.most_common(MOST_VALUES))
        raise UsageError(f"'{column}' has {len(counts):,} values: {known}{', …' * (len(counts) > MOST_VALUES)}",
                         fix="say which is odd: --positive VALUE")  # fmt: skip
    return min(counts, key=lambda name: counts[name])


def _read(
    path: str | Path, run: Run, predictor: Predictor, target: str | None, given: dict[str, Any]
) -> Dataset:  # fmt: skip
    """The rows, read as the training's were, with the column of the truth."""
    path = unpack(path) if is_archive(Path(path)) else path
    source, options = source_of(path, given), dict(given)
    if source.columns:
        if target in predictor.columns:
            raise UsageError(f"the run sees '{target}' as one of its inputs, which says what is to be found",
                             where=run.path, fix="train it on the others, by --input for each")  # fmt: skip
        kept = {name: run.recipe.data.get(name) for name in ("header", "columns") if name in source.options()}
        options = {**{name: value for name, value in kept.items() if value is not None}, "inputs": predictor.columns,
                   "fields": predictor.column_fields, "target": target, **given}  # fmt: skip
    elif target is not None:
        options["target"] = target
    return from_path(path, split="none", **options)
