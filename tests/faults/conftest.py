"""A small training that can be disturbed at any moment, and what its undisturbed twin ends with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from forkserver import Command, Forkserver

# every state that a training has: batch norm's statistics, two moments of AdamW, shadow weights, noise, random crops
TRAIN = (
    "--model", "lenet", "--epochs", "3", "--no-check", "--run", "run",
    "--set", "batch_size=32", "--set", "log_every=1", "--set", "techniques.ema={}", "--set", "techniques.mixup={}",
    "--set", "checkpoint_minutes=0.001", "--valid", "0.82", "--test", "0",
)  # fmt: skip
STEPS = 11  # in an epoch: 324 of the 1,797 digits train, in batches of 32; 1,473 validate, which takes about as long


def without_times(evaluation: dict[str, Any]) -> dict[str, Any]:
    """An evaluation but for how long its baselines took: that no two runs share."""
    for rival in evaluation.get("baselines", []):
        del rival["seconds"]
    return evaluation


@dataclass
class Training:
    """`flambeau train` in a folder of its own, started, stopped and resumed from outside.

    Attributes:
        data: what it trains on, digits where the options are not others.
        run: the run folder.
        commands: all that were started, oldest first.
    """

    flambeau: Forkserver
    data: Path
    folder: Path
    extra: tuple[str, ...] = ()
    options: tuple[str, ...] = TRAIN
    commands: list[Command] = field(default_factory=list)

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def store(self) -> Path:
        return self.folder / ".flambeau" / "store"

    @property
    def beginning(self) -> tuple[str, ...]:
        """What begins the training."""
        return "train", str(self.data), *self.options, *self.extra

    @property
    def arguments(self) -> tuple[str, ...]:
        """What begins the training, or goes on with it once its recipe is written."""
        if (self.run / "recipe.yaml").exists():
            return "resume", "run"
        return self.beginning

    def start(self) -> Command:
        """Begins or resumes in a process of its own."""
        self.commands.append(self.flambeau.start(*self.arguments, cwd=self.folder))
        return self.commands[-1]

    @property
    def finished(self) -> bool:
        """Whether the final weights are written."""
        return (self.run / "model.safetensors").exists()

    def finish(self) -> Training:
        """Goes on to the end, if it is not there."""
        if not self.finished:
            command = self.start()
            assert command.wait() == 0, command.err
        return self

    # -- what can be seen from outside --------------------------------------------------------------------------

    def lines(self) -> list[dict[str, Any]]:
        """The whole lines of metrics.jsonl, but for what monitors measured."""
        path = self.run / "metrics.jsonl"
        text = path.read_text() if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if "monitors" not in line]

    def step(self) -> int:
        """Steps that are logged."""
        return max((line["step"] for line in self.lines()), default=0)

    def checkpoints(self) -> list[str]:
        """Names of whole checkpoints, oldest first."""
        return sorted(p.name for p in (self.run / "checkpoints").glob("step-*"))

    def encoding(self, command: Command) -> bool:
        """Whether a command is writing a store, or left one half-written."""
        return any(self.store.glob(f".*.{command.pid}.tmp"))

    def saving(self, command: Command) -> bool:
        """Whether a command is writing a checkpoint, or left one half-written."""
        return any((self.run / "checkpoints").glob(f".*.{command.pid}.tmp"))

    def validating(self) -> bool:
        """Whether the last step of an epoch is done and its measures are not written yet."""
        lines = self.lines()
        return bool(lines) and "train_loss" not in lines[-1] and lines[-1]["step"] % STEPS == 0

    # -- what it ended with -------------------------------------------------------------------------------------

    def result(self) -> dict[str, Any]:
        """The bytes of the final weights, the measures of each epoch and the loss of each step."""
        lines = self.lines()
        return {
            "weights": (self.run / "model.safetensors").read_bytes(),
            "evaluation": without_times(json.loads((self.run / "evaluation.json").read_text())),
            "losses": [(line["step"], line["loss"]) for line in lines if "loss" in line],
            "epochs": [(line["epoch"], line["valid"]) for line in lines if "train_loss" in line],
        }


@pytest.fixture
def training(flambeau: Forkserver, digits_folder: Path, tmp_path: Path) -> Callable[..., Training]:
    """`training("name", "--set", "seed=1")`: a Training in a fresh folder; of digits, if it is given no other data."""

    def make(name: str = "work", *extra: str, data: Path = digits_folder, options: tuple[str, ...] = TRAIN) -> Training:
        (tmp_path / name).mkdir()
        return Training(flambeau, data, tmp_path / name, extra, options)

    return make


@pytest.fixture(scope="session")
def undisturbed(flambeau: Forkserver, digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of a training that nothing happened to."""
    return Training(flambeau, digits_folder, tmp_path_factory.mktemp("undisturbed")).finish().result()
