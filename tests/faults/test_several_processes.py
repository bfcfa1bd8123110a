"""Several processes have one writer, and one end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from several import FLAMBEAU, SUPPORT, TORCHRUN, ran

from flambeau.training import checkpoint
from flambeau.training.logging import read


@pytest.fixture
def training(tmp_path: Path) -> tuple[Any, ...]:
    """A training of 8 steps an epoch, in a folder of its own."""
    rows = [f"{i % 7},{i % 5},{'even' if i % 2 else 'odd'}" for i in range(150)]
    (tmp_path / "data.csv").write_text("a,b,label\n" + "\n".join(rows))
    return ("train", "data.csv", "--model", "linear", "--epochs", 3, "--batch-size", 16, "--no-check", "--no-baseline",
            "--set", "log_every=1", "--plugin", SUPPORT / "strike.py")  # fmt: skip


def steps(folder: Path) -> list[int]:
    """The steps that a run has told of, each of which is told of once."""
    return [line["step"] for line in read(folder / "metrics.jsonl") if "loss" in line]


def test_a_signal_to_any_stops_all_at_one_step_and_another_number_of_processes_goes_on(
    training: tuple[Any, ...], tmp_path: Path
) -> None:
    strike = "strike at=12 rank=1 number=15"
    stopped = ran(*FLAMBEAU, *training, "--processes", 2, "--run", "run", "--technique", strike, folder=tmp_path)
    assert stopped.returncode == 143, stopped.stderr
    last = stopped.stderr.strip().splitlines()[-1]
    assert "all saved; go on with: flambeau resume run" in last
    assert sum("stopped by" in line for line in stopped.stderr.splitlines()) == 1
    newest = checkpoint.listed(tmp_path / "run" / "checkpoints")[0]
    assert newest.name.startswith("step-00000013-"), "the signal went with the gradients of the next step"
    resumed = ran(*FLAMBEAU, "resume", "run", "--plugin", SUPPORT / "strike.py", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert steps(tmp_path / "run") == [*range(1, 25)]
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["metrics"]


@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_is_killed_all_end_with_one_line(rank: int, training: tuple[Any, ...], tmp_path: Path) -> None:
    strike = f"strike at=12 rank={rank} number=9"
    killed = ran(*FLAMBEAU, *training, "--processes", 2, "--run", "run", "--technique", strike, folder=tmp_path)
    assert killed.returncode == (2 if rank == 0 else 137), killed.stderr
    told = [line for line in killed.stderr.splitlines() if line.startswith("flambeau: ")]
    assert len(told) == 1, killed.stderr
    assert ("the first of 2 processes was ended by SIGKILL" if rank == 0 else "another process") in told[0]
    assert "flambeau resume" in told[0]
    assert "Traceback" not in killed.stderr


def test_torchrun_starts_them_again_from_the_last_checkpoint(training: tuple[Any, ...], tmp_path: Path) -> None:
    """Without --run: the processes that come next find the run of those before."""
    module = (*TORCHRUN, "--max-restarts", 1, "-m", "flambeau")
    done = ran(*module, *training, "--technique", "strike at=12 rank=1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["data"]
    assert steps(tmp_path / "runs" / "data") == [*range(1, 25)]
    environment = json.loads((tmp_path / "runs" / "data" / "environment.json").read_text())
    assert len(environment["resumed"]) == 1


def test_what_is_wrong_is_told_once(training: tuple[Any, ...], tmp_path: Path) -> None:
    done = ran(*FLAMBEAU, *training, "--processes", 2, "--run", "run", "--loss", "mse", folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert sum(line.startswith("flambeau: ") for line in done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
