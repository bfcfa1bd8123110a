"""`flambeau doctor --environment`: what a report of a bug needs, and nothing that says whose machine it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from forkserver import Forkserver

import flambeau as fb


def test_it_tells_versions_processor_memory_and_threads(flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("doctor", "--environment", "--json", cwd=tmp_path)
    found = json.loads(command.out)
    assert command.status == 0 and found["flambeau"] == fb.__version__
    assert found["packages"]["torch"] == version("torch")  # which of PyPI's has no word of CUDA
    assert found["torch"]["build"] == torch.__version__
    assert found["memory"]["total"].endswith(" GiB") and found["threads"]["compute"] == 1
    flags = {name for name, there in torch.cpu.get_capabilities().items() if there is True}
    assert {*found["processor"]["flags"]} == flags
    lines = flambeau("doctor", "--environment", cwd=tmp_path).out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(found)


def test_it_names_no_path_no_user_and_no_secret(tmp_path: Path) -> None:
    secrets = {"HF_TOKEN": "hf-verysecret", "HF_HOME": "/home/ada/cache", "LD_PRELOAD": str(tmp_path / "lib.so")}
    command = [sys.executable, "-m", "flambeau", "doctor", "--environment"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **secrets}, capture_output=True, text=True)
    assert done.returncode == 0 and "HF_TOKEN (set)" in done.stdout
    for hidden in (*secrets.values(), str(Path.home()) + "/", str(tmp_path), fb.__file__):
        assert hidden not in done.stdout


def test_neither_a_program_nor_the_machine(flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("doctor", cwd=tmp_path)
    assert command.status == 2 and "--environment" in command.told
