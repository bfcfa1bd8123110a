"""Files: written whole or not at all (a temporary name, a sync, a rename), and read where regular and not too large."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, RunError

MOST_BYTES = 1 << 30
"""Of a file that is read whole."""
KINDS = {stat.S_IFDIR: "folder", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device",
         stat.S_IFBLK: "device"}  # fmt: skip
# a pipe is opened at once, and not when somebody writes into it
OPENING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def read_bytes(path: str | os.PathLike[str], count: int | None = None) -> bytes:
    """The bytes of a file, or its first `count`. It is a regular one, which never waits for a writer.

    Raises:
        DataError: it is missing, no regular file (a pipe, a device, a folder), larger than MOST_BYTES, or cannot be
            read.
    """
    with _told(path):
        handle = os.open(path, OPENING)
        try:
            status = os.fstat(handle)
            _check_regular(status.st_mode, path)
            if count is None and status.st_size > MOST_BYTES:
                raise DataError(f"the file is {status.st_size / 2**30:.1f} GiB large", where=path,
                                expected=f"at most {MOST_BYTES / 2**30:g} GiB where all of it is read")  # fmt: skip
            left = status.st_size if count is None else min(count, status.st_size)
            parts = []
            while left > 0 and (part := os.read(handle, left)):
                parts.append(part)
                left -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            os.close(handle)


def check_regular(path: str | os.PathLike[str]) -> None:
    """That a file, which something else will open, is there and a regular one. Raises DataError."""
    with _told(path):
        _check_regular(os.stat(path).st_mode, path)  # noqa: PTH116 -- once a file of many


def _check_regular(mode: int, path: object) -> None:
    if not stat.S_ISREG(mode):
        raise DataError(f"this is a {KINDS.get(stat.S_IFMT(mode), 'thing of the system')}", where=path,
                        expected="a regular file")  # fmt: skip


@contextmanager
def _told(path: str | os.PathLike[str]) -> Iterator[None]:
    """What the system says of a file, as a DataError."""
    try:
        yield
    except FileNotFoundError:
        link = os.path.islink(path)  # noqa: PTH114
        raise DataError("this is a link to a file that is missing" if link else "the file is missing",
                        where=path) from None  # fmt: skip
    except OSError as error:
        with suppress(OSError):
            _check_regular(os.stat(path).st_mode, path)  # noqa: PTH116 -- a socket cannot be opened at all
        raise DataError(f"the file cannot be read ({error.strerror})", where=path) from None
    except ValueError as error:  # a null character in the path
        raise DataError(f"this is not a path ({error})", where=repr(path)) from None


@contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """Turns "no space left on device" into a RunError that says what it was writing and what is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        parent = next(p for p in [path, *path.parents] if p.exists())
        free = shutil.disk_usage(parent).free
        raise RunError(
            f"the disk is full ({free / 2**20:.0f} MiB free)",
            where=path,
            fix="what was there before is untouched: free some space and run the same command again",
        ) from error


def sync_folder(folder: Path) -> None:
    """Makes the renames in a folder survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Writes `data` to `path`; a reader sees the old file or the new one, never a part.

    Raises:
        RunError: the disk is full. The old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_full_named(path):
        try:
            with temporary.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Writes plain JSON (UTF-8, readable Chinese) as `write_atomic` does."""
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    # a file name that is not UTF-8 holds lone surrogates; as \udc.. they are JSON again
    write_atomic(path, text.encode("utf-8", "backslashreplace"))


def read_json(path: Path) -> Any:
    """Reads what `write_json` wrote.

    Raises:
        RunError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError("the file is missing", where=path) from None
    except ValueError as error:
        raise RunError(f"the file is not JSON ({error})", where=path) from None
