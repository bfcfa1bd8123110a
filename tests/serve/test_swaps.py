"""Models that change under load: nothing fails, and what answers is what was asked for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import flambeau as fb
from flambeau.serve import Doors, Limits, ModelFolder, background_server
from flambeau.serve.limits import DEADLINE
from flambeau.serve.metrics import Metrics
from flambeau.serve.problems import Problem
from flambeau.serve.registry import Registry, Version
from flambeau.serve.service import Service

KEY = "a" * 20
ADMIN = {"X-API-Key": KEY}
SWAPS = 6


@pytest.fixture(scope="module")
def runs(digits: tuple[np.ndarray, list[str]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that tell different classes of the same pictures: so an answer tells which of them it is from."""
    made = []
    for number, kind in enumerate(("a", "b")):
        path = tmp_path_factory.mktemp("runs") / f"{kind}{number}"
        data = fb.Dataset.from_arrays(digits[0][:200], [f"{kind}{name}" for name in digits[1][:200]])
        fb.Learner(data, model="mlp", run=path, quiet=True, epochs=1).fit(check=False)
        made.append(path)
    return made


@pytest.fixture
def serving(runs: list[Path]) -> Iterator[httpx.Client]:
    doors = Doors(admin_keys=[KEY])
    with background_server({"m": runs[0]}, doors=doors) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture
def ask(serving: httpx.Client, blank: bytes) -> Callable[..., tuple[str, str]]:
    def asked(query: str = "") -> tuple[str, str]:
        answer = serving.post(f"/v1/predict{query}", content=blank, headers={"Content-Type": "image/png"})
        assert answer.status_code == 200, answer.text
        (prediction,) = answer.json()["predictions"]
        return answer.json()["model"]["version"], prediction["label"][0]

    return asked


@pytest.fixture
def change(serving: httpx.Client) -> Callable[..., dict[str, str]]:
    """Changes the model; its versions by their role."""

    def changed(path: str = "", **body: Any) -> dict[str, str]:
        answer = serving.post(f"/admin/models/m{path}", json=body or None, headers=ADMIN)
        assert answer.status_code == 200, answer.text
        return {one["role"]: one["version"] for one in answer.json()["versions"]}

    return changed


def test_nothing_fails_while_versions_change(
    serving: httpx.Client, runs: list[Path], change: Callable[..., dict[str, str]], blank: bytes
) -> None:
    stop, outcomes, answered = threading.Event(), Counter[Any](), threading.Condition()
    right = {(200, str(v + 1), "ab"[v % 2]) for v in range(SWAPS + 1)}

    def load() -> None:
        with httpx.Client(base_url=serving.base_url, timeout=60) as client:
            while not stop.is_set():
                try:
                    answer = client.post("/v1/predict", content=blank, headers={"Content-Type": "image/png"})
                    body = answer.json()
                    outcomes[answer.status_code, body["model"]["version"], body["predictions"][0]["label"][0]] += 1
                except Exception as error:  # noqa: BLE001 -- whatever a client sees is a failure
                    outcomes[repr(error)] += 1
                with answered:
                    answered.notify_all()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(SWAPS):
            roles = change(source=str(runs[(number + 1) % 2]))
            assert roles == {"current": str(number + 2), "previous": str(number + 1)}
            with answered:  # clients are asking, however busy the machine is
                asked = (200, str(number + 2), "ab"[(number + 1) % 2])
                assert answered.wait_for(lambda: outcomes[asked] or set(outcomes) - right, timeout=60)  # noqa: B023
        assert change("/rollback") == {"current": str(SWAPS), "previous": str(SWAPS + 1)}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # each answer came, by the run of the version that it names
    assert set(outcomes) <= right, outcomes
    assert len(outcomes) >= SWAPS


def test_a_canary_takes_its_share_and_then_all(
    runs: list[Path], ask: Callable[..., tuple[str, str]], change: Callable[..., dict[str, str]]
) -> None:
    assert change(source=str(runs[1]), share=0.25, version="next") == {"current": "1", "canary": "next"}
    assert Counter(ask() for _ in range(20)) == {("1", "a"): 15, ("next", "b"): 5}
    assert ask("?version=1") == ("1", "a") and ask("?version=next") == ("next", "b")
    assert change(share=1) == {"current": "next", "previous": "1"}
    assert {ask() for _ in range(4)} == {("next", "b")}
    assert change("/rollback") == {"current": "1", "previous": "next"} and ask() == ("1", "a")
    assert change(source=str(runs[1]), share=0.5) == {"current": "1", "canary": "2", "previous": "next"}
    assert change("/rollback") == {"current": "1", "previous": "next"} and ask() == ("1", "a")


