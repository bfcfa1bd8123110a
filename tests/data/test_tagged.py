"""Files of tagged sentences, in every way they are written, and what is said of one that is damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import flambeau as fb
from flambeau.core.errors import DataError, UsageError
from flambeau.data.sources.opening import from_path
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.fields import Tags, Text, Tokens
from flambeau.fields.language.tagged import is_tagged

CONLL2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
# NN I-NP O
German JJ B-NP B-MISC

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""
UNIVERSAL = """# sent_id = 1
# text = Vámonos al mar
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
4.1\tnada\t_\t_\t_\t_\t_\t_\t_\t_
5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\t_
"""


def rows(data: fb.Dataset) -> list[tuple[str, str]]:
    pairs = zip(data.columns["tokens"], data.columns["tags"], strict=True)
    return [(" ".join(tokens), " ".join(tags)) for tokens, tags in pairs]


def test_columns(tmp_path: Path) -> None:
    file = tmp_path / "ner.conll"
    file.write_text(CONLL2003, encoding="utf-8")
    data = from_path(file)
    assert rows(data) == [("EU rejects # German", "B-ORG O O B-MISC"), ("Peter Blackburn", "B-PER I-PER")]
    assert data.place(1) == "ner.conll, line 8"
    assert rows(fb.Dataset.from_tagged(file, tag_column=1))[1] == ("Peter Blackburn", "NNP NNP")
    with pytest.raises(UsageError, match="no column 7"):
        fb.Dataset.from_tagged(file, tag_column=7)


def test_universal_dependencies(tmp_path: Path) -> None:
    file = tmp_path / "es.conllu"
    file.write_text(UNIVERSAL, encoding="utf-8")
    assert rows(from_path(file)) == [("Vamos nos a el mar", "VERB PRON ADP DET NOUN")]


def test_slashes_in_latin_1(tmp_path: Path) -> None:
    folder = tmp_path / "brown"
    folder.mkdir()
    (folder / "ca01").write_bytes("\n\tCaf\xe9s/nns open/vb and/or/cc close/vb ./.\n\n".encode("latin-1"))
    (folder / "ca02").write_bytes(b"Good/jj 1/2/cd\n")
    assert rows(from_path(folder)) == [("Cafés open and/or close .", "nns vb cc vb ."), ("Good 1/2", "jj cd")]


def test_files_called_train_dev_and_test_are_the_split(tmp_path: Path) -> None:
    for name, text in (("eng.train", "a/X b/Y\nc/X d/Y\n"), ("eng.dev", "a/X\n"), ("eng.test", "b/Y\n")):
        (tmp_path / f"{name}.pos").write_text(text, encoding="utf-8")
    data = from_path(tmp_path)
    assert [len(data.rows(side)) for side in ("train", "valid", "test")] == [2, 1, 1]
    again = fb.Dataset.from_source(data.source)
    assert rows(again) == rows(data) and (again.split == data.split).all()


def test_a_fold_of_files_that_have_sides_comes_back(tmp_path: Path) -> None:
    for name, count in (("train", 30), ("dev", 10), ("test", 10)):
        (tmp_path / f"{name}.conll").write_text("".join(f"w{i} A\nx B\n\n" for i in range(count)))
    fold = next(fb.Dataset.from_tagged(tmp_path).folds(5))
    assert fb.Dataset.from_source(fold.source).split.tolist() == fold.split.tolist()


def test_blanks_that_belong_to_a_word_part_nothing(tmp_path: Path) -> None:
    file = tmp_path / "odd.conll"
    file.write_text("10\u00a0000 CD\na\u2028b NN\nc\u0085 X\n", encoding="utf-8")
    assert rows(from_path(file)) == [("10\u00a0000 a\u2028b c\u0085", "CD NN X")]
    slashed = tmp_path / "odd.txt"
    slashed.write_text("Ça/PRO coûte/V 10\u00a0000/CD Å/NN\n" * 3, encoding="utf-8")
    assert rows(from_path(slashed))[0] == ("Ça coûte 10\u00a0000 Å", "PRO V CD NN")


def test_lines_of_equally_many_words_are_no_tagged_sentences(tmp_path: Path) -> None:
    """Between sentences there is an empty line; the end of the file is none."""
    (tmp_path / "labels.txt").write_text("a.png cat\nb.png dog\n")
    assert not is_tagged(tmp_path / "labels.txt")
    (tmp_path / "labels.txt").write_text("a X\nb Y\n\n")
    assert is_tagged(tmp_path / "labels.txt")
    (tmp_path / "verses.txt").write_text("so it goes\n\nand so on\n\nto the end\n")
    assert not is_tagged(tmp_path / "verses.txt"), "paragraphs of a line each"


def test_what_is_for_tables_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ner.conll"
    file.write_text(CONLL2003.replace("Peter", "Péter"), encoding="latin-1")
    assert rows(from_path(file, encoding="latin-1"))[1][0] == "Péter Blackburn"
    assert rows(from_path(file, inputs=["0"], target="1"))[1] == ("Péter Blackburn", "NNP NNP")
    with pytest.raises(UsageError, match="no column called nosuch; expected their numbers"):
        from_path(file, target="nosuch")
    with pytest.raises(UsageError, match="header is for tables"):
        from_path(file, header=False)


def test_a_folder_as_conll_2003_has_it(tmp_path: Path) -> None:
    for name in ("eng.train", "eng.testa", "eng.testb"):
        (tmp_path / name).write_text(CONLL2003)
    (tmp_path / "README.txt").write_text("What this is, in a few lines of words.\n\nAnd how it may be used.\n")
    data = from_path(tmp_path)
    files = [data.place(int(data.rows(side)[0])).split(",")[0] for side in ("valid", "test")]
    assert files == ["eng.testa", "eng.testb"]
    (finding,) = data.findings
    assert finding.places == ["README.txt"]
    assert len(from_path(tmp_path / "eng.train")) == 2


def test_texts_with_tags_are_cut_where_they_were_when_they_are_typed(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": [f"Mr. Grey (Ltd.) grew {i}%" for i in range(60)], "tags": ["A B C D E"] * 60})
    data = fb.Dataset.from_frame(frame, target="tags", fields={"text": Text(max_length=9), "tags": Tags()})
    tokens = data.fields["text"]
    assert isinstance(tokens, Tokens) and tokens.max_length == 9 and "tokens" in data.reasons["text"]
    tokens.fit(data.columns["text"])
    assert tokens.parts("Mr. Grey (Ltd.) grew 0%") == data.columns["text"][0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("EU NNP\nrejects\n", "line 2: the token 'rejects' has no tag"),
        ("EU NNP X\nrejects VBZ\n", "line 2: the line has 2 columns; expected 3"),
        ("a/X b/Y\na/X b/Y c/\n" + "a/X b/Y " * 50, "line 2: 'c' has no tag"),
        ("\n\n", "there is no sentence"),
    ],
)
def test_a_token_without_a_tag_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "bad.conll"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        from_path(file)
    assert told in str(error.value), str(error.value)


def test_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "ner.jsonl"
    lines = ['{"tokens": ["Anna", "met", "Anna", "B", "."], "tags": ["B", "O", "B", "I", "O"]}'] * 8
    lines.append('{"tokens": ["Anna", "left"], "tags": ["B"]}')
    file.write_text("\n".join(lines), encoding="utf-8")
    data = from_path(file)
    assert (data.fields["tokens"].kind, data.fields["tags"].kind) == ("tokens", "tags")
    assert [f.rows for f in data.findings if f.check != "kept-together"] == [[8]]


@pytest.mark.parametrize("bad", ['{"tokens": [], "tags": []}', '{"tokens": ["a", null], "tags": ["O", "O"]}',
                                 '{"tokens": ["a", "b"], "tags": ["O", ""]}'])  # fmt: skip
def test_one_bad_row_is_left_out_and_not_the_file(tmp_path: Path, bad: str) -> None:
    lines = ['{"tokens": ["Anna", "met", "Anna", "B", "."], "tags": ["B", "O", "B", "I", "O"]}'] * 40
    (tmp_path / "ner.jsonl").write_text("\n".join([*lines, bad]), encoding="utf-8")
    data = from_path(tmp_path / "ner.jsonl")
    data.fit()
    store = encode(data, EncodeOptions(tmp_path / "store"))
    assert (data.fields["tokens"].kind, data.fields["tags"].kind) == ("tokens", "tags")
    assert store.good.tolist() == list(range(40))
    assert {row for f in (*data.findings, *store.findings) for row in f.rows} == {40}


def test_a_tag_for_each_token_is_a_tag_even_where_short_sentences_repeat_none() -> None:
    tokens, tags = [["a", "dog"], ["dogs", "bark"], ["bark"]], [["DT", "NN"], ["NN", "VB"], ["VB"]]
    data = fb.Dataset({"tokens": tokens * 10, "tags": [*tags * 9, *tags[:2], ["VB", "NN"]]}, target="tags")
    assert data.fields["tags"].kind == "tags" and [f.rows for f in data.findings if f.check != "kept-together"] == [
        [29]
    ]
    several = fb.Dataset({"tokens": tokens * 10, "about": [["dogs"], ["dogs", "noise"], []] * 10}, target="about")
    assert (several.fields["tokens"].kind, several.fields["about"].kind) == ("text", "multilabel")


@pytest.mark.parametrize("label", [["good", "bad"], [["x", "y", "z"], ["z"]], [0.5, 1.25]])
def test_lists_of_words_with_one_answer_are_texts(label: list[Any], tmp_path: Path) -> None:
    sentences = [["a", "good", "film"] + ["fine"] * i + ["film"] for i in range(20)]
    sentences += [["a", "bad", "film"] + ["poor"] * i + ["film"] for i in range(20)]
    data = fb.Dataset({"words": sentences, "label": [label[0]] * 20 + [label[1]] * 20}, target="label")
    assert data.columns["words"][0] == "a good film film" and data.fields["words"].kind == "text"
    learner = fb.Learner(data, run=tmp_path / "run", quiet=True, cache=tmp_path / "store", epochs=1)
    learner.fit()
    typed, listed = learner.predict(["a bad film poor film", ["a", "bad", "film", "poor", "film"]])
    assert typed == listed


def test_folders_of_texts_stay_what_they_are(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(f"{name} words came on {name} days", encoding="utf-8")
    assert from_path(tmp_path).fields["text"].kind == "text"
