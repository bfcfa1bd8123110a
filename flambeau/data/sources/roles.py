"""What the columns of a table are for: those that hold nothing, that only name the rows, or that say which rows train
are no inputs, and that is said."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.data.sources.columns import Columns
from flambeau.data.split import ALIASES
from flambeau.fields import Field, recognise
from flambeau.fields.columns import Column

ROW_NAME = re.compile(r"(?i:(.*[ _-])?(id|uuid|guid)|(row[ _]?)?index|row|unnamed: 0|#|)|.*[a-z](Id|ID)")
"""What a column of row names is called."""

LOOKED_AT = 1000  # values of a column


def answers_of(frame: Any) -> str | None:
    """The only column of a polars frame whose values can be nothing but targets: they have a place in the picture of
    another column, as boxes have. Any other target has to be named or called so."""
    import polars as pl

    found = []
    for name in frame.columns:
        values = frame[name].drop_nulls().head(LOOKED_AT)
        if not (values.dtype.is_nested() or values.dtype == pl.String) or not len(values):
            continue
        with contextlib.suppress(UsageError):
            field = recognise(values.to_list(), target=True)[0]
            found += [name] if field.target_only and field.follows else []
    return found[0] if len(found) == 1 else None


def texts_of(frame: Any) -> list[str]:
    """The columns of a polars frame that hold running text."""
    import polars as pl

    found = []
    for name in frame.columns:
        values = frame[name].drop_nulls().head(LOOKED_AT)
        if values.dtype != pl.String or not len(values):
            continue
        with contextlib.suppress(UsageError):
            field = recognise(values.to_list())[0]
            found += [name] if field.asked_as == "text" and field.input_only else []
    return found


def without_unusable(
    columns: Mapping[str, Sequence[Any]], inputs: Sequence[str], fields: Mapping[str, Field]
) -> tuple[list[str], list[Finding]]:
    """The inputs that some kind of field suits, and the Findings about the others.

    Raises:
        DataError: none is left.
    """
    findings = []
    for name in inputs:
        values = columns[name]
        if name in fields or isinstance(values, (np.ndarray, Column)):  # numbers, dates, names and texts are all known
            continue
        try:
            recognise([value for value in values[:LOOKED_AT] if value is not None])
        except UsageError as error:
            said = f"left out: the column '{name}', for {error.found}"
            findings.append(Finding("unusable-column", Severity.WARNING, said, places=[name],
                                    fix="make it a number, a text or a date"))  # fmt: skip
    left = [name for name in inputs if name not in {name for finding in findings for name in finding.places}]
    if findings and not left:
        raise DataError(f"no column can be used: {findings[0].message}", fix="give other columns with inputs=")
    return left, findings


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


def without_row_names(columns: Columns, inputs: Sequence[str], target: str | None) -> tuple[list[str], list[Finding]]:
    """The inputs that do not merely name the rows, and the Finding about the others.

    Raises:
        DataError: none is left.
    """
    names = [name for name in inputs if _name_rows(name, columns.values[name])]
    if not names:
        return list(inputs), []
    told = ", ".join(f"'{name}'" for name in names)
    many = len(names) > 1
    fix = f"to use {'them' if many else 'it'} all the same: inputs=, with every column (--input COLUMN)"
    if len(names) == len(inputs):
        raise DataError(
            f"the column{'s' * many} {told} only name{'s' * (not many)} the rows, so there is nothing to predict "
            f"'{target}' from",
            fix=f"give files of this kind their endings, or other columns; {fix}",
        )
    return [name for name in inputs if name not in names], [
        Finding("row-names", Severity.NOTE, f"different in each row and so only their names, left out: the column"
                f"{'s' * many} {told}", places=names, fix=fix)
    ]  # fmt: skip


def _name_rows(name: str, values: Sequence[Any]) -> bool:
    """Whether a column names the rows: by its own name, and by values that are whole and rise, or texts, and never come
    twice."""
    if not ROW_NAME.fullmatch(name) or len(values) < 2:
        return False
    if isinstance(values, np.ndarray):
        if values.ndim != 1 or values.dtype.kind not in "iu":
            return False
        return len(np.unique(values)) == len(values)
    return isinstance(values, Column) and values.distinct


def given_split(
    columns: Mapping[str, Sequence[Any]], split: Any, is_input: bool, name: str
) -> tuple[Any, bool, list[Finding]]:
    """The split, or the sides that a column called `split` gives; whether that column is one of sides; and what is to
    be known of it."""
    method = split if isinstance(split, str) else getattr(split, "method", None)
    given = method == "given"
    if "split" not in columns:
        if given:
            raise DataError("there is no column 'split'", where=name, expected="one with train, valid and test")
        return split, False, []
    values = columns["split"]
    said = {v.strip().lower() if isinstance(v, str) else v for v in values} - {None}
    if is_input or not (given or (said and said <= set(ALIASES))):
        if is_input or method != "auto":
            return split, False, []
        other = next((value for value in said if value not in ALIASES), None)
        named = any(isinstance(value, str) and value in ALIASES for value in said)
        held = f"'{other}', which names no split" if named else "no words such as train and valid"
        told = f"the column 'split' holds {held}, and is an input like the others"
        return split, False, [Finding("split-column", Severity.NOTE, told, places=["split"],
                                      fix="if it says which rows train: split='given' (--split given)")]  # fmt: skip
    if not given and (method != "auto" or getattr(split, "folds", None) is not None):
        return split, True, []
    told = "the column 'split' says which rows train, validate and test"
    fix = "to split otherwise: split='random' (--split random)"
    return values, True, [] if given else [Finding("split-column", Severity.NOTE, told, places=["split"], fix=fix)]
