"""SIGTERM and Ctrl-C: what is done is saved, the exit status says which, and the resume ends with the same bytes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


@pytest.mark.parametrize("number", STATUS)
def test_in_a_step_it_saves_that_very_step(
    number: signal.Signals, training: Callable[..., Any], undisturbed: Any
) -> None:
    work = training()
    command = work.start()
    assert command.until(lambda: work.step() >= 7)
    command.send(number)
    assert command.wait() == STATUS[number]
    assert f"stopped by {number.name}" in command.told
    assert "flambeau resume run" in command.told
    assert work.checkpoints()[-1].startswith(f"step-{work.step():08d}-")  # the last step that was done is saved
    assert work.finish().result() == undisturbed


def test_in_validation_it_does_not_wait_for_its_end(training: Callable[..., Any], undisturbed: Any) -> None:
    work = training("work", "--set", "checkpoint_minutes=5")
    command = work.start()
    assert command.until(work.validating)
    command.send(signal.SIGTERM)
    assert command.wait() == 143
    assert work.checkpoints() == [f"step-{work.step():08d}-epoch-000"]
    assert work.finish().result() == undisturbed


@pytest.mark.parametrize("number", STATUS)
def test_in_encoding_nothing_half_done_stays(
    number: signal.Signals, training: Callable[..., Any], undisturbed: Any
) -> None:
    work = training()
    command = work.start()
    assert command.until(lambda: work.encoding(command))
    command.send(number)
    assert command.wait() == STATUS[number]
    assert command.told == f"stopped by {number.name}"
    assert not work.encoding(command)
    assert work.finish().result() == undisturbed


def test_a_second_ctrl_c_stops_at_once(training: Callable[..., Any], undisturbed: Any) -> None:
    work = training()
    command = work.start()
    assert command.until(lambda: work.step() >= 4)
    command.send(signal.SIGINT)
    command.send(signal.SIGINT)
    assert command.wait() == 130
    assert "stopped by SIGINT" in command.told
    assert work.finish().result() == undisturbed
