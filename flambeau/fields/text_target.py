"""TextTarget: a text that is to be written, as numbers of tokens from which it comes back byte for byte."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, first_line, shown
from flambeau.core.files import read_bytes
from flambeau.core.shapes import Int64
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition
from flambeau.fields.describing import spread
from flambeau.fields.language import tokenizers as cutting
from flambeau.fields.language.alphabets import Alphabet, Characters, Subwords, end_of, train_subwords
from flambeau.fields.language.raw_texts import text_of, usable
from flambeau.fields.language.tokenizers import HF, SHARED
from flambeau.fields.text import Text
from flambeau.fields.wanted import Wanted

NO_TOKEN = -100  # behind a text's end, as `torch.nn.functional.cross_entropy` leaves it out
FEWEST_PIECES, ROWS_A_PIECE = 300, 2  # of the training rows, where pieces are found in them


@FIELDS.register("text-target")
class TextTarget(Field):
    """A text that a model writes: a translation, a summary, another spelling. Encoded as int32 (T) with a token that
    begins it and one that ends it, prepared as int64 (B, T), -100 behind the end.

    A character that training did not have is written in its bytes, so that nothing is lost.

    Args:
        tokens: what a text is made of: `characters`; `bpe`, pieces of bytes found in the training rows; `shared`, such
            pieces found in the texts that are read too, which are cut into them as well; `hf:FOLDER`, the pieces of a
            pretrained tokeniser, by folder or hub name; or `auto`: pieces where `tokenizers` is installed, else
            characters.
        max_length: tokens of a text that are learned, from its beginning.
        max_vocabulary: different tokens, at most; pieces are also no more than half as many as the training rows.
    """

    task = "text"
    noun = "text"
    target_only = True
    extent_of = ("length", "characters")
    settings = ("tokens", "max_length", "max_vocabulary")
    fitted = ("cut", "alphabet", "tokenizer", "begin", "end", "longest")

    def __init__(self, tokens: str = "auto", max_length: int = 256, max_vocabulary: int = 8_000):
        if tokens in ("words", "chinese"):
            expected = f"auto, characters, bpe, {SHARED}, or {HF} and a folder"
            raise UsageError(f"a text cannot be put together from {tokens}", expected=expected)
        self.tokens = cutting.check_kind(tokens)
        cutting.check_numbers(max_length=(max_length, 3), max_vocabulary=(max_vocabulary, 300))
        self.max_length, self.max_vocabulary = max_length, max_vocabulary
        self.cut = "" if tokens == "auto" else tokens
        self.alphabet = ""
        self.tokenizer: str | None = None
        self.begin = self.end = 0
        self.longest = max_length
        """Tokens of the longest text of the training rows, its two marks among them: no answer is longer."""

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        return Text.recognise(values)

    @classmethod
    def suit(cls, column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
        return cutting.suit(column, settings, wanted)

    def fit(self, values: Sequence[Any]) -> None:
        texts = [text for text in map(encodable, values) if isinstance(text, str)]
        if not texts:
            raise DataError("every text of the training rows is empty", expected="some text")
        self.__dict__.pop("_codes", None)
        self.cut = self.tokens
        if self.cut == "auto":
            self.cut = "bpe" if find_spec("tokenizers") else "characters"
        self.alphabet, self.tokenizer, self.begin, self.end = "", None, 0, 0
        if self.cut in ("bpe", SHARED):
            pieces = max(FEWEST_PIECES, len(texts) // ROWS_A_PIECE)
            self.tokenizer = train_subwords(texts, min(self.max_vocabulary, pieces))
        elif self.cut.startswith(HF):
            source = self.cut.removeprefix(HF)
            self.tokenizer = cutting.pretrained(source)
            self.begin, self.end = marks_of(source, self.tokenizer)
        else:
            counts = Counter(itertools.chain.from_iterable(texts))
            self.alphabet = "".join(sorted(c for c, _ in counts.most_common(self.max_vocabulary - 257)))
        self.longest = max(len(self.encode(text)) for text in texts)

    @property
    def shares(self) -> bool:
        return self.tokens == SHARED

    @cached_property
    def _codes(self) -> Alphabet:
        if self.tokenizer is not None:
            return Subwords(self.tokenizer, self.end)
        if not self.alphabet:
            raise UsageError("the text field is not fitted", fix="call fit first")
        return Characters(self.alphabet)

    def tokens_of(self, text: str) -> list[int]:
        """The numbers of a text's tokens, without the marks about it."""
        return list(map(int, self._codes.encode([text])[0]))

    def text_of(self, numbers: Sequence[int]) -> str:
        """The text of tokens, up to the one that ends it, byte by byte what they were made of; half a character becomes
        U+FFFD."""
        written = itertools.takewhile(lambda number: number != self.end, map(int, numbers))
        pieces = self._codes.pieces
        text = b"".join(pieces[number] for number in written if number >= 0).decode("utf-8", "replace")
        return text.removeprefix(" ") if isinstance(self._codes, Subwords) and self._codes.prepends else text

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.int32), (), ragged=True)

    @property
    def num_outputs(self) -> int:
        return len(self._codes.pieces)

    @property
    def token_names(self) -> Sequence[str | None]:
        """What each token writes."""
        return [piece.decode("utf-8", "replace") for piece in self._codes.pieces]

    def encode(self, value: Any) -> np.ndarray:
        text = encodable(value)
        if isinstance(text, DataError):
            raise text
        return np.asarray([self.begin, *self.tokens_of(text), self.end][: self.max_length], np.int32)

    def prepare(
        self, gathered: Ragged, training: bool = False, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "B T"]:
        return gathered.values.long().masked_fill(~gathered.there, NO_TOKEN)

    def decode(self, output: np.ndarray) -> str:
        """Token numbers (T) to the text that they write."""
        return self.text_of(np.asarray(output).astype(np.int64).tolist())

    def both(self, answers: Tensor, target: Tensor) -> list[tuple[str, str]]:
        """The texts of answers (B, T) and of prepared targets (B, T'), whose first token begins them."""
        rows = zip(answers.tolist(), target[:, 1:].tolist(), strict=True)
        return [(self.text_of(said), self.text_of(true)) for said, true in rows]

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        lengths = [len(text) for text in map(usable, values) if text is not None]
        return spread(np.asarray(lengths, np.float64), "characters")

    def extent(self, value: Any) -> float:
        text = text_of(value)
        if isinstance(text, DataError):
            raise text
        return len(text)


def encodable(value: Any) -> str | DataError:
    """The text of a raw value, which has bytes; or what is wrong with it."""
    text = text_of(value)
    try:
        _ = text.encode() if isinstance(text, str) else b""
    except UnicodeEncodeError as error:
        return DataError(f"the text has {shown(error.object[error.start])}, which is no character")
    return text


def marks_of(source: str, tokenizer: str) -> tuple[int, int]:
    """The numbers of the tokens that begin and end what a pretrained model writes: as its configuration says, where
    there is one in the folder, else as its tokeniser calls them."""
    begin, end, _ = end_of(tokenizer, {})
    file = Path(source) / "config.json"
    try:
        said = json.loads(read_bytes(file)) if file.is_file() else {}
    except ValueError as error:
        raise DataError(f"the file is no JSON ({first_line(error)})", where=file) from None
    if not isinstance(said, dict):
        raise DataError("the file holds no settings of a model", where=file, expected="a JSON object")
    marks = (said.get("decoder_start_token_id"), begin), (said.get("eos_token_id"), end)
    begin, end = (known if isinstance(known, int) else usual for known, usual in marks)
    return begin, end
