"""Findings from samples that are equal or alike: conflicting labels, leakage between splits, mere copies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from flambeau.check.labels import class_names
from flambeau.check.wording import counted
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.split import NAMES

KINDS = {
    "label-conflict": (", with different labels", Severity.WARNING, "keep the label that is right"),
    "leakage": (
        ", in different splits",
        Severity.WARNING,
        "keep them in one split: what a model has seen does not show how well it does on new data",
    ),
    "duplicate": (", in one class and one split", Severity.NOTE, "remove the copies, which only count double"),
}
"""What is said of each kind of link, how bad it is, and what to do."""
MANY_ALIKE = 0.1
"""Share of the rows that are alike across classes from which it is the classes that are alike, not labels wrong."""


def groups_by(digests: Sequence[bytes]) -> list[list[int]]:
    """Rows of equal digests, two or more together; rows with an empty digest are in none."""
    rows_of: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in enumerate(digests):
        if digest:
            rows_of[digest].append(row)
    return [rows for rows in rows_of.values() if len(rows) > 1]


class Link(NamedTuple):
    """Two rows that are equal or alike, and what that makes them: conflict, leakage or copy."""

    check: str
    first: int
    second: int


class Twins:
    """Sorts equal and alike rows of a dataset into conflicts, leakage and copies."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset
        self.labels: Sequence[str | None] = [None] * len(dataset)
        field = dataset.fields[dataset.target] if dataset.target else None
        self.classes = field is not None and field.has_classes
        if dataset.target and field is not None and field.has_classes:
            names = class_names(field, dataset.columns[dataset.target])
            self.labels = [None if n is None else ", ".join(sorted(n)) for n in names]

    def groups(self, digests: Sequence[bytes]) -> list[list[int]]:
        """Rows of equal digests, two or more together; rows with an empty digest are in none."""
        return groups_by(digests)

    def equal(self, groups: Iterable[list[int]], noun: str, coincidence: bool = False) -> list[Finding]:
        """Findings about groups of equal rows; only notes where equal rows may be a coincidence."""
        return self._findings([link for rows in groups for link in self._within(rows)], noun, "", coincidence)

    def alike(self, pairs: np.ndarray, groups: Iterable[list[int]], noun: str) -> list[Finding]:
        """Findings about pairs (P, 2) of rows that look alike, the most alike first.

        Where a row has equals, they are alike too, whatever their label and split.
        """
        group_of = {rows[0]: rows for rows in groups}
        links = []
        for first, second in pairs.tolist():
            seen = set()
            for one in self._distinct(group_of.get(first, [first])):
                for other in self._distinct(group_of.get(second, [second])):
                    for check in self._relations(one, other):
                        if check not in seen:
                            seen.add(check)
                            links.append(self._link(check, one, other))
        return self._findings(links, noun, "near-", False)

    def _distinct(self, rows: list[int]) -> list[int]:
        """The first of these rows of each label and split."""
        seen: dict[tuple[str | None, int], int] = {}
        for row in rows:
            seen.setdefault((self.labels[row], int(self.dataset.split[row])), row)
        return list(seen.values())

    def _relations(self, one: int, other: int) -> Iterator[str]:
        labels = self.labels[one], self.labels[other]
        conflict = None not in labels and labels[0] != labels[1]
        leak = self.dataset.split[one] != self.dataset.split[other]
        if conflict:
            yield "label-conflict"
        if leak:
            yield "leakage"
        if not conflict and not leak:
            yield "duplicate"

    def _link(self, check: str, one: int, other: int) -> Link:
        swap = self.dataset.split[one] > self.dataset.split[other]  # training rows first
        return Link(check, other, one) if swap else Link(check, one, other)

    def _within(self, rows: list[int]) -> Iterator[Link]:
        """Links in a group of equal rows: each row with the first that it conflicts with, leaks from or copies."""
        rows = sorted(rows, key=lambda row: (int(self.dataset.split[row]), row))
        firsts = self._distinct(rows)
        place = {row: place for place, row in enumerate(rows)}
        for row in rows:
            seen: set[str] = set()
            for first in firsts:
                if place[first] >= place[row]:
                    break
                for check in self._relations(first, row):
                    if check not in seen:
                        seen.add(check)
                        yield Link(check, first, row)

    def _findings(self, links: list[Link], noun: str, near: str, coincidence: bool) -> list[Finding]:
        kept: dict[str, list[Link]] = defaultdict(list)
        linked: dict[str, set[int]] = defaultdict(set)
        for link in links:  # the first link of a row is its closest; more would say the same again
            rows = {link.first, link.second}
            if not rows <= linked[link.check]:
                linked[link.check] |= rows
                kept[link.check].append(link)
        same = "that look alike" if near else "that are equal"
        findings = []
        for check, (what, severity, fix) in KINDS.items():
            if links_of := kept[check]:
                if check == "duplicate" and not self.classes:
                    what = ", in one split"
                message = f"{counted(len(links_of), 'pair')} of {noun}s {same}{what}"
                places = [self._place(link, "≈" if near else "=") for link in links_of]
                rows_of = [row for link in links_of for row in (link.first, link.second)]
                if near and check == "label-conflict":
                    fix = "look at them: where they show the same, keep the label that is right"
                    if len(linked[check]) > MANY_ALIKE * len(self.dataset):
                        severity = Severity.NOTE
                        fix = "look at a few: so many are alike where classes differ in a detail"
                if coincidence:
                    severity, fix = Severity.NOTE, "nothing, if rows of few values are equal by chance; look at a few"
                findings.append(Finding(near + check, severity, message, places, rows_of, fix, len(links_of)))
        return findings

    def _place(self, link: Link, sign: str) -> str:
        def place(row: int) -> str:
            if link.check == "label-conflict":
                return f"{self.dataset.place(row)} ({self.labels[row]})"
            if link.check == "leakage":
                return f"{self.dataset.place(row)} ({NAMES[self.dataset.split[row]]})"
            return self.dataset.place(row)

        return f"{place(link.first)} {sign} {place(link.second)}"
