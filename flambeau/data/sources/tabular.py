"""Tables and data frames as Datasets: which column is the target, which are inputs, and which rows train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, UsageError, nearest
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.reading import RawTable, read_frame
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.frames import as_polars
from flambeau.data.sources.paths import holds_files
from flambeau.data.sources.roles import (
    answers_of,
    given_split,
    texts_of,
    without_empty,
    without_row_names,
    without_unusable,
)
from flambeau.data.sources.table_folders import is_parted, read_parts, table_in, tables_about
from flambeau.data.sources.tables import Table, is_table, read_table
from flambeau.data.split import Split, split_of, with_validation
from flambeau.fields import Corpus, Field, recognise
from flambeau.fields.recognition import field_to_read

TARGET_NAMES = ("label", "target", "class", "category", "y", "labels", "tags")


def from_table(
    path: str | Path,
    *,
    target: str | None = None,
    inputs: Sequence[str] | None = None,
    fields: Mapping[str, Field] | None = None,
    split: Split | str = "auto",
    encoding: str | None = None,
    header: bool = True,
    columns: Sequence[str] | None = None,
    read: Mapping[str, str] | None = None,
    root: str | Path | None = None,
    labels: bool = True,
) -> Dataset:
    """A CSV, TSV, Parquet or JSON Lines file, a folder of Parquet files that are the parts of one table, or one with a
    table in it about the files beside it.

    Columns may name files by path, by name or by name without ending: these are looked for below the table's folder.

    Args:
        target, inputs, fields, split, read, labels: as for `from_frame`.
        encoding, header, columns: as for `read_table`.
        root: the folder that paths in the table are relative to; its own if not given.

    Raises:
        DataError: the file is missing or cannot be read, or has no such column.
    """
    file, table = _opened(Path(path), encoding=encoding, header=header, columns=columns)
    source = described(
        "table", file, target=target, inputs=inputs, split=split, encoding=encoding, header=header, columns=columns,
        fields=fields, read=read, root=Path(root) if root else None, labels=labels,
    )  # fmt: skip
    base = root or (file if file.is_dir() else file.parent)
    return from_frame(table.frame, target=target, inputs=inputs, fields=fields, split=split, root=base, read=read,
                      source=source, name=str(file),
                      findings=table.findings, decimal=table.decimal, labels=labels)  # fmt: skip


def _opened(path: Path, **layout: Any) -> tuple[Path, Table]:
    """What is read of a path, and the rows that it holds."""
    if is_parted(path):
        return path, read_parts(path)
    file = table_in(path) if path.is_dir() else path
    table = read_table(file, **layout)
    if file is path:
        return file, table
    said = f"the table {file.name} in the folder is read"
    note = Finding("table-in-folder", Severity.NOTE, said, places=[str(file)])
    return file, table._replace(findings=[note, *table.findings])


def from_frame(
    frame: Any,
    *,
    target: str | None = None,
    inputs: Sequence[str] | None = None,
    fields: Mapping[str, Field] | None = None,
    split: Split | str | Sequence[Any] = "auto",
    root: str | Path | None = None,
    source: dict[str, Any] | None = None,
    name: str = "the data frame",
    findings: Sequence[Finding] = (),
    read: Mapping[str, str] | None = None,
    decimal: str | None = None,
    labels: bool = True,
) -> Dataset:
    """A polars or pandas data frame.

    Args:
        target: the column to predict; found by its name (`label`, `target`, `class`, …) if not given. A frame of
            nothing but running text has none: what its texts go on with is learned.
        inputs: the columns to predict from; if not given, the columns of files where there are any, else all.
        split: as for `Dataset`; a column called `split` with train, valid and test in it is used by `auto`, unless it
            is one of the inputs.
        root: the folder that paths in the frame are relative to.
        read: how the texts of some columns are to be read: `number:de`, `date:%m/%d/%y`, `category`, `labels:|`, or
            `text` for what is no number, whatever it looks like; found out for the others.
        decimal: as for `from_polars`.
        labels: False for data without a target.
    """

    frame = as_polars(frame, name)
    target = None if target is None else str(target)
    inputs = None if inputs is None else list(map(str, inputs))
    if target is None and labels:
        target = next((c for want in TARGET_NAMES for c in frame.columns if c.lower() == want), None)
        target = target or answers_of(frame)
        texts = [] if target is not None else texts_of(frame)
        if texts == frame.columns and len(texts) == 1 and not (fields or read):
            labels, fields = False, {texts[0]: Corpus()}
        elif target is None:
            told = " ".join(f"--input {one}" for one in texts[:1])
            learn = f"; to learn what its texts go on with: {told} --objective language-model" if texts else ""
            raise DataError(
                f"no column of {name} looks like the target",
                expected=f"one called {', '.join(TARGET_NAMES[:4])}",
                fix=f"give target= (--target); {nearest('', frame.columns)}{learn}",
            )
    if target is not None and target not in frame.columns:
        raise DataError(f"there is no column '{target}'", where=name, fix=nearest(target, frame.columns))
    answers = [] if target is None else [target]
    asked = _asked_to_read(read, fields, frame.columns, name)
    fields = {**{c: f for c, f in asked.items() if f is not None}, **(fields or {})}
    of_files = {name for name, field in fields.items() if field.asked_as == "file"}
    plain = [column for column in (*answers, "split", *asked) if column not in of_files]
    table = read_frame(
        frame, fields, target=target, root=root, plain=plain, name=name, decimal=decimal,
        in_place=[n for n, field in fields.items() if not field.reads_files],
        as_written={c for c, f in asked.items() if not f},
    )  # fmt: skip
    columns, raw, file_columns = table.columns.values, table.written, table.files
    not_read = _left_out(table, [*answers, "split"], inputs, name)
    known = {**fields, **table.columns.fields}
    sides, decides, said = given_split(columns, split, "split" in (*answers, *(inputs or ())), name)
    if inputs is None:
        reserved = {target, getattr(split, "by", None), *(["split"] if decides else [])}
        inputs = [c for c in columns if c not in reserved]
        inputs, empty = without_empty(table.columns, inputs, asked=False)
        inputs = [c for c in inputs if c in file_columns or holds_files(columns[c])]
        if not inputs:
            unnamed = [c for c in columns if c not in (*reserved, *table.columns.empty)]
            inputs, names = without_row_names(table.columns, unnamed, target)
            inputs, unusable = without_unusable(columns, inputs, known)
            empty += [*names, *unusable]
    else:
        inputs, empty = without_empty(table.columns, inputs, asked=True)
    if sides is not split:
        given = [split_of(value, row) for row, value in enumerate(sides, 1)]
        classes = next((columns[c] for c in answers if stratifies(columns[c], known.get(c))), None)
        how = split if isinstance(split, Split) else Split()
        sides = with_validation(given, classes, range(len(given)), how)
    first = inputs[0] if inputs else None

    def place(row: int) -> str:
        return f"row {row + 1}" + (f" ({raw[first][row]})" if first in file_columns else "")

    keys = [str(p) for p in raw[first]] if first in file_columns else None
    findings = [*findings, *table.findings, *empty, *not_read, *said, *_unread(table.unread)]
    dataset = Dataset(columns, target=target, inputs=inputs, fields=known, split=sides, source=source, keys=keys,
                      places=place, findings=findings)  # fmt: skip
    dataset.examples = table.columns.examples
    return dataset


def _asked_to_read(
    read: Mapping[str, str] | None, fields: Mapping[str, Field] | None, columns: Sequence[str], name: str
) -> dict[str, Field | None]:
    """The fields that a user asked columns to be read as; None for texts as they are written."""
    for column in read or ():
        if column not in columns:
            raise DataError(f"there is no column '{column}' to read", where=name, fix=nearest(column, columns))
        if column in (fields or ()):
            raise UsageError(f"both read and fields say what the column '{column}' is", fix="leave it out of one")
    return {column: field_to_read(reading) for column, reading in (read or {}).items()}


def _left_out(table: RawTable, others: Sequence[str], inputs: Sequence[str] | None, name: str) -> list[Finding]:
    """What is to be said of columns that name files which are not read.

    Raises:
        DataError: one of them is asked for, or none is left to predict from.
    """
    wrong = [why for column, why in table.left_out.items() if inputs is None or column in inputs]
    if wrong and (inputs is not None or not {*table.frame.columns} - {*others}):
        raise DataError(wrong[0], where=name)
    return [
        Finding("unread-files", Severity.WARNING, f"{why}, and is left out", places=[column])
        for column, why in table.left_out.items()
    ]


def _unread(unread: Mapping[int, DataError]) -> list[Finding]:
    """That some files cannot be read."""
    if not unread:
        return []
    rows = sorted(unread)
    first = unread[rows[0]]
    return [
        Finding("unreadable", Severity.WARNING,
                f"{len(rows)} row{'s' * (len(rows) > 1)} left out, whose file cannot be read; the first: {first.found}",
                places=[f"row {row + 1} ({unread[row].where})" for row in rows], rows=rows, fix="mend or remove them")
    ]  # fmt: skip


def stratifies(target: Sequence[Any], field: Field | None) -> bool:
    """Whether a split keeps the values of a target in equal shares; `field` is what it is said to be, if anything."""
    return (field or recognise(target[:1000], target=True)[0]).one_class


class RowsSource(Source):
    """A source of rows with columns, of which only `claims` and `table` are to be said."""

    columns = True

    @classmethod
    def read(
        cls, path: str | Path, *, target: str | None = None, inputs: Sequence[str] | None = None,
        fields: Mapping[str, Field] | None = None, split: Split | str = "auto", read: Mapping[str, str] | None = None,
        root: str | Path | None = None, labels: bool = True,
    ) -> Dataset:  # fmt: skip
        """As `from_frame`."""
        table = cls.table(Path(path))
        return from_frame(table.frame, target=target, inputs=inputs, fields=fields, split=split, read=read, root=root,
                          labels=labels, name=str(path), findings=table.findings, decimal=table.decimal)  # fmt: skip


@SOURCES.register("table")
class TableSource(Source):
    """Tables, and folders that hold one; a .txt file is one of texts."""

    of, sign, columns = "tables", "a CSV or Parquet file", True
    read = staticmethod(from_table)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        if is_table(path):
            return 0.9
        if path.is_file():
            return 0.3 * (path.suffix.lower() == ".txt")
        return 0.5 * ("pattern" not in options and (is_parted(path) or bool(tables_about(path))))

    @staticmethod
    def table(path: Path, **layout: Any) -> Table:
        return _opened(path, **layout)[1]
