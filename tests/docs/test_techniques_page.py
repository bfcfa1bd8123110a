"""The pages on techniques have every one of them, as its docstrings say it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from forkserver import Forkserver
from technique_table import PAGE, options, with_table

from flambeau.techniques import TECHNIQUES
from flambeau.techniques.described import all_described, described

CHINESE = PAGE.parents[1] / "zh-CN" / "how-to" / PAGE.name


def test_the_table_is_what_the_docstrings_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "write it anew: PYTHONPATH=. python tests/support/technique_table.py"


@pytest.mark.parametrize("description", all_described(), ids=lambda d: d.name)
def test_the_chinese_table_has_it_with_its_options(description) -> None:  # type: ignore[no-untyped-def]
    assert f"| `{description.name}{options(description)}` |" in CHINESE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(TECHNIQUES))
def test_its_docstrings_say_what_it_does_what_it_costs_and_where_it_is_from(name: str) -> None:
    description = described(TECHNIQUES[name])
    assert description.what.endswith("."), "the docstring of its class begins with what it does"
    assert description.costs, "the docstring of its file has a sentence that begins with 'Costs'"
    assert re.search(r"\b(19|20)\d\d\b", description.paper), "the docstring of its file has the paper, with its year"


def test_the_command_lists_them_and_what_fits_a_pattern(flambeau: Forkserver, tmp_path: Path) -> None:
    told = json.loads(flambeau("techniques", "--json", cwd=tmp_path).out)["techniques"]
    assert [d["name"] for d in told] == sorted(TECHNIQUES)
    assert {d["name"]: d["options"] for d in told}["clip"] == {"norm": 1.0}
    lines = flambeau("techniques", "label", cwd=tmp_path).out.splitlines()
    assert lines[0] == "label_smoothing amount=0.1" and all(line.startswith("    ") for line in lines[1:])
