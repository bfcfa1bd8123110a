"""What the documentation shows runs: every page, from top to bottom, in a folder that holds `photos/` alone."""

from __future__ import annotations

import ast
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from pages import FENCE, blocks, run_page

import flambeau as fb
from flambeau.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]
A_CLASS = 24
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code(page: Path) -> list[str]:
    """What a page runs, without comments."""
    return [
        ast.dump(ast.parse(block.text)) if block.language == "python" else block.text
        for block in blocks(page)
        if block.language in ("python", "console")
    ]


def original(page: Path) -> Path | None:
    """The page that this one translates."""
    if page.name == "README.zh-CN.md":
        return ROOT / "README.md"
    return ROOT / "docs" / page.relative_to(ROOT / "docs" / "zh-CN") if "zh-CN" in page.parts else None


def runs_as_another(page: Path) -> bool:
    """Whether it is a translation of a page that runs the very same."""
    translated = original(page)
    return translated is not None and code(translated) == code(page)


RUNNABLE = [page for page in PAGES if code(page) and not runs_as_another(page)]


@pytest.fixture
def folder(digits_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder but for `photos/`: the first real digits of each class."""
    for of_class in digits_folder.iterdir():
        (tmp_path / "photos" / of_class.name).mkdir(parents=True)
        for file in sorted(of_class.iterdir())[:A_CLASS]:
            shutil.copy(file, tmp_path / "photos" / of_class.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_every_example_of_the_page_runs(page: Path, folder: Path) -> None:
    run_page(page)


def test_blocks_are_of_known_kinds() -> None:
    """So that no example is left out by a slip of the pen."""
    kinds = {(name(page), block.language) for page in PAGES for block in blocks(page)}
    assert {kind for _, kind in kinds} <= {"python", "console", "text"}, kinds


def examples() -> tuple[str, str]:
    """All Python that is run, and all command lines, those included that are shown only."""
    found = [block for page in PAGES for block in blocks(page)]
    python = "\n".join(block.text for block in found if block.language == "python")
    return python, "\n".join(block.text for block in found if block.language != "python")


@pytest.mark.parametrize("public", sorted(fb.__all__))
def test_every_public_name_has_an_example(public: str) -> None:
    assert re.search(rf"\bfb\.{public}\b", examples()[0]), f"no page shows fb.{public}"


@pytest.mark.parametrize("verb", sorted(str(command.name) for command in app.registered_commands))
def test_every_verb_has_an_example(verb: str) -> None:
    assert re.search(rf"\bflambeau {verb}\b", examples()[1]), f"no page shows flambeau {verb}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        assert (page.parent / link).exists(), f"{name(page)} links to {link}"


@pytest.mark.parametrize("page", ["docs/README.md", "docs/zh-CN/README.md"])
def test_every_extra_is_told(page: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    told = set(re.findall(r"`'flambeau\[(\w+)\]'`", (ROOT / page).read_text(encoding="utf-8")))
    assert told == set(extras) - {"test", "lint", "docs", "release"}


@pytest.mark.parametrize("page", [page for page in PAGES if original(page)], ids=name)
def test_a_translation_shows_what_the_original_shows(page: Path) -> None:
    """The same blocks in the same order: the same commands, and code that differs in comments and texts alone."""
    translated = original(page)
    assert translated is not None
    ours, theirs = list(blocks(page)), list(blocks(translated))
    assert [block.language for block in ours] == [block.language for block in theirs]
    for block, other in zip(ours, theirs, strict=True):
        if block.language == "console":
            assert block.text == other.text
