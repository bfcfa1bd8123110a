"""Sources: tables, data frames, arrays in memory, and whatever a path holds, as Datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from flambeau.core.arrays import as_array
from flambeau.core.errors import DataError, UsageError, nearest, shown
from flambeau.core.files import ON_THE_WEB, is_address
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset, split_of
from flambeau.data.reading import RawTable, read_frame
from flambeau.data.sources.archives import is_archive, unpack
from flambeau.data.sources.array_files import SUFFIXES as ARRAYS
from flambeau.data.sources.array_files import from_array_file
from flambeau.data.sources.coding import as_texts
from flambeau.data.sources.folders import from_folder
from flambeau.data.sources.frames import as_polars
from flambeau.data.sources.paths import holds_files
from flambeau.data.sources.roles import given_split, without_empty, without_row_names, without_unusable
from flambeau.data.sources.series import from_series
from flambeau.data.sources.table_folders import is_parted, read_parts, table_about
from flambeau.data.sources.tables import is_table, read_table
from flambeau.data.sources.tagged import from_tagged
from flambeau.data.sources.whole_series import from_ts, is_ts
from flambeau.data.split import NAMES, TEST, TRAIN, VALID, Split, with_validation
from flambeau.fields import Category, Field, chosen, recognise
from flambeau.fields.language.tagged import is_tagged
from flambeau.fields.recognition import field_to_read

FEW_FILES = 20  # of a folder, that are opened to see whether it holds tagged sentences
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
    """A CSV, TSV, Parquet or JSON Lines file, or a folder of Parquet files that are the parts of one table.

    Columns may name files by path, by name or by name without ending: these are looked for below the table's folder.

    Args:
        target, inputs, fields, split, read, labels: as for `from_frame`.
        encoding, header, columns: as for `read_table`.
        root: the folder that paths in the table are relative to; its own if not given.

    Raises:
        DataError: the file is missing or cannot be read, or has no such column.
    """
    file = Path(path)
    parted = is_parted(file)
    table = read_parts(file) if parted else read_table(file, encoding=encoding, header=header, columns=columns)
    how = Split(split) if isinstance(split, str) else split
    source = {
        "kind": "table", "path": str(file.resolve()), "target": target, "inputs": list(inputs) if inputs else None,
        "split": vars(how).copy(), "encoding": encoding, "header": header,
        "columns": list(columns) if columns else None, "fields": chosen(fields), "read": dict(read) if read else None,
        "root": str(Path(root).resolve()) if root else None, **({} if labels else {"labels": False}),
    }  # fmt: skip
    base = root or (file if parted else file.parent)
    return from_frame(table.frame, target=target, inputs=inputs, fields=fields, split=how, root=base, read=read,
                      source=source, name=str(path), findings=table.findings, decimal=table.decimal,
                      labels=labels)  # fmt: skip


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
        target: the column to predict; found by its name (`label`, `target`, `class`, …) if not given.
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
        if target is None:
            raise DataError(
                f"no column of {name} looks like the target",
                expected=f"one called {', '.join(TARGET_NAMES[:4])}",
                fix=f"give target= (--target); {nearest('', frame.columns)}",
            )
    if target is not None and target not in frame.columns:
        raise DataError(f"there is no column '{target}'", where=name, fix=nearest(target, frame.columns))
    answers = [] if target is None else [target]
    asked = _asked_to_read(read, fields, frame.columns, name)
    fields = {**{c: f for c, f in asked.items() if f is not None}, **(fields or {})}
    table = read_frame(
        frame, fields, target=target, root=root, plain=[*answers, "split", *asked], name=name, decimal=decimal,
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
        classes = next((columns[c] for c in answers if _are_classes(columns[c], known, c)), None)
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


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    valid: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    fields: Mapping[str, Field] | None = None,
    split: Split | str | Sequence[Any] = "auto",
) -> Dataset:
    """Arrays or tensors in memory: x (N, …), y (N) or (N, …).

    Args:
        x: pictures (N, H, W), (N, H, W, C) or (N, C, H, W) as uint8 or floats in 0…1; vectors (N, D); any numbers; or
            a dict of several such inputs by name.
        y: labels, numbers, or lists of labels.
        valid, test: (x, y) of the other sides, where they are given.
        split: as for `Dataset`, where they are not.
        fields: kinds set by hand; the input is called `x` and the target `y`.
    """
    parts = [(x, y), *([valid] if valid else []), *([test] if test else [])]
    sides = [TRAIN, *([VALID] if valid else []), *([TEST] if test else [])]
    tables = [_as_columns(px, py) for px, py in parts]
    for side, table in zip(sides, tables, strict=True):
        if set(table) != set(tables[0]):
            raise DataError(f"the {NAMES[side]} part has {', '.join(table)}", expected=", ".join(tables[0]))
    columns = {c: _join([t[c] for t in tables]) for c in tables[0]}
    if valid or test:
        lengths = [len(next(iter(t.values()))) for t in tables]
        given = np.repeat(np.asarray(sides, np.int8), lengths).tolist()
        how = split if isinstance(split, Split) else Split()
        labels = columns["y"] if y is not None and _are_classes(columns["y"], fields, "y") else None
        split = given if valid else with_validation(given, labels, list(map(str, range(len(given)))), how)
    return Dataset(columns, target="y" if y is not None else None, fields=fields, split=split)


def _are_classes(y: Sequence[Any], fields: Mapping[str, Field] | None, name: str) -> bool:
    field = (fields or {}).get(name) or recognise(y[:1000], target=True)[0]
    return isinstance(field, Category)


def _as_columns(x: Any, y: Any) -> dict[str, Sequence[Any]]:
    columns = {name: _plain(v) for name, v in x.items()} if isinstance(x, Mapping) else {"x": _plain(x)}
    if y is not None:
        targets = _plain(y)
        if isinstance(targets, list) and all(isinstance(t, (list, tuple)) and len(t) == 1 for t in targets):
            targets = [t[0] if isinstance(t[0], (int, float)) else t for t in targets]
        if isinstance(targets, np.ndarray) and targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]  # a column vector is one target a row, and not a vector of one number
        columns["y"] = targets
    return columns


def _plain(values: Any) -> Any:
    if hasattr(values, "detach"):
        values = as_array(values)
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(*((values.astype(np.float64), np.nan) if values.dtype.kind in "biuf" else (values,)))
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufc":
        if values.dtype.kind == "c":
            raise DataError("the values are complex numbers", expected="real ones",
                            fix="give their .real and .imag, or np.abs and np.angle of them")  # fmt: skip
        return values
    # text and objects as a list, so that paths are known as files and kept in a store
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if listed and isinstance(listed[0], bytes):
        return as_texts(listed)
    # tensors and arrays of one number each are numbers
    return [v.item() if getattr(v, "ndim", None) == 0 and hasattr(v, "item") else v for v in listed]


def _join(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(p, np.ndarray) for p in parts):
        return np.concatenate(parts)
    return [v for p in parts for v in p]


def from_source(source: Mapping[str, Any]) -> Dataset:
    """The dataset that a recipe's `data` section describes.

    Raises:
        DataError: the data was in memory, so a recipe alone cannot bring it back.
    """
    make: Any = SOURCES.get(str(source.get("kind")))
    if make is None:
        raise DataError(
            "this run was trained on data in memory, which its recipe cannot bring back",
            fix="make the same Learner in Python and call fit(run=…, resume=True)",
        )
    options = {k: v for k, v in source.items() if k != "kind" and v is not None}
    hints = {**get_type_hints(make), "split": Split, "fields": dict[str, dict[str, Any]], "path": str}
    for name, value in options.items():
        if name not in hints:
            raise UsageError(f"there is no setting 'data.{name}'", fix=nearest(name, hints))
        try:
            options[name] = TypeAdapter(hints[name], config=None if name == "split" else ANY).validate_python(value)
        except ValidationError as error:
            raise UsageError(f"data.{name}={shown(value)} does not fit ({error.errors()[0]['msg'].lower()})") from None
    if "fields" in options:
        options["fields"] = {name: Field.from_dict(settings) for name, settings in options["fields"].items()}
    return make(options.pop("path", ""), **options)


SOURCES = {
    "folder": from_folder, "table": from_table, "arrays": from_array_file, "tagged": from_tagged,
    "series": from_series, "ts": from_ts,
}  # fmt: skip
ANY = ConfigDict(arbitrary_types_allowed=True)


def from_path(path: str | Path, **options: Any) -> Dataset:
    """A folder, a table, tagged sentences or an archive of a folder, by what the path is."""
    if is_address(path):
        raise DataError(ON_THE_WEB, where=path)
    if is_archive(path):
        path = unpack(path)
    file = Path(path)
    if options.get("labels", True):
        options.pop("labels", None)
    if "time" in options:
        options.pop("pattern", None)
        if options.pop("root", None) is not None:
            raise UsageError("root is for tables of files", where=path)
        if "target" not in options:
            raise UsageError("which column is to be forecast?", fix="give target= (--target)")
        return from_series(path, **options)
    for name in ("horizon", "length", "id", "known", "season", "time_format"):
        if options.pop(name, None) is not None:
            raise UsageError(f"{name} is for series", where=path, fix="say which column holds the time: time= (--time)")
    if is_table(file):
        options.pop("pattern", None)
        return from_table(path, **options)
    if file.suffix.lower() in ARRAYS:
        for name in ("pattern", "encoding", "header", "columns", "root"):
            options.pop(name, None)
        return from_array_file(path, **options)
    tagged = "pattern" not in options and _holds_tagged(file)
    if not tagged and file.suffix.lower() == ".txt" and file.is_file():
        options.pop("pattern", None)
        return from_table(path, **options)
    if not tagged and "pattern" not in options and not is_ts(file):
        if is_parted(file):
            return from_table(file, **options)
        if (table := table_about(file)) is not None:
            data = from_table(table, **options)
            said = f"the table {table.name} in the folder is read"
            data.findings.insert(0, Finding("table-in-folder", Severity.NOTE, said, places=[str(table)]))
            return data
    if tagged:
        options |= _numbered_columns(path, options.pop("inputs", None), options.pop("target", None))
    for name in ("target", "inputs", "header", "columns", "read", "root", *(("encoding",) if is_ts(file) else ())):
        if options.pop(name, None) is not None:
            raise UsageError(f"{name} is for tables", where=path, fix="give it with a CSV or Parquet file")
    if "labels" in options and (tagged or is_ts(file)):
        raise UsageError("these files hold their targets", where=path, fix="give a folder of files, or a table")
    if tagged or is_ts(file):
        return from_tagged(path, **options) if tagged else from_ts(path, **options)
    return from_folder(path, **options)


def _numbered_columns(path: str | Path, inputs: Sequence[Any] | None, target: Any) -> dict[str, int]:
    """Which of CoNLL's columns hold the words and their tags, where it is said."""
    given = {"token_column": inputs[0] if inputs else None, "tag_column": target}
    try:
        return {name: int(column) for name, column in given.items() if column is not None}
    except ValueError:
        raise UsageError(
            f"tagged files have no column called {' or '.join(str(c) for c in given.values() if c)}",
            where=path,
            expected="their numbers, from 0",
        ) from None


def _holds_tagged(path: Path) -> bool:
    """Whether a path is a file of tagged sentences, or a folder without folders that has such files in it."""
    if path.is_file():
        return is_tagged(path)
    if not path.is_dir():
        return False
    inside = [entry for entry in sorted(path.iterdir()) if not entry.name.startswith(".")]
    return all(entry.is_file() for entry in inside) and any(map(is_tagged, inside[:FEW_FILES]))


__all__ = ["NAMES", "from_arrays", "from_folder", "from_frame", "from_path", "from_source", "from_table"]
