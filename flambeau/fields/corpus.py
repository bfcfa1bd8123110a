"""Corpus: texts that are foretold token by token, whole, and given back byte by byte."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition
from flambeau.fields.describing import spread
from flambeau.fields.encoding import Packed
from flambeau.fields.language import tokenizers as cutting
from flambeau.fields.language.alphabets import (
    END,
    Alphabet,
    Bytes,
    Characters,
    Subwords,
    count_characters,
    end_of,
    train_subwords,
)
from flambeau.fields.language.charsets import read_text
from flambeau.fields.language.chats import Chat, Marks, answers, is_chat, messages_of, stands, written
from flambeau.fields.language.documents import documents_of
from flambeau.fields.language.gguf import plain_folder
from flambeau.fields.language.tokenizers import HF
from flambeau.fields.wanted import Wanted

KINDS = ("auto", "bytes", "characters", "bpe")
FEW = 5_000_000  # characters of training texts, below which few pairs of characters come often enough to be a token
A_PIECE = 2_000  # characters of training texts for each piece of words
SUBWORDS = (2_048, 32_768)
LEARNED_FROM = 50_000_000  # characters that a byte-pair encoding is learned from, at most
CHARACTERS_A_TOKEN = {"bytes": 1.0, "characters": 1.0}
USUAL = {"characters": 256, "bytes": 256, "bpe": 256}
OF_PRETRAINED, SHOWN = 512, 300


@FIELDS.register("corpus")
class Corpus(Field):
    """A document, a string or a chat, that is learned token by token. Encoded as (T) of uint16, or int32 where there
    are more than 65,536 tokens, with the mark `begin` before it and `end` behind it; of chats (T, 2), where the second
    says whether a token counts in the loss. Prepared as `Packed`. No text is cut short.

    A chat is a list of messages, {role, content} each; what the assistant says, and the end of it, is counted. It is
    written as the tokeniser's template says; where there is none as

        user:
        What is a flambeau?

        assistant:
        A burning torch.<end>

    Messages of the roles `prompt` and `completion` are written as they stand, one behind the other, and what follows
    the prompt is counted.

    Args:
        tokens: what a text is cut into: `bytes`, `characters` (one that the training rows have not is written in its
            bytes), `bpe` (byte-level, trained on the training rows), `hf:FOLDER` (a pretrained tokeniser, by folder or
            hub name; of a run of a language model its tokens), or `auto`: characters of little text, `bpe` of more.
        context: L, tokens that a window has and a model looks back at; chosen by the texts if not given.
        max_vocabulary: different tokens, at most, of characters and `bpe`; chosen by the size of the text if not given.
    """

    extent_of = ("length", "characters")
    asked_as = "text"
    alone = "language-model"
    input_only = True
    persistent = True
    holds_content = True
    settings = ("tokens", "context", "max_vocabulary")
    fitted = ("cut", "alphabet", "tokenizer", "marks", "length", "chats", "prompts", "size")
    after = ("context", "length", "size")

    def __init__(self, tokens: str = "auto", context: int | None = None, max_vocabulary: int | None = None):
        if tokens in ("words", "chinese"):
            raise UsageError(f"a text cannot be put together again from {tokens}, byte by byte",
                             expected=f"{', '.join(KINDS)}, or {HF} and a folder")  # fmt: skip
        if tokens not in KINDS and not (isinstance(tokens, str) and tokens.startswith(HF)):
            raise UsageError(f"no kind of token is called {shown(tokens)}",
                             expected=f"{', '.join(KINDS)}, or hf: and a folder or name")  # fmt: skip
        cutting.check_numbers(context=(2 if context is None else context, 2))
        cutting.check_numbers(max_vocabulary=(300 if max_vocabulary is None else max_vocabulary, 300))
        self.tokens, self.context, self.max_vocabulary = tokens, context, max_vocabulary
        self.cut: str | None = None if tokens == "auto" else tokens
        self.alphabet = ""
        self.tokenizer: str | None = None
        self.marks: dict[str, Any] = {"begin": 0, "end": 0, "stops": [], "template": None, "special": {}}
        self.length = context or USUAL["characters"]
        self.chats = self.prompts = False
        self.size = 0

    @classmethod
    def suit(cls, column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
        suited = cutting.suit(column, {**settings, "max_length": 0}, wanted)
        context = settings.get("context")
        if wanted.positions is not None and (context or OF_PRETRAINED) > wanted.positions:
            suited["context"] = wanted.positions, f"the most that {wanted.model} can take"
        elif wanted.window is not None and context is None:
            why = f"{wanted.model} reads token after token: more windows side by side, and shorter ones, take less time"
            suited["context"] = wanted.window, why
        return suited

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [value for value in values if value is not None]
        if sample and all(map(is_chat, sample)):
            return Recognition(0.95, "values are chats")
        return Recognition(0.0, "texts are learned token by token where it is said so")

    @classmethod
    def read(cls, path: str) -> str:
        return read_text(path)

    def values_in(
        self, path: Path, *, encoding: str | None = None, column: int | None = None
    ) -> Iterator[tuple[str, Any]]:
        documents, _ = documents_of([path], encoding)
        several = len(documents) > 1
        for (_, begins, _), text in zip(documents.spans.tolist(), documents, strict=True):
            yield f"{path}, byte {begins:,}" if several else str(path), text

    # -- what it learns of the training rows ------------------------------------------------------------------

    def fit(self, values: Sequence[Any]) -> None:
        """Takes the vocabulary of training rows. A byte-pair encoding is learned from documents that lie evenly all
        over, of at most 50 million characters."""
        for derived in ("_codes", "sizes", "_chat"):
            self.__dict__.pop(derived, None)
        sizes = np.array([len(text) for text in _texts(values)], np.int64)
        if not sizes.sum():
            raise DataError("every text of the training rows is empty", expected="some text")
        self.chats = any(is_chat(value) and not stands(value) for value in values[:1000])
        self.prompts = any(map(stands, values[:1000]))
        if self.chats and not any(_counts(document) for document in map(_document, values)):
            raise DataError("in no chat of the training rows does an assistant say something, and nothing else counts",
                            expected="messages of the role assistant")  # fmt: skip
        total = int(sizes.sum())
        self.cut = self.cut_of(total)
        self.alphabet, self.tokenizer, self.marks = "", None, Corpus().marks
        if self.cut.startswith(HF) and (known := cutting.corpus_of(self.cut.removeprefix(HF))) is not None:
            self.cut, self.alphabet, self.tokenizer, self.marks = (
                known.cut, known.alphabet, known.tokenizer, known.marks
            )  # fmt: skip
        elif self.cut.startswith(HF):
            folder = plain_folder(self.cut.removeprefix(HF))
            self.tokenizer, told = cutting.pretrained(folder), Marks.beside(folder)
            begin, end, stops = end_of(self.tokenizer, told)
            self.marks = {"begin": begin, "end": end, "stops": stops, **Marks.of(told)}
        elif self.cut == "bpe":
            every = max(1, math.ceil(total / LEARNED_FROM))
            self.tokenizer = train_subwords(_texts(values[::every]), self.max_vocabulary or _pieces_for(total))
        elif self.cut == "characters":
            counts = count_characters(_texts(values))
            codes = np.argsort(-counts, kind="stable")[: min(int((counts > 0).sum()), (self.max_vocabulary or 8192))]
            self.alphabet = "".join(map(chr, sorted(codes[counts[codes] > 0].tolist())))
        share = CHARACTERS_A_TOKEN.get(self.cut) or self._characters_a_token(values)
        self.size = round(total / share)
        longest = math.ceil(int(sizes.max(initial=1)) / share) + 2
        usual = USUAL.get(self.cut, OF_PRETRAINED)
        self.length = self.context or min(usual, max(16, 1 << (longest - 1).bit_length()))

    def cut_of(self, characters: int) -> str:
        """What training texts of so many characters together are cut into."""
        return self.tokens if self.tokens != "auto" else "characters" if characters < FEW else "bpe"

    def _characters_a_token(self, values: Sequence[Any]) -> float:
        sample = [*itertools.islice((text[:10_000] for text in _texts(values) if text), 50)]
        return sum(map(len, sample)) / max(1, sum(map(len, self._codes.encode(sample))))

    def choices(self) -> Mapping[str, tuple[Any, str]]:
        found: dict[str, tuple[Any, str]] = {}
        few = f"few pairs of characters come often enough to be one token below {FEW:,} characters of training text"
        many = f"from {FEW:,} characters on pieces of words come often, and a window of them says more"
        if self.tokens == "auto" and self.size:
            found["tokens"] = self.cut, few if self.cut == "characters" else many
        if self.context is None and self.size:
            least = USUAL.get(self.cut or "", OF_PRETRAINED)
            why = "the usual window of such tokens" if self.length >= least else "no document is longer"
            found["context"] = self.length, f"{why}; about {self.size:,} tokens train"
        return found

    def samples_in_epoch(self, rows: int) -> int:
        return max(1, self.size // self.length) if self.size else rows

    # -- tokens -----------------------------------------------------------------------------------------------

    @cached_property
    def _codes(self) -> Alphabet:
        if self.tokenizer is not None:
            return Subwords(self.tokenizer, self.end)
        if self.cut == "characters" and not self.alphabet:
            raise UsageError("the corpus field is not fitted", fix="call fit first")
        return Characters(self.alphabet) if self.cut == "characters" else Bytes()

    @property
    def end(self) -> int:
        """The token behind the last of a document, and of what an assistant says."""
        return int(self.marks["end"])

    @property
    def begin(self) -> int:
        """The token before the first of a document: `end`, unless the tokeniser has another."""
        return int(self.marks["begin"])

    @property
    def stops(self) -> list[int]:
        """Further tokens that a text ends by."""
        return list(self.marks["stops"])

    def tokens_of(self, text: str) -> list[int]:
        """The tokens of a text, without marks."""
        return list(map(int, self._codes.encode([text])[0]))

    def prompt_of(self, text: str) -> list[int]:
        """The tokens that a model is given to go on from: as a document begins."""
        return [self.begin, *self.tokens_of(text)]

    def bytes_of(self, ids: Sequence[int]) -> bytes:
        """What tokens stand for, in UTF-8; nothing for marks."""
        pieces = self._codes.pieces
        return b"".join(pieces[number] for number in ids)

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of tokens, byte by byte what they were made of; half a character becomes U+FFFD."""
        text = self.bytes_of(ids).decode("utf-8", "replace")
        return text[1:] if isinstance(self._codes, Subwords) and self._codes.prepends and text[:1] == " " else text

    def streamed(self, ids: Sequence[int]) -> str:
        """The text of tokens so far that no further token changes: not the first bytes of a character whose others are
        still to come."""
        data = self.bytes_of(ids)
        for back in range(1, min(4, len(data)) + 1):
            if data[-back] & 0xC0 != 0x80:  # the first byte of a character
                wanted = 4 if data[-back] >= 0xF0 else 3 if data[-back] >= 0xE0 else 2 if data[-back] >= 0xC0 else 1
                data = data[: len(data) - back] if wanted > back else data
                break
        return data.decode("utf-8", "replace")

    def as_tokenizer(self) -> str:
        """The same tokens, with the marks around a text, as the JSON of `tokenizers`, for a field that is no corpus."""
        package = cutting.tokenizers()
        if self.tokenizer is not None:
            tool = package.Tokenizer.from_str(self.tokenizer)
        else:
            known = self.alphabet if self.cut == "characters" else ""
            pieces = [END, *known, *(f"<0x{piece[0]:02X}>" for piece in self._codes.pieces[1 + len(known) :])]
            vocabulary = {piece: number for number, piece in enumerate(pieces)}
            tool = package.Tokenizer(package.models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
            tool.decoder = package.decoders.Sequence([package.decoders.ByteFallback(), package.decoders.Fuse()])
            tool.add_special_tokens([END])
        begin, end = map(tool.id_to_token, (self.begin, self.end))
        tool.post_processor = package.processors.TemplateProcessing(
            single=[begin, "$A", end], pair=[begin, "$A", end, "$B", end],
            special_tokens=[*{begin: (begin, self.begin), end: (end, self.end)}.values()],
        )  # fmt: skip
        return str(tool.to_str())

    @cached_property
    def sizes(self) -> torch.Tensor:
        """Bytes and characters that each token stands for, int64 (V, 2)."""
        starts = [(len(piece), sum(byte & 0xC0 != 0x80 for byte in piece)) for piece in self._codes.pieces]
        return torch.tensor(starts)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of messages that an assistant is to answer.

        Raises:
            DataError: they are no messages.
        """
        return self._chat.tokens(messages_of(messages), self, answer=True)[0].tolist()

    def tokens_with_marks(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of a text that a template has written, int32 (T), marks among them, and where each begins in it,
        int64 (T)."""
        assert isinstance(self._codes, Subwords)
        return self._codes.encode_marks(text)

    @cached_property
    def _chat(self) -> Chat:
        return Chat(self.marks["template"], self.marks["special"])

    # -- encoding ---------------------------------------------------------------------------------------------

    @property
    def encoding(self) -> Encoding:
        dtype = np.dtype(np.uint16 if len(self._codes.pieces) <= 1 << 16 else np.int32)
        return Encoding(dtype, (2,) if self.tells_counted else (), ragged=True, padded=False, window=self.length)

    @property
    def tells_counted(self) -> bool:
        """Whether some tokens of its documents do not count in the loss."""
        return self.chats or self.prompts

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(V, L), how many token numbers there are, and how many of them a window has."""
        return len(self._codes.pieces), self.length

    def encode(self, value: Any) -> np.ndarray:
        (encoded,) = self.encode_batch([value])
        if isinstance(encoded, DataError):
            raise encoded
        return encoded

    def encode_batch(self, values: Sequence[Any]) -> list[np.ndarray | DataError]:
        documents = [_document(value) for value in values]
        tokens = iter(self._codes.encode([text for text in documents if isinstance(text, str)]))
        return [
            document if isinstance(document, DataError)
            else self._marked(next(tokens), None) if isinstance(document, str)
            else self._marked(*self._chat.tokens(document, self))
            for document in documents
        ]  # fmt: skip

    def _marked(self, ids: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
        """A document as it lies in the store: between its marks, and of chats with what counts."""
        counts = np.ones(len(ids), bool) if counted is None else counted
        if counted is not None and len(ids) and ids[0] == self.begin:  # a template writes it itself
            ids, counts = ids[1:], counts[1:]
        whole = np.concatenate([[self.begin], ids, [self.end]]).astype(self.encoding.dtype)
        if not self.tells_counted:
            return whole
        ends = counted is None or bool(counts[-1:].any())
        return np.stack([whole, np.concatenate([[False], counts, [ends]]).astype(whole.dtype)], 1)

    def prepare(
        self, gathered: Ragged | Packed, training: bool = False, generator: torch.Generator | None = None
    ) -> Packed:
        """Windows as the store packs them; of documents gathered one by one, each is a window."""
        if isinstance(gathered, Packed):
            return gathered
        values = gathered.values.long()
        tokens = values[..., 0] if self.tells_counted else values
        counted = gathered.there & values[..., 1].bool() if self.tells_counted else gathered.there
        return Packed(tokens, torch.zeros_like(tokens), counted)

    # -- what people see --------------------------------------------------------------------------------------

    @property
    def token_names(self) -> Sequence[str | None]:
        return [piece.decode("utf-8", "replace") or None for piece in self._codes.pieces]

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        return spread(np.array([len(text) for text in _texts(values)], np.float64), "characters")

    def extent(self, value: Any) -> float:
        return len(written(value))

    def qualities(self, value: Any) -> dict[str, float | bool]:
        return {}

    def example(self) -> str:
        return "a text"

    def caption(self, value: Any) -> str:
        return written(value)[:SHOWN]

    def render(self, value: Any) -> str:
        """Its beginning."""
        text = " ".join(written(value)[: 2 * SHOWN].split())
        return f"<span>{html.escape(text[:SHOWN])}{'…' if len(text) > SHOWN else ''}</span>"


def _document(value: Any) -> str | list[dict[str, str]] | DataError:
    """The text or the messages of a raw value, or what is wrong with it."""
    try:
        if value is None:
            raise DataError("the value is missing")
        if is_chat(value):
            return messages_of(value)
        if isinstance(value, Path):
            value = read_text(value)
        if isinstance(value, (list, tuple)):
            raise DataError("this is no chat" if value else "the chat has no message", expected="a list of messages")
        if not isinstance(value, str):
            raise DataError(f"a {type(value).__name__} is not a text", expected="a string, or a list of messages")
        if not value:
            raise DataError("the text is empty")
        if not value.isascii():
            value.encode()
        return value
    except UnicodeEncodeError:
        return DataError("the text has half of a character (a lone surrogate)", expected="Unicode")
    except DataError as error:
        return error


def _counts(document: str | list[dict[str, str]] | DataError) -> bool:
    """Whether something of a document counts in the loss."""
    return not isinstance(document, DataError) and (isinstance(document, str) or answers(document))


def _texts(values: Sequence[Any]) -> Iterator[str]:
    """The texts of raw values; of chats what is said in them."""
    for value in values:
        text = _document(value)
        if isinstance(text, str):
            yield text
        elif not isinstance(text, DataError):
            yield written(text)


def _pieces_for(characters: int) -> int:
    """So many pieces of words that each comes often: a power of two."""
    least, most = SUBWORDS
    return min(most, max(least, 1 << max(1, characters // A_PIECE).bit_length() - 1))
