from __future__ import annotations

import ast
from pathlib import Path
from string import Formatter

import flambeau
from flambeau.core.findings import Finding, Severity
from flambeau.report.words import Words, languages


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_every_language_has_every_sentence_with_the_same_numbers_in_it():
    english = languages()["en"]["words"]
    for tables in languages().values():
        table = tables["words"]
        assert table.keys() == english.keys()
        for key, template in table.items():
            assert placeholders(template) == placeholders(english[key]), key


def checks() -> set[str]:
    """The names of checks that are written out in the source of the checks and of what reads data."""
    found: set[str] = set()
    rooms = [Path(flambeau.__file__).parent / room for room in ("check", "data", "fields")]
    for file in (file for room in rooms for file in room.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = getattr(node.func, "id", getattr(node.func, "attr", ""))
                place = {"Finding": 0, "findings_at": 1, "add": 0, "warn": 0, "note": 0}.get(called)
                named = node.args[place] if place is not None and len(node.args) > place else None
                if isinstance(named, ast.Constant) and isinstance(named.value, str):
                    found.add(named.value)
    return found


def test_every_check_has_chinese_words():
    known = languages()["zh-CN"]["checks"]
    assert "leakage" in known and len(checks()) > 50
    assert sorted(checks() - known.keys()) == [], "give their words to flambeau/report/languages/zh-CN.toml"


def test_a_finding_in_chinese_has_its_count_and_its_names():
    finding = Finding("near-leakage", Severity.WARNING, "7 pairs of 'photo' look alike", ["a"] * 7, fix="keep them")
    told = Words("zh-CN").finding(finding)
    assert "\u8fd1\u4f3c" in told and "7" in told and "photo" in told and "look" not in told
    assert Words("en").finding(finding) == finding.message
    unknown = Finding("one-of-your-own", Severity.NOTE, "something else")
    assert Words("zh-CN").finding(unknown) == "something else"


def test_reasons_and_rivals_are_said_in_chinese():
    say = Words("zh-CN").say
    for sentence in ("batch_size 32: 1,438 training samples", "label is category: 6 distinct names",
                     "age is number: values are numbers (1,000 of 1,309 rows looked at)",
                     "metric accuracy: usual for a target of the kind category",
                     "seasonal naive: 48 steps ago", "precision float32: the model has 53,098 parameters only",
                     "row 12 (train) = row 40 (test)"):  # fmt: skip
        assert say(sentence) != sentence
    assert (
        say("label is category: 6 distinct names")
        == "label\uff1a\u7c7b\u522b\uff0c\u6709 6 \u4e2a\u4e0d\u540c\u7684\u540d\u79f0"
    )
    assert Words("en").say("row 12") == "row 12"


def test_a_forecast_keeps_the_name_of_its_series_in_every_language() -> None:
    words = Words("zh-CN")
    assert words.say("north, from 2023-02-21 00:00") == "north，自 2023-02-21 00:00"
    assert words.say("from 2023-02-21 00:00") == "自 2023-02-21 00:00"
