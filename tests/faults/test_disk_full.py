"""A full disk is told in one line, leaves what was there before whole, and is no more than a pause."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as fb
from flambeau.core.errors import FlambeauError
from flambeau.training import checkpoint


@dataclass
class Disk:
    """A small disk of its own."""

    path: Path

    def fill(self, but: int = 0) -> None:
        """Leaves so many bytes."""
        with (self.path / "ballast").open("wb", buffering=0) as ballast:
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(b"\0" * 4096)
            ballast.truncate(max(0, ballast.tell() - but))

    def free(self) -> None:
        """Gives the space back."""
        (self.path / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Disk]]:
    """`disk("2m")`: a Disk of that size. Needs the right to mount."""
    path = tmp_path / "disk"

    def mount(size: str) -> Disk:
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"left out, a small disk cannot be mounted here: {done.stderr.strip()}")
        return Disk(path)

    yield mount
    subprocess.run(["umount", "--lazy", str(path)], capture_output=True, check=False)


def on(disk: Disk, work: Any) -> Any:
    work.folder = disk.path
    return work


def test_while_encoding(training: Callable[..., Any], disk: Callable[[str], Disk], undisturbed: Any) -> None:
    small = disk("512k")
    work = training("work", "--cache-limit", "1GB")
    work.store.parent.symlink_to(small.path)  # the stores alone are on the small disk
    small.fill(but=16 * 1024)  # enough to begin, not for the 1,797 × 8 × 8 bytes
    command = work.start()
    assert command.wait() == 2
    assert "the disk is full (" in command.told
    assert "free some space and run the same command again" in command.told
    assert not list(work.store.iterdir())
    small.free()
    assert work.finish().result() == undisturbed


@pytest.mark.parametrize("log_every", [1, 1000], ids=["log or checkpoint", "checkpoint"])
def test_while_training(
    training: Callable[..., Any], disk: Callable[[str], Disk], undisturbed: Any, log_every: int
) -> None:
    small = disk("24m")
    work = on(small, training("work", "--set", f"log_every={log_every}"))
    command = work.start()
    assert command.until(lambda: len(work.checkpoints()) > 1)
    small.fill()
    assert command.wait() == 2
    assert "the disk is full (" in command.told
    names = work.checkpoints()
    assert names
    for name in names:
        checkpoint.load(work.run / "checkpoints" / name)  # checks its sums
    assert not list((work.run / "checkpoints").glob(".*"))
    small.free()
    work.finish()
    assert work.result()["weights"] == undisturbed["weights"]


def test_at_its_very_end(training: Callable[..., Any], disk: Callable[[str], Disk], undisturbed: Any) -> None:
    """No half-written weights: the run is finished, or it can be."""
    small = disk("24m")
    work = on(small, training())
    command = work.start()
    assert command.until(lambda: len(work.lines()) > 1 and work.lines()[-1].get("epoch") == 3 and work.step() == 33)
    small.fill()
    assert command.wait() in (0, 2)  # it may just have ended
    if command.status:
        assert "the disk is full (" in command.told
    small.free()
    assert work.finish().result() == undisturbed


def test_a_checkpoint_that_does_not_fit_leaves_the_old_one(disk: Callable[[str], Disk]) -> None:
    import torch

    small = disk("1m")
    checkpoint.save(small.path / "step-1", {"model": {"w": torch.arange(50_000)}}, {"at": 1})
    for _ in range(2):  # the same name again, and again
        with pytest.raises(FlambeauError, match="the disk is full"):
            checkpoint.save(small.path / "step-1", {"model": {"w": torch.zeros(200_000)}}, {"at": 2})
        state, facts = checkpoint.load(small.path / "step-1")
        assert facts == {"at": 1}
        assert state["model"]["w"].equal(torch.arange(50_000))
        assert [p.name for p in small.path.iterdir()] == ["step-1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = fb.Dataset({"width": np.arange(80.0), "kind": ["a", "b"] * 40}, target="kind")
    folder = tmp_path_factory.mktemp("finished") / "run"
    fb.Learner(data, run=folder, model="resmlp", epochs=1, baseline=False, quiet=True).fit(check=False)
    return folder


@pytest.mark.parametrize("format", ["program", "onnx", "torchscript", "hf"])
def test_while_exporting(run: Path, disk: Callable[[str], Disk], format: str) -> None:
    small = disk("4m")
    (small.path / "out").mkdir()
    if format != "hf":  # which replaces nothing
        (small.path / "out" / "export.json").write_text("of before")
    for left in (0, 16 * 1024, 96 * 1024):  # for no file, for the first one, for some
        small.fill(but=left)
        with pytest.raises(FlambeauError, match="the disk is full"):
            fb.export(run, format=format, out=small.path / "out")
        small.free()
        assert [path.name for path in small.path.iterdir()] == ["out"]
        assert [path.name for path in (small.path / "out").iterdir()] == ["export.json"] * (format != "hf")
    fb.load(fb.export(run, format=format, out=small.path / "out").path)
