"""Folders with tables in them: the parts of one table, as the Hugging Face Hub has them, or a table about the files
beside it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.data.sources.levels import side_of
from flambeau.data.sources.paths import ending_share, kinds_by_suffix, located
from flambeau.data.sources.tables import PARQUET, Table, is_table, read_table
from flambeau.data.sources.walk import is_hidden, walk
from flambeau.data.split import NAMES, TRAIN

LOOKED_AT = 1000  # rows of a table, to see what it is about


def is_parted(folder: Path) -> bool:
    """Whether a folder holds Parquet files, and no files of data."""
    if not folder.is_dir():
        return False
    suffixes = {os.path.splitext(file)[1].lower() for file in walk(folder).files}
    return bool(suffixes & {*PARQUET}) and not suffixes & {*kinds_by_suffix()} - {".txt"}


def read_parts(folder: Path) -> Table:
    """The Parquet files of a folder as one table. Where all of them are called by a side of the split (as in
    data/train-00000-of-00002.parquet), a column `split` says which.

    Raises:
        DataError: one cannot be read, or they do not hold the same columns.
    """
    import polars as pl

    files = [file for file in walk(folder).files if os.path.splitext(file)[1].lower() in PARQUET]
    sides = [side_of(Path(file).stem.split("-")[0]) for file in files]
    if None in sides:  # train/0000.parquet, as the Hub makes them of other tables
        sides = [side_of(Path(file).parent.name) for file in files]
    tables = [read_table(folder / file) for file in files]
    frames = [table.frame for table in tables]
    for file, frame in zip(files, frames, strict=True):
        if frame.schema != frames[0].schema:
            raise DataError("its columns are others than those of the first part", where=folder / file,
                            expected=f"those of {files[0]}: {', '.join(frames[0].columns)}")  # fmt: skip
    named = [NAMES[side] for side in sides if side is not None]
    if len(named) == len(files) and NAMES[TRAIN] in named and "split" not in frames[0].columns:
        frames = [frame.with_columns(split=pl.lit(name)) for frame, name in zip(frames, named, strict=True)]
    said = f"{len(files)} files are read as the parts of one table"
    return Table(pl.concat(frames), None, [Finding("parts", Severity.NOTE, said, places=files), *tables[0].findings])


def table_in(folder: Path) -> Path:
    """The one table of a folder, or of several the one that is about the training files below it.

    Raises:
        DataError: there is none, or there are several.
    """
    tables = _tables(folder)
    about = tables_about(folder) if len(tables) > 1 else tables
    if len(about) != 1:
        found = f"several tables lie in the folder: {_listed(about)}" if about else "the folder holds no table"
        raise DataError(found, where=folder, fix=f"say which: {about[0]}" if about else None)
    return about[0]


def tables_about(folder: Path) -> list[Path]:
    """The tables in a folder that name the files of data below it, where these lie in no class folders; those of
    training files where there are some."""
    if not (tables := _tables(folder)):
        return []
    kinds = kinds_by_suffix()
    endings = [(Path(file).parts, os.path.splitext(file)[1].lower()) for file in walk(folder).files]
    known = [(parts, kinds[ending]) for parts, ending in endings if ending in kinds]
    folders = {parts[:-1] for parts, field in known if field.reads_files}
    if not folders and any(len(parts) > 1 for parts, _ in known):
        return []  # texts in folders
    if any(len(parts) > 1 for parts in folders) or sum(side_of(p[0]) is None for p in folders if p) > 1:
        return []
    about = [file for file in tables if _names_files(file, folder)] if folders else tables
    return [file for file in about if side_of(file.stem) == TRAIN or "label" in file.stem.lower()] or about


def _tables(folder: Path) -> list[Path]:
    """The tables that lie in a folder itself."""
    if not folder.is_dir():
        return []
    return [f for f in sorted(folder.iterdir()) if is_table(f) and f.is_file() and not is_hidden(f.name)]


def _names_files(table: Path, folder: Path) -> bool:
    try:
        frame = read_table(table).frame.head(LOOKED_AT)
    except DataError:
        return False
    moved = located(frame, [], folder, table.name)[0]
    texts = [moved[name].drop_nulls().to_list() for name, dtype in moved.schema.items() if str(dtype) == "String"]
    return max((ending_share(values) for values in texts), default=0.0) > 0.5


def _listed(files: Sequence[Path]) -> str:
    return ", ".join(file.name for file in files[:5]) + (", …" if len(files) > 5 else "")
