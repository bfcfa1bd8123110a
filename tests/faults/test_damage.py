"""Damaged checkpoints are named and passed over; the training ends with the same bytes all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def flip(path: Path) -> None:
    """Changes one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def killed(training: Callable[..., Any]) -> Any:
    """A training that was killed when it had two checkpoints or more."""
    work = training()
    command = work.start()
    assert command.until(lambda: work.step() > 12 and len(work.checkpoints()) > 1)
    assert command.kill() == -9
    return work


@pytest.mark.parametrize(
    ("name", "harm"),
    [("state.safetensors", flip), ("state.safetensors", Path.unlink), ("manifest.json", flip), ("manifest.json", cut)],
    ids=["a bit of the state", "no state", "a bit of the manifest", "half the manifest"],
)
def test_the_one_before_the_damaged_is_used(
    killed: Any, undisturbed: Any, name: str, harm: Callable[[Path], None]
) -> None:
    newest = killed.checkpoints()[-1]
    harm(killed.run / "checkpoints" / newest / name)
    command = killed.start()
    assert command.wait() == 0, command.err
    named = [line for line in command.err.splitlines() if newest in line]
    assert len(named) == 1
    assert named[0].endswith("the one before it is used")
    assert killed.result() == undisturbed


def test_with_none_left_the_training_begins_again(killed: Any, undisturbed: Any) -> None:
    for name in killed.checkpoints():
        flip(killed.run / "checkpoints" / name / "state.safetensors")
    command = killed.start()
    assert command.wait() == 0, command.err
    assert "no checkpoint is whole: the training starts from its beginning" in command.err
    assert killed.result() == undisturbed
