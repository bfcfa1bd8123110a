"""Splits: which rows train, which validate, which test. A pure function of the seed and of each row's key."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError, nearest

TRAIN, VALID, TEST, UNUSED = 0, 1, 2, 3
NAMES = ("train", "valid", "test")
ALIASES = {
    "train": TRAIN, "training": TRAIN,
    "valid": VALID, "val": VALID, "validation": VALID, "dev": VALID,
    "test": TEST, "testing": TEST,
}  # fmt: skip
LEAST_FOR_TEST = 200  # rows from which some are kept for a test
LEAST = 10  # rows for each class, and groups, below which none are
NEAR, AUTO = "near", "auto"
KEPT = "kept-together"  # the check of a Finding that says so of copies
DRAWN = ("auto", "random", "stratified")
"""The methods that draw single rows, and so keep copies together."""
METHODS = ("auto", "given", "random", "stratified", "grouped", "time", "none")


@dataclass(frozen=True)
class Split:
    """How rows are split.

    Attributes:
        method: `given` (by the source), `random`, `stratified` (each class alike), `grouped` (no group in
            two parts), `time` (the latest rows validate and test), `none` (all rows train), or `auto`: given where the
            source has one, else grouped where there is `by`, stratified for classes and random for the rest.
        valid: share of the rows that validate and choose the epoch, 0…1.
        test: share of the rows kept for the test, whose figures are reported: those of the validation rows are too
            good, for they chose the epoch. 0 keeps none.

            Of 200 rows or more (and 10 for each class, or 10 groups), what is not given of `valid` and `test` is 15 %
            each, 10 % from 25,000 rows on, 5 % from 100,000 on, which measures well enough and leaves more to train
            on. Of fewer rows a fifth validates and none is kept for a test.
        by: the column of the groups or of the times.
        seed: another seed, another split.
        folds: for cross-validation: rows (or groups) are dealt into so many parts. By `time` there is one part more,
            the earliest, and what is later than the fold is in no part of the split: the window grows.
        fold: the part that validates, from 0 on; where `valid` is given, it tests, and that share of the other rows
            validates. Where there are as many groups as folds, they are numbered by name.
        together: copies of a row go where the first of them goes, by auto, random and stratified; see `with_copies`.
            `auto`: so do pictures and texts that look alike, up to some number of them; see
            `flambeau.check.together.seen_firsts`. `near`: so do rows of any kind and number that are alike, by what
            `check` finds, which costs a check.
    """

    method: str = "auto"
    valid: float | None = None
    test: float | None = None
    by: str | None = None
    seed: int = 0
    folds: int | None = None
    fold: int = 0
    together: bool | str = AUTO

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"no split is called '{self.method}'", fix=nearest(self.method, METHODS))
        valid, test = self.valid or 0, self.test or 0
        if not (valid >= 0 and test >= 0 and valid + test < 1):
            raise UsageError(
                f"the shares valid={self.valid} and test={self.test} do not fit",
                expected="two shares, together below 1",
            )
        if self.together not in (True, False, NEAR, AUTO):
            raise UsageError(f"together={self.together!r} does not fit", expected=f"True, False, '{AUTO}' or '{NEAR}'")
        if self.together == NEAR and self.method not in DRAWN:
            found = f"a split '{self.method}' keeps no rows together that are alike"
            raise UsageError(found, expected=", ".join(DRAWN))
        if self.folds is not None and (
            self.folds < 2 or not 0 <= self.fold < self.folds or self.method in ("given", "none")
        ):
            raise UsageError(
                f"fold {self.fold} of {self.folds} of a split '{self.method}' does not fit",
                expected="2 or more folds, numbered from 0, by auto, random, stratified, grouped or time",
            )
        if self.method in ("grouped", "time") and not self.by:
            raise UsageError(f"a split of the kind '{self.method}' needs a column", fix="give by='column'")

    @classmethod
    def of(cls, split: Split | str) -> Split:
        """A Split as it is, or the one of a method's name."""
        return cls(split) if isinstance(split, str) else split

    @property
    def keeps_given(self) -> bool:
        """Whether the parts that a source has are the split."""
        return self.method in ("auto", "given") and self.folds is None

    def assign(
        self, keys: Sequence[Hashable], labels: Sequence[Hashable] | None = None, by: Sequence[Any] | None = None
    ) -> np.ndarray:
        """The part of the split that each row is in, int8 (N): TRAIN, VALID or TEST.

        Args:
            keys: what identifies each row (a relative path, a row number); the draw depends on nothing else, so a
                row added elsewhere moves none of these.
            labels: the classes, for `stratified`.
            by: the groups or times, for `grouped` and `time`.
        """
        if self.method == "none":
            return np.zeros(len(keys), np.int8)
        if self.folds is not None:
            return self._fold(keys, labels, by)
        if self.valid is None or self.test is None:
            grouped = self.method == "grouped"
            named = by if grouped else labels
            kinds = 0 if named is None else len({str(value) for value in named})
            few = len(keys) < LEAST_FOR_TEST or (kinds < LEAST if grouped else len(keys) < LEAST * kinds)
            return self.decided(len(keys), few).assign(keys, labels, by)
        if self.method == "time":
            return self._cut(np.argsort(self._times(by), kind="stable")[::-1])
        if self.method == "grouped":
            assert by is not None
            return self._by_group([str(g) for g in by])
        drawn = np.argsort(self._draw(keys), kind="stable")
        if self.method == "random" or labels is None:
            return self._cut(drawn)
        split = np.zeros(len(keys), np.int8)
        names = np.asarray([str(label) for label in labels])
        order = drawn[np.argsort(names[drawn], kind="stable")]
        bounds = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1], True])
        for start, end in itertools.pairwise(bounds):
            rows = order[start:end]
            split[rows] = self._cut(np.arange(len(rows)))
        return split

    def with_copies(self, drawn: np.ndarray, first: np.ndarray, labels: Sequence[Hashable] | None = None) -> np.ndarray:
        """A split (N) as it was drawn with the copies of each row put where the first of them is; that of over 1 % of
        the rows, which would not fit into a part, trains, and so does what is left of a class that would not otherwise.
        As it was, where a part would be empty.

        Args:
            first: the row that each is a copy of, int64 (N): itself where it is of none.
            labels: the classes of the rows, where they have one each.
        """
        split = drawn[first]
        if self.folds is None:
            split[np.bincount(first, minlength=len(first))[first] > max(LEAST, 0.01 * len(first))] = TRAIN
            if labels is not None:
                names = np.asarray([str(label) for label in labels])
                lost = ~np.isin(names, names[split == TRAIN]) & np.isin(names, names[drawn == TRAIN])
                split[np.isin(first, first[lost])] = TRAIN
        return split if {*split.tolist()} == {*drawn.tolist()} else drawn

    def decided(self, rows: int, few: bool) -> Split:
        """With both shares, for so many rows: by steps, so that one row more does not move the others.

        Args:
            few: there are too few of them for a test, unless one is asked for.
        """
        share = 0.15 if rows < 25_000 else 0.1 if rows < 100_000 else 0.05
        valid, test = self.valid, self.test
        if test is None:
            test = 0.0 if few or valid == 0 else min(share, (1 - (valid or 0)) / 2)
        if valid is None:
            # all that is held out, where it is not shared with a test
            valid = min(0.2 if rows < 25_000 and (self.test is not None or not test) else share, (1 - test) / 2)
        return replace(self, valid=valid, test=test)

    def _times(self, by: Sequence[Any] | None) -> np.ndarray:
        """The times (N), each of which is there."""
        assert by is not None
        missing = next((row for row, time in enumerate(by) if time is None or time != time), None)
        if missing is not None:
            raise DataError(
                f"the column '{self.by}' has no time", where=f"row {missing}", fix="fill it in or remove the row"
            )
        return np.asarray(by)

    def _fold(
        self, keys: Sequence[Hashable], labels: Sequence[Hashable] | None, by: Sequence[Any] | None
    ) -> np.ndarray:
        """The split of each row, int8 (N), where `fold` is held out."""
        parts, fold = self._parts(keys, labels, by), self.fold + (self.method == "time")
        others = parts < fold if self.method == "time" else parts != fold
        split = np.where(parts == fold, VALID if self.valid is None else TEST, np.where(others, TRAIN, UNUSED))
        if self.valid:
            rows = np.flatnonzero(others)
            some = [None if values is None else [values[row] for row in rows.tolist()] for values in (keys, labels, by)]
            alone = self.method == "grouped" and len({str(group) for group in some[2] or ()}) < 2
            method = "random" if alone else self.method
            within = replace(self, method=method, test=0.0, folds=None, fold=0)
            split[rows] = within.assign(some[0] or [], some[1], some[2])
        return split.astype(np.int8)

    def _parts(
        self, keys: Sequence[Hashable], labels: Sequence[Hashable] | None, by: Sequence[Any] | None
    ) -> np.ndarray:
        """The part of each row, int64 (N), 0…folds-1, alike in size; by time 0…folds, from the earliest on."""
        assert self.folds is not None
        if self.method == "time":
            times = self._times(by)
            earlier = np.searchsorted(np.sort(times), times)  # equal times are in one part
            return earlier * (self.folds + 1) // len(times)
        if self.method == "grouped":
            assert by is not None
            names, inverse, counts = np.unique([str(g) for g in by], return_inverse=True, return_counts=True)
            if len(names) < self.folds:
                raise UsageError(
                    f"the column '{self.by}' has {len(names)} groups",
                    expected=f"at least {self.folds}, one for each fold",
                )
            if len(names) == self.folds:
                return inverse
            part_of, sizes = np.zeros(len(names), np.int64), [0] * self.folds
            for group in np.argsort(self._draw([str(name) for name in names]), kind="stable").tolist():
                smallest = sizes.index(min(sizes))
                part_of[group] = smallest
                sizes[smallest] += int(counts[group])
            return part_of[inverse]
        order = np.argsort(self._draw(keys), kind="stable")
        if self.method != "random" and labels is not None:
            order = order[np.argsort(np.asarray([str(label) for label in labels])[order], kind="stable")]
        parts = np.zeros(len(keys), np.int64)
        parts[order] = np.arange(len(keys)) % self.folds
        return parts

    def _draw(self, keys: Sequence[Hashable]) -> np.ndarray:
        """A number for each key, uint64 (N), that depends on the key and the seed alone."""
        start, digest = f"{self.seed}/", hashlib.blake2b
        drawn = bytearray()
        for key in keys:
            text = f"{start}{key}".encode("utf-8", "surrogateescape")  # a file name may be any bytes
            drawn += digest(text, digest_size=8).digest()
        return np.frombuffer(drawn, ">u8")

    def _cut(self, order: np.ndarray) -> np.ndarray:
        """The first of `order` to test, the next to valid, the rest to train; one row always trains."""
        n = len(order)
        n_test = min(round(n * (self.test or 0)), n - 1)
        n_valid = min(round(n * (self.valid or 0)), n - 1 - n_test)
        split = np.zeros(n, np.int8)
        split[order[:n_test]] = TEST
        split[order[n_test : n_test + n_valid]] = VALID
        return split

    def _by_group(self, groups: list[str]) -> np.ndarray:
        names, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
        if len(names) < 2 and (self.valid or self.test):
            raise UsageError(
                f"the column '{self.by}' has one group only", fix="choose another column, or split='stratified'"
            )
        drawn = np.argsort(self._draw([str(name) for name in names]), kind="stable").tolist()
        split_of_group = np.zeros(len(names), np.int8)
        position = 0
        for part, share in ((TEST, self.test), (VALID, self.valid)):
            filled = 0
            # at least one group a part, and one left to train on; half of a group over is as good as half under
            while share and position < len(drawn) - 1 and (filled == 0 or filled < share * len(groups)):
                size = counts[drawn[position]]
                if filled and filled + size / 2 > share * len(groups):
                    break
                split_of_group[drawn[position]] = part
                filled += size
                position += 1
        return split_of_group[inverse]


