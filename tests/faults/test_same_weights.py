"""What must not change the weights: running again, other threads, decoding on the fly, another way to be resumed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def same(result: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(result[part] == other[part] for part in ("weights", "losses", "epochs"))


@pytest.mark.parametrize(
    "options",
    [(), ("--threads", "1"), ("--threads", "4"), ("--cache-limit", "0"), ("--cache-limit", "0", "--threads", "3"),
     ("--set", "checkpoint_minutes=5")],
    ids=["again", "one thread", "four threads", "streamed", "streamed by three", "fewer checkpoints"],
)  # fmt: skip
def test_the_same_seed_gives_the_same_weights(
    training: Callable[..., Any], undisturbed: Any, options: tuple[str, ...]
) -> None:
    assert same(training("work", *options).finish().result(), undisturbed)


def test_another_seed_gives_other_weights(training: Callable[..., Any], undisturbed: Any) -> None:
    assert training("work", "--set", "seed=1").finish().result()["weights"] != undisturbed["weights"]


def test_streamed_then_killed_then_resumed_from_a_store(training: Callable[..., Any], undisturbed: Any) -> None:
    work = training("work", "--cache-limit", "0", "--threads", "2")
    command = work.start()
    assert command.until(lambda: work.step() >= 14)
    assert command.kill() == -9
    assert same(work.finish().result(), undisturbed)


def with_threads(number: int, *arguments: str, cwd: Path) -> str:
    """What a command says in a process whose torch computes with so many threads."""
    done = subprocess.run(
        [sys.executable, "-m", "flambeau.cli.main", *arguments],
        cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": str(number)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_resumed_with_other_threads_it_computes_with_its_own(training: Callable[..., Any], undisturbed: Any) -> None:
    begun, other = training("begun"), training("other")
    command = begun.start()
    assert command.until(lambda: begun.step() > 12)
    assert command.kill() == -9
    shutil.copytree(begun.run, other.run)
    said = with_threads(2, "resume", "run", cwd=begun.folder)
    assert "compute threads: 1, as the training began (torch has 2 here)" in said
    assert begun.result() == undisturbed
    said = with_threads(2, "resume", "run", "--compute-threads", "2", cwd=other.folder)
    assert "the weights can differ in their last bits: 2 compute threads, before 1" in said
    assert other.result()["weights"] != undisturbed["weights"]  # so that the first is no accident


def test_a_freshly_started_interpreter_gives_the_same_weights(training: Callable[..., Any], undisturbed: Any) -> None:
    """So the processes that the other tests fork stand for the real command."""
    work = training()
    done = subprocess.run(
        [sys.executable, "-m", "flambeau.cli.main", *work.arguments],
        cwd=work.folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert same(work.result(), undisturbed)
