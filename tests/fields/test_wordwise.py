"""A tokeniser that remembers words gives the tokens that the tokeniser itself gives, whatever the texts are."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from flambeau.fields import Text
from flambeau.fields.language import wordwise
from flambeau.fields.language.wordwise import WordByWord, works_by_word

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "cat", "##s", "sat", "on", "no", "##body", "good", "##ness"]
LETTERS = ["a", "##a", "b", "##b", "c", "##c", "d", "e", "é", "i", "##i", "σ", "ς", "'", ",", ".", "!", "天", "气"]
SPACES = [" ", " ", " ", "  ", "\t", "\n", "\x0b", "\x1c", "\x85", "\xa0", "\u200b", "\u3000"]
ODD = ["\x00", "\ufffd", "\u0301", "e\u0301", "É", "İ", "ß", "Σ", "天", "气", "😀", "ﬁ", "\u202e", "한", *MARKS]
SIGNS = [*SPACES, *ODD, "the", "cats", "nobody", "goodness", "a", "b", "c", ",", "'", "-", "x" * 120]


def bert(**rules: Any) -> Tokenizer:
    tool = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate([*MARKS, *WORDS, *LETTERS])}, unk_token="[UNK]")
    )
    tool.normalizer = normalizers.BertNormalizer(**rules)
    tool.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tool.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tool.add_special_tokens(MARKS)
    return tool


def agree(tool: Tokenizer, quick: WordByWord, texts: list[str]) -> None:
    flat, starts = quick(texts)
    assert flat.dtype == np.int32
    for i, (text, encoded) in enumerate(zip(texts, tool.encode_batch(texts), strict=True)):
        assert flat[starts[i] : starts[i + 1]].tolist() == encoded.ids, repr(text)


def nasty(draw: random.Random, count: int) -> list[str]:
    return ["".join(draw.choices(SIGNS, k=draw.randrange(1, 40))) for _ in range(count)]


@pytest.mark.parametrize("rules", [{}, {"lowercase": False}, {"strip_accents": False}, {"clean_text": False},
                                   {"handle_chinese_chars": False}])  # fmt: skip
@pytest.mark.parametrize("length", [3, 7, 512])
def test_tokens_are_those_of_the_tokeniser(rules: dict[str, bool], length: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wordwise, "SPACED", 10**6)  # never handed to the tokeniser itself
    tool = bert(**rules)
    tool.enable_truncation(length)
    quick = WordByWord(tool, length)
    draw = random.Random(length)
    for _ in range(20):
        agree(tool, quick, nasty(draw, 50))
    agree(tool, quick, ["", " ", "   the", "the   ", "the" + " " * 50 + "cat", "a " * 600, " ".join("abc" * 30)])


def test_without_marks_and_where_marks_leave_no_room():
    tool = bert()
    tool.post_processor = None
    tool.enable_truncation(2)
    agree(tool, WordByWord(tool, 2), ["the cats sat", "the", "a b c"])
    marked = bert()
    marked.enable_truncation(2)
    agree(marked, WordByWord(marked, 2), ["the cats sat", "a"])


def test_memory_is_bounded_and_a_full_one_changes_no_token(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wordwise, "REMEMBERED", 20)
    tool = bert()
    tool.enable_truncation(64)
    quick = WordByWord(tool, 64)
    draw = random.Random(0)
    for _ in range(10):
        agree(tool, quick, [" ".join(draw.choices(["the", "cats", f"a{draw.randrange(10**6)}", "x" * 50], k=8))
                            for _ in range(5)])  # fmt: skip
    remembered = set(quick._numbers)
    assert 20 <= quick._table.words <= 20 + 5 * 8 and len(remembered) == quick._table.words
    assert not any(len(word) > wordwise.LONGEST for word in remembered)


@pytest.fixture
def threads_take_turns_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("threads_take_turns_often")
def test_threads_do_not_mix_up_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wordwise, "SPACED", 10**6)
    tool = bert()
    tool.enable_truncation(64)
    draw = random.Random(1)
    parts = [nasty(draw, 10) for _ in range(60)]
    for _ in range(10):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(partial(agree, tool, WordByWord(tool, 64)), parts))


def test_chinese_has_no_spaces_and_goes_to_the_tokeniser_itself():
    tool = bert()
    tool.enable_truncation(64)
    quick = WordByWord(tool, 64)
    agree(tool, quick, ["天气" * 30, "天气天气天气天气天气天气天气天气天气天气"])
    assert quick._table.words == 0


def test_a_long_text_is_cut_up_only_as_far_as_it_is_kept():
    tool = bert()
    tool.enable_truncation(6)
    quick = WordByWord(tool, 6)
    agree(tool, quick, [" ".join(f"word{i}" for i in range(10_000))])
    assert quick._table.words == 4


def changed(part: str, value: Any) -> str:
    return json.dumps({**json.loads(bert().to_str()), part: value})


def test_only_rules_that_never_look_over_a_space_are_taken():
    assert works_by_word(bert().to_str())
    assert not works_by_word(changed("normalizer", None))
    assert not works_by_word(changed("pre_tokenizer", {"type": "ByteLevel"}))
    for odd in ({"lstrip": True}, {"rstrip": True}, {"single_word": True}, {"content": "new york"}):
        tool = bert()
        tool.add_tokens([AddedToken(odd.pop("content", "cat"), **odd)])
        assert not works_by_word(tool.to_str())


def test_the_field_takes_the_quick_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(wordwise, "SPACED", 10**6)
    bert().save(str(tmp_path / "tokenizer.json"))
    field = Text(f"hf:{tmp_path}", max_length=12)
    field.fit(["a text"])
    texts = [text for text in nasty(random.Random(5), 200) if text and not text.isspace()]
    quick = [encoded.tolist() for encoded in field.encode_batch(texts)]
    assert field._by_word is not None and field._by_word._table.words > 50
    field.__dict__["_by_word"] = None
    assert [encoded.tolist() for encoded in field.encode_batch(texts)] == quick
