"""Each error's code has its section, and each check's name its row, in both languages; and no other has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from check_names import NAME, PACKAGE, check_names

from flambeau.core.errors import UNKNOWN_NAME, FlambeauError
from flambeau.training.gradients import Lost
from flambeau.training.interrupts import Interrupted

DOCS = Path(__file__).parents[2] / "docs"
LANGUAGES = (DOCS, DOCS / "zh-CN")
NAMED = re.compile(r"^\| ((?:`[a-z0-9-]+`[,、]? ?)+)\|", re.MULTILINE)


def codes_of(kind: type[FlambeauError]) -> set[str]:
    """Those of an error and of all that are of its kind."""
    return {kind.code}.union(*(codes_of(one) for one in kind.__subclasses__()))


def codes_given() -> set[str]:
    """Codes that are given where an error is raised."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code":
                parts = (node.value.body, node.value.orelse) if isinstance(node.value, ast.IfExp) else (node.value,)
                found |= {p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)}
    return found


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda path: path.name)
def test_each_code_of_an_error_has_its_section(language: Path) -> None:
    page = (language / "reference" / "errors.md").read_text(encoding="utf-8")
    codes = codes_of(FlambeauError) | codes_given() | {UNKNOWN_NAME}
    assert {Interrupted.code, Lost.code} < codes  # of other rooms than core
    assert re.findall(r"^### `([a-z-]+)`$", page, re.MULTILINE) == sorted(codes)
    assert all(NAME.fullmatch(code) for code in codes)


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda path: path.name)
def test_each_name_of_a_check_has_its_row(language: Path) -> None:
    page = (language / "reference" / "findings.md").read_text(encoding="utf-8")
    named = [name for row in NAMED.findall(page) for name in re.findall(r"`([a-z0-9-]+)`", row)]
    assert sorted(named) == sorted(check_names())
