"""Of tagged sentences the check names those that are left out, once, and those that are cut off."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.fields import Tags, Tokens

SENTENCES = [["The", "mayor", "'s", "jazz", "."], ["The", "well-known", "mayor"], ["Jazz", "for", "the", "mayor", "."]]
TAGS = [["at", "nn", "pos", "nn", "."], ["at", "jj", "nn"], ["nn", "in", "at", "nn", "."]]


def tagged(sentences: list[list[str]], tags: list[list[str]], **settings: int | str) -> Dataset:
    fields = {"tokens": Tokens(**settings), "tags": Tags()}  # type: ignore[arg-type]
    return Dataset({"tokens": sentences, "tags": tags}, target="tags", fields=fields, split="none")


def told(data: Dataset, check: str) -> list[Finding]:
    return [finding for finding in [*data.findings, *data.check()] if finding.check == check]


def pretrained(folder: Path) -> str:
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = ["[UNK]", *"abcdefghijklmnopqrstuvwxyzTJ'-.", *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz'-.")]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return f"hf:{folder}"


def test_sentences_that_are_sound_have_neither() -> None:
    checks = {finding.check for finding in tagged(SENTENCES * 10, TAGS * 10, max_length=5).check()}
    assert not checks & {"truncation", "unreadable", "missing", "tokeniser"}


def test_sentences_that_are_cut_off() -> None:
    data = tagged([*SENTENCES, [*SENTENCES[0], *SENTENCES[0]]], [*TAGS, [*TAGS[0], *TAGS[0]]], max_length=4)
    (finding,) = told(data, "truncation")
    assert finding.severity is Severity.WARNING and finding.rows == [3, 0, 2]
    assert (
        finding.message == "3 sentences cut off at max_length 4 (words): 8 of 23 tags lie behind it, and count as wrong"
    )
    assert "max_length=10" in finding.fix


def test_sentences_that_are_cut_off_in_pieces_of_a_pretrained_tokeniser(tmp_path: Path) -> None:
    data = tagged(SENTENCES, TAGS, tokens=pretrained(tmp_path), max_length=13)
    (finding,) = told(data, "truncation")
    assert finding.rows == [0, 1, 2]
    # a letter is a piece: behind the 13th begins the full stop of the first and of the third, and "mayor" of the second
    assert "3 of 13 tags lie behind it" in finding.message
    assert "an encoder that reads longer sentences" in finding.fix and "max_length=" not in finding.fix
    assert not told(tagged(SENTENCES, TAGS, tokens=pretrained(tmp_path), max_length=40), "truncation")
    assert data.fields["tokens"].to_dict()["tokenizer"] is None, "nothing is fitted"


def test_a_pretrained_tokeniser_that_is_not_there(tmp_path: Path) -> None:
    (finding,) = told(tagged(SENTENCES, TAGS, tokens=f"hf:{tmp_path}"), "tokeniser")
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("sentence", "tags", "said"),
    [(["a", "", "b"], ["x", "y", "z"], "'tokens'; the first: token 2 is ''"),
     (["a", "b", "c"], ["x", "y", ""], "'tags'; the first: tag 3 is empty")],
)  # fmt: skip
def test_an_empty_token_and_an_empty_tag(sentence: list[str], tags: list[str], said: str) -> None:
    (finding,) = told(tagged([*SENTENCES, sentence], [*TAGS, tags]), "unreadable")
    assert finding.severity is Severity.WARNING and finding.rows == [3] and finding.places == ["row 3"]
    assert f"1 sentence left out for what is in the column {said}" == finding.message


def test_a_row_of_unequal_tags_is_told_of_once() -> None:
    data = tagged([*SENTENCES, *SENTENCES], [*TAGS, TAGS[0], TAGS[1][:2], None])  # type: ignore[list-item]
    assert [finding.rows for finding in told(data, "unequal-tags")] == [[4]]
    assert [finding.rows for finding in told(data, "missing")] == [[5]], "what nobody has told of is told"


def test_a_row_of_an_undecodable_text_is_told_of_once(tmp_path: Path) -> None:
    lines = [f"ein schöner Tag Nummer {i} über den Wolken,{'ab'[i % 2]}\n".encode() for i in range(40)]
    lines[7] = b"ein sch\xf6ner Tag,a\n"
    (tmp_path / "table.csv").write_bytes(b"text,label\n" + b"".join(lines) + b",b\n")
    data = Dataset.from_table(tmp_path / "table.csv")
    assert [finding.rows for finding in told(data, "undecodable")] == [[7]]
    assert [finding.rows for finding in told(data, "missing")] == [[40]]


def test_a_row_whose_file_is_gone_is_told_of_once(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.txt").write_text(f"the words of text number {i}")
    frame = pl.DataFrame({"text": [f"{i}.txt" for i in range(20)] + ["gone.txt"], "label": ["a", "b", "a"] * 7})
    frame.write_csv(tmp_path / "list.csv")
    data = Dataset.from_table(tmp_path / "list.csv")
    assert [finding.rows for finding in told(data, "unreadable")] == [[20]] and not told(data, "missing")


def test_no_row_with_a_value_is_an_error_whatever_was_told_before() -> None:
    left_out = Finding("unreadable", Severity.WARNING, "2 rows left out", rows=[0, 1])
    data = Dataset({"x": [1.0, 2.0, 3.0], "y": [None, None, "a"]}, target="y", split=["train", "train", "valid"],
                   findings=[left_out])  # fmt: skip
    assert [finding.severity for finding in told(data, "missing")] == [Severity.ERROR]
