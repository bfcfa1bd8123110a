"""Text: written language, as numbers of tokens."""

from __future__ import annotations

import html
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError, UsageError
from flambeau.fields.base import FIELDS, Encoding, Field, Ragged, Recognition
from flambeau.fields.describing import spread
from flambeau.fields.encoding import Sample
from flambeau.fields.heat import Heat, Site, each
from flambeau.fields.language import tokenizers as cutting
from flambeau.fields.language.alphabets import train_subwords
from flambeau.fields.language.charsets import read_text
from flambeau.fields.language.corruptions import TEXTS
from flambeau.fields.language.crops import SPACES, by_word, crops, marked_words
from flambeau.fields.language.eda import EDA, chosen
from flambeau.fields.language.raw_texts import joined_words, text_of, usable
from flambeau.fields.language.synonyms import find_wordnet, read_synonyms, synonym_table
from flambeau.fields.language.tokenizers import HF, SHARED, WORDS
from flambeau.fields.language.wordwise import WordByWord, joined, works_by_word
from flambeau.fields.varied import Varied
from flambeau.fields.wanted import Wanted
from flambeau.robustness import Corruption

MANY_CHARACTERS = 15  # from this mean length on, values are texts and not names
MANY_SPACES = 4  # in the mean: names have fewer
OFTEN_REPEATED = 0.2  # share of values that differ; texts of pairs come several times each
SHOWN, LONG = 300, 4000  # characters of a text in a report, and where each word is asked about
UNKNOWN = ("[UNK]", "<unk>", "[MASK]", "<mask>")  # of pretrained tokenisers
LETTER = " {}".format  # a character as a token: no word begins with a space, so `a` the word is another


