"""What reaches a terminal or a table commands nothing, and what people write in their languages stays as it is."""

from __future__ import annotations

import csv
import io
import json

import pytest

from flambeau.cli import common
from flambeau.cli.predict import _write_csv
from flambeau.core import reporter
from flambeau.core.errors import DataError
from flambeau.core.files import to_json
from flambeau.core.printable import cell, printable, printable_json
from flambeau.core.reporter import Reporter

BAD = "a\x1b]0;owned\x07\x1b[2J\x9b31m\r\x7f‮gnp.exe⁦"


@pytest.mark.parametrize("text", ["猫 and dog", "👩‍🚀 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️", "שלום עולם", "مرحبا‌ها", "naïve é", "x\ty"])
def test_languages_stay_as_they_are(text: str) -> None:
    assert printable(text) == text and printable_json(text) == text


def test_what_a_terminal_obeys_is_shown_instead() -> None:
    assert printable(BAD) == r"a\x1b]0;owned\x07\x1b[2J\x9b31m\r\x7f\u202egnp.exe\u2066"
    assert printable("a\nb") == r"a\nb" and printable("a\nb", lines=True) == "a\nb"


def test_all_ways_to_the_terminal_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    common.echo(f"{BAD}: 1")
    Reporter().say(f"{BAD}\n[bold]x[/bold]")
    from flambeau.cli.main import _failed

    _failed(DataError("odd", where=BAD), True)
    told = capsys.readouterr()
    for text in (told.out, told.err):
        assert not set(text) & set("\x1b\x07\x9b\r\x7f‮⁦"), repr(text)
    assert "[bold]x[/bold]" in told.err
    assert json.loads(told.out[told.out.index("{") :])["where"] == BAD, "JSON says exactly what it was"


def test_json_is_strict() -> None:
    assert json.loads(to_json({"a": [float("nan"), float("inf"), 1.5]}), parse_constant=pytest.fail) == {
        "a": [None, None, 1.5]
    }


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1-2", "-cmd", "@x", "\tx", "\rx", "=", "-"])
def test_a_cell_is_no_formula(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-1.5", "+2e3", "- ".strip() + "7", "x=1", "", "a-b", -3, -0.5, None])
def test_numbers_and_words_are_left_as_they_are(value: object) -> None:
    assert cell(value) == value


def test_a_table_of_predictions_holds_no_formula(tmp_path) -> None:  # type: ignore[no-untyped-def]
    rows = [{"text": "=1+1", "label": "@sum", "confidence": 0.5, "probabilities": {"@sum": 0.5, "-x": 0.5}},
            {"file": "-a.png", "error": "+bad"}]  # fmt: skip
    _write_csv(tmp_path / "out.csv", rows, 2)
    read = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert not any(value.startswith(("=", "+", "-", "@")) for row in read for value in row)
    assert any("'=1+1" in row for row in read)


def test_progress_is_lines_where_output_goes_into_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reporter, "EVERY", 0.0)
    with Reporter().bar("encoding\nphoto", 200) as bar:
        bar.update(50)
    assert capsys.readouterr().err == ""  # what is done at once is no line
    monkeypatch.setattr(reporter, "FIRST", 0.0)
    with Reporter().bar("encoding\nphoto", 2000) as bar:
        for done in (500, 1000):
            bar.update(done, "3/s")
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("encoding\\nphoto: 500 of 2,000, about ") and first.endswith("left; 3/s")
    assert second.startswith("encoding\\nphoto: 1,000 of 2,000, about ")
    with Reporter(quiet=True).bar("encoding", 2000) as bar:
        bar.update(500)
    assert capsys.readouterr().err == ""
