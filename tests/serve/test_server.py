"""The process: where it listens, what it says, how it stops."""

from __future__ import annotations

import contextlib
import importlib
import io
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from rich.console import Console

import flambeau as fb
import flambeau.serve
from flambeau.core.errors import MissingExtra, RunError, UsageError
from flambeau.core.reporter import Reporter
from flambeau.serve import Doors, background_server, run_server

# a shell that runs the tests in the background has SIGINT ignored, and what it starts inherits that
SCRIPT = """
import signal
import sys
import flambeau.serve
signal.signal(signal.SIGINT, signal.default_int_handler)
flambeau.serve.run_server(sys.argv[1], port=0, ready=lambda port: print(port, flush=True))
"""


@pytest.fixture(scope="module")
def run(digits: tuple[np.ndarray, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "zahlen"
    data = fb.Dataset.from_arrays(*digits)
    fb.Learner(data, model="mlp", run=path, quiet=True, epochs=1).fit(check=False)
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_is_served_until_a_signal(run: Path, pictures: list[bytes], number: int) -> None:
    command = [sys.executable, "-c", SCRIPT, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            port = int(process.stdout.readline())
            answer = httpx.post(
                f"http://127.0.0.1:{port}/predict", content=pictures[0], headers={"Content-Type": "image/png"}
            )
            assert answer.status_code == 200 and answer.json()["model"]["name"] == "zahlen"
            process.send_signal(number)
            said = process.stderr.read()
            process.wait(30)
        finally:
            process.kill()
    # the signal is raised again once all is closed: the process ends as that signal ends one
    assert process.returncode == -number
    assert "Traceback" not in said or number == signal.SIGINT
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz")


def test_requests_in_progress_are_answered_before_it_stops(braked: Any, pictures: list[bytes]) -> None:
    answers: list[httpx.Response] = []

    def ask(url: str) -> None:
        answers.append(
            httpx.post(f"{url}/predict", content=pictures[0], headers={"Content-Type": "image/png"}, timeout=30)
        )

    def release(url: str) -> None:
        """Once the server takes no more connections, and so is stopping, lets the forward pass go on."""
        place = urlsplit(url)
        with contextlib.suppress(OSError):
            while True:
                socket.create_connection((place.hostname, place.port), timeout=30).close()
        braked.gate.set()

    with background_server(braked) as url:
        thread = threading.Thread(target=ask, args=(url,))
        thread.start()
        braked.wait_for_encoded(1)
        threading.Thread(target=release, args=(url,)).start()
    thread.join()
    assert [a.status_code for a in answers] == [200]


def test_a_taken_port_and_a_strange_host(predictor: fb.Predictor) -> None:
    with background_server(predictor) as url:
        port = int(url.rsplit(":", 1)[1])
        with pytest.raises(UsageError, match=f"port {port}"):
            run_server(predictor, port=port)
    with pytest.raises(UsageError, match="192\\.0\\.2\\.1"):
        run_server(predictor, host="192.0.2.1", port=0)
    with pytest.raises(UsageError):
        run_server(predictor, port=99999)
    with pytest.raises(RunError, match="no such run"):
        run_server("nowhere/at/all")


def test_only_other_addresses_are_warned_about(predictor: fb.Predictor) -> None:
    for host, warned in (("127.0.0.1", False), ("0.0.0.0", True)):
        reporter = Reporter()
        reporter._console = Console(file=io.StringIO(), width=500)

        server, listener = flambeau.serve.server._prepare(
            predictor, host, 0, flambeau.serve.Limits(), "x", Doors(), None, reporter, None
        )
        listener.close()
        assert ("nothing asks who they are" in reporter.console.file.getvalue()) == warned


def test_ipv6(predictor: fb.Predictor) -> None:
    try:
        with background_server(predictor, host="::1") as url:
            assert url.startswith("http://[::1]:")
            assert httpx.get(f"{url}/healthz").status_code == 200
    except UsageError:
        pytest.skip("the loopback has no IPv6 address")


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"flambeau\[serve\]"):
        importlib.reload(flambeau.serve)
