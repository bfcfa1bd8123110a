"""The names of all checks, read out of the package's source: what the page on findings must have a row for."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from flambeau.check.pictures import TRAITS
from flambeau.data.split import KEPT

PACKAGE = Path(__file__).parents[2] / "flambeau"
OTHER_ROOMS = ("report", "notebook", "board")  # their `note` is of a page
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PLACE = {"Finding": 0, "error": 0, "warning": 0, "note": 0, "warn": 0, "add": 0, "_finding": 0, "_end": 0, "Note": 0,
         "findings_at": 1, "told": 1}  # fmt: skip
"""Of each function that makes a finding, which argument names the check."""
MADE = {"near-label-conflict", "near-leakage", "near-duplicate", "not-a-number", "not-a-date", KEPT, *TRAITS}
"""Names that are put together where they are used."""


def _texts(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """The names that an expression may be."""
    if isinstance(node, ast.IfExp):
        yield from _texts(node.body, constants)
        yield from _texts(node.orelse, constants)
    elif isinstance(node, ast.Name) and node.id in constants:
        yield constants[node.id]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
        yield node.value


def _severity(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Severity"


def _named(node: ast.AST, constants: dict[str, str]) -> Iterator[str]:
    """The names that are given where a finding is made, in a table of what is said of each, or to a `check`."""
    if isinstance(node, ast.Call):
        function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        place = PLACE.get(function)
        if place is not None and len(node.args) > place + 1:
            yield from _texts(node.args[place], constants)
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is not None and isinstance(value, ast.Tuple) and any(map(_severity, value.elts)):
                yield from _texts(key, constants)
    elif isinstance(node, ast.Tuple) and len(node.elts) > 1 and _severity(node.elts[1]):
        yield from _texts(node.elts[0], constants)
    elif isinstance(node, ast.Assign):
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            target, value = target.elts[0], value.elts[0]
        if isinstance(target, ast.Name) and target.id == "check":
            yield from _texts(value, constants)


def check_names() -> dict[str, list[str]]:
    """By the name of each check, the files that tell of it."""
    found: dict[str, list[str]] = defaultdict(list)
    for file in sorted(PACKAGE.rglob("*.py")):
        inside = file.relative_to(PACKAGE)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if inside.parts[0] in OTHER_ROOMS or not _tells(tree):
            continue
        constants = {node.targets[0].id: str(node.value.value) for node in tree.body if isinstance(node, ast.Assign)
                     and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Constant)}  # fmt: skip
        for node in ast.walk(tree):
            for name in _named(node, constants):
                found[name].append(inside.as_posix())
    return {**found, **{name: ["check"] for name in MADE}}


def _tells(tree: ast.Module) -> bool:
    """Whether a file makes findings: it imports what they are made with."""
    known = {"Finding", "findings_at", "Telling", "Note", "error", "warning", "told"}
    return any(isinstance(node, ast.ImportFrom) and known & {one.name for one in node.names} for node in tree.body) or (
        any(isinstance(node, ast.ClassDef) and node.name == "Note" for node in tree.body)
    )


if __name__ == "__main__":
    for name, files in sorted(check_names().items()):
        print(name, *sorted({*files}))
