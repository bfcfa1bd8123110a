"""Table files come in every encoding and shape; what cannot be read is named, and nothing else is lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from forkserver import Forkserver

import flambeau as fb
from flambeau.core.errors import DataError
from flambeau.data.sources.opening import from_path, from_source
from flambeau.data.sources.tables import read_table

SENTENCES = [
    ("Größe passt nicht, schade um das schöne Stück", "negative"),
    ('"Quoted", and\nwith a line break — très bien', "positive"),
    ("naïve but charming little film", "positive"),
    ("the façade crumbles after ten minutes", "negative"),
]
ROWS = [(f"{text}, {i}", label) for i in range(5) for text, label in SENTENCES]


def write_csv(path: Path, encoding: str, header: bool = True, separator: str = ",") -> Path:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [f"text{separator}label"] if header else []
    lines += [f"{cell(text)}{separator}{label}" for text, label in ROWS]
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding, errors="replace"))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_texts_come_back_as_they_were(tmp_path: Path, encoding: str, suffix: str) -> None:
    file = write_csv(tmp_path / f"reviews{suffix}", encoding, separator="\t" if suffix == ".tsv" else ",")
    data = fb.Dataset.from_table(file, split="none")  # the texts are of a few moulds
    assert data.fields["text"].kind == "text" and data.fields["label"].kind == "category"
    assert list(data.columns["text"]) == [text for text, _ in ROWS]
    assert [f.check for f in data.findings] == ([] if encoding.startswith("utf-8") else ["encoding"])


def test_chinese_in_gb18030(tmp_path: Path) -> None:
    file = tmp_path / "评论.csv"
    texts = ["房间干净，服务态度很好，下次还会再来", "早餐一般，房间有点小，不会再来了"]
    file.write_bytes(("text,label\n" + "".join(f"{t},{i % 2}\n" for i, t in enumerate(texts * 5))).encode("gb18030"))
    assert list(fb.Dataset.from_table(file).columns["text"])[:2] == texts


def test_a_file_without_a_header(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "bare.csv", "utf-8", header=False)
    data = fb.Dataset.from_table(file, header=False, target="column_2")
    assert len(data) == len(ROWS) and data.columns["column_1"][1] == ROWS[1][0]
    named = fb.Dataset.from_table(file, header=False, columns=["text", "label"])
    assert named.target == "label" and list(from_source(named.source).columns["text"]) == list(named.columns["text"])


def test_the_encoding_that_is_given_is_used(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "mac.csv", "mac-roman")
    data = fb.Dataset.from_table(file, encoding="mac-roman")
    assert data.columns["text"][0] == ROWS[0][0]
    assert list(from_source(data.source).columns["text"]) == list(data.columns["text"])
    with pytest.raises(DataError, match=r"byte 0x.. in line 2 is not utf-8"):
        fb.Dataset.from_table(file, encoding="utf-8")


def test_a_row_of_undecodable_bytes_is_named_and_the_others_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "large.csv"
    line = "ein schöner Tag über den Wolken,positive\n"
    with file.open("wb") as out:
        out.write(b"text,label\n" + line.encode() * 160_000)
        out.write(b"ein sch\xf6ner Tag,negative\n" + line.encode() * 10)
    table = read_table(file)
    (finding,) = table.findings
    assert finding.check == "undecodable" and finding.places == ["row 160001"] and finding.rows == [160_000]
    assert table.frame["text"][160_000] is None and table.frame["text"].null_count() == 1
    assert table.frame["label"][160_000] == "negative" and table.frame["text"][159_999].startswith("ein schöner")


def test_json_lines_with_and_without_all_keys(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    rows = [{"text": text, "label": label} for text, label in ROWS]
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    assert list(fb.Dataset.from_table(file).columns["text"]) == [text for text, _ in ROWS]


def test_a_folder_of_texts_in_any_encoding(tmp_path: Path) -> None:
    for i, (text, label) in enumerate(ROWS):
        (tmp_path / label).mkdir(exist_ok=True)
        (tmp_path / label / f"{i:02}.txt").write_bytes(
            text.encode(["utf-8", "utf-16", "cp1252"][i % 3], errors="replace")
        )
    data = fb.Dataset.from_folder(tmp_path)
    assert data.inputs == ["text"] and data.fields["text"].kind == "text"
    assert "naïve but charming little film, 3" in data.columns["text"]
    assert data.place(0) == "negative/00.txt"


def test_paths_of_texts_in_a_table_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a first text")
    (tmp_path / "b.txt").write_text("another text")
    (tmp_path / "list.csv").write_text("file,label\na.txt,x\nb.txt,y\n")
    assert fb.Dataset.from_table(tmp_path / "list.csv").columns["file"] == ["a first text", "another text"]


@pytest.mark.parametrize("late", ["n/a", "1.5"])
def test_a_value_that_comes_late_is_read_as_one_that_comes_early(tmp_path: Path, late: str) -> None:
    """No table is refused for its 12,000th row."""
    lines = ["number,label", *(f"{i},{'ab'[i % 2]}" for i in range(12_000)), f"{late},a", "7,b"]
    (tmp_path / "late.csv").write_text("\n".join(lines))
    data = fb.Dataset.from_table(tmp_path / "late.csv", target="label")
    numbers = np.asarray(data.columns["number"], float)
    assert data.fields["number"].kind == "number" and len(numbers) == 12_002 and numbers[-1] == 7
    assert np.isnan(numbers[-2]) if late == "n/a" else numbers[-2] == 1.5


def test_json_lines_whose_late_rows_differ(tmp_path: Path) -> None:
    lines = [f'{{"x": {i}, "y": "a"}}' for i in range(12_000)] + ['{"x": 0.5, "y": "b"}']
    (tmp_path / "late.jsonl").write_text("\n".join(lines))
    assert read_table(tmp_path / "late.jsonl").frame["x"][-1] == 0.5


def test_quotes_that_are_part_of_a_text_between_tabs(tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text('text\tlabel\n"Well" he said\ta\n"unclosed\tb\nplain\ta\n')
    assert read_table(tmp_path / "texts.tsv").frame["text"].to_list() == ['"Well" he said', '"unclosed', "plain"]
    (tmp_path / "cells.tsv").write_text('text\tlabel\n"two\nlines"\ta\n')
    assert read_table(tmp_path / "cells.tsv").frame["text"].to_list() == ["two\nlines"]


def test_a_text_whose_file_is_missing_is_left_out_and_named(tmp_path: Path) -> None:
    for i in range(20):
        (tmp_path / f"{i}.txt").write_text(f"the words of text number {i}")
    frame = pl.DataFrame({"text": [f"{i}.txt" for i in range(20)] + ["gone.txt"], "label": ["a", "b", "a"] * 7})
    frame.write_csv(tmp_path / "list.csv")
    data = fb.Dataset.from_table(tmp_path / "list.csv")
    (finding,) = [f for f in data.findings if f.check == "unreadable"]
    assert finding.rows == [20] and "gone.txt" in finding.places[0] and "missing" in finding.message
    assert data.place(20) == "row 21 (gone.txt)" and data.columns["text"][3] == "the words of text number 3"


def test_an_encoding_that_is_given_leaves_out_the_rows_that_are_damaged(tmp_path: Path) -> None:
    lines = [f"a text with number {i},{'ab'[i % 2]}".encode() for i in range(60)]
    lines[40] = b"bytes \xff\xfe\x80 here,a"
    (tmp_path / "late.csv").write_bytes(b"text,label\n" + b"\n".join(lines))
    for encoding in ("utf-8", None):
        table = read_table(tmp_path / "late.csv", encoding=encoding)
        assert len(table.frame) == 60
        if encoding:
            assert [f.rows for f in table.findings if f.check == "undecodable"] == [[40]]


def test_what_stands_between_cells_is_found_out_and_said(tmp_path: Path) -> None:
    rows = [("Fünf Sterne, gern wieder", "gut"), ('nie; "nie" wieder, nein', "schlecht")] * 10
    for separator in ";|\t":
        with (tmp_path / "out.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=separator).writerows([("text", "label"), *rows])
        table = read_table(tmp_path / "out.csv")
        assert table.frame.rows() == rows
        assert [repr(separator) in f.message for f in table.findings] == [True] * (separator != "\t")
    (tmp_path / "one.csv").write_text("text\na; b\nc; d; e\n")
    assert read_table(tmp_path / "one.csv").frame["text"].to_list() == ["a; b", "c; d; e"]


def test_quotes_behind_backslashes_do_not_make_one_row_of_two(tmp_path: Path) -> None:
    lines = [f'"back\\"slash quoted {i}",{"ab"[i % 2]}' for i in range(30)]
    (tmp_path / "spark.csv").write_text("\n".join(["text,label", *lines]))
    table = read_table(tmp_path / "spark.csv")
    assert len(table.frame) == 30 and table.frame["text"][0] == 'back"slash quoted 0'
    assert "backslashes" in table.findings[0].message
    (tmp_path / "paths.csv").write_text('path,label\n"C:\\dir\\",a\n"D:\\x\\",b\n')
    assert read_table(tmp_path / "paths.csv").frame["path"].to_list() == ["C:\\dir\\", "D:\\x\\"]


def test_a_folder_of_texts_says_its_encoding_and_takes_one(tmp_path: Path) -> None:
    for i in range(12):
        folder = tmp_path / ("gut" if i % 2 else "schlecht")
        folder.mkdir(exist_ok=True)
        (folder / f"{i}.txt").write_bytes(f"Die Größe passt mir sehr gut Nummer {i}".encode("cp1252"))
    data = from_path(tmp_path)
    assert all("Größe" in text for text in data.columns["text"])
    assert "12 files read as cp1252" in data.findings[0].message
    (tmp_path / "gut" / "1.txt").write_bytes("Ähnliche Größen: öäü".encode() * 9 + b"\xff")
    one_bad = from_path(tmp_path)
    assert [f.rows for f in one_bad.findings if f.check == "undecodable"] == [[0]] and one_bad.columns["text"][
        0
    ] is None
    again = from_source(from_path(tmp_path, encoding="latin-1").source)
    assert "as asked" in again.findings[0].message


def test_what_is_predicted_is_read_as_the_training_was(flambeau: Forkserver, tmp_path: Path) -> None:
    """A table without names of columns, in a code page."""
    lines = [f"Größe und Länge von {i} sind {'gut' if i % 2 else 'schlecht'},{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "plain.csv").write_text("\n".join(lines), encoding="cp1252")
    data = fb.Dataset.from_table(tmp_path / "plain.csv", header=False, target="column_2", inputs=["column_1"])
    fb.Learner(data, "bag", run=tmp_path / "run", quiet=True, epochs=1).fit(check=False)
    told = flambeau("predict", "run", "plain.csv", "--json", cwd=tmp_path)
    assert told.status == 0 and "is read as cp1252" in told.err
    assert [p["text"] for p in told.json["predictions"][:1]] == [lines[0].split(",")[0]]


def test_numbers_that_are_to_be_texts_are(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": [123, 456] * 30, "label": ["a", "b"] * 30})
    data = fb.Dataset.from_frame(frame, target="label", fields={"text": fb.fields.Text()})
    assert data.columns["text"][0] == "123"
