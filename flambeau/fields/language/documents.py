"""Documents: parts of text files, read when they are asked for, so that a text larger than the memory can be gone
through."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.files import check_regular, read_bytes
from flambeau.fields.columns import Strings
from flambeau.fields.language.charsets import to_text

BLOCK = 1 << 22
CONTROL = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f]")
CONTROLS = 0.01  # of the characters of a file, from which on it is a picture, a program, an archive
SEAMS = (b"\n\n", b"\n\r\n", b"\n", b" ")
"""What a file is cut behind, the best first."""
LEAST, MOST, PIECES = 1_000, 1 << 16, 64
"""Bytes of a document that a file is cut into: of all files together so many documents, none much larger than MOST."""


class Documents(Strings):
    """Parts of files in UTF-8; files in another encoding are kept as UTF-8 in memory.

    Args:
        files: paths, or their content.
        spans: int64 (N, 3): the file of each document, and the bytes where it begins and ends.
    """

    def __init__(self, files: Sequence[Path | bytes], spans: np.ndarray):
        self.files, self.spans = list(files), spans

    def __len__(self) -> int:
        return len(self.spans)

    def take(self, rows: np.ndarray) -> Documents:
        return Documents(self.files, self.spans[rows])

    def made(self, start: int, end: int) -> list[str | None]:
        return [content.decode() for content in self.contents(start, end)]

    def __iter__(self) -> Iterator[str]:
        for content in self.contents(0, len(self)):  # one at a time: each may be large
            yield content.decode()

    def contents(self, start: int, end: int) -> Iterator[bytes]:
        """The bytes of some documents.

        Raises:
            DataError: a file has become shorter since it was looked through.
        """
        for number, begins, ends in self.spans[start:end].tolist():
            file = self.files[number]
            if isinstance(file, bytes):
                yield file[begins:ends]
                continue
            with file.open("rb") as stream:
                stream.seek(begins)
                content = stream.read(ends - begins)
            if len(content) < ends - begins:
                raise DataError("the file has become shorter while it was read", where=file)
            yield content


def documents_of(paths: Sequence[Path], encoding: str | None = None) -> tuple[Documents, list[str]]:
    """Text files, each a document; large ones cut behind blank lines, so that together there are some dozens, and none
    is much larger than 64 KiB. Nothing is lost: the documents of a file one after another are the file. Those that are
    empty are left out. And the encodings that the files are in, one each.

    Raises:
        DataError: a file is missing, or not in the encoding given.
    """
    for path in paths:
        check_regular(path)
    size = min(MOST, max(LEAST, sum(path.stat().st_size for path in paths) // PIECES))
    files: list[Path | bytes] = []
    names, spans = list[str](), list[tuple[int, int, int]]()
    for number, path in enumerate(paths):
        start = _utf8_from(path) if encoding in (None, "utf-8", "utf-8-sig") else None
        if start is None:
            text, name = to_text(read_bytes(path), encoding, path)
            if encoding is None and len(CONTROL.findall(text)) > CONTROLS * len(text):
                raise DataError("this is no text: it is full of control characters", where=path,
                                fix="take it out, or give its encoding (--encoding)")  # fmt: skip
            files.append(text.encode("utf-8", "replace"))
            start = 0
        else:
            files.append(path)
            name = "utf-8"
        names.append(name)
        spans += [(number, begins, ends) for begins, ends in _cut(files[-1], start, size)]
    return Documents(files, np.array(spans, np.int64).reshape(-1, 3)), names


def _utf8_from(path: Path) -> int | None:
    """Where the text of a file begins, behind a mark of its encoding; None where it is not UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    head = read_bytes(path, 4)
    if b"\0" in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    try:
        with path.open("rb") as stream:
            while block := stream.read(BLOCK):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return None
    return len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0


def _cut(file: Path | bytes, start: int, size: int) -> Iterator[tuple[int, int]]:
    """Where the documents of a file begin and end."""
    total = len(file) if isinstance(file, bytes) else file.stat().st_size
    while total - start > 2 * size:
        if isinstance(file, bytes):
            part = file[start : start + 2 * size]
        else:
            with file.open("rb") as stream:
                stream.seek(start)
                part = stream.read(2 * size)
        end = next((at + len(seam) for seam in SEAMS if (at := part.find(seam, size)) >= 0), 0)
        if not end:  # where a character begins
            end = next(at for at in range(size, len(part)) if part[at] & 0xC0 != 0x80)
        while part[end : end + 1] in (b"\n", b"\r"):  # blank lines belong to what was before
            end += 1
        yield start, start + end
        start += end
    if start < total:
        yield start, total