@FIELDS.register("text")
class Text(Varied, Field):
    """Written language, a string or a list of words. Encoded as int32 (T), prepared as `Ragged`: numbers int64 (B, T)
    padded with 0, lengths (B).

    Number 0 is padding and 1 a token that is not in the vocabulary (a pretrained tokeniser has its own).

    Args:
        tokens: what a text is cut into: `words`, `chinese` (words, by jieba), `characters`, `bpe` (trained on the
            training rows), `hf:FOLDER` (a pretrained tokeniser, by folder or hub name), `shared` (the pieces of the
            text that is written for it, which are found in both), or `auto`, which looks.
        lower: whether upper case is made lower. A pretrained tokeniser does as it did when it was trained.
        max_length: tokens of a text that are kept, from its beginning.
        max_vocabulary: different tokens that are kept, the most frequent ones.
        min_count: how often a token must come in the training rows to be kept.
        characters: how many characters of a text follow its words as tokens, for a model that looks at both; of words
            and Chinese words only. None for as many as the model wants, which most do not. They are no words: `a` the
            word and `a` the character are two tokens.
        augment: how training texts are changed, as `EDA` takes it.
    """

    extent_of = ("length", "characters")
    asked_as = "text"
    input_only = True
    suffixes = frozenset([".txt"])
    holds_content = True
    settings = ("tokens", "lower", "max_length", "max_vocabulary", "min_count", "characters", "augment")
    fitted = ("cut", "vocabulary", "tokenizer")
    after = ("augment",)

    def __init__(
        self,
        tokens: str = "auto",
        lower: bool = True,
        max_length: int = 512,
        max_vocabulary: int = 30_000,
        min_count: int = 2,
        characters: int | None = None,
        augment: Mapping[str, Any] | None = None,
    ):
        self.augmentation: EDA | None = EDA.from_dict(augment) if augment else None
        self.tokens, self.lower = cutting.check_kind(tokens), cutting.check_flag("lower", lower)
        cutting.check_numbers(max_length=(max_length, 1), max_vocabulary=(max_vocabulary, 3), min_count=(min_count, 1))
        self.max_length, self.max_vocabulary, self.min_count = max_length, max_vocabulary, min_count
        cutting.check_numbers(characters=(characters or 0, 0))
        self.characters = characters
        self.cut: str | None = None if tokens == "auto" else tokens
        self.vocabulary: list[str] = []
        self.tokenizer: str | None = None  # the JSON of `tokenizers`, of BPE and pretrained ones

    def choose_augmentation(self, asked: str | Mapping[str, Any], sample: Callable[[], Sample]) -> list[str]:
        """None unless it is asked for, since a word more or less can turn what a text says."""
        if self.augmentation is not None:
            return []
        self.augmentation, said = chosen(asked, self.tokenizer is None and find_wordnet() is not None)
        if self.augmentation:
            self.prepare(Ragged(torch.ones(1, 1), torch.ones(1).long()), True)  # a missing dictionary is told here
        return said

    def qualities(self, value: Any) -> dict[str, float | bool]:
        return {f"“{word}”": True for word in self.tokenise(usable(value) or "")}

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        if encoded is None:
            return {}
        known = [self._tool.token_to_id(mark) for mark in UNKNOWN] if self.tokenizer is not None else [1]
        unknown = float(np.isin(encoded, [i for i in known if i is not None]).mean()) if len(encoded) else 0.0
        told = {"tokens": float(len(encoded)), "unknown words": unknown}
        return super().signals(name, value, encoded) | {f"{what} of {name}": number for what, number in told.items()}

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        return TEXTS.within(lambda raw: usable(raw) or "", lambda raw, text: text)

    @property
    def has_views(self) -> bool:
        return True

    def parts_of(self, value: Any, count: int) -> list[Any]:
        text = usable(value)
        parts = crops(text, self._word_places, self.max_length, count) if text is not None else []
        return [value, *parts[1:]]

    @classmethod
    def suit(cls, column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
        suited = cutting.suit(column, settings, wanted)
        tokens = settings.get("tokens", "auto")
        if tokens == SHARED and settings.get("lower", True):
            suited["lower"] = False, "pieces that are written too know upper case"
        if wanted.characters and tokens in ("auto", *WORDS) and settings.get("characters") is None:
            suited["characters"] = wanted.characters, f"{wanted.model} looks at words and characters"
        if wanted.written and tokens == "auto":
            why = f"{wanted.model} writes what it reads: names, numbers and upper case too"
            suited["tokens"], suited["lower"] = ("bpe", why), (False, why)
            suited["max_vocabulary"] = min(wanted.written, settings["max_vocabulary"]), why
        if wanted.pieces and tokens == "auto":
            why = "pieces of words, for two texts may share a name that is new"
            suited["tokens"] = "bpe", why
            suited["max_vocabulary"] = min(wanted.pieces, settings["max_vocabulary"]), why
        return suited

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        sample = [v for v in values if v is not None]
        if not sample or not all(isinstance(v, str) for v in sample):
            return Recognition(0.0, "values are not texts")
        if not any(map(str.strip, sample)):
            return Recognition(0.85, "all values are empty texts")
        length = sum(map(len, sample)) / len(sample)
        distinct = len(set(sample)) / len(sample)
        if length >= MANY_CHARACTERS and distinct > 0.5:
            return Recognition(0.85, f"texts of {length:.0f} characters in the mean")
        if distinct > OFTEN_REPEATED and sum(v.count(" ") for v in sample) >= MANY_SPACES * len(sample):
            return Recognition(0.82, f"texts of several words, each {1 / distinct:.1f} times in the mean")
        if distinct > 0.5 and sum(" " in v for v in sample) > 0.5 * len(sample):
            return Recognition(0.6, "most values are several words")
        return Recognition(0.1, "values are short or repeat")

    def as_parts(self) -> Field:
        from flambeau.fields.tokens import Tokens

        pieces = self.tokens if self.tokens.startswith(HF) else "auto"
        return Tokens(pieces, "spaces", self.lower, self.max_length, min_count=self.min_count)

    def as_whole(self) -> Text:
        return self

    def rewritten(self, value: Any) -> Any:
        return joined_words(value)

    @classmethod
    def read(cls, path: str) -> str:
        return read_text(path)

    def values_in(
        self, path: Path, *, encoding: str | None = None, column: int | None = None
    ) -> Iterator[tuple[str, Any]]:
        yield str(path), read_text(path, encoding)

    def fit(self, values: Sequence[Any]) -> None:
        if all(usable(value) is None for value in values):
            raise DataError("every text of the training rows is empty", expected="some text")
        if self.tokens == "auto":
            drawn = values[:: max(1, len(values) // 1000)][:1000]
            self.cut = cutting.suited(text for text in map(usable, drawn) if text is not None)
        for derived in ("_tool", "_by_word", "_synonyms", "_no_words"):
            self.__dict__.pop(derived, None)
        assert self.cut is not None
        if self.cut == SHARED:
            self.tokenizer = train_subwords((text for text in map(usable, values) if text), self.max_vocabulary)
        elif self.cut.startswith(HF):
            self.tokenizer = cutting.pretrained(self.cut.removeprefix(HF))
        elif self.cut == "bpe":
            size = self.max_vocabulary
            texts = (text for text in map(usable, values) if text is not None)
            self.tokenizer = cutting.train_bpe(texts, size=size, min_count=self.min_count, lower=self.lower)
        else:
            counts: Counter[str] = Counter()
            for text in map(usable, values):
                counts.update(self.tokenise(text) if text is not None else ())
            self.vocabulary = cutting.vocabulary_of(counts, most=self.max_vocabulary, min_count=self.min_count)
            if len(self.vocabulary) < 3 and self.min_count > 1:  # few and short texts: rather rare tokens than none
                self.vocabulary = cutting.vocabulary_of(counts, most=self.max_vocabulary, min_count=1)

    @property
    def shares(self) -> bool:
        return self.tokens == SHARED

    def share(self, written: Any) -> None:
        for derived in ("_tool", "_by_word", "_synonyms", "_no_words"):
            self.__dict__.pop(derived, None)
        self.cut, self.tokenizer = SHARED, written.tokenizer

    def tokenise(self, text: str) -> list[str]:
        """The pieces of a text, all of them, as they are looked up in the vocabulary."""
        kind = self.cut or cutting.suited([text])
        if kind in ("bpe", SHARED) or kind.startswith(HF):
            encoded = self._tool.encode(text)
            return [token for part in (encoded, *encoded.overflowing) for token in part.tokens]
        lowered = cutting.plain(text, self.lower)
        return [*cutting.cutter(kind)(lowered), *map(LETTER, self._letters(lowered))]

    def _letters(self, lowered: str) -> list[str]:
        """The characters that follow the words."""
        return cutting.characters(lowered, self.characters) if self.characters and self.cut in WORDS else []

    @cached_property
    def _tool(self) -> Any:
        """The tokeniser or, for pieces of a vocabulary, the table from piece to number."""
        if self.tokenizer is not None:
            return cutting.truncating(self.tokenizer, self.max_length)
        if not self.vocabulary:
            raise UsageError("the text field is not fitted", fix="call fit first")
        return {piece: i for i, piece in enumerate(self.vocabulary)}

    @cached_property
    def _by_word(self) -> WordByWord | None:
        """The same tokeniser for many texts, where its rules allow a quicker way."""
        assert self.tokenizer is not None
        return WordByWord(self._tool, self.max_length) if works_by_word(self.tokenizer) else None

    @property
    def joint(self) -> dict[str, Any] | None:
        """How two texts are put together, as `cutting.joint` tells it; None where no tokeniser says."""
        return cutting.joint(self.tokenizer) if self.tokenizer is not None else None

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.int32), (), ragged=True)

    @property
    def outside(self) -> str:
        return (
            f"cut by '{self.tokens}' into {self.max_length:,} tokens at most, numbered as fields.json has them; "
            "0 behind the end of a text, 1 for what is unknown"
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(V,), how many token numbers there are."""
        return (len(self.vocabulary) if self.tokenizer is None else self._tool.get_vocab_size(),)

    def encode(self, value: Any) -> np.ndarray:
        (encoded,) = self.encode_batch([value])
        if isinstance(encoded, DataError):
            raise encoded
        return encoded

    def encode_batch(self, values: Sequence[Any]) -> list[np.ndarray | DataError]:
        texts = [text_of(value) for value in values]
        good = [text for text in texts if isinstance(text, str)]
        flat, starts = self._numbered(good)
        bounds = itertools.pairwise(starts.tolist())  # one array, and a view for each text, which is quicker to make
        return [flat[slice(*next(bounds))] if isinstance(text, str) else text for text in texts]

    def _numbered(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Token numbers of texts one after another, int32, and where each text's begin, int64 (texts + 1)."""
        if self.tokenizer is not None:
            if self._by_word is not None:
                return self._by_word(texts)
            return joined([encoded.ids for encoded in self._tool.encode_batch_fast(texts)])
        index, most = self._tool, self.max_length
        assert self.cut is not None
        cut = cutting.cutter(self.cut)
        encoded = []
        for text in texts:
            lowered = cutting.plain(text, self.lower)
            pieces = itertools.chain(itertools.islice(cut(lowered), most), map(LETTER, self._letters(lowered)))
            encoded.append([index.get(piece, 1) for piece in pieces] or [1])
        return joined(encoded)

    def prepare(self, gathered: Ragged, training: bool = False, generator: torch.Generator | None = None) -> Ragged:
        texts = Ragged(gathered.values.long(), gathered.lengths)
        if not training or not self.augmentation:
            return texts
        changed = self.augmentation(texts, generator, self._synonyms, self._fixed(texts.values))
        most = self.max_length + (self.characters or 0)
        return Ragged(changed.values[:, :most], changed.lengths.clamp_max(most))

    @cached_property
    def _synonyms(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """What the augmentation's dictionary gives for the vocabulary; None where no synonyms are wanted."""
        assert self.augmentation is not None
        if not self.augmentation.needs_synonyms:
            return None
        if self.tokenizer is not None:
            fix = "set tokens='words'" if self.cut in ("bpe", SHARED) else "leave synonyms and insertion out"
            raise UsageError("synonyms are of whole words, and the tokens are pieces", fix=fix)
        source = self.augmentation.dictionary or find_wordnet()
        if source is None:
            fix = "give augment.dictionary, or install the package wordnet"
            raise UsageError("synonyms need a dictionary, and WordNet is not installed", fix=fix)
        return synonym_table(read_synonyms(source), self.vocabulary)

    def _fixed(self, values: torch.Tensor) -> torch.Tensor | None:
        """(B, T) bool: what a pretrained tokeniser adds, or the characters that follow the words; None for neither."""
        if self.tokenizer is None and not self.characters:
            return None
        fixed = torch.isin(values, self._no_words.to(values.device))
        # a character that is not known is told by standing behind one that is
        return fixed if self.tokenizer is not None else fixed.int().cummax(1).values.bool()

    @cached_property
    def _no_words(self) -> torch.Tensor:
        """Numbers of tokens that are not changed by an augmentation."""
        if self.tokenizer is not None:
            return torch.tensor(self._tool.encode("").ids, dtype=torch.int64)
        letters = [number for number, piece in enumerate(self.vocabulary) if piece.startswith(LETTER(""))]
        return torch.tensor(letters, dtype=torch.int64)

    @property
    def token_names(self) -> Sequence[str | None]:
        names: list[str | None] = [*self.vocabulary]
        if self.tokenizer is not None:
            names = [self._tool.id_to_token(number) for number in range(self.input_shape[0])]
        for number in (0, 1, *self._no_words.tolist()) if self.tokenizer is None else self._no_words.tolist():
            names[number] = None
        return names

    def reworded(self, value: Any, numbers: Sequence[int]) -> str:
        if self.tokenizer is not None:
            return str(self._tool.decode([*numbers]))
        pieces = self.tokenise(str(usable(value)))
        own = self.encode(value).tolist()
        words = len(pieces) - sum(piece.startswith(LETTER("")) for piece in pieces)
        for place, (number, other) in enumerate(zip(own[:words], numbers, strict=False)):
            if number != other:
                pieces[place] = self.vocabulary[other]
        return (" " if self.cut == "words" else "").join(pieces[:words])

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        lengths = [len(text) for value in values if isinstance(text := joined_words(value), str)]
        return spread(np.asarray(lengths, np.float64), "characters")

    def extent(self, value: Any) -> float:
        return len(str(joined_words(value)))

    def portable(self, value: Any) -> Any:
        return super().portable(joined_words(value))

    def example(self) -> str:
        return "a text"

    @property
    def token_key(self) -> Any:
        return self.vocabulary, self.tokenizer

    def marked(self, value: Any, at: int | None = None, weights: Sequence[float] | None = None) -> str:
        return self.render(value, weights)

    def render(self, value: Any, weights: Sequence[float] | None = None) -> str:
        """Its beginning; with a weight for each token, the part around the heaviest, each token marked by its own:
        above 0 `for1` to `for4`, below `against1` to `against4`."""
        value = joined_words(value)
        text = "" if value is None else str(value)
        if weights is None:
            text = SPACES.sub(" ", text[: 2 * SHOWN]).strip()
            return f"<span>{html.escape(text[:SHOWN])}{'…' if len(text) > SHOWN else ''}</span>"
        return marked_words(text, *by_word(self.places(text), weights, len(self._word_places(text))), SHOWN)

    def sites(self, prepared: Ragged) -> list[Site]:
        """Each token a part, hidden by the unknown one."""
        known = [self._tool.token_to_id(mark) for mark in UNKNOWN] if self.tokenizer is not None else [1]
        blank = next((number for number in known if number is not None), 0)
        return [Site(prepared.values, blank, each(prepared.values))]

    def heat(self, value: Any, weights: Sequence[np.ndarray]) -> Heat:
        """Its words, each marked by its weight."""
        text, tokens = str(text_of(value)), weights[0][0].tolist()
        places, summed = by_word(self.places(text), tokens, len(self._word_places(text)))
        parts = tuple((text[begins:ends], w) for (begins, ends), w in zip(places, summed, strict=False) if ends)
        return Heat(marked_words(text, places, summed, LONG), parts)

    def _word_places(self, text: str) -> list[tuple[int, int]]:
        places = self.places(text)
        return places[: max(0, len(places) - len(self._letters(cutting.plain(text, self.lower))))]

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where each token of a text stands in it, from and to; nowhere (0, 0) where it does not as it is."""
        if self.tokenizer is not None:
            return [tuple(offsets) for offsets in self._tool.encode(text).offsets]
        lowered = cutting.plain(text, self.lower)
        if len(lowered) != len(text):  # a few letters become two
            return []
        found: list[tuple[int, int]] = []
        letters = self._letters(lowered)
        words = self.tokenise(text)[: -len(letters) or None][: self.max_length]
        for pieces in (words, letters):
            at = 0
            for piece in pieces:
                begins = lowered.find(piece, at)
                found.append((begins, begins + len(piece)) if begins >= 0 else (0, 0))
                at = max(at, found[-1][1])
        return found
