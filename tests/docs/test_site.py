"""The site's pages as they are laid out: every link in them leads to a page, and every public name is told of.

That the site is built of them without a complaint is what `make docs` says, which takes longer.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pages import FENCE

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
