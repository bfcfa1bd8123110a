"""Columns of a table that stand for files: their names, wherever these lie beside the table, or what they hold."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.data.levels import side_of
from flambeau.data.walk import is_hidden
from flambeau.fields import FIELDS, Field

SAMPLED = 1000
MOST = 0.9
"""Share of the values of a column that are names of files, from which on it is a column of files."""
DEEPEST, MOST_FILES = 3, 500_000
"""Folders below a table, and files in them, that are looked through."""


def kinds_by_suffix() -> dict[str, type[Field]]:
    """The kind of file of each ending."""
    return {suffix: kind for _, kind in FIELDS.items() for suffix in kind.suffixes}


# -- contents -----------------------------------------------------------------------------------------------------


def unpacked(frame: Any) -> Any:
    """A polars frame whose columns of {bytes, path}, as the Hugging Face Hub has pictures and sounds, are columns of
    bytes, or of paths where there are no bytes. Of a list of such the first is taken."""
    import polars as pl

    for name, kind in frame.schema.items():
        if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
            fields = {field.name for field in kind.inner.fields}
            column = pl.col(name).list.first()
        elif isinstance(kind, pl.Struct):
            fields, column = {field.name for field in kind.fields}, pl.col(name)
        else:
            continue
        if not {"bytes", "path"} & fields <= fields or not {"bytes", "path"} & fields:
            continue
        part = "bytes" if "bytes" in fields else "path"
        held = frame.select(column.struct.field(part)).to_series()
        if part == "bytes" and "path" in fields and held.null_count() == len(held):
            held = frame.select(column.struct.field("path")).to_series()
        frame = frame.with_columns(held.alias(name))
    return frame


def holds_files(values: Sequence[Any]) -> bool:
    """Whether the values of a column are the bytes of pictures or sounds."""
    if isinstance(values, np.ndarray):
        return False
    sample = [v for v in values[:SAMPLED] if v is not None]
    heads = [v[:16] for v in sample if isinstance(v, bytes)]
    good = sum(any(kind.begins_so(head) for _, kind in FIELDS.items()) for head in heads)
    return good > MOST * len(sample) > 0


# -- names --------------------------------------------------------------------------------------------------------


def located(frame: Any, others: Sequence[str], root: Path, table: str = "") -> tuple[Any, list[Finding]]:
    """A polars frame whose columns of names of files that are not where they say, or that lack their ending, hold the
    files' paths from `root` on, and what was found. The files are looked for below `root`.

    Args:
        others: columns that are none of files.
        table: the table's name: train.csv is about the folder train rather than about test.
    """
    import polars as pl

    suffixes = kinds_by_suffix()
    findings: list[Finding] = []
    texts = [n for n, kind in frame.schema.items() if n not in others and (kind == pl.String or kind.is_integer())]
    samples = {n: frame[n].drop_nulls().head(SAMPLED).cast(pl.String).to_list() for n in texts}
    ending = [n for n, values in samples.items() if ending_share(values) > MOST]
    lost = [n for n in ending if not any(_exists(root, v) for v in samples[n][:20])]
    # ids are names of files only where nothing else is, and no two rows have the same
    ids = [n for n, v in samples.items() if len(set(v)) > MOST * len(v) > 0] if not ending and not _held(frame) else []
    lying = _files_below(root, suffixes) if lost or ids else {}
    for name in lost or ids:
        folder = _folder_of(samples[name], lying, table)
        if folder is None:
            continue
        names = lying[folder]
        values = [None if v is None else names.get(_key(v), v) for v in frame[name].cast(pl.String).to_list()]
        frame = frame.with_columns(pl.Series(name, values, dtype=pl.String))
        where = folder or str(root)
        findings.append(Finding("files-found", Severity.NOTE, f"the files that the column '{name}' names are those in "
                                f"{where}", fix="say where with root= (--root) if not"))  # fmt: skip
        if name in ids:
            break
    return frame, findings


def ending_share(values: Sequence[str]) -> float:
    """The share of some texts that end like files."""
    suffixes = kinds_by_suffix()
    return sum(os.path.splitext(v)[1].lower() in suffixes for v in values) / max(1, len(values))


def _held(frame: Any) -> bool:
    """Whether a column of a frame holds files themselves."""
    import polars as pl

    return any(kind == pl.Binary and holds_files(frame[n].head(1).to_list()) for n, kind in frame.schema.items())


def _exists(root: Path, value: str) -> bool:
    try:
        return (root / value).exists()
    except (OSError, ValueError):
        return False


def _key(name: str) -> str:
    """What a file is looked up by: its name without folders, in the one form of Unicode."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2])


def _files_below(root: Path, suffixes: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Of each folder below `root` its files of data: by name and by name without ending, their path from `root` on.
    Under "" those of all folders whose name comes once."""
    found: dict[str, dict[str, str]] = {}
    whole: dict[str, set[str]] = defaultdict(set)
    count = 0
    for folder, folders, names in os.walk(root):
        inside = os.path.relpath(folder, root)
        inside = "" if inside == "." else inside
        folders[:] = sorted(f for f in folders if not is_hidden(f)) * (inside.count(os.sep) < DEEPEST - 1)
        files = [n for n in names if not is_hidden(n) and os.path.splitext(n)[1].lower() in suffixes]
        count += len(names)
        if count > MOST_FILES:
            break
        for name in files:
            path = os.path.join(inside, name)  # noqa: PTH118
            for key in (_key(name), _key(os.path.splitext(name)[0])):
                whole[key].add(path)
                if inside:
                    found.setdefault(inside, {})[key] = path
    found[""] = {key: next(iter(paths)) for key, paths in whole.items() if len(paths) == 1}
    return found


def _folder_of(sample: Sequence[str], lying: Mapping[str, Mapping[str, str]], table: str) -> str | None:
    """The folder that holds most of what a column names, and at least nearly all; of several the one that is called as
    the table is, as train.csv and train/."""
    keys = [_key(value) for value in sample]
    counts = Counter({folder: sum(key in names for key in keys) for folder, names in lying.items()})
    good = [folder for folder, count in counts.items() if count > MOST * len(keys) > 0]
    side = side_of(Path(table).stem.split(".")[0])
    return min(good, key=lambda f: (f == "", side_of(Path(f).name) != side, -counts[f], f), default=None)


def join_paths(
    columns: dict[str, Sequence[Any]], others: Sequence[str], root: Path
) -> tuple[list[str], dict[int, DataError]]:  # fmt: skip
    """Makes columns of file names what the files hold, or their absolute paths, in place, but for the columns `others`;
    returns the names of these columns, and by row what cannot be read."""
    suffixes = kinds_by_suffix()
    found, unread = list[str](), dict[int, DataError]()
    for name, values in columns.items():
        if name in others or isinstance(values, np.ndarray):
            continue
        sample = [v for v in values[:SAMPLED] if v is not None]
        ends = Counter(isinstance(v, str) and os.path.splitext(v)[1].lower() in suffixes for v in sample)
        if ends[True] > MOST * len(sample) > 0:
            kinds = Counter(suffixes.get(os.path.splitext(v)[1].lower()) for v in sample)
            kind = next(kind for kind, _ in kinds.most_common() if kind is not None)
            read: list[Any] = []
            for row, value in enumerate(values):
                try:
                    read.append(value if value is None else kind.read(str(root / value)))
                except DataError as error:
                    read.append(None)
                    unread[row] = error
            columns[name] = read
            found.append(name)
    return found, unread