def as_files_say(sides: Sequence[int | None], keys: Sequence[Hashable], how: Split) -> Split | list[int]:
    """How rows (N) are split whose files may say their part: as they say, with some that validate, where that is kept
    and they are of several; else as was asked. Those that say none train."""
    given = [TRAIN if side is None else side for side in sides]
    kept = how.keeps_given and len({*given}) > 1 and TRAIN in given
    return with_validation(given, None, keys, how) if kept else how


def with_validation(
    given: Sequence[int], labels: Sequence[Any] | None, keys: Sequence[Hashable], how: Split
) -> list[int]:
    """The given part of each row (N); where none validates, a share of the training rows does: of each class alike,
    where there are labels. Rows that all train are split as if nothing was given."""
    if VALID in given or how.valid == 0:
        return list(given)
    train = [i for i, part in enumerate(given) if part == TRAIN]
    kind = "random" if labels is None else "stratified"
    drawn = Split(kind, valid=how.valid, test=0.0 if TEST in given else how.test, seed=how.seed).assign(
        [keys[i] for i in train], None if labels is None else [labels[i] for i in train]
    )
    out = list(given)
    for i, part in zip(train, drawn, strict=True):
        out[i] = int(part)
    return out


def split_of(value: Any, row: int) -> int:
    """The number of a split by its name or number.

    Raises:
        DataError: there is none of that name; it gives the row.
    """
    if isinstance(value, (int, np.integer)) and 0 <= int(value) < len(NAMES):
        return int(value)
    split = ALIASES.get(str(value).strip().lower())
    if split is None:
        told = "the split is missing" if value is None else f"the split '{value}' is not known"
        raise DataError(told, where=f"row {row}", expected="train, valid or test")
    return split
