"""Text files of cells as bytes, made such as can be read: line ends, quotes, zero bytes, spaces that stand for tabs."""

from __future__ import annotations

import io
import mmap
import re
from collections.abc import Callable
from typing import Any, BinaryIO

SEEN = 1 << 16  # bytes, to find out where the cells are
FEW_LINES = 20  # at least as many
BLOCK = 16 << 20
ESCAPED = re.compile(rb'\\"(?=[^",;\t\r\n])')  # before a letter: a folder's name may end with a backslash
_LINE_END = re.compile(rb'("(?:[^"]|"")*")|\r+\n?')
_SPACES = re.compile(rb'("[^"\n]*")|(?:(?<=\n)|^)[ \t]+|[ \t]+(?=\r?\n|$)|([ \t]+)')


def mended(source: Any) -> tuple[Any, list[str]]:
    """The same table with line ends, quotes and zero bytes that can be read, and what was mended, in words.

    Args:
        source: a path, or bytes.
    """
    ways: list[str] = []
    zeros, returns, pairs = _counts(source, b"\0", b"\r", b"\r\n")
    if zeros or returns > pairs:
        data = contents(source).replace(b"\0", b"")
        ways += ["zero bytes, which are left out"] * (zeros > 0)
        source = _LINE_END.sub(lambda match: match[1] or b"\n", data) if b'"' in data else _LINE_END.sub(b"\n", data)
    unescaped = _unescaped(source)
    return unescaped, ways + ["backslashes before its quotes"] * (unescaped is not source)


def tabs_for_spaces(source: Any) -> bytes:
    """The same table with a tab for any number of spaces between its cells."""
    return _SPACES.sub(lambda match: match[1] or (b"\t" if match[2] else b""), contents(source))


def unclosed_quotes(source: Any) -> bool:
    """Whether some quote has no other that closes it."""
    return _counts(source, b'"')[0] % 2 == 1


def contents(source: Any, only_if: Callable[[Any], bool] = lambda data: True) -> Any:
    """The bytes of a source, where they are as wanted; else None."""
    if isinstance(source, bytes):
        return source if only_if(source) else None
    if not source.stat().st_size:
        return b"" if only_if(b"") else None
    with source.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data[:] if only_if(data) else None


def head_of(source: Any) -> str:
    """The first lines of a source, whole ones, of which a wide table has long ones."""
    with _opened(source) as stream:
        head = b""
        while head.count(b"\n") < FEW_LINES and (block := stream.read(SEEN)):
            head += block
        if stream.read(1):
            head = head[: head.rfind(b"\n") + 1]
    return head.decode("utf-8", errors="replace").removeprefix("\ufeff")


def _opened(source: Any) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _counts(source: Any, *patterns: bytes) -> list[int]:
    """How often each pattern is there, in blocks of lines: the file may be large."""
    counts = [0] * len(patterns)
    with _opened(source) as stream:
        while block := stream.read(BLOCK):
            block += stream.readline()
            counts = [count + block.count(pattern) for count, pattern in zip(counts, patterns, strict=True)]
    return counts


def _unescaped(source: Any) -> Any:
    """The same table with quotes within cells doubled, where a backslash stands before most of them: read as they are,
    two rows would become one."""
    data = contents(source, lambda d: d.find(b'\\"') >= 0)
    if data is None or len(ESCAPED.findall(data)) <= data.count(b'""'):
        return source
    return data.replace(b'\\"', b'""')
