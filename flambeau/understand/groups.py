"""Groups of samples that a model takes for alike and fails on, and what they share.

Rows are grouped by their embeddings (k-means: Lloyd 1982), which know nothing of the truth; a group is named only where
its errors are more than chance would give it, corrected over all groups (see `BySlice`). After A. d'Eon and others,
"The spotlight: a general method for discovering systematic errors in deep learning models", 2022,
https://arxiv.org/abs/2107.00758. It costs a tenth of a second on 2,000 rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy
import torch
from torch import Tensor

from flambeau.core.arrays import missing
from flambeau.core.errors import DataError
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.slicing import Slicing
from flambeau.objectives.intervals import holm
from flambeau.objectives.slices import LEVEL, BySlice
from flambeau.objectives.tasks import Task

MOST_ROWS = 2000
LEAST_ROWS = 60
PER_GROUP, MOST_GROUPS = 40, 16  # rows of a group in the mean, where there are not more groups than that
DIMENSIONS = 16
NAMED, SHARED, SHOWN = 3, 3, 6  # groups, what is said of one, and samples of it
CLEAR, LARGE = 0.75, 0.3
"""From which on something is said: the chance that a number of a group is above one of the others, or below; and the
share of a group that has a name in common."""


class Groups:
    """A metric that says nothing of the whole, but which groups of rows are worse than the rest.

    Args:
        last: gives the embeddings of the batch that is measured.
        rows: those that are measured, int64.
        slicings: ways to part them, which may be what a group shares.
    """

    def __init__(
        self, task: Task, last: Callable[[], Tensor | None], dataset: Dataset, rows: np.ndarray,
        slicings: Sequence[Slicing],
    ):  # fmt: skip
        self.task, self.last, self.dataset, self.slicings = task, last, dataset, slicings
        self.wanted = np.zeros(len(dataset), bool)
        self.wanted[rows[:: max(1, -(-len(rows) // MOST_ROWS))]] = True
        self.seen: list[tuple[Tensor, Tensor, Tensor, list[str | None]]] = []  # embeddings, errors, rows, answers

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        vectors = self.last()
        if vectors is None or len(vectors) != len(rows):  # such as windows, several to a sample
            return
        errors = self.task.row_errors(output.float().cpu(), target.cpu())
        if errors is None:
            return
        kept = torch.from_numpy(self.wanted[rows.cpu().numpy()]) & errors.isfinite() & (errors.ndim == 1)
        answers = self._answers(output, target)
        self.seen.append((vectors.float().cpu()[kept], errors[kept], rows.cpu()[kept],
                          [answers[i] for i in kept.nonzero()[:, 0].tolist()]))  # fmt: skip

    def _answers(self, output: Tensor, target: Tensor) -> list[str | None]:
        """What each answer took for what, of classes."""
        field = self.task.field
        names = field.classes if field is not None and field.one_class else ()
        if not names or output.shape[1:] != (len(names),):
            return [None] * len(target)
        pairs = zip(target.tolist(), output.argmax(1).tolist(), strict=True)
        return [f"{names[true]} → {names[said]}" if true != said else None for true, said in pairs]

    def values(self) -> dict[str, float]:
        return {}

    def detail(self) -> dict[str, Any]:
        """{groups: {metric, tested, worst: [{count, score, interval, rest, p, shared: [{name, share, elsewhere} or
        {name, median, elsewhere}], samples: [{row}]}]}}; empty where no group is worse."""
        if not self.seen:
            return {}
        vectors, errors, rows = (torch.cat(parts).numpy() for parts in [*zip(*self.seen, strict=True)][:3])
        answers = [answer for *_, of_batch in self.seen for answer in of_batch]
        if len(rows) < LEAST_ROWS or not errors.any() or not np.isfinite(vectors).all():
            return {}
        labels = _grouped(vectors)
        codes = np.full(len(self.dataset), -1, np.int32)
        codes[rows] = labels
        by_group = BySlice(self.task, [Slicing("group", [str(g) for g in range(labels.max() + 1)], codes)])
        by_group.add(torch.from_numpy(errors), torch.from_numpy(rows))
        found = by_group.detail().get("slices", {"worst": []})
        worst = []
        for part in found["worst"][:NAMED]:
            inside = labels == int(part["value"])
            order = np.flatnonzero(inside)[np.argsort(-errors[inside], kind="stable")]
            kept = {name: part[name] for name in ("count", "score", "interval", "rest", "p")}
            samples = [{"row": int(row)} for row in rows[order[:SHOWN]]]
            worst.append({**kept, "shared": self._shared(inside, rows, answers), "samples": samples})
        return {"groups": {"metric": found["metric"], "tested": found["tested"], "worst": worst}} if worst else {}

    def _shared(self, inside: np.ndarray, rows: np.ndarray, answers: list[str | None]) -> list[dict[str, Any]]:
        """What sets the rows of a group apart from the others, the surest first."""
        tests = [*_names(inside, [{answer} - {None} for answer in answers])]
        for way in self.slicings:
            codes = way.codes[rows]
            tests += _names(inside, [{f"{way.name} = {way.values[c]}"} if c >= 0 else set() for c in codes])
        for name in self.dataset.inputs:
            if name != PRESENT:
                tests += self._qualities(name, inside, rows)
        tests.sort(key=lambda one: one["p"])
        adjusted = holm([one.pop("p") for one in tests])
        kept = [one for one, p in zip(tests, adjusted, strict=True) if p < LEVEL]
        large = [one for one in kept if one.get("share", 1.0) >= LARGE and one.get("clear", 1.0) >= CLEAR]
        return [{key: value for key, value in one.items() if key != "clear"} for one in large[:SHARED]]

    def _qualities(self, name: str, inside: np.ndarray, rows: np.ndarray) -> Iterator[dict[str, Any]]:
        field, column = self.dataset.fields[name], self.dataset.columns[name]
        known: list[dict[str, Any]] = []
        for row in rows:
            try:
                value = column[row]
                known.append({} if np.ndim(value) == 0 and missing(value) else field.qualities(value))
            except (DataError, OSError):
                known.append({})
        yield from _names(inside, [{key for key, value in one.items() if value is True} for one in known])
        for key in sorted({key for one in known for key, value in one.items() if value is not True}):
            numbers = np.asarray([one.get(key, np.nan) for one in known], float)
            ours, theirs = (numbers[side & np.isfinite(numbers)] for side in (inside, ~inside))
            if len(ours) and len(theirs) and np.ptp(numbers[np.isfinite(numbers)]) > 0:
                u, p = scipy.stats.mannwhitneyu(ours, theirs)
                above = float(u) / (len(ours) * len(theirs))
                yield {"name": key, "median": float(np.median(ours)), "elsewhere": float(np.median(theirs)),
                       "clear": max(above, 1 - above), "p": float(p)}  # fmt: skip


def _grouped(vectors: np.ndarray) -> np.ndarray:
    """The group of each of N embeddings, int (N)."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    spread = vectors.std(0)
    known = ((vectors - vectors.mean(0)) / np.where(spread > 0, spread, 1)).astype(np.float64)
    if known.shape[1] > DIMENSIONS:
        known = PCA(DIMENSIONS, random_state=0).fit_transform(known)
    count = min(max(2, len(known) // PER_GROUP), MOST_GROUPS, len(np.unique(known, axis=0)))
    return np.asarray(KMeans(count, n_init=1, random_state=0).fit_predict(known))


def _names(inside: np.ndarray, names: Sequence[set[Any]]) -> Iterator[dict[str, Any]]:
    """Names that rows of a group have more often than others, with the chance of that (Fisher 1922)."""
    ours = Counter(name for mine, own in zip(inside, names, strict=True) if mine for name in own)
    whole = Counter(name for own in names for name in own)
    n, total = int(inside.sum()), len(inside)
    for name, count in sorted(ours.items()):
        share, elsewhere = count / n, (whole[name] - count) / max(total - n, 1)
        if count > 1 and share > 1.5 * elsewhere:
            p = float(scipy.stats.hypergeom.sf(count - 1, total, whole[name], n))
            yield {"name": name, "share": share, "elsewhere": elsewhere, "p": p}


def in_words(group: dict[str, Any], metric: str) -> str:
    """A group in a sentence."""
    shared = [
        f"{one['share']:.0%} {one['name']} ({one['elsewhere']:.0%} of the others)" if "share" in one
        else f"{one['name']} {one['median']:.3g} in the median ({one['elsewhere']:.3g} of the others)"
        for one in group["shared"]
    ]  # fmt: skip
    places = ", ".join(one["place"] for one in group["samples"][:3] if one.get("place"))
    told = f"{group['count']:,} alike: {metric} {group['score']:.3g}, {group['rest']:.3g} on the others"
    return f"{told} (p = {group['p']:.2g})" + (f"; {'; '.join(shared)}" if shared else "") + f"; such as {places}"
