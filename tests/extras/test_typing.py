"""The types that the package promises (`py.typed`), as pyright's strict mode sees them from outside."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from environments import ROOT, environment

import flambeau as fb

PROGRAM = Path(__file__).with_name("public_names.py")
pytestmark = pytest.mark.extras


def checked(folder: Path, program: str) -> list[str]:
    """What pyright finds wrong in a program."""
    (folder / "program.py").write_text(program, encoding="utf-8")
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)], "include": ["program.py"]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [environment(("lint",)) / "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", folder]
    done = subprocess.run(command, capture_output=True, text=True)
    return [
        f"{one['range']['start']['line'] + 1}: {one['message']}"
        for one in json.loads(done.stdout)["generalDiagnostics"]
    ]


def test_every_public_name_is_used_and_known_in_strict_mode(tmp_path: Path) -> None:
    program = PROGRAM.read_text("utf-8")
    used = {node.attr for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Attribute)}
    assert set(fb.__all__) <= used
    assert checked(tmp_path, program) == []


def test_an_argument_that_is_none_is_told(tmp_path: Path) -> None:
    found = checked(tmp_path, "import flambeau as fb\n\nfb.Learner([], epohs=3)\nfb.Learner([], epochs='three')\n")
    assert len(found) == 2 and "epohs" in found[0] and "epochs" in found[1]
