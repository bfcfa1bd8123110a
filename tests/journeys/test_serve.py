"""`flambeau serve` as a process: it starts, answers, and stops when it is told."""

from __future__ import annotations

import json
import signal
import urllib.request
from pathlib import Path

import pytest
from forkserver import Command, Forkserver


@pytest.fixture
def serving(flambeau: Forkserver, trained: Path, tmp_path: Path) -> Command:
    command = flambeau.start("serve", trained, "--port", 0, "--json", cwd=tmp_path)
    assert command.until(lambda: command.out.endswith("\n")), command.err
    return command


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_answers_and_stops(serving: Command, some_digits: Path, number: int, status: int) -> None:
    url = serving.address()
    picture = next((some_digits / "3").iterdir())
    request = urllib.request.Request(f"{url}/predict", picture.read_bytes(), {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        (prediction,) = json.load(answer)["predictions"]
    assert set(prediction["probabilities"]) <= set("01234")
    serving.send(number)
    assert serving.wait() == status, serving.err
    assert "Traceback" not in serving.err
    assert serving.json["url"] == url  # one document, also when stopped


def test_a_port_that_is_taken(serving: Command, flambeau: Forkserver, trained: Path, tmp_path: Path) -> None:
    port = serving.json["url"].rsplit(":", 1)[1]
    second = flambeau("serve", trained, "--port", port, cwd=tmp_path)
    serving.send(signal.SIGKILL)
    assert second.status == 2
    assert f"cannot listen at 127.0.0.1 port {port}" in second.told
    assert "choose another port" in second.told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["{run}", "{run}"], "two models are called"),
        (["{run}", "--api-keys", "keys"], "key 1 has 5 characters"),
        (["{run}", "--admin-keys", "none"], "none"),
        (["{run}", "--tls-key", "keys"], "no certificate"),
        (["a={run}", "b=runs/none"], "there is no such run"),
    ],
)
def test_what_cannot_be_served_is_told(
    flambeau: Forkserver, trained: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "keys").write_text("short\n")
    command = flambeau("serve", *(one.replace("{run}", str(trained)) for one in arguments), "--port", 0, cwd=tmp_path)
    assert command.status == 2 and says in command.told and "Traceback" not in command.told


def test_a_run_that_is_not_there(flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("serve", "runs/none", "--json", cwd=tmp_path)
    assert command.status == 2
    assert command.json["found"] == "there is no such run"
