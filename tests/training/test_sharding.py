"""Processes that keep a part of all weights each learn as one does, and end and go on as others do."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import alike
import pytest
import torch
from several import FLAMBEAU, SUPPORT, TORCHRUN, ran
from torch import nn

from flambeau.cli.main import run
from flambeau.core.errors import RunError
from flambeau.training import checkpoint
from flambeau.training.logging import read
from flambeau.training.sharding import blocks

STRIKE = SUPPORT / "strike.py"


def test_two_processes_with_half_of_the_weights_each_have_the_curve_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = ran(*TORCHRUN, SUPPORT / "alike.py", "out", "shard", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"out.{rank}").read_text()) for rank in (0, 1))
    for case in alike.SHARDED:
        ours, alone = first[case.__name__], alike.curve(case)
        assert ours["weights"] == second[case.__name__]["weights"], "whole in both at the end"
        assert ours["weights"] == pytest.approx(alone["weights"], rel=1e-5)
        assert ours["norms"] == alone["norms"], "given back"
        # as without sharding: rounding of sums in another order, and what batch normalisation divides by
        for line, expected in zip(ours["epochs"], alone["epochs"], strict=True):
            assert line == pytest.approx(expected, rel=1e-4 if alone["norms"] else 2e-6)


@pytest.fixture
def training(tmp_path: Path) -> list[Any]:
    """A training of 8 steps an epoch."""
    rows = [f"{i % 7},{i % 5},{'even' if i % 2 else 'odd'}" for i in range(150)]
    (tmp_path / "data.csv").write_text("a,b,label\n" + "\n".join(rows))
    return ["train", "data.csv", "--model", "resmlp", "--epochs", 3, "--batch-size", 16, "--no-check", "--no-baseline",
            "--set", "log_every=1", "--set", "model.options.dropout=0", "--technique", "clip",
            "--precision", "float32"]  # fmt: skip


def losses(folder: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read(folder / "metrics.jsonl") if "loss" in line}


@pytest.fixture
def killed(training: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The newest checkpoint of two processes of which one was killed, in `killed`; `alone` is of one undisturbed."""
    monkeypatch.chdir(tmp_path)
    assert run([*map(str, training), "--run", "alone"]) == 0
    strike = ("--plugin", STRIKE, "--technique", "strike at=12 rank=1")
    sharded = (*FLAMBEAU, *training, *strike, "--processes", 2, "--shard", "--run", "killed")
    done = ran(*sharded, folder=tmp_path)
    assert done.returncode == 137, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("flambeau: ")]
    assert len(told) == 1 and "another process" in told[0] and "Traceback" not in done.stderr, done.stderr
    (newest,) = checkpoint.listed(tmp_path / "killed" / "checkpoints")
    return newest


def test_one_is_killed_and_one_goes_on_from_its_parts(killed: Path, tmp_path: Path) -> None:
    newest = killed
    assert newest.name.startswith("step-00000008-")
    parts = sorted((newest / checkpoint.SHARDS).iterdir())
    assert len(parts) == 2, "a file a process"
    whole, _ = checkpoint.load(newest)
    assert sum(part.stat().st_size for part in parts) < 3.2 * 4 * sum(w.numel() for w in whole["model"].values())

    shutil.copytree(newest, tmp_path / newest.name)
    assert run(["resume", "killed", "--plugin", str(STRIKE)]) == 0
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)

    part = tmp_path / newest.name / checkpoint.SHARDS / parts[0].name
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(RunError, match="its bytes are not those that were written"):
        checkpoint.load(tmp_path / newest.name)


@pytest.mark.slow
@pytest.mark.usefixtures("killed")
def test_three_go_on_from_the_parts_of_two(tmp_path: Path) -> None:
    resumed = ran(*FLAMBEAU, "resume", "killed", "--plugin", STRIKE, "--processes", 3, "--shard", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert losses(tmp_path / "killed") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)


@pytest.mark.slow
def test_whole_weights_are_divided_by_a_resume(
    training: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANK", "0")  # which the strike looks for
    strike = ("--plugin", STRIKE, "--technique", f"strike at=12 number={signal.SIGINT:d}")
    assert run([*map(str, (*training, *strike)), "--run", "stopped"]) == 130
    monkeypatch.delenv("RANK")
    shutil.copytree(tmp_path / "stopped", tmp_path / "alone")
    assert run(["resume", "alone", "--plugin", str(STRIKE)]) == 0
    resumed = ran(*FLAMBEAU, "resume", "stopped", "--plugin", STRIKE, "--processes", 2, "--shard", folder=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert losses(tmp_path / "stopped") == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)


def test_one_alone_has_nothing_to_divide(
    training: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run([*map(str, training), "--shard"]) == 2
    assert "--shard divides weights between processes, and this is one alone; give --processes 2" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
def test_what_cannot_be_divided_is_refused_in_one_line(training: list[Any], tmp_path: Path) -> None:
    refused = ran(*FLAMBEAU, *training, "--technique", "ema", "--processes", 2, "--shard", folder=tmp_path)
    assert refused.returncode == 2, refused.stderr
    told = [line for line in refused.stderr.splitlines() if line.startswith("flambeau: ")]
    assert told == ["flambeau: the technique ema needs whole weights, which --shard divides; leave --shard out"]
    assert not (tmp_path / "runs" / "data").exists()


def test_blocks_are_the_outermost_members_that_are_not_most_of_the_model() -> None:
    layers = [nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)) for _ in range(4)]
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.ModuleList(layers), nn.Linear(8, 2))
    assert blocks(model) == [model[0], *layers, model[3]]
    tied = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    tied[1].weight = tied[0].weight
    assert blocks(tied) == [] and torch.is_tensor(tied[1].weight)
