"""`flambeau completion`: a shell that has its script completes what is typed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from forkserver import Forkserver

ASK = """
. ./script
COMP_WORDS=({words}); COMP_CWORD={last}; _flambeau_completion flambeau; echo "${{COMPREPLY[@]}}"
"""


def test_bash_completes_verbs_and_options(flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("completion", "bash", cwd=tmp_path)
    assert command.status == 0
    (tmp_path / "script").write_text(command.out)
    program = tmp_path / "flambeau"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flambeau "$@"\n')
    program.chmod(0o755)
    asked = "".join(ASK.format(words=w, last=len(w.split()) - 1) for w in ("flambeau ev", "flambeau train --weight"))
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", asked], cwd=tmp_path, env={**os.environ, **path}, capture_output=True, text=True
    )
    assert done.stdout.split() == ["evaluate", "--weight-decay"], done.stderr


@pytest.mark.parametrize(("shell", "begins"), [("zsh", "#compdef flambeau"), ("fish", "complete --command flambeau")])
def test_other_shells_get_a_script_of_theirs(shell: str, begins: str, flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("completion", shell, cwd=tmp_path)
    assert command.status == 0 and command.out.startswith(begins)


def test_a_shell_that_is_not_known(flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("completion", "ksh", cwd=tmp_path)
    assert command.status == 2 and "'bash', 'zsh', 'fish'" in command.told
