"""Tokens: a sentence that is cut into words already, each of which is to get a tag."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition
from flambeau.fields.describing import spread
from flambeau.fields.language import tokenizers as cutting
from flambeau.fields.language.charsets import read_text
from flambeau.fields.language.corruptions import TEXTS, WORDWISE
from flambeau.fields.language.tagged import SUFFIXES as TAGGED
from flambeau.fields.language.tagged import is_tagged, read_tagged, split_lines
from flambeau.fields.language.tokenizers import HF
from flambeau.fields.traits import readable
from flambeau.fields.wanted import Wanted
from flambeau.robustness import Corruption
from flambeau_onnx.cutting import word_pieces

CHARACTERS = 16  # of a word that its model sees: half from its beginning, half from its end
SPLITS = ("auto", "words", "spaces", "characters")
JOINTS = "-'’.,:/&@"  # what stands inside a word, a number or an abbreviation of a typed sentence
SHOWN = 40
MOST = 0.9  # of the values that are lists of words, so that the column is taken for sentences


def words_seen(tokens: Ragged) -> Tensor:
    """(B), int64: how many words of each prepared sentence a model sees; those behind them were cut off."""
    if tokens.values.shape[2] > 2:
        return tokens.lengths
    steps = torch.arange(tokens.values.shape[1], device=tokens.values.device)
    return tokens.values[:, :, 1].where(steps < tokens.lengths[:, None], 0).sum(1)


@FIELDS.register("tokens")
class Tokens(Field):
    """A sentence as a list of words (or of characters). A string is cut, as `split` says.

    Encoded as int32 (T, 1 + 16): the word's number (1 where it is unknown) and its characters' numbers, padded with 0.
    With a pretrained tokeniser as int32 (S, 2): a piece's number, and 1 where a word begins with it, else 0. Prepared
    as `Ragged` of the same in int64.

    Args:
        tokens: what a model sees of a word: `words`, itself and its characters; `hf:FOLDER`, the pieces of a
            pretrained tokeniser, by folder or hub name; `auto`, the one that the model wants.
        split: how a string is cut: `words` (a regular expression), `spaces`, `characters`; or `auto`: characters
            where all training words are single ones, else words.
        lower: whether words are looked up in lower case; characters keep theirs.
        max_length: words of a sentence (pieces, of a pretrained tokeniser) that are kept, from its beginning.
        max_vocabulary: different words that are kept, the most frequent ones.
        min_count: how often a word must come in the training rows to be kept; rarer ones are what the model learns
            to treat unknown words from.
    """

    extent_of = ("length", "words")
    asked_as = "text"
    has_parts = True
    input_only = True
    settings = ("tokens", "split", "lower", "max_length", "max_vocabulary", "min_count")
    fitted = ("cut", "vocabulary", "alphabet", "tokenizer")

    def __init__(
        self,
        tokens: str = "auto",
        split: str = "auto",
        lower: bool = True,
        max_length: int = 512,
        max_vocabulary: int = 50_000,
        min_count: int = 2,
    ):
        if not isinstance(tokens, str) or (
            tokens not in ("auto", "words") and not (tokens.startswith(HF) and len(tokens) > len(HF))
        ):
            raise UsageError(f"no kind of token is called {shown(tokens)}", expected="auto, words, or hf: and a folder")
        if split not in SPLITS:
            raise UsageError(f"a sentence cannot be split by '{split}'", expected=", ".join(SPLITS))
        cutting.check_numbers(max_length=(max_length, 1), max_vocabulary=(max_vocabulary, 3), min_count=(min_count, 1))
        self.tokens, self.split, self.lower = tokens, split, cutting.check_flag("lower", lower)
        self.max_length, self.max_vocabulary, self.min_count = max_length, max_vocabulary, min_count
        self.cut = "words" if split == "auto" else split
        self.vocabulary: list[str] = []
        self.alphabet: list[str] = []
        self.tokenizer: str | None = None  # the JSON of `tokenizers`, of a pretrained one

    def qualities(self, value: Any) -> dict[str, float | bool]:
        return {f"“{word}”": True for word in map(self._form, self.parts(value))}

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        # words must stay as many as their tags
        def closed(raw: Any, text: str) -> list[str]:
            return [new or old for new, old in zip(text.split("\n"), self.parts(raw), strict=True)]

        found = TEXTS.within(lambda raw: "\n".join(self.parts(raw)), closed)
        return {name: found[name] for name in WORDWISE}

    def as_parts(self) -> Tokens:
        return self

    def as_whole(self) -> Field:
        from flambeau.fields.text import Text

        return Text()

    def rewritten(self, value: Any) -> Any:
        return value.split() if isinstance(value, str) else value

    @classmethod
    def suit(cls, column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
        return cutting.suit(column, settings, wanted)

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [v for v in values if v is not None]
        good = [v for v in sample if isinstance(v, (list, tuple)) and v and all(isinstance(w, str) for w in v)]
        if len(good) > MOST * len(sample):  # a bad one is named when the store is built
            again = sum(len(set(v)) < len(v) for v in good) >= 0.2 * len(good)
            return Recognition(0.93 if again else 0.8, "values are lists of words")
        return Recognition(0.0, "values are not lists of words")

    @property
    def endings(self) -> frozenset[str]:
        return frozenset((*TAGGED, ".txt"))

    def values_in(
        self, path: Path, *, encoding: str | None = None, column: int | None = None
    ) -> Iterator[tuple[str, Any]]:
        """Of a file of tagged sentences their words; of any other each line that is not empty."""
        if is_tagged(path):
            found = ((s.line, s.tokens) for s in read_tagged(path, path.name, column, encoding=encoding))
            yield from ((f"{path}, line {number}", words) for number, words in found)
            return
        for number, line in enumerate(split_lines(read_text(path, encoding)), 1):
            if line.strip():
                yield f"{path}, line {number}", line

    def fit(self, values: Sequence[Any]) -> None:
        self.__dict__.pop("_tool", None)
        sentences = [words for words in readable(self.parts, values) if words]
        if not sentences:
            raise DataError("every sentence of the training rows is empty", expected="some words")
        if self.split == "auto":
            given = any(not isinstance(value, str) for value in values)
            self.cut = "characters" if given and all(len(w) == 1 for s in sentences for w in s) else "words"
        if self.tokens.startswith(HF):
            self.tokenizer = cutting.pretrained(self.tokens.removeprefix(HF))
            return
        counts: Counter[str] = Counter()
        letters: Counter[str] = Counter()
        for words in sentences:
            counts.update(map(self._form, words))
        for sentence in sentences:
            letters.update("".join(sentence))
        self.vocabulary = cutting.vocabulary_of(counts, most=self.max_vocabulary, min_count=self.min_count)
        self.alphabet = cutting.vocabulary_of(letters, most=5_000, min_count=self.min_count)

    def parts(self, value: Any) -> list[str]:
        """The words of a raw value, all of them."""
        if isinstance(value, str):
            if self.cut == "words":
                words = cutting.words(JOINTS)(value)
            else:
                words = value.split() if self.cut == "spaces" else [c for c in value if not c.isspace()]
        elif isinstance(value, (list, tuple)):
            words = list(value)
            for i, word in enumerate(words):
                if not isinstance(word, str) or not word or word.isspace():
                    raise DataError(f"token {i + 1} is {shown(word)}", expected="a word")
        else:
            raise DataError(f"a {type(value).__name__} is not a sentence", expected="a list of words, or a text")
        if not words:
            raise DataError("the sentence is empty")
        return words

    def _form(self, word: str) -> str:
        return cutting.plain(word, self.lower)

    @cached_property
    def _tool(self) -> Any:
        """The pretrained tokeniser, or two tables: from word and from character to number."""
        if self.tokenizer is not None:
            return cutting.truncating(self.tokenizer, self.max_length)
        if not self.vocabulary:
            raise UsageError("the tokens field is not fitted", fix="call fit first")
        return [{piece: i for i, piece in enumerate(pieces)} for pieces in (self.vocabulary, self.alphabet)]

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.int32), (2 if self.pretrained else 1 + CHARACTERS,), ragged=True)

    @property
    def outside(self) -> str:
        told = "the pieces of the tokeniser in fields.json, and whether a word begins with each"
        own = f"numbers of the vocabulary and, of {CHARACTERS} letters a word, of the alphabet in fields.json"
        return f"{self.max_length:,} words at most: {told if self.pretrained else own}; 0 behind the end"

    @property
    def pretrained(self) -> bool:
        """Whether words are cut into the pieces of a pretrained tokeniser."""
        return self.tokens.startswith(HF)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(V, A, 16): words, different characters, and characters of a word; or (V,) pieces, where pretrained."""
        if self.pretrained:
            return (self._tool.get_vocab_size(),)
        return (len(self.vocabulary), len(self.alphabet), CHARACTERS)

    def encode(self, value: Any) -> np.ndarray:
        words = self.parts(value)
        if self.pretrained:
            return self._pieces(words)
        known, letters = self._tool
        out = np.zeros((min(len(words), self.max_length), 1 + CHARACTERS), np.int32)
        for row, word in zip(out, words, strict=False):
            row[0] = known.get(self._form(word), 1)
            if len(word) > CHARACTERS:
                word = word[: CHARACTERS // 2] + word[-CHARACTERS // 2 :]
            row[1 : 1 + len(word)] = [letters.get(c, 1) for c in word]
        return out

    def _pieces(self, words: list[str]) -> np.ndarray:
        try:
            return word_pieces(self._tool, words)
        except ValueError as error:
            raise DataError(str(error), expected="a word") from None

    def prepare(self, gathered: Ragged, training: bool = False, generator: torch.Generator | None = None) -> Ragged:
        return Ragged(gathered.values.long(), gathered.lengths)

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        lengths = [len(words) for words in readable(self.parts, values) if words]
        return spread(np.asarray(lengths, np.float64), "words")

    def extent(self, value: Any) -> float:
        return len(self.parts(value))

    def portable(self, value: Any) -> Any:
        return super().portable(list(value) if isinstance(value, tuple) else value)

    def example(self) -> str:
        return "a text"

    def marked(self, value: Any, at: int | None = None, weights: Sequence[float] | None = None) -> str:
        return self.render(value, at)

    def render(self, value: Any, mark: int | None = None) -> str:
        """Its beginning; with `mark`, the words around that one, which stands out."""
        words = next(readable(self.parts, [value]))
        start = max(0, (mark or 0) - SHOWN // 2)
        end = start + SHOWN
        shown = [html.escape(word) for word in words[start:end]]
        before, after = "… " * (start > 0), " …" * (end < len(words))
        if mark is None or mark >= len(words):
            return f"<span>{before}{' '.join(shown)}{after}</span>"
        at = mark - start
        ahead = before + "".join(f"{word} " for word in shown[:at])
        behind = "".join(f" {word}" for word in shown[at + 1 :]) + after
        return f"<span>{ahead}</span><span class=mark>{shown[at]}</span><span>{behind}</span>"
