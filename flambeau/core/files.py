"""Files: written whole or not at all (a temporary name, a sync, a rename), and read where regular and not too large."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, ModelError, RunError, UsageError, first_line

MOST_BYTES = 1 << 30
"""Of a file that is read whole."""
ON_THE_WEB = "this is an address on the web, which is not fetched: save the file first"
MOST_TEXT = 256 << 20  # of JSON: the largest, a fitted vocabulary or a long training's lines, take a tenth
ODD = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises over a value of another type or size than was expected."""
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
    with _named(path):
        handle = os.open(path, OPENING)
        try:
            status = os.fstat(handle)
            _check_regular(status.st_mode, path)
            if count is None and status.st_size > MOST_BYTES:
                raise DataError(f"the file is too large ({status.st_size / 2**30:.1f} GiB)", where=path,
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
    with _named(path):
        _check_regular(os.stat(path).st_mode, path)  # noqa: PTH116 -- once a file of many


def _check_regular(mode: int, path: object) -> None:
    if not stat.S_ISREG(mode):
        raise DataError(
            f"this is a {KINDS.get(stat.S_IFMT(mode), 'thing of the system')}", where=path, expected="a regular file"
        )


def is_address(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address on the web, of which a Path leaves one slash.

    >>> is_address("https://example.com/a.png"), is_address(Path("s3://bucket/a.png")), is_address("C:/a.png")
    (True, True, False)
    """
    return re.match(r"(https?|ftp|s3|gs|hf):/", str(path).strip().lower()) is not None


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """What the system says of a file, as a DataError."""
    try:
        yield
    except FileNotFoundError:
        link = os.path.islink(path)  # noqa: PTH114
        found = "this is a link to a file that is missing" if link else "the file is missing"
        raise DataError(ON_THE_WEB if is_address(path) else found, where=path) from None
    except OSError as error:
        with suppress(OSError):
            _check_regular(os.stat(path).st_mode, path)  # noqa: PTH116 -- a socket cannot be opened at all
        raise DataError(f"the file cannot be read ({error.strerror})", where=path) from None
    except ValueError as error:  # a null character in the path
        raise DataError(f"this is not a path ({error})", where=repr(path)) from None


FULL = errno.ENOSPC, errno.EDQUOT


@contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """Turns "no space left on device" into a RunError that says what it was writing and what is free."""
    try:
        yield
    except OSError as error:
        # what copies a folder tells in words alone what became of its files
        texts = [str(reason) for *_, reason in error.args[0]] if isinstance(error, shutil.Error) else []
        full = any(os.strerror(number) in text for number in FULL for text in texts)
        if error.errno not in FULL and not full:
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
        except BaseException as error:
            if isinstance(error, OSError) and error.filename == str(temporary):
                error.filename = str(path)  # the name that the reader of the message knows
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def to_json(value: Any, indent: int | None = 1, **options: Any) -> str:
    """Strict JSON with readable Chinese: what is not finite becomes null.

    >>> to_json({"名": float("nan")}, indent=None)
    '{"名": null}'
    """
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False, **options)
    except ValueError:
        return json.dumps(finite(value), ensure_ascii=False, indent=indent, allow_nan=False, **options)


def finite(value: Any) -> Any:
    """Plain data with None for numbers that are not finite."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def seal(value: Any) -> str:
    """The SHA-256 of plain JSON, however it is spaced."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: Any, *, sealed: bool = False) -> None:
    """Writes plain JSON (UTF-8, readable Chinese) as `write_atomic` does.

    Args:
        sealed: with a digest of itself, so that `read_json` sees any change; for mappings.
    """
    if sealed:
        # as it will be read: keys as text, what is not finite as null
        value = json.loads(to_json(value, indent=None))
        value["seal"] = seal(value)
    # a file name that is not UTF-8 holds lone surrogates; as \udc.. they are JSON again
    write_atomic(path, (to_json(value) + "\n").encode("utf-8", "backslashreplace"))


def read_regular(path: Path, most: int | None = MOST_TEXT) -> bytes:
    """The bytes of a file of ours.

    Args:
        most: how many there may be; None for any number.

    Raises:
        RunError: it is missing, too large, no regular file, or cannot be read; nothing is waited for.
    """
    try:
        data = read_bytes(path, sys.maxsize if most is None else most + 1)
    except DataError as error:
        raise RunError(error.found, where=path, expected=error.expected) from None
    if most is not None and len(data) > most:
        raise RunError("the file is too large", where=path, expected=f"{most >> 20} MiB at most")
    return data


def parse_json(text: str | bytes) -> Any:
    """JSON of any origin: NaN, Infinity and numbers too large for a float are read as null.

    Raises:
        ValueError: it is not JSON, or nested deeper than any that is written here.
    """
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(text, parse_constant=lambda _: None, parse_float=_number)
    except RecursionError:
        raise ValueError("its brackets are nested too deep") from None


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def read_json(path: Path, *, sealed: bool = False) -> dict[str, Any]:
    """Reads what `write_json` wrote.

    Args:
        sealed: it must have been sealed; else a seal is looked at where there is one.

    Raises:
        RunError: the file is missing, is not JSON or holds no mapping; or it was sealed, and its values are not those
            that were written.
    """
    try:
        value = parse_json(read_regular(path))
    except ValueError as error:
        raise RunError(f"the file is not JSON ({str(error)[:100]})", where=path) from None
    if not isinstance(value, dict):
        raise RunError(f"the file holds a {type(value).__name__}", where=path, expected="a dict")
    if (sealed or "seal" in value) and value.pop("seal", None) != seal(value):
        raise RunError("the file is damaged: its values are not those that were written", where=path)
    return value


def parse_yaml(text: str) -> Any:
    """YAML's plain values; without anchors, of which a few lines can stand for more than a memory holds.

    Raises:
        ValueError: it is not YAML, a value of it is none (such as the day 2001-99-99), or there is an anchor.
    """
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        seen: set[int] = set()
        nodes = [] if root is None else [root]
        while nodes:
            node = nodes.pop()
            if id(node) in seen:
                raise ValueError("it refers to an anchor, with * or <<; write the values out")
            seen.add(id(node))
            if not isinstance(node, yaml.ScalarNode):
                nodes += [n for item in node.value for n in (item if isinstance(item, tuple) else (item,))]
        return None if root is None else loader.construct_document(root)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ValueError(f"{getattr(error, 'problem', None) or first_line(error)}{line}") from None
    except ODD as error:
        raise ValueError(first_line(error, 100)) from None
    finally:
        loader.dispose()


@contextmanager
def values_of(path: Path) -> Iterator[None]:
    """While values of a file are used: turns what Python says of odd ones into a RunError that names the file."""
    try:
        yield
    except (UsageError, DataError, ModelError) as error:
        if error.where is not None:
            raise
        raise RunError(error.found, where=path, expected=error.expected, fix=error.fix) from error
    except ODD as error:
        message = f"a value does not fit ({type(error).__name__}: {first_line(error)})"
        raise RunError(message, where=path) from error
