"""What the package imports, it declares: in its core, or in the extra that brings it."""

from __future__ import annotations

import ast
import itertools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]


def canonical(requirement: str) -> str:
    """The name of a requirement such as `scikit-learn>=1.5`, as the index writes it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ;]", requirement, maxsplit=1)[0]).lower()


def imported() -> dict[str, str]:
    """Each package that a module of ours imports, wherever it does, with one such module."""
    found: dict[str, str] = {}
    for file in sorted((ROOT / "flambeau").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                found.setdefault(name.split(".")[0], file.relative_to(ROOT).as_posix())
    return {name: file for name, file in found.items() if name not in (*sys.stdlib_module_names, "flambeau")}


def test_every_import_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    of_users = (needed for extra, needed in extras.items() if extra not in ("test", "lint"))
    users = itertools.chain(project["dependencies"], *of_users)
    declared = {canonical(requirement) for requirement in users}
    sources = packages_distributions()
    missing = {
        name: file
        for name, file in imported().items()
        if not declared & {canonical(distribution) for distribution in sources.get(name, [name])}
    }
    assert not missing
    assert "torch" in imported() and "soundfile" in imported()
