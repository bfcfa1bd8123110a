"""How other data is said to be read, for type checkers and editors: options of sources, each of which says its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict


class Reading(TypedDict, total=False):
    """What `flambeau.data.sources.opening.from_path` takes of most data; one that a source has not is an error that
    names those that have it."""

    inputs: Sequence[str | int] | None
    pattern: str | None
    encoding: str | None
    header: bool
    read: Mapping[str, str] | None
    root: str | Path | None
    id: str | None
    known: Sequence[str] | None
    time: str | None
    time_format: str | None
    horizon: int | None


class Labelled(Reading, total=False):
    """That, and which column of a table is the target."""

    target: str | int | None
