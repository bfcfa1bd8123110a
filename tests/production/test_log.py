"""The log of predictions: what is in it, that nothing waits for it, and that a database that is away loses nothing."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import postgres
import pytest

import flambeau as fb
from flambeau.core.errors import DataError, UsageError
from flambeau.production import log as logs
from flambeau.production.log import LogSettings, PredictionLog
from flambeau.production.tables import LogTables
from flambeau.serve import background_server


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tells a grower from two measurements."""
    import numpy as np
    from sklearn.datasets import load_wine

    loaded = load_wine()
    data = fb.Dataset.from_arrays(loaded.data[:, :2].astype(np.float32), [f"grower {t}" for t in loaded.target])
    run = tmp_path_factory.mktemp("runs") / "wine"
    fb.Learner(data, model="mlp", run=run, quiet=True, epochs=2, baseline=False).fit(check=False)
    return run


def ask(url: str, *rows: Any) -> list[dict[str, Any]]:
    answer = httpx.post(f"{url}/predict", json={"inputs": [*rows]}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


def kept(place: str, inputs: bool = False) -> list[Any]:
    tables = LogTables(place)
    try:
        return [*tables.read("wine", None, 0, inputs=inputs)]
    finally:
        tables.engine.dispose()  # PostgreSQL ends when its last client has gone


def test_each_prediction_and_its_feedback_is_in_the_log(wine: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "log.db")
    log = PredictionLog(LogTables(place), tmp_path / "waiting", LogSettings(inputs=True))
    with background_server(wine, kept_in=log) as url:
        first, second = ask(url, [13.2, 1.8], [12.1, 3.0])
        right = httpx.post(f"{url}/v1/feedback/{first['id']}", json={"target": "grower 1"})
        assert (right.status_code, right.json()) == (202, {"id": first["id"]})
        for body, status in (({"target": "nobody"}, 422), ({}, 422), ({"target": None}, 422)):
            wrong = httpx.post(f"{url}/v1/feedback/{first['id']}", json=body)
            assert wrong.status_code == status and wrong.json()["error"]["message"], body
        assert httpx.post(f"{url}/v1/feedback/{'0' * 32}", json={"target": "grower 1"}).status_code == 404
        assert httpx.post(f"{url}/v1/feedback/x", json={"target": "grower 1"}).status_code == 422
        assert "/v1/feedback/{id}" in httpx.get(f"{url}/openapi.json").json()["paths"]
    rows = {row.id: row for row in kept(place, inputs=True)}
    assert rows.keys() == {first["id"], second["id"]}
    row, other = rows[first["id"]], rows[second["id"]]
    assert row.input == [13.2, 1.8] and row.target == "grower 1" and row.answered and not other.answered
    assert row.output["label"] == first["label"] and row.confidence == pytest.approx(first["confidence"])
    assert row.version == fb.Run(wine).version and len(row.version) == 12 and 0 < row.latency < 30
    assert log.counts == logs.Counts(written=3)


def test_feedback_finds_what_another_process_has_just_answered(wine: Path, tmp_path: Path) -> None:
    one, other = (PredictionLog(LogTables(str(tmp_path / "log.db")), tmp_path / name) for name in "ab")
    with background_server(wine, kept_in=one) as url:
        ask(url, [13.2, 1.8])
        other.start()
        id = other.note("wine", "v", [13.2, 1.8], {"label": "grower 1"}, 0.1)  # which it writes in half a second
        assert httpx.post(f"{url}/v1/feedback/{id}", json={"target": "grower 1"}, timeout=60).status_code == 202
        other.close()
    assert [row.target for row in kept(str(tmp_path / "log.db")) if row.id == id] == ["grower 1"]


def test_without_a_log_there_are_no_ids(wine: Path) -> None:
    with background_server(wine) as url:
        assert "id" not in ask(url, [13.2, 1.8])[0]
        assert httpx.post(f"{url}/v1/feedback/{'0' * 32}", json={"target": 1}).status_code == 404


def test_inputs_are_a_digest_unless_asked_for_and_a_sample_is_a_sample(tmp_path: Path) -> None:
    log = PredictionLog(LogTables(str(tmp_path / "log.db")), tmp_path / "w", LogSettings(sample=0.3))
    log.start()
    ids = [log.note("wine", "v", f"secret {i}", {"label": "a"}, 0.1) for i in range(400)]
    log.close()
    assert len({*ids}) == 400 and 80 < len(kept(str(tmp_path / "log.db"))) < 160
    assert "secret" not in " ".join(sqlite3.connect(tmp_path / "log.db").iterdump())


def test_what_is_older_is_forgotten(tmp_path: Path) -> None:
    place, now = str(tmp_path / "log.db"), time.time()
    tables = LogTables(place)
    tables.make()
    row = {"model": "wine", "version": "v", "digest": "d", "output": "{}", "latency": 0.1}
    tables.write([("predictions", {**row, "id": f"{i}", "time": now - i * 3000}) for i in range(4)])
    tables.write([("feedback", {"id": "f", "prediction": "3", "time": now, "target": "1"})])
    assert {r.id for r in kept(place)} == {*"0123"}
    log = PredictionLog(tables, tmp_path / "w", LogSettings(keep=4000))
    log.start()
    log.close()
    assert {r.id for r in kept(place)} == {"0", "1"}
    assert sqlite3.connect(place).execute("select count(*) from feedback").fetchone() == (0,)


def test_a_newer_log_is_left_alone(tmp_path: Path) -> None:
    tables = LogTables(str(tmp_path / "log.db"))
    tables.make()
    sqlite3.connect(tmp_path / "log.db").execute("update flambeau_log set version = 99").connection.commit()
    with pytest.raises(DataError, match="newer flambeau"):
        PredictionLog(tables, tmp_path / "w").start()


@pytest.mark.parametrize("place", ["mysql://x/y", "nothing://", "sqlite://host:port/x"])
def test_no_place_for_a_log(place: str) -> None:
    with pytest.raises(UsageError):
        LogTables(place)


DIES = """
import os, sys
from pathlib import Path
from flambeau.production.log import PredictionLog
from flambeau.production.tables import LogTables
log = PredictionLog(LogTables(sys.argv[1]), Path(sys.argv[2]))
log.start()
log.note("wine", "v", 1, {"label": "a"}, 0.1)
while not log.counts.waiting:
    os.sched_yield()
print("waits", flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.postgres
@pytest.mark.skipif(postgres.program("initdb") is None, reason="PostgreSQL is not installed")
def test_a_database_that_is_away_loses_nothing_and_slows_nothing(wine: Path, tmp_path: Path) -> None:
    """Served before there is a database, with what a killed server has left; then it is there, and has all of it."""
    waiting = tmp_path / "waiting"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"postgresql://flambeau@127.0.0.1:{free.getsockname()[1]}/postgres"
    killed = subprocess.run([sys.executable, "-c", DIES, nowhere, waiting], capture_output=True, text=True)
    assert killed.stdout == "waits\n" and killed.returncode == -9
    log = PredictionLog(LogTables(nowhere), waiting)
    with background_server(wine, kept_in=log) as url:
        ids = [answer["id"] for answer in ask(url, *([13.0, i] for i in range(20)))]
        assert httpx.post(f"{url}/v1/feedback/{ids[0]}", json={"target": "grower 2"}).status_code == 202
    assert log.counts.waiting == 21 and not log.counts.lost
    assert len([*waiting.glob("*.jsonl")]) == 2
    (waiting / "torn.jsonl").write_text('["predictions", {"id": "')
    with postgres.server() as place:
        later = PredictionLog(LogTables(place), waiting)
        later.start()
        later.close()
        assert not [*waiting.iterdir()]
        rows = kept(place)
        assert {row.id for row in rows} > {*ids} and len(rows) == 21
        assert [row.id for row in rows if row.target == "grower 2"] == [ids[0]]
        # twice the same, as where an answer of the database got lost
        again = {"id": ids[0], "time": 0.0, "model": "x", "version": "v", "digest": "d", "output": "{}", "latency": 1}
        later.tables.write([("predictions", again)])
        assert sum(later.tables.models().values()) == 21
        later.tables.engine.dispose()
        assert kept(place) == rows


def test_no_room_is_no_error_and_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_WAITING", 2000)
    log = PredictionLog(LogTables(str(tmp_path / "no such folder" / "log.db")), tmp_path / "w")
    log.start()
    for i in range(100):
        log.note("wine", "v", i, {"label": "a" * 100}, 0.1)
        log._wake.set()
    log.close()
    assert log.counts.lost + log.counts.waiting == 100 and log.counts.lost
    assert sum(path.stat().st_size for path in (tmp_path / "w").iterdir()) <= 2000


def test_a_row_that_the_database_refuses_leaves_the_others(tmp_path: Path) -> None:
    place = str(tmp_path / "log.db")
    log = PredictionLog(LogTables(place), tmp_path / "w")
    log.start()
    good = [log.note("wine", "v", i, {"label": "a"}, 0.1) for i in range(3)]
    log._add(logs._Noted("feedback", {"id": "f", "prediction": None, "time": 0.0, "target": "x"}))  # not null
    log.close()
    assert {row.id for row in kept(place)} == {*good} and log.counts.lost == 1
