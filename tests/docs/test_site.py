"""The site's pages as they are laid out: every link in them leads to a page, and every public name is told of.

That the site is built of them without a complaint is what `make docs` says, which takes longer.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from pages import FENCE, blocks

import flambeau as fb

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_links_lead_to_what_they_led_to(site: ModuleType, language: str, tmp_path: Path) -> None:
    tree = site.lay_out(language, tmp_path)
    pages = sorted(tree.rglob("*.md"))
    assert len(pages) > len(site.pages(language))  # and the names, and what lies beside
    for page in pages:
        for link in site.LINK.finditer(FENCE.sub("", page.read_text(encoding="utf-8"))):
            if not link[2].endswith("/") and link[2] != "#":  # into the pages of the other language, as they are built
                assert (page.parent / link[2]).exists(), f"{page.relative_to(tree)} links to {link[2]}"
    told = (tree / "reference" / "api.md").read_text(encoding="utf-8")
    assert all(f"## `fb.{name}`" in told for name in fb.__all__ if name != "__version__")
    assert (tree / "index.md").exists() and "how-to/board.md" in (tmp_path / "mkdocs.yml").read_text(encoding="utf-8")


def test_a_tutorial_is_a_notebook_of_its_own_blocks_and_runs(site: ModuleType, tmp_path: Path) -> None:
    tree, page = site.lay_out("en", tmp_path), ROOT / "docs" / "tutorials" / "regression.md"
    assert "](regression.ipynb)" in (tree / "tutorials" / "regression.md").read_text(encoding="utf-8")
    notebook = nbformat.read(tree / "tutorials" / "regression.ipynb", as_version=4)
    nbformat.validate(notebook)
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert cells == [block.text.rstrip() for block in blocks(page) if block.language == "python"]
    done = sys.modules["notebooks"].executed(notebook, tmp_path)
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_every_tutorial_has_its_notebook(site: ModuleType, language: str, tmp_path: Path) -> None:
    tree = site.lay_out(language, tmp_path)
    for page in (site.LANGUAGES[language] / "tutorials").glob("*.md"):
        notebook = nbformat.read(tree / "tutorials" / f"{page.stem}.ipynb", as_version=4)
        shown = [block for block in blocks(page) if block.language in ("python", "console")]
        assert sum(cell.cell_type == "code" for cell in notebook.cells) == len(shown) > 0
