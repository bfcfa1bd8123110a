"""One training to a run folder, begun and resumed rightly, and refused with what to do where it cannot be."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forkserver import Forkserver


def killed_early(training: Callable[..., Any]) -> Any:
    """A training that was killed before its first checkpoint."""
    for attempt in range(10):
        work = training(f"early-{attempt}")
        command = work.start()
        assert command.until((work.run / "recipe.yaml").exists)
        if command.kill() == -9 and not work.checkpoints():
            return work
    raise AssertionError("it is always too quick")


def test_killed_before_its_first_checkpoint_it_starts_from_its_recipe(
    training: Callable[..., Any], undisturbed: Any
) -> None:
    work = killed_early(training)
    command = work.start()
    assert command.wait() == 0, command.err
    assert "there is no checkpoint yet: the training starts from its recipe" in command.err
    assert work.result() == undisturbed


def test_a_finished_run_is_not_resumed(training: Callable[..., Any]) -> None:
    work = training().finish()
    before = work.result()
    command = work.start()
    assert command.wait() == 2
    assert command.told.startswith("run: the run is finished: it trained its 3 epochs")
    assert "--epochs 6" in command.told
    assert work.result() == before


def test_two_trainings_into_one_folder(training: Callable[..., Any], flambeau: Forkserver, undisturbed: Any) -> None:
    work = training()
    first = work.start()
    assert first.until(lambda: work.step() > 0)
    first.send(signal.SIGSTOP)
    for again in (("train", work.data, "--model", "mlp", "--run", "run", "--no-check"), ("resume", "run")):
        second = flambeau(*again, cwd=work.folder)
        assert second.status == 2
        assert f"another training (process {first.pid}) is writing into this run" in second.told
        assert "--run" in second.told
    first.send(signal.SIGCONT)
    assert first.wait() == 0
    assert work.result() == undisturbed


def test_a_training_is_not_written_over(training: Callable[..., Any], flambeau: Forkserver) -> None:
    work = training()
    command = work.start()
    assert command.until(lambda: bool(work.checkpoints()))
    command.kill()
    files = sorted(p.name for p in work.run.iterdir())
    other = flambeau("train", work.data, "--model", "mlp", "--run", "run", "--no-check", cwd=work.folder)
    assert other.status == 2
    assert "flambeau resume run" in other.told
    assert sorted(p.name for p in work.run.iterdir()) == files


def test_with_nothing_saved_it_may_begin_again(training: Callable[..., Any], undisturbed: Any) -> None:
    """The command that was killed can just be given again: it has nothing to write over."""
    work = killed_early(training)
    assert work.flambeau(*work.beginning, cwd=work.folder).status == 0
    assert work.result() == undisturbed


@pytest.mark.parametrize("verb", ["resume", "evaluate", "predict", "report", "serve"])
def test_a_run_from_a_newer_version_is_refused(training: Callable[..., Any], flambeau: Forkserver, verb: str) -> None:
    work = training()
    work.run.mkdir()
    (work.run / "recipe.yaml").write_text("flambeau: 9.0.0\nformat: 99\nwonders: true\n")
    more = [next(work.data.glob("*/*.png"))] if verb == "predict" else []
    command = flambeau(verb, "run", *more, cwd=work.folder)
    assert command.status == 2
    assert "flambeau 9.0.0 wrote this, in format 99" in command.told
    assert "install a newer flambeau" in command.told


def test_changed_data_is_seen(training: Callable[..., Any], tmp_path: Path) -> None:
    """The store of the old picture is not read for the new one, and a begun training does not go on with it."""
    work, twin = training("work"), training("twin")
    work.data = twin.data = shutil.copytree(work.data, tmp_path / "digits")
    command = work.start()
    assert command.until(lambda: work.step() > 5)
    command.kill()
    picture, other = sorted((work.data / "3").iterdir())[:2]
    shutil.copyfile(other, picture)
    command = work.start()
    assert command.wait() == 2
    assert command.told.startswith("run: the data has changed since this training began")
    shutil.rmtree(work.run)
    assert work.finish().result() == twin.finish().result()  # the twin has no store that could be stale


def test_a_damaged_store_is_made_anew(training: Callable[..., Any], undisturbed: Any) -> None:
    work = training().finish()
    (flat,) = work.store.glob("*/flat.bin")
    whole = flat.read_bytes()
    for damage in (whole[: len(whole) // 2], whole[:-1000] + bytes([whole[-1000] ^ 64]) + whole[-999:]):
        flat.write_bytes(damage)
        shutil.rmtree(work.run)
        assert work.finish().result() == undisturbed
        assert flat.read_bytes() == whole and "is made anew: " in work.commands[-1].err
