"""Texts in two languages: files line by line, folders of them and translation memories, with what is wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from forkserver import Forkserver

from flambeau.core.errors import DataError
from flambeau.data.sources.opening import from_path, from_source
from flambeau.data.sources.parallel import ParallelSource

ENGLISH = ["Save", "Delete the page", "", "Search  results", "SAVE"]
GERMAN = ["Speichern", "Seite löschen", "", "Suchergebnisse", "speichern"]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def columns(data: object) -> dict[str, list[str]]:
    return {name: list(values) for name, values in data.columns.items()}  # type: ignore[attr-defined]


def test_two_files_go_line_by_line(tmp_path: Path) -> None:
    english, german = write(tmp_path / "en.txt", ENGLISH), write(tmp_path / "de.txt", GERMAN)
    data = from_path(english, beside=german)
    assert (data.inputs, data.target) == (["en"], "de")
    assert {name: field.kind for name, field in data.fields.items()} == {"en": "text", "de": "text-target"}
    assert columns(data) == {"en": [x for x in ENGLISH if x], "de": [x for x in GERMAN if x]}
    assert data.place(2) == "en.txt, line 4"
    assert columns(from_source(data.source)) == columns(data)
    assert data.firsts.tolist() == [0, 1, 2, 0]  # the same text: one part of the split
    back = from_path(english, beside=german, target="en")
    assert (back.inputs, back.target) == (["de"], "en")


def test_a_line_without_a_partner_is_named(tmp_path: Path) -> None:
    english, german = write(tmp_path / "en.txt", ENGLISH), write(tmp_path / "de.txt", GERMAN[:4])
    with pytest.raises(DataError, match=r"line 5 of en\.txt has no partner in de\.txt"):
        from_path(english, beside=german)
    write(german, [*GERMAN[:3], "", "speichern"])
    (finding,) = (f for f in from_path(english, beside=german).findings if f.check == "empty-text")
    assert finding.places == ["en.txt, line 4"]


def test_a_folder_says_what_trains(tmp_path: Path) -> None:
    for part, count in (("train", 5), ("valid", 2), ("test", 2)):
        write(tmp_path / f"{part}.en", ENGLISH[:count])
        write(tmp_path / f"{part}.de", GERMAN[:count])
    write(tmp_path / "README.md", ["of two languages"])
    data = from_path(tmp_path)
    assert data.source["kind"] == "parallel" and (data.inputs, data.target) == (["en"], "de")
    assert [len(data.rows(part)) for part in ("train", "valid", "test")] == [4, 2, 2]


def test_files_that_are_of_no_languages_are_left_to_others(tmp_path: Path) -> None:
    for names in (("pos.txt", "neg.txt"), ("the-man.txt", "the-boy.txt"), ("app.js", "app.css"), ("x.de", "y.en")):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            write(folder / name, ENGLISH)
        assert ParallelSource.claims(folder, {}) == 0


def test_a_translation_memory_is_read(tmp_path: Path) -> None:
    unit = '<tu><tuv xml:lang="{}"><seg>{}</seg></tuv><tuv xml:lang="{}"><seg>{} <bpt i="1">x</bpt></seg></tuv></tu>'
    units = "".join(unit.format("de", de, "en", en) for en, de in zip(ENGLISH[:2], GERMAN[:2], strict=True))
    file = tmp_path / "memory.tmx"
    file.write_text(f'<?xml version="1.0"?><tmx version="1.4"><body>{units}</body></tmx>', encoding="utf-8")
    data = from_path(file)
    assert columns(data) == {"en": ["Save", "Delete the page"], "de": GERMAN[:2]}
    file.write_text("<tmx><body>", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read as TMX"):
        from_path(file)
    file.write_text(f"<tmx>{unit.format('en', 'a', 'de', 'b')}{unit.format('en', 'a', 'fr', 'c')}</tmx>")
    with pytest.raises(DataError, match="3 languages: en, de, fr"):
        from_path(file)
    assert columns(from_path(file, inputs=["en"], target="fr")) == {"en": ["a"], "fr": ["c"]}


def test_it_is_trained_asked_and_told_what_is_wrong(tmp_path: Path, flambeau: Forkserver) -> None:
    lines = [f"{a} and {b}" for a in "abcdefg" for b in "abcdefg" if a != b]
    write(tmp_path / "en.txt", lines)
    write(tmp_path / "la.txt", [" ".join(reversed(line.split())) for line in lines])
    small = ("--set", "model.options.hidden_size=16", "--set", "model.options.embedding=16", "--epochs", 1)
    trained = flambeau("train", "en.txt", "la.txt", *small, "--run", "run", "--no-check", cwd=tmp_path)
    assert trained.status == 0, trained.err
    assert "en (text) → la (text-target)" in trained.err and "word by word" in trained.err
    (tmp_path / "ask.csv").write_text("en\na and b\nc and d\n", encoding="utf-8")
    answered = flambeau("predict", "run", "ask.csv", "--json", cwd=tmp_path)
    assert answered.status == 0, answered.err
    answers = answered.json["predictions"]
    assert len(answers) == 2 and all(isinstance(one["label"], str) for one in answers)
    assert flambeau("predict", "run", "ask.csv", "--csv", "out.csv", cwd=tmp_path).status == 0
    assert "a and b" in (tmp_path / "out.csv").read_text(encoding="utf-8")
    for arguments, told in (
        (("train", "en.txt", "none.txt"), "there is no such file"),
        (("train", "en.txt", "la.txt", "--target", "fr"), "there are no texts in 'fr'"),
        (("train", "ask.csv", "--input", "en", "--objective", "translation", "--target", "de"), "no column 'de'"),
    ):
        refused = flambeau(*arguments, cwd=tmp_path)
        assert refused.status == 2 and told in refused.err and "Traceback" not in refused.err, refused.err


def test_files_that_are_odd_are_read_or_told(tmp_path: Path) -> None:
    english = write(tmp_path / "a.en", [*ENGLISH, "", " "])  # blank lines at its end have no partner, and need none
    german = tmp_path / "a.de"
    german.write_bytes("\r\n".join(["Speichern", "Seite löschen", "", "Search  results", "sichern"]).encode("cp1252"))
    data = from_path(english, beside=german)
    assert columns(data)["de"][1] == "Seite löschen" and len(data) == 4
    found = {finding.check: finding for finding in data.findings}
    assert "cp1252" in found["encoding"].message and found["untranslated"].places == ["a.en, line 4"]
    with pytest.raises(DataError, match="both are one file"):
        from_path(english, beside=english)
    write(tmp_path / "a.fr", ENGLISH)
    with pytest.raises(DataError, match="3 languages: en, de, fr"):
        from_path(tmp_path)
    assert [*columns(from_path(tmp_path, inputs=["fr"], target="en"))] == ["en", "fr"]


def test_a_translation_memory_of_regions_and_formats_is_read(tmp_path: Path) -> None:
    unit = (
        '<tu><tuv xml:lang="{}"><seg>{} <bpt>&lt;b&gt;</bpt>now</seg></tuv><tuv xml:lang="DE"><seg>{}</seg></tuv></tu>'
    )
    units = "".join(unit.format(f"en-{at}", en, de) for at, en, de in zip(("US", "GB"), ENGLISH, GERMAN, strict=False))
    file = tmp_path / "memory.tmx"
    file.write_text(f'<tmx xmlns="http://www.lisa.org/tmx14"><body>{units}</body></tmx>')
    assert columns(from_path(file)) == {"en": ["Save now", "Delete the page now"], "de": GERMAN[:2]}
    assert columns(from_path(file, inputs=["DE"], target="en-GB"))["en-gb"] == ["Delete the page now"]
