"""Columns of a data frame as raw values: numbers that a few texts stand between, dates, columns without a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.fields import Field, Number
from flambeau.fields.strings import Names, Strings, Texts
from flambeau.fields.table import MISSING, MOST

SAMPLED = 10_000  # values of a column that are looked at first
_DUPLICATED = re.compile(r"(.*)_duplicated_\d+")


class Columns(NamedTuple):
    """Raw values by column; fields that are known already; columns that hold nothing; and what was noticed."""

    values: dict[str, Sequence[Any]]
    fields: dict[str, Field]
    empty: list[str]
    findings: list[Finding]


def from_polars(frame: Any, target: str | None) -> Columns:
    """The columns of a polars frame.

    Numbers and dates become arrays, missing numbers NaN. A column of texts nearly all of which are numbers is one of
    numbers: what stands for a missing one ("n/a") is NaN; where something else stands between them, the texts stay, its
    field is a Number, and those rows are named when the data is encoded.
    """
    import polars as pl

    values: dict[str, Sequence[Any]] = {}
    fields: dict[str, Field] = {}
    empty: list[str] = []
    findings = _duplicated(frame.columns)
    for name in frame.columns:
        series = frame[name]
        kind = series.dtype
        if series.null_count() == len(series) > 0:
            empty.append(name)
        if kind == pl.String and name != target and (numbers := _numbers(name, series)) is not None:
            array, field, found = numbers
            findings += found
            values[name] = array if field is None else series.to_list()  # type: ignore[assignment]
            if field is not None:
                fields[name] = field
        elif kind.is_numeric() and (not series.null_count() or name != target):
            values[name] = series.cast(pl.Float64).to_numpy() if series.null_count() else series.to_numpy()
        elif kind in (pl.Date, pl.Datetime):
            values[name] = _naive(series).to_numpy().astype("datetime64[us]")
        else:
            values[name] = _strings(series) if kind == pl.String else series.to_list()
    return Columns(values, fields, empty, findings)


def without_empty(columns: Columns, inputs: Sequence[str], asked: bool) -> tuple[list[str], list[Finding]]:
    """The inputs that hold something, and the Finding about the others.

    Raises:
        DataError: one was asked for, or none is left.
    """
    empty = [name for name in inputs if name in columns.empty]
    kept = [name for name in inputs if name not in empty]
    if empty and (asked or not kept):
        raise DataError(f"the column '{empty[0]}' has no value in any row", fix="choose other columns with inputs=")
    if not empty:
        return kept, []
    told = ", ".join(f"'{name}'" for name in empty)
    return kept, [
        Finding("empty-column", Severity.WARNING,
                f"without a value in any row, left out: the column{'s' * (len(empty) > 1)} {told}", places=empty,
                fix="fill in or remove")
    ]  # fmt: skip


def _numbers(name: str, series: Any) -> tuple[np.ndarray, Field | None, list[Finding]] | None:
    """A column of texts as numbers, where nearly all of them are; None where they are not."""
    if len(series) > SAMPLED:  # to look at each of millions of texts would need their memory once more
        drawn = np.random.default_rng(0).integers(len(series), size=SAMPLED)  # each n-th may be what comes every n rows
        if not _some_are_numbers(series.gather(drawn)):
            return None
    missing, parsed = _parsed(series)
    known = int((~missing).sum())
    good = int((np.isfinite(parsed) & ~missing).sum())
    marked = missing & series.is_not_null().to_numpy()
    if not known or good < MOST * known or (good == known and not marked.any()):
        return None
    found = []
    if marked.any():
        rows = np.flatnonzero(marked).tolist()
        found.append(
            Finding("read-as-missing", Severity.NOTE,
                    f"{len(rows)} values of the column '{name}' such as '{series[rows[0]]}' stand for a missing number",
                    places=[f"row {row + 1}" for row in rows], rows=rows)
        )  # fmt: skip
    return np.where(missing, np.nan, parsed), Number() if good < known else None, found


def _parsed(series: Any) -> tuple[np.ndarray, np.ndarray]:
    """Which of some texts stand for a missing number, and the numbers that the others are, NaN where they are none."""
    import polars as pl

    texts = series.str.strip_chars()
    missing = texts.is_null() | texts.str.to_lowercase().is_in(list(MISSING))
    return missing.to_numpy(), texts.cast(pl.Float64, strict=False).to_numpy()


def _some_are_numbers(series: Any) -> bool:
    missing, parsed = _parsed(series)
    return bool((np.isfinite(parsed) & ~missing).sum() >= MOST / 2 * (~missing).sum())


def _strings(series: Any) -> Strings:
    """A column of strings: the different ones once where they repeat."""
    import polars as pl

    if len(np.unique(series.hash().to_numpy())) > len(series) // 2:  # `n_unique` would keep a table of them all
        return Texts(series)
    names = series.unique(maintain_order=True)
    codes = series.replace_strict(names, pl.Series(range(len(names)), dtype=pl.Int32), return_dtype=pl.Int32)
    return Names(codes.to_numpy(), names.to_list())


def _naive(series: Any) -> Any:
    """Times without their zone, in UTC."""
    zone = getattr(series.dtype, "time_zone", None)
    return series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series


def _duplicated(names: Sequence[str]) -> list[Finding]:
    """Names that polars made different because the file has them twice."""
    twice = {n: m[1] for n in names if (m := _DUPLICATED.fullmatch(n)) and m[1] in names}
    return [
        Finding("same-name", Severity.WARNING, f"two columns are called '{first}'; the later one is read as '{name}'",
                places=[name], fix="give it a name of its own, or choose columns with inputs=")
        for name, first in twice.items()
    ]  # fmt: skip


def known_fields(columns: Columns, given: Mapping[str, Field] | None) -> dict[str, Field]:
    """Fields that the user gave, and those that the columns tell of."""
    return {**columns.fields, **(given or {})}
