"""What can be wrong with a user's own torch data, where there are no fields: seen on a draw of its rows."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.arrays import as_array
from flambeau.core.findings import Finding, Severity, worst_first
from flambeau.core.randomness import generator, isolated
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.custom import split_batch
from flambeau.data.items import Failure, Items
from flambeau.fields import Category

ROWS, SECONDS = 2_000, 20.0  # that are read of each split, at most
PICTURE, LARGE = 50.0, 1_000.0  # values that no normalised picture, and no other normalised input, has
FEW = 8  # rows that may be alike by chance


@dataclass
class Seen:
    """The rows of one split that were read."""

    split: str
    count: int
    rows: list[int] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    extremes: list[tuple[float, float]] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    not_finite: list[int] = field(default_factory=list)
    blank: list[int] = field(default_factory=list)
    form: str = ""
    axes: int = 0

    def place(self, row: int) -> str:
        """What a row is called."""
        return f"row {row} of {self.split}"


def check_own(
    data: Mapping[str, Any], *, classes: bool, names: Sequence[str] = (), reporter: Reporter = QUIET
) -> list[Finding]:
    """Looks for mistakes in map-style datasets by split, worst first.

    Errors: only one class (`one-class`). Warnings: `unreadable` rows, values that are `not-finite`, inputs that are
    all alike (`constant`), of one value throughout (`blank`) or not normalised (`scale`), `few-samples`,
    `imbalance`, an `unseen-class`, equal inputs with different labels (`label-conflict`) or in different splits
    (`leakage`). Notes: `duplicate`.

    Args:
        classes: whether whole targets are class numbers.
        names: of the classes.
    """
    splits = [_read(dataset, split, reporter) for split, dataset in data.items()]
    findings = [finding for seen in splits for finding in _of_values(seen)]
    if classes and splits:
        findings += _of_classes(splits, names)
    return worst_first([*findings, *_of_pairs(splits, classes)])


def _read(dataset: Any, split: str, reporter: Reporter) -> Seen:
    seen, items, began = Seen(split, len(dataset)), Items(dataset, 0, True), time.monotonic()
    drawn = torch.randperm(seen.count, generator=generator(0, "check", split))[:ROWS].sort().values.tolist()
    with isolated(0), reporter.bar(f"checking {split}", len(drawn)) as bar:
        for i, row in enumerate(drawn):
            item = items[row]
            if isinstance(item, Failure):
                seen.failed[row] = item.told
            elif item is not None:
                _look(seen, row, *split_batch(item))
            bar.update(i + 1)
            if time.monotonic() - began > SECONDS:
                break
    return seen


def _look(seen: Seen, row: int, inputs: Any, target: Any) -> None:
    parts = [part for part in map(_array, _flat(inputs)) if part is not None]
    goal = _array(target)
    seen.rows.append(row)
    seen.labels.append(None if goal is None else goal.item() if goal.size == 1 else goal.tobytes())
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
    seen.digests.append(digest.digest() if parts else b"")
    numbers = [
        part
        for part in (*parts, *([] if goal is None else [goal]))
        if part.size and np.issubdtype(part.dtype, np.inexact)
    ]
    if not all(np.isfinite(part).all() for part in numbers):
        seen.not_finite.append(row)
    elif parts and parts[0].size:
        low, high = float(parts[0].min()), float(parts[0].max())
        seen.extremes.append((low, high))
        if low == high and parts[0].size > FEW:
            seen.blank.append(row)
        seen.form, seen.axes = str(parts[0].dtype), parts[0].ndim


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [part for v in value.values() for part in _flat(v)]
    return [part for v in value for part in _flat(v)] if isinstance(value, (tuple, list)) else [value]


def _array(value: Any) -> np.ndarray | None:
    """Numbers as an array; None for what holds none."""
    if isinstance(value, (Tensor, bool, int, float, np.generic)):
        value = as_array(value)
    numbers = isinstance(value, np.ndarray) and (np.issubdtype(value.dtype, np.number) or value.dtype == bool)
    return value if numbers else None


def _of_values(seen: Seen) -> list[Finding]:
    read = len(seen.rows) + len(seen.failed)
    of = f"{read:,} rows of {seen.split}" + (" that were looked at" if read < seen.count else "")
    findings = []

    def add(check: str, message: str, rows: Sequence[int], fix: str, told: Sequence[str] = ()) -> None:
        places = told or [seen.place(row) for row in rows]
        findings.append(Finding(check, Severity.WARNING, message, list(places), list(rows), fix, len(rows)))

    if seen.failed:
        failures = [f"{seen.place(row)}: {why}" for row, why in seen.failed.items()]
        add("unreadable", f"{len(failures)} of {of} cannot be read", [*seen.failed],
            "mend or remove them: they are left out where the file is at fault", failures)  # fmt: skip
    if seen.not_finite:
        add("not-finite", f"{len(seen.not_finite)} of {of} have NaN or infinite values",
            seen.not_finite, "fill them in, or leave these rows out: the loss becomes NaN")  # fmt: skip
    if seen.split == "train" and len(seen.rows) >= FEW and len(set(seen.digests)) == 1 and seen.digests[0]:
        add("constant", f"the inputs of {of} are all the same", [], "look at what __getitem__ gives")
    elif seen.blank:
        add("blank", f"{len(seen.blank)} of {of} have one value throughout", seen.blank,
            "look at them: nothing can be seen in them")  # fmt: skip
    if seen.extremes and seen.split == "train":
        low, high = min(e[0] for e in seen.extremes), max(e[1] for e in seen.extremes)
        largest = max(-low, high)
        if seen.form.startswith(("float", "uint8")) and largest > (PICTURE if seen.axes == 3 else LARGE):
            add("scale", f"inputs are {seen.form} in {low:g}…{high:g}, which are not normalised", [],
                "give x.float() / 255, then less the mean and by the deviation" if low >= 0 and high <= 255
                else "subtract the mean and divide by the deviation")  # fmt: skip
    return findings


def _of_classes(splits: Sequence[Seen], names: Sequence[str]) -> list[Finding]:
    def labels(seen: Seen) -> list[str]:
        whole = [label for label in seen.labels if label is not None and float(label).is_integer()]
        return [names[int(n)] if 0 <= n < len(names) else str(int(n)) for n in whole]

    if any(isinstance(label, bytes) for seen in splits for label in seen.labels):
        return []  # a class for each pixel, or probabilities
    known = labels(splits[0])
    findings = Category().check(known) if known else []
    for seen in splits[1:]:
        unseen = sorted(set(labels(seen)) - set(known))
        if unseen and len(splits[0].rows) == splits[0].count:
            findings.append(Finding("unseen-class", Severity.WARNING,
                f"{len(unseen)} classes of {seen.split} have no training row, such as '{unseen[0]}'", unseen,
                fix="split the data so that every class is trained on"))  # fmt: skip
    return findings


def _of_pairs(splits: Sequence[Seen], classes: bool) -> list[Finding]:
    """Equal inputs: in two splits, with two labels, or simply twice."""
    groups: dict[bytes, list[tuple[Seen, int, Any]]] = defaultdict(list)
    for seen in splits:
        for row, digest, label in zip(seen.rows, seen.digests, seen.labels, strict=True):
            if digest:
                groups[digest].append((seen, row, label))
    groups_of: dict[str, list[list[tuple[Seen, int, Any]]]] = defaultdict(list)
    several = [group for group in groups.values() if len(group) > 1]
    if any(len(group) > sum(len(seen.rows) for seen in splits) / 2 for group in several):
        return []  # most are alike: that is told of in other words
    for group in several:
        if classes and len({label for _, _, label in group}) > 1:
            groups_of["label-conflict"].append(group)
        if len({seen.split for seen, _, _ in group}) > 1:
            groups_of["leakage"].append(group)
        else:
            groups_of["duplicate"].append(group)
    words = {
        "label-conflict": (Severity.WARNING, "equal inputs have different labels", "decide on one label"),
        "leakage": (Severity.WARNING, "equal inputs are in different splits",
                    "keep them in one split: the figures are too good"),
        "duplicate": (Severity.NOTE, "equal inputs are there more than once", "keep one of them"),
    }  # fmt: skip
    findings = []
    for check, equal_groups in groups_of.items():
        severity, message, fix = words[check]
        places = [" = ".join(seen.place(row) for seen, row, _ in group[:4]) for group in equal_groups]
        rows = [row for group in equal_groups for _, row, _ in group[:2]]
        findings.append(
            Finding(check, severity, f"{len(equal_groups):,} times {message}", places, rows, fix, len(equal_groups))
        )
    return findings
