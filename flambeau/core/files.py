"""Files that are whole or absent: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flambeau.core.errors import RunError


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
