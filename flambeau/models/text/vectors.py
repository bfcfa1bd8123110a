"""Vectors of words that were trained elsewhere (GloVe, word2vec, fastText), read for the words of a vocabulary.

Pennington et al. 2014, "GloVe: global vectors for word representation"; Mikolov et al. 2013, arXiv:1301.3781.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import torch
from torch import nn

from flambeau.core.errors import ModelError, first_line
from flambeau.models.text.parts import TokenEmbedding

TEXTS, BINARY = (".txt", ".vec"), ".bin"
RESERVED = 2  # padding and unknown come first in every vocabulary
LONGEST_LINE = 1 << 20
LONGEST_WORD = 1 << 12  # bytes, in a binary file
CHUNK = 1 << 20  # bytes of a binary file that are read at once
COUNTS = re.compile(rb"\s*(\d{1,12})\s+([1-9]\d{0,4})\s*")  # word2vec's first line: how many words, and numbers of each
FASTTEXT = (793712314).to_bytes(4, "little")  # what fastText's own models begin with

# Where in the file a word stands, the word, and its vector (D) in any float.
Entry = tuple[str, str, np.ndarray]


class Embeddings(NamedTuple):
    """Vectors float32 (V, D), and the share of the vocabulary's words that the file has."""

    matrix: np.ndarray
    found: float


def is_vectors(pretrained: object) -> bool:
    """Whether `pretrained` names a file of word vectors: by its ending; a `.bin`, which may also be a checkpoint of
    PyTorch, by its first bytes."""
    if not isinstance(pretrained, (str, Path)):
        return False
    path = Path(pretrained)
    ending = _ending(path)
    if ending != BINARY or _zipped(path):
        return ending in (*TEXTS, BINARY)
    if not path.is_file():
        return False
    with _opened(path) as file:
        head = file.readline(LONGEST_WORD)
    return head.startswith(FASTTEXT) or COUNTS.fullmatch(head) is not None


def load_embeddings(path: str | Path, vocabulary: Sequence[str]) -> Embeddings:
    """The vectors of a vocabulary's words.

    A word that the file lacks as it is written is looked up in lower case; one that it lacks altogether gets random
    numbers of the same spread as the found ones. The padding's vector is zero. Memory holds the vocabulary's vectors
    alone, however large the file.

    Args:
        path: a `.txt` or `.vec` file, one word and its D numbers a line, with or without word2vec's first line of two
            counts; or word2vec's `.bin`; each of them also in gzip, with `.gz` behind its name.
        vocabulary: V words; number 0 is padding and 1 unknown.

    Raises:
        ModelError: the file cannot be read, or a line of it does not fit; a word's number is NaN or infinite; or it has
            none of the words.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError("there is no such file of vectors", where=path, fix="check the path", code="not-found")
    wanted: dict[str, list[int]] = {}
    for number, word in enumerate(vocabulary[RESERVED:], RESERVED):
        wanted.setdefault(word, []).append(number)
    lower: dict[str, list[int]] = {}
    for word, numbers in wanted.items():
        if word.lower() != word:
            lower.setdefault(word.lower(), []).extend(numbers)
    read = _from_binary if _ending(path) == BINARY else _from_text
    matrix = np.zeros((0, 0), np.float32)
    exact, known = np.zeros(len(vocabulary), bool), np.zeros(len(vocabulary), bool)
    for place, word, numbers_read in read(path, wanted.keys() | lower.keys()):
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is told
            vector = numbers_read.astype(np.float32)
        if not np.isfinite(vector).all():
            raise ModelError(f"{place} has a number that is NaN or infinite", where=path, fix="mend or remove it")
        if not matrix.size:
            matrix = np.zeros((len(vocabulary), len(vector)), np.float32)
        for number in wanted.get(word, ()):
            matrix[number], exact[number] = vector, True
        for number in lower.get(word, ()):
            if not exact[number]:
                matrix[number], known[number] = vector, True
    known |= exact
    if not known.any():
        raise ModelError(
            f"it has none of the {len(vocabulary) - RESERVED:,} words",
            where=path,
            fix="check that it is of the texts' language, and that the texts are cut into words",
        )
    missing = ~known
    missing[0] = False
    spread = float(matrix[known].std())
    noise = torch.randn(int(missing.sum()), matrix.shape[1]) * spread
    matrix[missing] = noise.numpy()
    return Embeddings(matrix, float(known.sum()) / max(len(vocabulary) - RESERVED, 1))


def put_vectors(model: nn.Module, embeddings: Embeddings) -> None:
    """Writes the vectors into the model's table of tokens."""
    table = next(module for module in model.modules() if isinstance(module, TokenEmbedding)).table
    with torch.no_grad():
        table.weight.copy_(torch.from_numpy(embeddings.matrix))


