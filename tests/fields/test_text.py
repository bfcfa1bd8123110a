"""Text: every kind of token, a vocabulary of the training rows alone, and bad values told apart from good ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
import tokenizers.models
import tokenizers.processors
import torch
from realdata.texts import uci_sentences

import flambeau as fb
from flambeau.core.errors import DataError, UsageError
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.data.store.store import collate
from flambeau.fields import Category, Field, Ragged, Text, TextTarget, Tokens, recognise

SENTENCES = uci_sentences()


def test_real_sentences_are_texts_and_their_labels_are_not() -> None:
    field, why = recognise(SENTENCES.texts)
    assert isinstance(field, Text) and "characters in the mean" in why
    assert isinstance(recognise(SENTENCES.labels)[0], Category)
    assert isinstance(recognise(SENTENCES.texts, target=True)[0], TextTarget)  # which is to be written


def test_the_vocabulary_is_that_of_the_training_rows() -> None:
    data = fb.Dataset({"text": SENTENCES.texts, "label": SENTENCES.labels}, target="label")
    data.fit()
    training = " ".join(data.take("text", data.rows("train"))).lower()
    field = data.fields["text"]
    assert isinstance(field, Text)
    assert field.vocabulary[:2] == ["<pad>", "<unk>"]
    assert all(piece in training for piece in field.vocabulary[2:])
    assert field.vocabulary.index("the") < field.vocabulary.index("phone") < field.vocabulary.index("battery")


def test_texts_that_come_again_are_texts_and_names_are_names() -> None:
    """As the premises of pairs do, each with several answers."""
    texts = SENTENCES.texts[:100]
    assert isinstance(recognise([text for text in texts for _ in range(3)])[0], Text)
    assert isinstance(recognise([text for text in texts[:4] for _ in range(75)])[0], Category)
    streets = [f"{name} Street, Upper Village" for name in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
    assert isinstance(recognise([street for street in streets for _ in range(3)])[0], Category)


def test_words_that_are_not_known_are_number_one() -> None:
    field = Text("words")
    field.fit(SENTENCES.texts)
    numbers = field.encode("the xyzzy phone")
    assert numbers[1] == 1 and numbers[0] > 1 and numbers[2] > 1
    assert list(field.encode("xyzzy")) == [1]


def test_texts_of_rare_words_only_still_get_a_vocabulary() -> None:
    field = Text("words", min_count=5)
    field.fit(["one two", "three four"])
    assert len(field.vocabulary) == 6


@pytest.mark.parametrize("tokens", ["words", "characters", "bpe"])
def test_no_text_is_longer_than_max_length(tokens: str) -> None:
    field = Text(tokens, max_length=12)
    field.fit(SENTENCES.texts)
    assert len(field.encode(" ".join(SENTENCES.texts))) == 12


def test_a_text_of_ten_megabytes(tmp_path: Path) -> None:
    field = Text("words", max_length=100)
    field.fit(SENTENCES.texts)
    assert len(field.encode("a fine film " * 1_000_000)) == 100


@pytest.mark.parametrize("tokens", ["words", "characters", "bpe"])
def test_it_comes_back_from_plain_json(tokens: str) -> None:
    field = Text(tokens, max_vocabulary=500)
    field.fit(SENTENCES.texts)
    again = Field.from_dict(json.loads(json.dumps(field.to_dict())))
    assert again.input_shape == field.input_shape
    for text in SENTENCES.texts[:50]:
        assert np.array_equal(field.encode(text), again.encode(text))


def test_many_at_once_are_as_one_by_one_and_the_bad_ones_are_named() -> None:
    field = Text("bpe", max_vocabulary=300)
    field.fit(SENTENCES.texts)
    values = ["a fine film", None, "", "a bad phone", 5]
    encoded = field.encode_batch(values)
    assert np.array_equal(encoded[0], field.encode("a fine film"))
    assert np.array_equal(encoded[3], field.encode("a bad phone"))
    told = [str(e) for e in encoded if isinstance(e, DataError)]
    assert told == ["the value is missing", "the text is empty", "a int is not a text; expected a string"]


def test_empty_rows_are_left_out_and_named(tmp_path: Path) -> None:
    texts = [*SENTENCES.texts[:30], "  ", SENTENCES.texts[31]]
    data = fb.Dataset({"text": texts, "y": ["a", "b"] * 16}, target="y", split="none", fields={"text": Text()})
    data.fit()
    store = encode(data, EncodeOptions(cache=tmp_path))
    assert 30 not in store.good.tolist() and len(store.good) == 31
    assert [f.places for f in store.findings] == [["row 30"]]
    gathered = store.gather(store.good[:4])["text"]
    assert isinstance(gathered, Ragged) and gathered.values.shape[1] == int(gathered.lengths.max())


def test_every_text_empty_is_told_before_anything_else() -> None:
    data = fb.Dataset({"text": ["", " "] * 5, "y": ["a", "b"] * 5}, target="y", fields={"text": Text()})
    with pytest.raises(DataError, match="column 'text': every text of the training rows is empty"):
        data.fit()


def test_settings_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"no kind of token is called 'word'; .*did you mean 'words'"):
        Text("word")
    with pytest.raises(UsageError, match="max_vocabulary 2 does not fit"):
        Text(max_vocabulary=2)
    with pytest.raises(UsageError, match="max_length 0 does not fit"):
        Text(max_length=0)
    with pytest.raises(DataError, match=r"there is no tokeniser in the folder; expected tokenizer.json"):
        Text(f"hf:{Path(__file__).parent}").fit(["a text"])


def test_html_in_a_text_is_shown_and_not_obeyed() -> None:
    assert Text().render("<script>alert(1)</script>") == "<span>&lt;script&gt;alert(1)&lt;/script&gt;</span>"


def test_chinese_is_cut_into_words() -> None:
    field = Text()
    field.fit(["房间干净，服务态度很好", "服务态度不好，房间太小"])
    assert field.cut == "chinese"
    assert "房间" in field.vocabulary and "服务态度" in field.vocabulary


def test_characters_follow_the_words_and_are_marked_with_them() -> None:
    field = Text("words", characters=6, min_count=1)
    field.fit(["bad good film", "so bad"])
    assert field.tokenise("So bad film") == ["so", "bad", "film", " s", " o", " b", " a", " d", " f"]
    assert len(field.encode("So bad film")) == 3 + 6
    places = field.places("So bad film")
    assert ["So bad film"[a:b] for a, b in places] == ["So", "bad", "film", *"Sobadf"]
    # 'bad' speaks little for itself, but its characters do
    shown = field.render("So bad film", [0.2, 0.1, 0.0, 0.0, 0.0, 0.3, 0.3, 0.3, 0.0])
    assert "<span class=for4>bad</span>" in shown and "for4>So" not in shown
    assert field.render("bad", [0.0, 0.0, -1.0, 0.0]).startswith("<span class=against4>bad</span>")


def test_characters_follow_words_only_and_change_the_field_s_identity() -> None:
    pieces, plain, more = Text("characters", characters=5), Text("words"), Text("words", characters=5)
    for field in (pieces, plain, more):
        field.fit(["a fine day", "a fine night"])
    assert pieces.tokenise("a fine day") == list("afineday")
    assert plain.tokenise("a fine day") == ["a", "fine", "day"]
    assert plain.identity != more.identity
    assert Text.from_dict(more.to_dict()).tokenise("a fine day") == ["a", "fine", "day", " a", " f", " i", " n", " e"]
    with pytest.raises(UsageError, match="characters -1 does not fit"):
        Text(characters=-1)


@pytest.mark.parametrize(("kind", "text"), [("words", "a cat"), ("chinese", "水 很 热")])
def test_a_word_of_one_character_is_another_token_than_the_character(kind: str, text: str) -> None:
    field = Text(kind, characters=1, min_count=1)
    field.fit([text])
    first, *_, letter = field.tokenise(text)
    assert first == letter.strip() == text[0]
    numbers = field.encode(text).tolist()
    assert numbers[0] != numbers[-1] and 1 not in numbers


def test_few_words_leave_their_characters_behind_them() -> None:
    field = Text("words", characters=4, max_length=2, min_count=1)
    field.fit(["one two three"])
    kept = ("one", "two", " o", " n", " e", " t")
    assert field.encode("one two three").tolist() == [field.vocabulary.index(piece) for piece in kept]


def test_an_augmentation_changes_words_and_leaves_their_characters(tmp_path: Path) -> None:
    field = Text(tokens="words", characters=60, max_length=6, min_count=1, augment={"swap": 0.5, "deletion": 0.2})
    field.fit(SENTENCES.texts[:200])
    batch = collate([field.encode(text) for text in SENTENCES.texts[:50]], field.encoding)
    plain, changed = (field.prepare(batch, training, torch.Generator().manual_seed(0)) for training in (False, True))
    letters = {i for i, piece in enumerate(field.vocabulary) if piece.startswith(" ")}
    differ = 0
    for (values, length), (other, shorter) in zip(zip(*plain, strict=True), zip(*changed, strict=True), strict=True):
        before, after = values[:length].tolist(), other[:shorter].tolist()
        first, then = (next(i for i, t in enumerate(row) if t in letters) for row in (before, after))
        assert before[first:] == after[then:] and set(after[:then]) <= set(before[:first])
        differ += before != after
    assert differ > 40


def test_letters_keep_their_marks_and_are_one_however_they_are_written() -> None:
    """Vowel signs of Hindi and decomposed accents, as macOS writes them, stand in no word of their own."""
    field = Text(tokens="words", min_count=1)
    field.fit(["हिन्दी भाषा café ไทยนี้"])
    assert field.tokenise("हिन्दी भाषा café ไทยนี้") == ["हिन्दी", "भाषा", "café", "ไทยนี้"]
    assert field.encode("cafe\u0301").tolist() == field.encode("caf\u00e9").tolist() != [1]
    for wrong in ({"tokens": ["words"]}, {"lower": "maybe"}, {"max_length": True}):
        with pytest.raises(UsageError, match=r"does not fit|no kind of token"):
            Text(**wrong)


def test_a_length_without_room_for_a_text_is_told(tmp_path: Path) -> None:
    tool = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3}, "[UNK]"))
    marks = [("[CLS]", 1), ("[SEP]", 2)]
    tool.post_processor = tokenizers.processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=marks)
    tool.save(str(tmp_path / "tokenizer.json"))
    for field in (Text(tokens=f"hf:{tmp_path}", max_length=2), Tokens(tokens=f"hf:{tmp_path}", max_length=2)):
        field.fit(["a b", "b a"])
        with pytest.raises(UsageError, match="max_length=2 leaves no room for a text; expected 3 or more"):
            field.encode("a b")


def test_no_code_in_a_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even for who would say yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    (tmp_path / "tok.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import PreTrainedTokenizerFast\n"
        "class Own(PreTrainedTokenizerFast): pass\n"
    )
    own = {"auto_map": {"AutoTokenizer": ["tok.Own", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Own", **own}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "own", **own}))
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\na\n")
    with pytest.raises(DataError, match="the tokeniser cannot be loaded"):
        Text(tokens=f"hf:{tmp_path}").fit(["a b c"])
    assert not (tmp_path / "ran").exists()
