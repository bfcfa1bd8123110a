"""Findings: what, where, how bad, what to do."""

from __future__ import annotations

import io
import json
import math

from flambeau.core.findings import Finding, Severity, has_errors, worst_first
from flambeau.core.reporter import QUIET, Reporter

NOTE = Finding("note", Severity.NOTE, "a note", count=100)
FEW = Finding("few", Severity.WARNING, "few", places=["a"])
MANY = Finding("many", Severity.WARNING, "many", rows=[1, 2, 3])
BAD = Finding("bad", "error", "bad")  # type: ignore[arg-type]


def test_they_are_json_and_come_back() -> None:
    for finding in (NOTE, FEW, MANY, BAD):
        assert Finding.from_dict(json.loads(json.dumps(finding.to_dict()))) == finding


def test_the_worst_come_first() -> None:
    assert worst_first([NOTE, FEW, BAD, MANY]) == [BAD, MANY, FEW, NOTE]
    assert has_errors([NOTE, BAD]) and not has_errors([NOTE, FEW])


def test_one_line_with_the_first_places_and_what_to_do() -> None:
    finding = Finding("x", Severity.WARNING, "two are wrong", places=list("abcde"), fix="mend them")
    assert str(finding) == "warning: two are wrong (a, b, c and 2 more); mend them"
    assert finding.count == 5 and str(BAD) == "error: bad"


def test_a_quiet_reporter_says_nothing_and_its_bars_cost_nothing(capsys: object) -> None:
    QUIET.say("nothing")
    with QUIET.bar("work", 10) as bar:
        bar.update(3)
        assert bar.due == math.inf, "whoever asks when to draw next never does"
    out, err = capsys.readouterr()  # type: ignore[attr-defined]
    assert out == err == ""


def test_lines_go_to_stderr_as_they_are(capsys: object) -> None:
    Reporter().say("[bold]not markup[/bold] photos/[1].jpg")
    out, err = capsys.readouterr()  # type: ignore[attr-defined]
    assert out == "" and err == "[bold]not markup[/bold] photos/[1].jpg\n"


def test_bars_are_drawn_on_terminals_only() -> None:
    from rich.console import Console

    for terminal in (False, True):
        reporter, text = Reporter(), io.StringIO()
        reporter._console = Console(file=text, force_terminal=terminal)
        with reporter.bar("work", 10) as bar:
            bar.update(3, "loss 0.5")
        assert bool(text.getvalue()) is terminal