def _zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _ending(path: Path) -> str:
    """What kind of file it is, by its ending, that of gzip taken off."""
    return Path(path.stem if _zipped(path) else path).suffix.lower()


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unzipped as they are read. Raises ModelError, also where what is read later is damaged."""
    try:
        with cast(BinaryIO, gzip.open(path)) if _zipped(path) else path.open("rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"the file cannot be read to its end ({first_line(error)})", where=path) from None


def _from_text(path: Path, words: Collection[str]) -> Iterator[Entry]:
    width = 0
    with _opened(path) as file:
        for line, raw in enumerate(_lines(file, path), 1):
            if line == 1 and (counts := COUNTS.fullmatch(raw)):
                width = int(counts[2])
                continue
            parts = raw.split()
            if not parts:
                continue
            width = width or _width(parts, path, line)
            # A word may hold spaces of its own, so the numbers are counted from the end.
            parts = raw.rsplit(None, width)
            if len(parts) != width + 1:
                raise ModelError(f"line {line:,} has {len(parts) - 1} numbers", where=path, expected=str(width))
            word = parts[0].decode("utf-8", "replace")
            if word not in words:
                continue
            try:
                vector = np.array([float(part) for part in parts[1:]])
            except ValueError:
                raise ModelError(f"line {line:,} holds something that is no number", where=path) from None
            yield f"line {line:,}", word, vector


def _from_binary(path: Path, words: Collection[str]) -> Iterator[Entry]:
    """word2vec's binary form: a line of two counts; then each word, a space, and its numbers as little-endian float32,
    with a line's end behind them or not."""
    with _opened(path) as file:
        head = file.readline(LONGEST_WORD)
        if head.startswith(FASTTEXT):
            raise ModelError("this is fastText's own model", where=path, fix="use its vectors, the .vec file")
        counts = COUNTS.fullmatch(head)
        if counts is None:
            raise ModelError(
                "it does not begin as word2vec's binary files do",
                where=path,
                expected="a line of two counts: words, and numbers of each",
            )
        count, width = int(counts[1]), int(counts[2])
        most = LONGEST_WORD + 4 * width
        held, at = b"", 0
        for number in range(1, count + 1):
            if len(held) - at < most:
                held, at = held[at:] + file.read(most + CHUNK), 0
            space = held.find(b" ", at, at + LONGEST_WORD)
            begin, end = space + 1, space + 1 + 4 * width
            if space < 0 or end > len(held):
                raise ModelError(f"it ends or breaks at word {number:,} of {count:,}", where=path, fix="fetch it anew")
            word = held[at:space].lstrip(b"\n").decode("utf-8", "replace")
            if word in words:
                yield f"word {number:,}", word, np.frombuffer(held, "<f4", width, begin)
            at = end
        if held[at:].strip() or file.read(1):
            raise ModelError(f"there is more in it than its {count:,} words", where=path, fix="fetch it anew")


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    while raw := file.readline(LONGEST_LINE):
        if len(raw) == LONGEST_LINE:
            raise ModelError(
                "a line is longer than any vector's", where=path, expected="one word and its numbers a line"
            )
        yield raw


def _width(parts: Sequence[bytes], path: Path, line: int) -> int:
    """How many numbers end the line."""
    width = 0
    for part in reversed(parts[1:]):
        try:
            float(part)
        except ValueError:
            break
        width += 1
    if width < 2:
        raise ModelError(f"line {line:,} is no word with its numbers", where=path, expected="`word 0.1 -0.2 …`")
    return width
