"""Several processes behind one address: they answer as one, outlive one another, and end together."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from forkserver import Forkserver
from scraping import scrape, value

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.serve import run_server
from flambeau.serve.channel import Channel
from flambeau.serve.problems import Problem

WORKERS, CLIENTS = 2, 4
KEY = "a" * 20
PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"
PNG = {"Content-Type": "image/png"}
PATIENCE = 60


@pytest.fixture(scope="module")
def runs(digits: tuple[np.ndarray, list[str]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that tell different classes of the same pictures: so an answer tells which of them it is from."""
    made = []
    for kind in "ab":
        path = tmp_path_factory.mktemp("runs") / kind
        data = fb.Dataset.from_arrays(digits[0][:200], [f"{kind}{name}" for name in digits[1][:200]])
        fb.Learner(data, model="mlp", run=path, quiet=True, epochs=1).fit(check=False)
        made.append(path)
    return made


class Serving:
    """A server of several workers, as the command line starts it."""

    def __init__(self, run: Path, log: Path, *more: str):
        self.said = log.open("w+")
        command = [sys.executable, "-m", "flambeau", "serve", f"m={run}", "--workers", str(WORKERS), "--port", "0",
                   "--log-json", "--json", *more]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.said, text=True,
                                        env={**os.environ, "FLAMBEAU_ADMIN_KEYS": KEY})  # fmt: skip
        assert self.process.stdout is not None
        self.url = json.loads("".join(iter(self.process.stdout.readline, "}\n")) + "}")["url"]

    @property
    def workers(self) -> set[int]:
        """Process ids: the children of the process that forks them, which is a child itself."""
        return {one.pid for child in psutil.Process(self.process.pid).children() for one in child.children()}

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged."""
        self.said.seek(0)
        return [json.loads(line) for line in self.said if line.startswith("{")]


@pytest.fixture(scope="module")
def serving(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    made = Serving(runs[0], tmp_path_factory.mktemp("logs") / "log")
    yield made
    made.process.kill()
    made.process.wait()


class Load:
    """Clients that ask again as soon as they are answered, each on a connection of its own until that fails."""

    def __init__(self, url: str, picture: bytes):
        self.url, self.picture = url, picture
        self.outcomes: Counter[Any] = Counter()
        self.stopped = threading.Event()
        self.refused = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _ask(self) -> None:
        while not self.stopped.is_set():
            with httpx.Client(base_url=self.url, timeout=PATIENCE) as client:
                try:
                    while not self.stopped.is_set():
                        answer = client.post("/v1/predict", content=self.picture, headers=PNG)
                        version = answer.json().get("model", {}).get("version")
                        self.outcomes[answer.status_code, version] += 1
                except httpx.ConnectError:
                    self.refused.set()
                    return
                except httpx.TransportError as error:
                    self.outcomes[type(error).__name__] += 1

    def answered(self, more: int) -> None:
        """Returns when so many more have been answered."""
        most = sum(self.outcomes.values()) + more
        wait_for(lambda: sum(self.outcomes.values()) >= most)

    def stop(self) -> Counter[Any]:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        return self.outcomes


def ask(url: str, picture: bytes) -> dict[str, Any]:
    """The answer on a connection of its own, so that any worker may have taken it."""
    request = urllib.request.Request(f"{url}/v1/predict", picture, PNG)
    answer: dict[str, Any] = json.load(urllib.request.urlopen(request, timeout=PATIENCE))
    return answer


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


def test_workers_share_the_requests_and_are_counted_together(serving: Serving, blank: bytes) -> None:
    assert len(serving.workers) == WORKERS
    assert httpx.get(f"{serving.url}/readyz").status_code == 200
    for _ in range(40):
        assert ask(serving.url, blank)["model"]["version"] == "1"
    seen = scrape(serving.url)
    assert value(seen, "flambeau_requests_total", path="/v1/predict", status="200") == 40
    assert value(seen, "flambeau_workers") == WORKERS
    assert value(seen, "flambeau_model_ready", model="m", role="current") == WORKERS
    (model,) = httpx.get(f"{serving.url}/admin/models", headers={"X-API-Key": KEY}).json()["models"]
    assert [one["answered"] for one in model["versions"]] == [40]


def test_a_change_reaches_all_and_those_that_come_later(serving: Serving, runs: list[Path], blank: bytes) -> None:
    def change(path: str = "", **body: Any) -> dict[str, str]:
        headers = {"X-API-Key": KEY}
        answer = httpx.post(f"{serving.url}/admin/models/m{path}", json=body or None, headers=headers, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return {one["role"]: one["version"] for one in answer.json()["versions"]}

    def versions() -> set[tuple[str, str]]:
        answers = [ask(serving.url, blank) for _ in range(20)]
        return {(one["model"]["version"], one["predictions"][0]["label"][0]) for one in answers}

    assert change(source=str(runs[1])) == {"current": "2", "previous": "1"}
    assert versions() == {("2", "b")}
    missing = httpx.post(f"{serving.url}/admin/models/m", json={"source": "nowhere"}, headers={"X-API-Key": KEY})
    assert (missing.status_code, missing.json()["error"]["code"]) == (422, "not-loaded")
    assert versions() == {("2", "b")}
    before = scrape(serving.url)
    for pid in (killed := serving.workers):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(serving.workers - killed) == WORKERS)
    wait_for(lambda: value(scrape(serving.url), "flambeau_workers") == WORKERS)
    # a counter never falls: what the dead had told is kept
    counted = {"name": "flambeau_requests_total", "path": "/v1/predict"}
    assert value(scrape(serving.url), **counted) == value(before, **counted) > 60
    assert versions() == {("2", "b")}
    assert change("/rollback") == {"current": "1", "previous": "2"}
    assert versions() == {("1", "a")}


def test_only_what_a_killed_worker_was_answering_is_lost(serving: Serving, blank: bytes) -> None:
    before = scrape(serving.url)
    load = Load(serving.url, blank)
    load.answered(40)
    killed, *others = serving.workers
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: len(serving.workers) == WORKERS and killed not in serving.workers)
    wait_for(lambda: value(scrape(serving.url), "flambeau_workers") == WORKERS)
    load.answered(40)
    outcomes = load.stop()
    lost = sum(number for outcome, number in outcomes.items() if outcome != (200, "1"))
    assert lost <= CLIENTS and not load.refused.is_set(), outcomes
    assert set(others) <= serving.workers
    after = scrape(serving.url)
    restarts = "flambeau_worker_restarts_total"
    assert value(after, restarts) == value(before, restarts) + 1
    assert any(f"worker {killed} has died (-9)" in line["message"] for line in serving.lines())


def test_a_signal_lets_all_drain(serving: Serving, blank: bytes) -> None:
    workers = serving.workers
    load = Load(serving.url, blank)
    load.answered(20)
    serving.process.send_signal(signal.SIGTERM)
    serving.process.wait(PATIENCE)
    outcomes = load.stop()
    # a request may be written to an idle connection while that is closed: one of each client's, at most
    assert set(outcomes) <= {(200, "1"), "ReadError"} and outcomes["ReadError"] <= CLIENTS, outcomes
    assert load.refused.is_set()
    assert not any(psutil.pid_exists(pid) for pid in workers)
    assert {line["request"] for line in serving.lines() if line["logger"] == "flambeau.access"}
    assert not [line for line in serving.lines() if "traceback" in line]


def test_workers_have_the_plug_ins_of_their_parent(
    digits_folder: Path, flambeau: Forkserver, blank: bytes, tmp_path: Path
) -> None:
    plugin, run = ("--plugin", str(PLUGINS / "strided.py")), tmp_path / "run"
    settings = ("--epochs", 1, "--no-check", "--no-baseline")
    trained = flambeau("train", digits_folder, *plugin, "--model", "strided", *settings, "--run", run, cwd=tmp_path)
    assert trained.status == 0, trained.err
    made = Serving(run, tmp_path / "log", *plugin)
    try:
        assert ask(made.url, blank)["predictions"][0]["label"] in {path.name for path in digits_folder.iterdir()}
    finally:
        made.process.terminate()
        made.process.wait(PATIENCE)


def test_a_channel_ends_for_both_when_one_sends_nonsense() -> None:
    async def nothing(what: str, about: Any) -> None:
        await asyncio.Event().wait()

    async def asked() -> None:
        ours, theirs = socket.socketpair()
        one, other = Channel(nothing), Channel(nothing)
        listening = [await one.connect(ours), await other.connect(theirs)]
        waiting = asyncio.create_task(one.ask("states"))
        await asyncio.sleep(0)
        assert other._writer is not None
        other._writer.write(b"{no json\n")
        with pytest.raises(Problem, match="has ended"):
            await waiting
        await asyncio.gather(*listening)
        for end in (one, other):
            with pytest.raises(Problem, match="has ended"):
                await end.ask("states")
            assert not end._open

    asyncio.run(asyncio.wait_for(asked(), PATIENCE))


def test_what_cannot_be_served_by_workers_is_told(predictor: fb.Predictor, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="in this process only"):
        run_server({"m": predictor}, port=0, workers=2)
    with pytest.raises(UsageError, match="0 workers"):
        run_server({"m": predictor}, port=0, workers=0)
