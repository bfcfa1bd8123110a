"""Findings: what a check noticed, where, how bad it is and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from flambeau.core.display import as_html


class Severity(StrEnum):
    """How bad a finding is. Only an error makes `flambeau check` exit with 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass
class Finding:
    """One thing that a check noticed.

    Attributes:
        check: the name of the check, such as `unreadable` or `leakage`.
        severity: how bad it is.
        message: what was found, one sentence without the places.
        places: where: file names, or `row 12`; in full, so that a program can act on them.
        rows: the dataset rows concerned, for thumbnails in the report.
        fix: what to do.
        count: how many samples are concerned.
    """

    check: str
    severity: Severity
    message: str
    places: list[str] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    fix: str = ""
    count: int = 0

    def __post_init__(self) -> None:
        self.severity = Severity(self.severity)
        self.count = self.count or len(self.places) or len(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The finding as plain JSON."""
        return {**asdict(self), "severity": str(self.severity)}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> Finding:
        """The finding that `to_dict` wrote."""
        return cls(**state)

    def __str__(self) -> str:
        places = ""
        if self.places:
            shown = ", ".join(self.places[:3])
            places = f" ({shown}{f' and {len(self.places) - 3} more' if len(self.places) > 3 else ''})"
        return f"{self.severity}: {self.message}{places}{f'; {self.fix}' if self.fix else ''}"


class Findings(list[Finding]):
    """A list of them, which a notebook shows."""

    _repr_html_ = as_html


TELLS_LEFT_OUT = ("unequal-tags", "undecodable", "unreadable")
"""Findings of a dataset's source that have taken a value out of each of their rows."""


def worst_first(findings: Iterable[Finding]) -> Findings:
    """Findings sorted by severity, then by how many samples they concern."""
    order = list(Severity)
    return Findings(sorted(findings, key=lambda f: (order.index(f.severity), -f.count)))


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether any finding is an error."""
    return any(f.severity is Severity.ERROR for f in findings)
