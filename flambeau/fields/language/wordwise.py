"""A pretrained tokeniser that works word by word remembers words: texts repeat them, and to cut one up takes long."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from operator import itemgetter
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

REMEMBERED = 1 << 16  # words, at most: those that come first, among which the frequent ones are
LONGEST = 40  # signs of a word that is remembered
SPACED = 20  # signs to a space, at most, in texts that are worth it; Chinese has none
_ADDING = Lock()  # texts are encoded in several threads


class _Table(NamedTuple):
    """The tokens of words: of all words one after another, int32; and where each word's begin, int64 (words + 1)."""

    tokens: np.ndarray
    starts: np.ndarray

    @property
    def words(self) -> int:
        return len(self.starts) - 1

    def plus(self, tokens: np.ndarray, lengths: np.ndarray) -> _Table:
        """With more words behind them."""
        ends = np.cumsum(lengths) + self.starts[-1]
        return _Table(np.concatenate([self.tokens, tokens]), np.concatenate([self.starts, ends]))


class WordByWord:
    """Turns many texts into the same tokens as a tokeniser does of which `works_by_word` is true, in less time.

    Args:
        tool: the tokeniser, of `tokenizers`; it truncates at `max_length`, and does not pad.
        max_length: tokens of a text at most, the marks before and behind it among them.
    """

    def __init__(self, tool: Any, max_length: int):
        self._whole = tool
        self._tool = type(tool).from_str(tool.to_str())
        self._tool.no_truncation()
        one = self._tool.encode("a")
        inside = [of is not None for of in one.sequence_ids]
        self._before = one.ids[: inside.index(True)]
        self._behind = one.ids[len(inside) - inside[::-1].index(True) :]
        self._most = max_length - len(self._before) - len(self._behind)
        self._numbers: dict[str, int] = {}
        self._table = _Table(np.zeros(0, np.int32), np.zeros(1, np.int64))

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of texts, one after another, int32; and where each text's begin, int64 (texts + 1)."""
        if self._most < 1 or sum(map(len, texts)) > SPACED * (sum(text.count(" ") for text in texts) + len(texts)):
            return joined([encoded.ids for encoded in self._whole.encode_batch_fast(texts)])
        cut = [text.split(" ", self._most)[: self._most] for text in texts]
        pieces = self._tokens_of(cut)
        short = pieces[1] < self._most
        if any(less and len(words) == self._most for less, words in zip(short.tolist(), cut, strict=True)):
            # several spaces in a row, nothing between them
            pieces = self._tokens_of([text.split(" ") for text in texts])
        tokens, counts, firsts = pieces
        counts = np.minimum(counts, self._most)
        starts = _starts(counts + len(self._before) + len(self._behind))
        flat = np.empty(starts[-1], np.int32)
        flat[_runs(starts[:-1] + len(self._before), counts)] = tokens[_runs(firsts, counts)]
        for place, mark in enumerate(self._before):
            flat[starts[:-1] + place] = mark
        for place, mark in enumerate(reversed(self._behind), 1):
            flat[starts[1:] - place] = mark
        return flat, starts

    def _tokens_of(self, cut: list[list[str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of texts that are cut into words, one after another, int32; how many each text has; and where its
        begin, int64 (texts)."""
        words = list(itertools.chain.from_iterable(cut))
        numbers, table = self._looked_up(words)
        lengths = table.starts[numbers + 1] - table.starts[numbers]
        bounds = _starts(lengths)[_starts(np.fromiter(map(len, cut), np.int64, len(cut)))]
        return table.tokens[_runs(table.starts[numbers], lengths)], np.diff(bounds), bounds[:-1]

    def _looked_up(self, words: list[str]) -> tuple[np.ndarray, _Table]:
        """The number of each word in a table, int64 (words), and that table."""
        numbers = np.fromiter(map(self._numbers.get, words, itertools.repeat(-1)), np.int64, len(words))
        missing = np.flatnonzero(numbers < 0).tolist()
        if not missing:
            return numbers, self._table
        new = sorted({words[i] for i in missing}, key=len)
        tokens, lengths = self._encoded(new)
        with _ADDING:
            before = self._table
            if before.words < REMEMBERED:
                short = sum(len(word) <= LONGEST for word in new)
                self._table = before.plus(tokens[: lengths[:short].sum()], lengths[:short])
                self._numbers.update(zip(new[:short], itertools.count(before.words), strict=False))
        place = {word: before.words + i for i, word in enumerate(new)}
        numbers[missing] = [place[words[i]] for i in missing]
        return numbers, before.plus(tokens, lengths)

    def _encoded(self, words: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of words, one after another, int32, and how many each has, int64 (words)."""
        # one long text takes half the time of many short ones; and of all calls a batch lets other threads work
        (encoded,) = self._tool.encode_batch([" ".join(words)], add_special_tokens=False)
        tokens = np.array(encoded.ids, np.int32)
        begins = np.fromiter(map(itemgetter(0), encoded.offsets), np.int64, len(tokens))
        ends = np.cumsum(np.fromiter(map(len, words), np.int64, len(words)) + 1)
        return tokens, np.diff(np.searchsorted(begins, ends), prepend=0)


def works_by_word(tokenizer: str) -> bool:
    """Whether the tokens of a text are those of its parts between spaces, one after another; of the JSON of
    `tokenizers`. It is so with BERT's rules: they clean and cut sign by sign, and never over a space."""
    rules = json.loads(tokenizer)
    kinds = [(rules.get(part) or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and not any(
        token["lstrip"] or token["rstrip"] or token["single_word"] or " " in token["content"]
        for token in rules["added_tokens"]
    )


def joined(lists: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of numbers one after another, int32, and where each begins, int64 (lists + 1)."""
    starts = _starts(np.fromiter(map(len, lists), np.int64, len(lists)))
    return np.fromiter(itertools.chain.from_iterable(lists), np.int32, int(starts[-1])), starts


def _starts(lengths: np.ndarray) -> np.ndarray:
    """Where parts of some lengths begin, one behind the other, and where the last ends, int64 (n + 1)."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def _runs(firsts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers from each first on, so many of each, int64."""
    starts = _starts(lengths)
    return np.repeat(firsts - starts[:-1], lengths) + np.arange(starts[-1])
