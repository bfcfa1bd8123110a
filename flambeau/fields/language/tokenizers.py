"""Tokens: how a text is cut into pieces. Words, Chinese words, characters, trained BPE, or a pretrained tokeniser."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, UsageError, first_line, nearest, needed, shown
from flambeau.core.files import read_json
from flambeau.fields.language.gguf import plain_folder
from flambeau.fields.wanted import Wanted
from flambeau_onnx import cutting
from flambeau_onnx.cutting import WORDS, Cut, characters, plain, words  # noqa: F401  how pieces are cut

PADDING, UNKNOWN = "<pad>", "<unk>"
SHARED = "shared"  # pieces of bytes, found in the texts that are read and in those that are written, in one table
KINDS = ("auto", "words", "chinese", "characters", "bpe", SHARED)
HAN = re.compile(r"[\u3400-\u9fff]")
LETTER = re.compile(r"[^\W\d_]")
HF = "hf:"  # a pretrained tokeniser: its folder, or its name on the hub


def suit(column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
    """What a model with a tokeniser of its own, or with vectors of words, wants of how texts are cut; see `Field.suit`.

    Raises:
        UsageError: they are to be cut otherwise.
    """
    tokens = str(settings.get("tokens", "auto"))
    suited: dict[str, tuple[Any, str]] = {}
    if wanted.words and (tokens in ("bpe", SHARED) or tokens.startswith(HF)):
        raise UsageError(
            f"word vectors need tokens that are words, and {column} is cut into {tokens}",
            fix=f"use --set fields.{column}.tokens=words",
        )
    if wanted.tokenizer is None:
        return suited
    if tokens == "auto":
        suited["tokens"] = wanted.tokenizer, f"those of {wanted.model}"
    elif not tokens.startswith(HF):
        raise UsageError(
            f"{wanted.model} reads the pieces of its own tokeniser, and {column} is cut into {tokens}",
            fix=f"leave fields.{column}.tokens out, or choose another model",
        )
    if wanted.positions is not None and settings.get("max_length", wanted.positions + 1) > wanted.positions:
        suited["max_length"] = wanted.positions, f"the most that {wanted.model} can take"
    return suited


def cutter(kind: str) -> Cut:
    """A function from text to pieces, for the kinds with a vocabulary of pieces; see `flambeau_onnx.cutting`.

    Raises:
        MissingExtra: Chinese is to be cut, and what does is not installed.
    """
    if kind == "chinese":
        needed("jieba", "text", "cutting Chinese into words")
    return cutting.cutter(kind)


def check_kind(kind: str) -> str:
    """The kind itself.

    Raises:
        UsageError: there is none of that name.
    """
    if not isinstance(kind, str) or (kind not in KINDS and not (kind.startswith(HF) and len(kind) > len(HF))):
        raise UsageError(
            f"no kind of token is called {shown(kind)}",
            expected=f"{', '.join(KINDS)}, or hf: and a folder or name",
            fix=nearest(str(kind), KINDS),
        )
    return kind


def check_numbers(**given: tuple[Any, int]) -> None:
    """Raises UsageError where one of some settings, each with the least that it may be, is no such whole number."""
    for name, (value, least) in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(f"{name} {shown(value)} does not fit", expected=f"a whole number from {least} on")


def check_flag(name: str, value: Any) -> bool:
    """The value itself. Raises UsageError where it is neither true nor false."""
    if not isinstance(value, bool):
        raise UsageError(f"{name} {shown(value)} does not fit", expected="true or false")
    return value


def suited(sample: Iterable[str]) -> str:
    """The kind that suits texts: words, or where a fifth of all letters is Chinese, Chinese words.

    >>> suited(["A fine day."]), suited(["今天天气很好"])[:2] in ("ch",)
    ('words', True)
    """
    text = " ".join(sample)
    letters = len(LETTER.findall(text))
    if letters and len(HAN.findall(text)) > 0.2 * letters:
        from importlib.util import find_spec

        return "chinese" if find_spec("jieba") else "characters"
    return "words"


def vocabulary_of(counts: Counter[str], *, most: int, min_count: int) -> list[str]:
    """Padding, unknown, and then pieces by falling count; equal counts in the order of the alphabet."""
    frequent = sorted((piece for piece, n in counts.items() if n >= min_count), key=lambda p: (-counts[p], p))
    return [PADDING, UNKNOWN, *frequent[: max(most - 2, 0)]]


def tokenizers() -> Any:
    """The package of that name."""
    return needed("tokenizers", "text", "this kind of token")


def train_bpe(texts: Iterable[str], *, size: int, min_count: int, lower: bool) -> str:
    """A byte-pair encoding (Sennrich et al. 2016) of training texts, as the JSON of `tokenizers`."""
    package = tokenizers()
    tokenizer = package.Tokenizer(package.models.BPE(unk_token=UNKNOWN))
    steps = [package.normalizers.NFC(), *([package.normalizers.Lowercase()] if lower else [])]
    tokenizer.normalizer = package.normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = package.pre_tokenizers.Metaspace()
    tokenizer.decoder = package.decoders.Metaspace()
    trainer = package.trainers.BpeTrainer(
        vocab_size=size, min_frequency=min_count, special_tokens=[PADDING, UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return str(tokenizer.to_str())


def truncating(tokenizer: str, max_length: int) -> Any:
    """A tokeniser out of its JSON that keeps so many tokens of a text, its own marks among them.

    Raises:
        UsageError: they leave no room for the text.
    """
    tool = tokenizers().Tokenizer.from_str(tokenizer)
    marks = tool.num_special_tokens_to_add(False)
    if max_length <= marks:
        raise UsageError(f"max_length={max_length} leaves no room for a text", expected=f"{marks + 1} or more")
    tool.no_padding()
    tool.enable_truncation(max_length)
    return tool


def joint(tokenizer: str) -> dict[str, Any]:
    """How a tokeniser puts two texts together, as plain JSON: {order, strip}.

    Args:
        tokenizer: the JSON of `tokenizers`.

    Returns:
        order: [what, kind] in a row: `first` and `second` for the texts' own tokens, or the number of a mark; and which
            text the tokeniser says that it belongs to, 0 or 1.
        strip: how many marks it puts before and behind a text that is alone.

    Of BERT's, the order is [[101, 0], ["first", 0], [102, 0], ["second", 1], [102, 1]], and strip is [1, 1].
    """
    tool = tokenizers().Tokenizer.from_str(tokenizer)
    tool.no_padding()
    tool.no_truncation()
    alone = [of is not None for of in tool.encode("a").sequence_ids]
    both = tool.encode("a", "a")
    order: list[list[Any]] = []
    for number, kind, of in zip(both.ids, both.type_ids, both.sequence_ids, strict=True):
        item = [number if of is None else ("first", "second")[of], kind]
        if of is None or not order or order[-1] != item:  # a letter may be several tokens
            order.append(item)
    return {"order": order, "strip": [alone.index(True), alone[::-1].index(True)]}


def corpus_of(folder: str | Path) -> Any:
    """The `Corpus` that a run of a language model has learned of; None where this is no such run."""
    from flambeau.fields.corpus import Corpus

    path = Path(folder) / "fields.json"
    if not path.is_file():
        return None
    kinds = [field for field in read_json(path).get("fields", {}).values() if field.get("kind") == "corpus"]
    return Corpus.from_dict(kinds[0]) if len(kinds) == 1 else None


def pretrained(name: str) -> str:
    """A pretrained tokeniser as the JSON of `tokenizers`.

    Args:
        name: a folder with `tokenizer.json` or the files of a transformers tokeniser; a run of a language model; a
            name on the hub; or a .gguf file.

    Raises:
        DataError: there is no tokeniser.
    """
    name = plain_folder(name)
    folder = Path(name)
    if (corpus := corpus_of(folder)) is not None:
        return str(corpus.as_tokenizer())
    file = folder / "tokenizer.json"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    if folder.is_dir() and not any((folder / n).exists() for n in ("vocab.txt", "vocab.json", "spiece.model")):
        raise DataError(
            "there is no tokeniser in the folder", where=name, expected="tokenizer.json",
            fix="save it beside the model: tokenizer.save_pretrained(folder)",
        )  # fmt: skip
    auto = needed("transformers", "text", "this tokeniser").AutoTokenizer
    try:
        return str(auto.from_pretrained(name, trust_remote_code=False).backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            f"the tokeniser cannot be loaded ({first_line(error)})",
            where=name,
            fix="give a folder that holds tokenizer.json",
        ) from None
