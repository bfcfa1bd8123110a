"""Encoding: from a Dataset to its Store, in threads, once; kept on disk under a fingerprint of what it came from."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError, RunError
from flambeau.core.files import ODD, read_json
from flambeau.core.findings import Finding, Severity
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.threads import in_order, usable_processors
from flambeau.data.dataset import Dataset
from flambeau.data.store.disk import Block, Errors, is_kept, mapped, offsets_of, sweep, write
from flambeau.data.store.fingerprint import file_fingerprint, memory_fingerprint
from flambeau.data.store.store import Column, FixedColumn, RaggedColumn, Store, StreamedColumn, ViewColumn
from flambeau.fields import Encoding, Field, Views
from flambeau.fields.columns import Strings
from flambeau.fields.placement import Frames, following, frames_of

CHUNK = 32  # rows to a task, at most: long enough to be worth a thread's while, short enough for a smooth bar
RAGGED_CHUNK = 1024  # where values are short, and quicker encoded many at once
CHUNK_BYTES = 8 << 20  # of encoded values to a task, so that few large ones do not fill the memory


@dataclass(frozen=True)
class EncodeOptions:
    """Where and how a Store is made.

    Attributes:
        cache: the folder that stores are kept in.
        limit: bytes that one store may take on disk; half of what is free if not given.
        threads: decoding threads; all processors if not given. They never change a value.
    """

    cache: Path = Path(".flambeau/store")
    limit: int | None = None
    threads: int | None = None

    @property
    def num_threads(self) -> int:
        """Decoding threads."""
        return self.threads or usable_processors()

    def most(self) -> int:
        """Bytes that one store may take on disk."""
        if self.limit is not None:
            return self.limit
        there = next(folder for folder in (self.cache.absolute(), *self.cache.absolute().parents) if folder.exists())
        return shutil.disk_usage(there).free // 2


def encode(dataset: Dataset, options: EncodeOptions | None = None, reporter: Reporter = QUIET) -> Store:
    """The Store of a dataset whose fields are fitted. Rows that cannot be encoded are left out, as Findings.

    Raises:
        DataError: no training row could be encoded.
        RunError: the disk is full; nothing is left behind.
    """
    options = options or EncodeOptions()
    columns: dict[str, Column] = {}
    bad: dict[int, tuple[str, str]] = {}
    prints = []
    leader, _ = following(dataset.fields, dataset.inputs, dataset.target)
    coded = [(name, field, dataset.columns[name]) for name, field in dataset.fields.items()]
    if leader is not None:
        coded.append((frames_of(leader), Frames(dataset.fields[leader]), dataset.columns[leader]))
    for name, field, values in coded:
        files = (field.persistent or field.reads_files) and not field.holds_content and _are_files(values)
        fingerprint = (file_fingerprint if files else memory_fingerprint)(field, values)
        if field.persistent and (files or field.holds_content):
            column, errors = _encode_files(name, field, values, fingerprint, options, reporter)
        else:
            column, errors = _encode_memory(field, values, options.num_threads)
        prints.append(f"{name}:{fingerprint}")
        columns[name] = column
        for row, message in errors.items():
            if (name in dataset.optional and values[row] is None) or isinstance(field, Frames):
                continue  # blank, and another input says so; or the picture says it
            bad.setdefault(row, (name, message))
    good = np.delete(np.arange(len(dataset)), np.fromiter(bad, np.int64, len(bad)))
    train = dataset.rows("train")
    if len(train) and not len(np.intersect1d(good, train, assume_unique=True)):
        row, (name, message) = next(iter(bad.items()))
        raise DataError(f"none of the training rows can be used; the first: {message}", where=dataset.place(row))
    fingerprint = hashlib.sha256("|".join(prints).encode()).hexdigest()
    return Store(columns, torch.from_numpy(good), _findings(dataset, bad), fingerprint, dataset.inputs)


def _findings(dataset: Dataset, bad: dict[int, tuple[str, str]]) -> list[Finding]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, key in sorted(bad.items()):
        groups[key].append(row)
    return [
        Finding("left-out", Severity.WARNING, f"{len(rows)} sample{'s' * (len(rows) > 1)} left out: {message}",
                places=[dataset.place(r) for r in rows], rows=rows)
        for (_, message), rows in groups.items()
    ]  # fmt: skip


def _are_files(values: Sequence[Any]) -> bool:
    return not isinstance(values, np.ndarray) and isinstance(
        next((v for v in values if v is not None), None), (str, Path)
    )


def _encode_memory(field: Field, values: Sequence[Any], threads: int) -> tuple[Column, Errors]:
    if isinstance(values, Views):
        flat = torch.from_numpy(field.encode_flat(values))
        return ViewColumn(flat, torch.from_numpy(values.starts), values.length), {}
    whole = field.encode_all(values)
    if whole is not None:
        return FixedColumn(_as_tensor(whole)), {}
    encoding, errors = field.encoding, Errors()
    joined = _Joined(encoding)
    lengths: list[int] = []
    # ragged values are texts, whose tokenisers leave Python meanwhile: the next block's begins beside this one's end
    for block in _blocks(field, values, threads if field.persistent else min(threads, 2 if encoding.ragged else 1)):
        joined.add(block.values)
        lengths += block.lengths
        errors |= block.errors
    together = torch.from_numpy(joined.whole())
    return (
        RaggedColumn(together, torch.from_numpy(offsets_of(lengths)), encoding.padded, encoding.window)
        if encoding.ragged
        else FixedColumn(together)
    ), errors


class _Joined:
    """Blocks of values one after another, in memory that grows where it lies: joined at the end they would be there
    twice."""

    def __init__(self, encoding: Encoding):
        self._shape = encoding.shape
        self._array = np.empty((0, *encoding.shape), encoding.dtype)
        self._used = 0

    def add(self, values: np.ndarray) -> None:
        """Values (n, …), behind those that are there."""
        end = self._used + len(values)
        if end > len(self._array):
            self._resize(end + end // 8)
        self._array[self._used : end] = values
        self._used = end

    def whole(self) -> np.ndarray:
        """All of them (N, …); nothing can be added after."""
        self._resize(self._used)
        return self._array

    def _resize(self, rows: int) -> None:
        self._array.resize((rows, *self._shape), refcheck=False)  # no view of it is ever given away before the end


def _as_tensor(array: np.ndarray) -> torch.Tensor:
    """The array's memory as a tensor. A store is only ever read, so the array may be read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _blocks(field: Field, values: Sequence[Any], threads: int) -> Iterator[Block]:
    """All rows encoded, in order."""
    encoding = field.encoding
    rows = (
        RAGGED_CHUNK
        if encoding.ragged and not field.persistent
        else max(1, min(CHUNK, CHUNK_BYTES // max(encoding.nbytes, 1)))
    )

    def work(start: int) -> Block:
        arrays: list[np.ndarray] = []
        errors = Errors()
        for row, encoded in enumerate(field.encode_batch(_listed(values[start : start + rows])), start):
            if isinstance(encoded, DataError):
                errors[row] = _message(encoded)
                encoded = np.zeros((0, *encoding.shape) if encoding.ragged else encoding.shape, encoding.dtype)
            arrays.append(encoded)
        together = (np.concatenate if encoding.ragged else np.stack)(arrays)
        lengths = [len(a) for a in arrays] if encoding.ragged else [1] * len(arrays)
        return Block(together.astype(encoding.dtype, copy=False), lengths, errors)

    starts = range(0, len(values), rows)
    return in_order(work, starts, threads)


def _listed(values: Sequence[Any]) -> Sequence[Any]:
    """Texts of a frame made once, for a field may look at each more than once."""
    return list(values) if isinstance(values, Strings) else values


def _message(error: DataError) -> str:
    return error.found + (f"; expected {error.expected}" if error.expected else "")


def _encode_files(
    name: str, field: Field, values: Sequence[Any], fingerprint: str, options: EncodeOptions, reporter: Reporter
) -> tuple[Column, Errors]:
    folder = options.cache / fingerprint
    encoding = field.encoding
    blank = np.zeros((0, *encoding.shape) if encoding.ragged else encoding.shape, encoding.dtype)
    streamed = StreamedColumn(
        lambda row: blank if values[row] is None else field.encode(values[row]), encoding, options.num_threads
    )
    options.cache.mkdir(parents=True, exist_ok=True)
    keep = encoding.ragged or encoding.nbytes * len(values) <= options.most()
    kept = None
    if folder.exists():
        try:
            kept = is_kept(folder, encoding, len(values), options.num_threads, reporter)
        except (RunError, OSError, *ODD) as error:
            told = error.found if isinstance(error, RunError) else "it is damaged"
            reporter.say(f"{name}: the store {folder} is made anew: {told}", style="yellow")
    if kept is None or (keep and not kept):
        shutil.rmtree(folder, ignore_errors=True)  # damaged; or it would not fit then, and does now
        sweep(options.cache)
        if not keep:
            reporter.say(
                f"{name}: {encoding.nbytes * len(values) / 2**30:.1f} GiB encoded is over the limit of "
                f"{options.most() / 2**30:.1f} GiB; pictures are decoded on the fly instead"
            )
        with reporter.bar(f"encoding {name}", len(values)) as bar:
            write(folder, encoding, _blocks(field, values, options.num_threads), len(values), bar, keep)
    meta = read_json(folder / "meta.json", sealed=True)
    errors = {int(row): message for row, message in meta["errors"].items()}
    if not meta["kept"]:
        return streamed, errors
    flat = mapped(folder / "flat.bin", encoding.dtype, encoding.shape)
    if not encoding.ragged:
        return FixedColumn(flat), errors
    return RaggedColumn(
        flat, mapped(folder / "offsets.bin", np.dtype(np.int64), ()), encoding.padded, encoding.window
    ), errors