def test_a_shadow_answers_nobody_and_is_compared(
    serving: httpx.Client, runs: list[Path], ask: Callable[..., tuple[str, str]], change: Callable[..., dict[str, str]]
) -> None:
    assert change(source=str(runs[1]), shadow=True) == {"current": "1", "shadow": "2"}
    assert {ask() for _ in range(6)} == {("1", "a")}
    for _ in range(5000):
        (model,) = serving.get("/admin/models", headers=ADMIN).json()["models"]
        (shadow,) = (one for one in model["versions"] if one["role"] == "shadow")
        if shadow["answered"] == 6:
            break
    assert (shadow["answered"], shadow["agreed"], shadow["failed"]) == (6, 0, 0)


def test_what_cannot_be_loaded_leaves_all_as_it_is(
    serving: httpx.Client, runs: list[Path], ask: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    for name, body, status, code in [
        ("m", {"source": str(tmp_path / "none")}, 422, "not-loaded"),
        ("m", {"source": str(runs[1]), "version": "1"}, 409, "loaded-already"),
        ("m", {"source": str(runs[1]), "version": "a b"}, 422, "bad-parameter"),
        ("m", {"share": 0.5}, 409, "no-canary"),
        ("m", {}, 422, "no-source"),
        ("new", {"source": str(runs[1]), "share": 0.5}, 422, "no-other-version"),
        ("m/rollback", {}, 409, "no-previous"),
        ("none/rollback", {}, 404, "unknown-model"),
    ]:
        refused = serving.post(f"/admin/models/{name}", json=body, headers=ADMIN)
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), refused.text
    assert ask() == ("1", "a")
    assert serving.delete("/admin/models/m", headers=ADMIN).json()["error"]["code"] == "last-model"
    assert serving.post("/admin/models/other", json={"source": str(runs[1])}, headers=ADMIN).status_code == 200
    assert ask("?model=other") == ("1", "b")
    assert serving.delete("/admin/models/other", headers=ADMIN).status_code == 204
    assert [card["id"] for card in serving.get("/v1/models").json()["data"]] == ["m"]


def test_a_folder_of_models_is_watched(runs: list[Path], tmp_path: Path, blank: bytes) -> None:
    folder = tmp_path / "models"
    (folder / "m").mkdir(parents=True)
    (folder / "m" / "1").symlink_to(runs[0])

    def answers(client: httpx.Client, name: str) -> tuple[int, str]:
        answer = client.post(f"/v1/predict?model={name}", content=blank, headers={"Content-Type": "image/png"})
        return answer.status_code, answer.json()["model"]["version"] if answer.status_code == 200 else ""

    with background_server(ModelFolder(folder)) as url, httpx.Client(base_url=url, timeout=60) as client:
        assert answers(client, "m") == (200, "1")
        (folder / "m" / "10").symlink_to(runs[1])
        (folder / "m" / "9").symlink_to(tmp_path / "nothing")
        (folder / "n").mkdir()
        (folder / "n" / "2").symlink_to(runs[1])
        for _ in range(5000):
            seen = {answers(client, "m"), answers(client, "n")}
            assert seen <= {(200, "1"), (200, "10"), (404, ""), (200, "2")}
            if seen == {(200, "10"), (200, "2")}:
                break
        assert seen == {(200, "10"), (200, "2")}


def test_a_version_is_tried_again_where_the_server_was_only_busy(tmp_path: Path) -> None:
    (tmp_path / "m" / "2").mkdir(parents=True)
    outcomes = [Problem(503, "overloaded", "no worker is ready"), None, Problem(422, "not-loaded", "damaged")]
    asked = []

    async def load(name: str, source: str, version: str) -> None:
        asked.append((name, version))
        if outcome := outcomes[len(asked) - 1]:
            raise outcome

    async def looks() -> None:
        folder = ModelFolder(tmp_path)
        for version in ("2", "2", "2", "3", "3"):
            (place := tmp_path / "m" / version).mkdir(exist_ok=True)
            await folder._load(load, "m", version, place)

    asyncio.run(looks())
    assert asked == [("m", "2"), ("m", "2"), ("m", "3")]


def test_a_request_is_refused_by_the_pace_of_the_version_that_it_asks(predictor: fb.Predictor) -> None:
    slow, quick = (Service(predictor, Limits(), "m") for _ in range(2))
    registry = Registry({"m": slow}, lambda name, source: quick, {}, {}, Metrics())
    registry.models["m"].previous = Version("m", "2", quick)
    slow.pace, slow.underway = 60.0, 8

    def late(query: str, path: str = "/v1/predict") -> bool:
        return registry.late({"path": path, "query_string": query.encode()}) is not None

    token = DEADLINE.set(time.monotonic() + 30)
    assert late("") and late("model=m&version=1") and not late("version=2") and not late("version=none")
    assert late("", "/v2/models/m/infer") and not late("", "/v2/models/m/versions/2/infer")
    DEADLINE.reset(token)
