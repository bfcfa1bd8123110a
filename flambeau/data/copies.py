"""Rows that are copies of one another: of one digest, whatever they are called. A split keeps them on one side."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core.arrays import missing
from flambeau.core.errors import DataError
from flambeau.core.files import read_bytes
from flambeau.data.store.fingerprint import bytes_of

if TYPE_CHECKING:
    from flambeau.data.dataset import Dataset

PIECE = 1024
"""Bytes in the middle of files of one size that are compared first: of recordings of one length all have one size."""
MOST_FILES = 200_000
"""Files that are looked at when a dataset is made, at some 30 µs each; of more `check` finds the copies."""


def firsts(dataset: Dataset) -> np.ndarray:
    """The first row that each row is a copy of, int64 (N): itself, where it is of none. Files are copies byte for byte,
    texts whatever their capitals and spaces. Rows of numbers and classes alone need not be copies where they are equal,
    and count as none."""
    alone = np.arange(len(dataset))
    if not dataset.inputs or may_coincide(dataset):
        return alone
    columns = []
    for name in dataset.inputs:
        values = dataset.columns[name]
        if dataset.fields[name].reads_files and any(isinstance(value, str | Path) for value in values[:1]):
            if len(values) > MOST_FILES:
                return alone
            values = contents(values)
        columns.append(values)
    first: dict[bytes, int] = {}
    return np.asarray([first.setdefault(d, row) if d else row for row, d in enumerate(digests(columns, plain=True))])


def row_digests(dataset: Dataset) -> list[bytes]:
    """A digest of all inputs of each row, equal for equal rows; empty where one is missing."""
    return digests([dataset.columns[name] for name in dataset.inputs])


def digests(columns: Sequence[Sequence[Any]], plain: bool = False) -> list[bytes]:
    """A digest of each row of some columns, empty where a value is missing; of texts without capitals and spaces, where
    these are to be `plain`."""
    found = []
    for values in zip(*columns, strict=True):
        state = hashlib.blake2b(digest_size=16)
        for value in values:
            if isinstance(value, np.ndarray) and value.dtype != object:
                state.update(f"{value.dtype}{value.shape}".encode())
                state.update(np.ascontiguousarray(value).tobytes())
            else:
                value = " ".join(value.casefold().split()) if plain and isinstance(value, str) else value
                state.update(f"{type(value).__name__} ".encode() + bytes_of(value) + b"\n")
        found.append(b"" if any(map(missing, values)) else state.digest())
    return found


def contents(files: Sequence[Any]) -> list[Any]:
    """What tells files apart: their sizes, of those of one size a piece of the middle, of those that share that all
    bytes. None where one is not there."""
    known: list[Any] = [_size(file) for file in files]
    for read in (_piece, _all):
        counts = Counter(known)
        shared = [row for row, value in enumerate(known) if value is not None and counts[value] > 1]
        for row in shared:
            known[row] = (known[row], read(files[row]))
    return known


def _size(file: Any) -> int | None:
    try:
        status = os.stat(file)  # noqa: PTH116 -- once a file
        return status.st_size if stat.S_ISREG(status.st_mode) else None  # a pipe would wait for a writer
    except (OSError, TypeError, ValueError):
        return None


def _piece(file: Any) -> bytes:
    try:
        with open(file, "rb") as handle:  # noqa: PTH123
            handle.seek(max(0, os.fstat(handle.fileno()).st_size - PIECE) // 2)
            return handle.read(PIECE)
    except OSError:
        return os.fsencode(file)


def _all(file: Any) -> bytes:
    try:
        return hashlib.blake2b(read_bytes(file), digest_size=16).digest()
    except DataError:
        return os.fsencode(file)


def may_coincide(dataset: Dataset) -> bool:
    """Whether equal rows need not be copies: all inputs are classes and single numbers."""
    for name in dataset.inputs:
        field = dataset.fields[name]
        first = next((v for v in dataset.columns[name] if v is not None), None)
        if not (field.has_classes or field.measures) or np.ndim(first):  # type: ignore[arg-type]
            return False
    return True
