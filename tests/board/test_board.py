"""The board over HTTP: what it tells, who may change things, and that no path leads out of its folders."""

from __future__ import annotations

import csv
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from flambeau.board import Workplace, labels
from flambeau.core.errors import FlambeauError
from flambeau.data.sources.opening import from_source
from flambeau.run import Run

Board = tuple[str, str, Workplace]


def told(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_runs_are_told_with_what_they_reached(board: Board, client: httpx.Client) -> None:
    rows = {row["name"]: row for row in client.get("/api/runs").json()["runs"]}
    assert [*rows] == ["first", "second"]
    first = rows["first"]
    run = Run(board[2].folder / "first")
    assert first["state"] == "ended" and first["kind"] == "image → category" and first["model"] == "mlp"
    assert first["value"] == run.evaluation["metrics"][first["metric"]] and first["epochs_done"] == 12


def test_an_answer_that_has_not_changed_is_not_sent_again(client: httpx.Client) -> None:
    tag = client.get("/api/runs").headers["etag"]
    assert client.get("/api/runs", headers={"If-None-Match": tag}).status_code == 304


def test_a_damaged_run_is_told_beside_the_others(folder: Path, client: httpx.Client) -> None:
    (folder / "runs" / "second" / "evaluation.json").write_text("{")
    rows = {row["name"]: row for row in client.get("/api/runs").json()["runs"]}
    assert rows["first"]["state"] == "ended"
    assert rows["second"]["state"] == "unreadable" and "evaluation.json" in rows["second"]["error"]


def test_curves_and_two_side_by_side(client: httpx.Client) -> None:
    both = [("run", "first"), ("run", "second")]
    found = client.get("/api/curves", params=[*both, ("metric", "loss")]).json()
    assert found["chosen"] == "loss" and {"accuracy", "loss", "train_loss"} <= {*found["choices"]}
    assert found["html"].count('class="curve') == 2 and "style=" not in found["html"]  # which the page's policy bars
    beside = client.get("/api/compare", params=both).json()
    assert beside["names"] == ["first", "second"] and beside["same_rows"]
    assert ["training.seed", "0", "1"] in beside["settings"]


CHANGES = ["/api/train", "/api/runs/first/stop", "/api/runs/first/resume", "/api/runs/first/labels",
           "/api/runs/first/labels/look", "/api/runs/first/labels/train", "/api/session"]  # fmt: skip


@pytest.mark.parametrize("path", CHANGES)
def test_nothing_is_changed_without_the_token_or_by_another_site(board: Board, client: httpx.Client, path: str) -> None:
    url = board[0]
    assert told(httpx.post(url + path, json={})) == (401, "no-token")
    assert told(httpx.post(url + path, json={}, headers={"Authorization": "Bearer x"})) == (401, "no-token")
    assert told(client.post(path, json={}, headers={"Origin": "https://example.com"})) == (403, "cross-site")
    assert told(client.post(path, json={}, headers={"Sec-Fetch-Site": "cross-site"})) == (403, "cross-site")
    assert told(client.post(path, json={}, headers={"Host": "example.com"})) == (421, "host")


def test_another_site_s_name_does_not_lead_here(board: Board) -> None:
    assert told(httpx.get(board[0] + "/api/runs", headers={"Host": "example.com:80"})) == (421, "host")


def test_where_others_can_reach_it_reading_needs_the_token_too(board: Board) -> None:
    from starlette.testclient import TestClient

    from flambeau.board import create_app

    outside = TestClient(create_app(board[2], token="secret", guarded=True), base_url="http://board.example")
    assert outside.get("/").status_code == 200
    assert told(outside.get("/api/runs")) == told(outside.get("/runs/first/report")) == (401, "no-token")
    assert outside.post("/api/session", headers={"Authorization": "Bearer secret"}).status_code == 200
    assert outside.get("/runs/first/report").status_code == 200  # by the cookie
    assert told(outside.post("/api/train", json={})) == (401, "no-token")  # which changes nothing


def test_one_that_only_shows_changes_nothing(board: Board) -> None:
    from starlette.testclient import TestClient

    from flambeau.board import create_app

    shown = TestClient(create_app(board[2], changes=False), base_url="http://127.0.0.1")
    assert shown.get("/api/runs").json()["changes"] is False
    assert told(shown.post("/api/train", json={"data": "photos"})) == (403, "read-only")


BAD = [
    ({"data": "../"}, "data"), ({"data": "/etc"}, "data"), ({"data": ""}, "data"), ({"data": "nothing"}, "data"),
    ({"data": "photos", "name": "../out"}, "name"), ({"data": "photos", "name": "-x"}, "name"),
    ({"data": "photos", "epochs": "many"}, "epochs"), ({"data": "photos", "budget": "soon"}, "budget"),
    ({"data": "photos", "model": "--json"}, "model"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "code"), BAD)
def test_what_cannot_be_started_is_told(client: httpx.Client, board: Board, asked: dict[str, str], code: str) -> None:
    assert told(client.post("/api/train", json=asked)) == (422, code)
    assert board[2].jobs.names("train") == []


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fphotos", ".board", "nothing"])
def test_no_name_leads_out_of_the_folder(client: httpx.Client, name: str) -> None:
    for path in (f"/runs/{name}/report", f"/api/runs/{name}/mistakes", f"/api/runs/{name}/labels"):
        assert client.get(path).status_code in (400, 404)


def test_a_run_has_the_name_that_its_folder_has(folder: Path, client: httpx.Client) -> None:
    name = "мой run (2) é"
    (folder / "runs" / "first").rename(folder / "runs" / name)
    assert name in [row["name"] for row in client.get("/api/runs").json()["runs"]]
    assert client.get(f"/runs/{name}/report").status_code == 200
    assert client.get("/api/curves", params={"run": name}).status_code == 200
    assert told(client.post(f"/api/runs/{name}/stop", json={})) == (409, "idle")


def test_a_link_out_of_the_folder_is_no_run(folder: Path, tmp_path: Path, client: httpx.Client) -> None:
    (folder / "runs" / "first").rename(tmp_path / "outside")
    (folder / "runs" / "linked").symlink_to(tmp_path / "outside")
    assert [row["name"] for row in client.get("/api/runs").json()["runs"]] == ["second"]
    assert told(client.get("/runs/linked/report")) == (400, "name")


def test_a_report_runs_nothing(folder: Path, client: httpx.Client) -> None:
    answer = client.get("/runs/first/report")
    assert "sandbox" in answer.headers["content-security-policy"] and "first" in answer.text
    assert "script-src" not in answer.headers["content-security-policy"]


def test_large_and_odd_bodies_are_refused(client: httpx.Client) -> None:
    assert told(client.post("/api/train", content=b"{" + b" " * 70_000)) == (413, "too-large")
    assert told(client.post("/api/train", content=b"{")) == (400, "bad-json")
    assert told(client.post("/api/train", content=b"[]")) == (422, "bad-json")


def test_a_decision_is_kept_changed_and_taken_back(board: Board, client: httpx.Client) -> None:
    _, _, work = board
    sample = {"row": 0, "place": "1/x.png", "given": "1", "suggested": "4", "confidence": 0.9, "why": "suspected",
              "html": "<img src=x onerror=alert(1)>"}  # fmt: skip
    (work.folder / ".board").mkdir()
    found = {"classes": ["0", "1", "4"], "samples": [sample]}
    (work.folder / ".board" / "first.labels.json").write_text(json.dumps(found))
    shown = client.get("/api/runs/first/labels").json()
    assert shown["state"] == "ready" and "<img" not in shown["samples"][0]["html"]
    table = work.folder / "first" / labels.TABLE

    def rows() -> list[tuple[str, str, str]]:
        with table.open(newline="") as file:
            return [(row["place"], row["suggested"], row["keep"]) for row in csv.DictReader(file)]

    def decided(**asked: object) -> int:
        return client.post("/api/runs/first/labels", json={"place": "1/x.png", **asked}).status_code

    assert decided(label="4") == 200 and rows() == [("1/x.png", "4", "")]
    assert decided(label=None) == 200 and rows() == [("1/x.png", "1", "right")]
    assert client.get("/api/runs/first/labels").json()["decided"] == {"1/x.png": None}
    assert decided() == 200 and rows() == []
    assert decided(label="7") == 422
    assert told(client.post("/api/runs/first/labels", json={"place": "no", "label": "4"})) == (404, "no-sample")
    assert told(client.post("/api/runs/first/labels/train")) == (409, "no-corrections")


def test_corrections_of_a_run_that_had_some_are_laid_together(board: Board) -> None:
    """A second correction is of what the data has, and not of what the first one made of it."""
    _, _, work = board
    before = work.folder / "before.csv"
    before.write_text("place,given,suggested,confidence,keep\n1/x.png,1,4,0.9,\n1/y.png,1,0,0.9,\n")
    run = work.run("first")
    recipe = run.recipe
    recipe.data = {**recipe.data, "corrections": str(before)}
    recipe.save(run.path / "recipe.yaml")
    own = "place,given,suggested,confidence,keep\n1/x.png,4,0,0.9,\n0/z.png,0,1,0.5,\n0/w.png,0,0,0.5,right\n"
    (run.path / labels.TABLE).write_text(own)
    made = labels.train(work, "first")
    work.jobs[made].process.kill()
    work.jobs[made].process.wait()
    with (work.folder / ".board" / f"{made}.corrections.csv").open(newline="") as file:
        rows = [(row["place"], row["given"], row["suggested"]) for row in csv.DictReader(file)]
    assert rows == [("1/x.png", "1", "0"), ("1/y.png", "1", "0"), ("0/z.png", "0", "1")]


@pytest.mark.slow
def test_a_corrected_label_changes_the_data_that_is_trained_on(board: Board, client: httpx.Client) -> None:
    _, _, work = board
    assert told(client.post("/api/runs/first/labels/train")) == (409, "no-corrections")
    assert client.post("/api/runs/first/labels/look").status_code == 200
    assert client.get("/api/runs/first/labels").json()["state"] == "looking"
    assert work.jobs["first"].process.wait(120) == 0, work.jobs.told("first")
    shown = client.get("/api/runs/first/labels").json()
    assert shown["state"] == "ready" and shown["classes"] == ["0", "1", "4"]
    doubted = shown["samples"][0]
    assert (doubted["why"], doubted["given"], doubted["suggested"]) == ("suspected", "1", "4")
    assert any(one["why"] == "unsure" for one in shown["samples"])
    client.post("/api/runs/first/labels", json={"place": doubted["place"], "label": "4"})
    made = client.post("/api/runs/first/labels/train").json()["result"]
    assert work.jobs[made].process.wait(120) == 0, work.jobs.told(made)
    before, after = (from_source({k: v for k, v in Run(work.folder / name).recipe.data.items() if k != "fingerprint"})
                     for name in ("first", made))  # fmt: skip
    row = next(row for row in range(len(after)) if after.place(row) == doubted["place"])
    assert before.columns["label"][row] == "1" and after.columns["label"][row] == "4"
    assert (before.split == after.split).all()
    assert any("1 label is corrected" in finding.message for finding in Run(work.folder / made).findings)


def test_the_command_says_where_it_is_and_what_is_wrong(trained: Path, tmp_path: Path) -> None:
    import subprocess

    with pytest.raises(FlambeauError, match="this is a run"):
        from flambeau.cli.board import command

        command(trained / "runs" / "first", trained)
    started = subprocess.Popen(
        [sys.executable, "-m", "flambeau", "board", str(trained / "runs"), "--port", "0", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        assert started.stdout is not None
        said = "".join(started.stdout.readline() for _ in range(5))
        found = json.loads(said)
        assert httpx.get(found["url"] + "/api/runs").json()["data"] == str(tmp_path)
    finally:
        os.kill(started.pid, signal.SIGTERM)
        _, errors = started.communicate(timeout=60)
    assert started.returncode == 143 and found["token"] in errors and "Traceback" not in errors
