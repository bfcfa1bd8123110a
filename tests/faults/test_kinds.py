"""`kill -9` in a training on each kind of data: resumed, it ends with the same bytes as one that was left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from forkserver import Forkserver
from kinds import DENSE, KINDS

from flambeau.core.files import read_json

SETTINGS = ("--epochs", "3", "--no-check", "--no-baseline", "--run", "run", "--set", "batch_size=8",
            "--set", "log_every=1", "--set", "checkpoint_minutes=0.0001")  # fmt: skip


@pytest.mark.parametrize("kind", [*KINDS, *DENSE])
def test_a_killed_training_ends_as_if_nothing_had_happened(kind: str, flambeau: Forkserver, tmp_path: Path) -> None:
    ends = []
    for name, disturbed in (("whole", False), ("killed", True)):
        folder = tmp_path / name
        folder.mkdir()
        command = flambeau.start("train", *(KINDS | DENSE)[kind](folder), *SETTINGS, cwd=folder)
        if disturbed:
            checkpoints = folder / "run" / "checkpoints"
            command.until(lambda: len(list(checkpoints.glob("step-*"))) >= 2)  # noqa: B023
            assert command.kill() == -9, "the training was over before it could be killed"
            command = flambeau.start("resume", "run", cwd=folder)
        assert command.wait() == 0, command.err
        measured = read_json(folder / "run" / "evaluation.json")["metrics"]
        ends.append(((folder / "run" / "model.safetensors").read_bytes(), measured))
    assert ends[0] == ends[1]
