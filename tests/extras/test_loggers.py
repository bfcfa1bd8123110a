"""Figures where people keep them: MLflow by its server on SQLite, Weights & Biases offline, Aim in a repository."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from environments import environment, run

pytestmark = pytest.mark.extras
LEARNED = ["train", "data.csv", "--model", "linear", "--epochs", "2", "--no-baseline", "--no-check"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [f"{i % 7},{i % 5},{'even' if i % 2 else 'odd'}" for i in range(100)]
    (tmp_path / "data.csv").write_text("a,b,label\n" + "\n".join(rows))
    return tmp_path


def asked(address: str, **body: Any) -> dict[str, Any]:
    """What MLflow's own REST interface answers."""
    request = urllib.request.Request(address, json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json"})  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    """The address of a server of MLflow whose store is a file of SQLite."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [environment(("mlflow",)) / "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
               "--artifacts-destination", folder / "artifacts", "--host", "127.0.0.1", "--port", str(port),
               "--workers", "1"]  # fmt: skip
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None and time.monotonic() < deadline, "the server does not start"
        yield address
        process.terminate()


def test_mlflow_has_the_figures_and_the_settings_of_a_run(server: str, folder: Path) -> None:
    done = run(("mlflow",), ["flambeau", *LEARNED, "--log-to", f"mlflow uri={server}", "--run", "first"], folder)
    assert done.returncode == 0, done.stderr[-2000:]
    known = json.loads((folder / "first" / "mlflow.json").read_text())["run"]
    found = asked(f"{server}/api/2.0/mlflow/runs/get?run_id={known}")["run"]
    assert found["info"]["run_name"] == "first" and found["info"]["status"] == "FINISHED"
    params = {one["key"]: one["value"] for one in found["data"]["params"]}
    assert (params["model.name"], params["training.epochs"]) == ("linear", "2")
    history = asked(f"{server}/api/2.0/mlflow/metrics/get-history?run_id={known}&metric_key=valid/accuracy")["metrics"]
    lines = [json.loads(line) for line in (folder / "first" / "metrics.jsonl").read_text().splitlines()]
    expected = [(line["step"], line["valid"]["accuracy"]) for line in lines if "valid" in line]
    assert [(int(one["step"]), one["value"]) for one in history] == expected and len(expected) == 2


def test_a_server_that_is_not_there_is_told(folder: Path) -> None:
    command = ["flambeau", *LEARNED, "--log-to", "mlflow uri=http://127.0.0.1:9", "--run", "second"]
    done = run(("mlflow",), command, folder)
    assert done.returncode == 2 and "http://127.0.0.1:9: the figures cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_wandb_writes_offline(folder: Path) -> None:
    done = run(("wandb",), ["flambeau", *LEARNED, "--log-to", "wandb mode=offline", "--run", "first"], folder)
    assert done.returncode == 0, done.stderr[-2000:]
    known = json.loads((folder / "first" / "wandb.json").read_text())["run"]
    (written,) = (folder / "first" / "wandb").glob(f"offline-run-*/run-{known}.wandb")
    content = written.read_bytes()
    assert b"valid/accuracy" in content and b"training.epochs" in content


READ = """
import json, sys, aim
run = aim.Run(sys.argv[1], repo=sys.argv[2], force_resume=True, system_tracking_interval=None)
found = {metric.name: metric.values.sparse_list()[1] for metric in run.metrics()}
print(json.dumps({"name": run.name, "settings": run["settings"], "found": found}))
"""


def test_aim_has_the_figures_and_the_settings_of_a_run(folder: Path) -> None:
    asked = ["flambeau", *LEARNED, "--log-to", "aim repo=kept", "--run", "first"]
    (folder / "kept").mkdir()
    done = run(("aim",), asked, folder)
    assert done.returncode == 0, done.stderr[-2000:]
    known = json.loads((folder / "first" / "aim.json").read_text())["run"]
    read = run(("aim",), ["python", "-c", READ, known, "kept"], folder)
    found = json.loads(read.stdout.splitlines()[-1])
    assert found["name"] == "first" and found["settings"]["model.name"] == "linear"
    lines = [json.loads(line) for line in (folder / "first" / "metrics.jsonl").read_text().splitlines()]
    expected = [line["valid"]["loss"] for line in lines if "valid" in line]
    assert sorted(found["found"]["valid/loss"]) == pytest.approx(sorted(expected)) and len({*expected}) == 2
    refused = run(("aim",), [*asked[:-3], "aim repo=/proc/none", "--run", "second"], folder)
    assert refused.returncode == 2 and "the figures cannot be written" in refused.stderr
    assert "Traceback" not in refused.stderr
