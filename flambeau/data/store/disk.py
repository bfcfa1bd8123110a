"""A column on the disk: its values end to end, whole or not at all, and checksums of them."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from flambeau.core.errors import RunError
from flambeau.core.files import disk_full_named, read_json, sync_folder, write_atomic, write_json
from flambeau.core.reporter import Bar, Reporter
from flambeau.data.store.checksums import Checksums, damaged
from flambeau.fields import Encoding

SYNC_BYTES = 32 << 20  # written between two syncs to the disk, which go on beside the encoding
Errors = dict[int, str]


class Block(NamedTuple):
    """Encoded rows in order: values (n, …), or (sum of lengths, …) where ragged. A row that failed is blank."""

    values: np.ndarray
    lengths: list[int]
    errors: Errors


def offsets_of(lengths: Sequence[int]) -> np.ndarray:
    """Where each row begins, and where the last ends, int64 (N + 1)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def is_kept(folder: Path, encoding: Encoding, rows: int, threads: int, reporter: Reporter) -> bool:
    """Whether a store's folder holds the encoded values, or their errors only.

    Raises:
        RunError, OSError, ODD: its bytes are not those that were written.
    """
    meta = read_json(folder / "meta.json", sealed=True)
    flat, size = folder / "flat.bin", rows * encoding.nbytes
    if not meta["kept"]:
        return False
    if encoding.ragged:
        ends = (folder / "offsets.bin").read_bytes()
        if zlib.crc32(ends) != meta["offsets"] or len(ends) != 8 * (rows + 1):
            raise RunError("its bytes are not those that were written", where=folder)
        size = int(np.frombuffer(ends, np.int64)[-1]) * encoding.nbytes
    if flat.stat().st_size != size or damaged(flat, meta["sums"], threads, reporter):
        raise RunError("its bytes are not those that were written", where=folder)
    return True


def sweep(cache: Path) -> None:
    """Removes what encodings that were killed have left."""
    for left in cache.glob(".*.tmp"):
        pid = left.name.split(".")[-2]
        if not pid.isdigit() or (not Path(f"/proc/{pid}").exists() and not _alive(int(pid))):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write(folder: Path, encoding: Encoding, blocks: Iterable[Block], rows: int, bar: Bar, keep: bool = True) -> None:
    """Writes flat.bin, offsets.bin (ragged only) and meta.json into a temporary folder, then renames it.

    Args:
        blocks: all rows, in order.
        keep: whether the values are kept, and not their errors only.

    Raises:
        RunError: the disk is full; nothing is left behind.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    errors = Errors()
    lengths: list[int] = []
    sums = Checksums()
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with disk_full_named(folder), (temporary / "flat.bin").open("wb", buffering=0) as out, _Syncs(out) as syncs:
            if keep and not encoding.ragged:
                _reserve(out.fileno(), encoding.nbytes * rows)
            for block in blocks:
                errors |= block.errors
                lengths += block.lengths
                if keep:
                    _write_all(out.write, block.values)
                    sums.add(block.values)
                    syncs.written(block.values.nbytes)
                bar.update(len(lengths))
        ends = 0
        if encoding.ragged:
            offsets = offsets_of(lengths).tobytes()
            ends = zlib.crc32(offsets)
            write_atomic(temporary / "offsets.bin", offsets)
        meta = {"kept": keep, "rows": rows, "errors": errors, "sums": sums.all, "offsets": ends}
        write_json(temporary / "meta.json", meta, sealed=True)
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder / "meta.json").exists():  # else somebody else was quicker, with the same bytes
                raise
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _Syncs:
    """Syncs a file to the disk while it is written, and once more at the end: so little is left to wait for."""

    def __init__(self, file: Any):
        self._sync = lambda: os.fsync(file.fileno())
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sync")
        self._running: Future[None] | None = None
        self._unsynced = 0

    def written(self, nbytes: int) -> None:
        """After each write."""
        self._unsynced += nbytes
        if self._unsynced >= SYNC_BYTES and (self._running is None or self._running.done()):
            self._wait()
            self._running, self._unsynced = self._pool.submit(self._sync), 0

    def _wait(self) -> None:
        if self._running is not None:
            self._running.result()  # raises what the disk said

    def __enter__(self) -> _Syncs:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self._wait()
            self._sync()


def _reserve(handle: int, size: int) -> None:
    """Takes the space at once, so that a disk too small is told before the work and not after it."""
    if size and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as error:
            import errno

            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            # some file systems cannot reserve; the writes will tell


def _write_all(write: Callable[[Any], int], array: np.ndarray) -> None:
    view = memoryview(array.data).cast("B") if array.size else memoryview(b"")
    while view:
        view = view[write(view) :]


def mapped(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """The file as a tensor (N, …), memory-mapped; private, so that nothing can write through it."""
    if path.stat().st_size == 0:
        return torch.empty((0, *shape), dtype=torch.from_numpy(np.empty(0, dtype)).dtype)
    # mode "c" maps copy-on-write: torch wants writable memory, the file stays as it is
    return torch.from_numpy(np.memmap(path, dtype=dtype, mode="c").reshape(-1, *shape))
