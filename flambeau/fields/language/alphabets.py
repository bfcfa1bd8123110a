"""Tokens that give their texts back byte by byte: what models of language read and write."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from flambeau.fields.language.tokenizers import tokenizers

END = "<|endoftext|>"
ENDS = (END, "<|im_end|>", "<|eot_id|>", "<end_of_turn>", "</s>", "<eos>", "[SEP]", "<|end|>")
"""Marks at the end of a text, of tokenisers that do not say which theirs is."""
MASKS = ("[MASK]", "<mask>")
CODE_POINTS = 0x110000
AT_ONCE = 1 << 22  # characters that are counted together
BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Alphabet(ABC):
    """What texts are cut into: token 0 is the end of a text, unless a pretrained tokeniser has its own.

    Attributes:
        pieces: V, what each token stands for, in UTF-8; nothing for a mark.
        end: the token behind a text's last.
    """

    pieces: Sequence[bytes]
    end: int = 0

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of texts, int32 (T) each, without marks; what looks like a mark is text."""


class Bytes(Alphabet):
    """The 256 bytes of UTF-8."""

    pieces = (b"", *(bytes([value]) for value in range(256)))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) + 1 for text in texts]


class Characters(Alphabet):
    """Characters; behind them the bytes that one which is none of these is written in.

    Args:
        known: the characters, in order.
    """

    def __init__(self, known: str):
        codes = np.array([ord(character) for character in known], np.int64)
        table = np.full(CODE_POINTS, -1, np.int32)
        table[codes] = np.arange(1, len(codes) + 1)
        single = [value for value in range(256) if value > 127 or table[value] < 0]
        self.pieces = [b"", *(character.encode() for character in known), *(bytes([value]) for value in single)]
        self._table, self._bytes = table, table[:256].copy()  # an ASCII byte is its character
        self._bytes[single] = np.arange(len(codes) + 1, len(self.pieces))

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [self._encoded(text) for text in texts]

    def _encoded(self, text: str) -> np.ndarray:
        tokens = self._table[np.frombuffer(text.encode("utf-32-le"), np.uint32)]
        parts, at = [], 0
        for place in np.flatnonzero(tokens < 0).tolist():
            parts += [tokens[at:place], self._bytes[[*text[place].encode()]]]
            at = place + 1
        return np.concatenate([*parts, tokens[at:]]) if parts else tokens


class Subwords(Alphabet):
    """The pieces of a tokeniser.

    Args:
        tokenizer: the JSON of `tokenizers`.
        end: its mark at the end of a text.
    """

    def __init__(self, tokenizer: str, end: int):
        self.tool, self._marking = (tokenizers().Tokenizer.from_str(tokenizer) for _ in range(2))
        for tool in (self.tool, self._marking):
            tool.no_padding()
            tool.no_truncation()
        self.tool.encode_special_tokens = True  # a mark that stands in a text is text
        self.end = end
        self._rules = json.loads(tokenizer)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array(e.ids, np.int32) for e in self.tool.encode_batch_fast(texts, add_special_tokens=False)]

    def encode_marks(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of a text in which marks are marks, int32 (T), and where each begins in it, int64 (T)."""
        encoded = self._marking.encode(text, add_special_tokens=False)
        return np.array(encoded.ids, np.int32), np.array([begin for begin, _ in encoded.offsets], np.int64)

    @cached_property
    def pieces(self) -> list[bytes]:  # type: ignore[override]
        named = {token["id"]: token for token in self._rules["added_tokens"]}
        found = []
        for number in range(self.tool.get_vocab_size()):
            name = self.tool.id_to_token(number)
            if name is None or number in named:
                found.append(b"" if name is None or named[number]["special"] else name.encode())
            else:
                found.append(self._piece(name))
        return found

    @property
    def prepends(self) -> bool:
        """Whether it puts a space before a text."""
        told = json.dumps([self._rules.get("normalizer"), self._rules.get("pre_tokenizer")])
        return '"Prepend"' in told or any(f'"prepend_scheme": "{when}"' in told for when in ("always", "first"))

    @cached_property
    def _decodes(self) -> str:
        rules = self._rules
        return json.dumps([rules.get("decoder"), rules.get("pre_tokenizer"), rules["model"].get("type")])

    def _piece(self, name: str) -> bytes:
        if '"ByteLevel"' in self._decodes:
            return bytes(OF_BYTE_LEVEL[character] for character in name if character in OF_BYTE_LEVEL)
        if '"WordPiece"' in self._decodes:
            return (name[2:] if name.startswith("##") else f" {name}").encode()
        if byte := BYTE.fullmatch(name):
            return bytes([int(byte[1], 16)])
        return name.replace("▁", " ").encode()


def _byte_level() -> dict[str, int]:
    """The character that byte-level tokenisers write for each byte: itself where it can be seen (Radford et al. 2019,
    "Language models are unsupervised multitask learners")."""
    seen = [*range(33, 127), *range(161, 173), *range(174, 256)]
    unseen = [value for value in range(256) if value not in seen]
    return {chr(value): value for value in seen} | {chr(256 + i): value for i, value in enumerate(unseen)}


OF_BYTE_LEVEL = _byte_level()


def count_characters(texts: Iterable[str]) -> np.ndarray:
    """How often each code point comes, int64 (0x110000)."""
    counts, waiting, size = np.zeros(CODE_POINTS, np.int64), list[str](), 0
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= AT_ONCE:
            counts += _counted(waiting)
            waiting, size = [], 0
    return counts + _counted(waiting)


def _counted(texts: Sequence[str]) -> np.ndarray:
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "replace"), np.uint32)
    return np.bincount(codes, minlength=CODE_POINTS)


def train_subwords(texts: Iterable[str], size: int) -> str:
    """A byte-pair encoding over bytes (Sennrich et al. 2016; Radford et al. 2019) of training texts, as the JSON of
    `tokenizers`; token 0 is the end of a text."""
    package = tokenizers()
    tool = package.Tokenizer(package.models.BPE())
    tool.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tool.decoder = package.decoders.ByteLevel()
    alphabet = sorted(package.pre_tokenizers.ByteLevel.alphabet())
    trainer = package.trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tool.train_from_iterator(texts, trainer)
    return str(tool.to_str())


def end_of(tokenizer: str, told: Mapping[str, Any]) -> tuple[int, int, list[int]]:
    """Of a pretrained tokeniser the marks before and behind a text, and others that a text ends by.

    Args:
        tokenizer: the JSON of `tokenizers`.
        told: what `tokenizer_config.json` says, if there is one.
    """
    tool = tokenizers().Tokenizer.from_str(tokenizer)

    def number(mark: Any) -> int | None:
        name = mark.get("content") if isinstance(mark, Mapping) else mark
        return tool.token_to_id(name) if isinstance(name, str) else None

    known = [found for name in ENDS if (found := number(name)) is not None]
    end = next((found for found in (number(told.get("eos_token")), *known) if found is not None), 0)
    begin = number(told.get("bos_token") or told.get("cls_token"))
    return end if begin is None else begin, end, [other for other in known if other != end]


def mask_of(tokenizer: str, special: Mapping[str, str]) -> int | None:
    """The token that stands for a hidden one; None of a tokeniser that has none.

    Args:
        tokenizer: the JSON of `tokenizers`.
        special: marks by name, as `tokenizer_config.json` says.
    """
    tool = tokenizers().Tokenizer.from_str(tokenizer)
    known = (tool.token_to_id(name) for name in (special.get("mask_token"), *MASKS) if name)
    return next((number for number in known if number is not None), None)
