"""Data and runs in a store that speaks S3: read from there, copied there, loaded from there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as fb
from flambeau.cli.main import run as command
from flambeau.core.errors import DataError
from flambeau.data import clouds

pytest.importorskip("s3fs")
moto = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """A client of the store; who asks is said by the environment, as anywhere."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    said = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in said.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client
    server.stop()


def rows(seed: int) -> bytes:
    x = np.random.default_rng(seed).random((60, 2))
    return "\n".join(["a,b,size", *(f"{a:.4f},{b:.4f},{'large' if a + b > 1 else 'small'}" for a, b in x)]).encode()


def test_a_run_is_trained_from_there_and_copied_there(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store.put_object(Bucket="bucket", Key="data/sizes.csv", Body=rows(0))
    asked = ["train", "s3://bucket/data/sizes.csv", "--target", "size", "--model", "resmlp", "--epochs", "1",
             "--no-check", "--no-baseline", "--run", "s3://bucket/runs/sizes"]  # fmt: skip
    assert command(asked) == 0
    there = {one["Key"].removeprefix("runs/sizes/") for one in
             store.list_objects_v2(Bucket="bucket", Prefix="runs/sizes/")["Contents"]}  # fmt: skip
    assert {"recipe.yaml", "fields.json", "model.safetensors", "report.html"} <= there
    assert not any(part.startswith(".") for key in there for part in key.split("/"))
    recipe = fb.Run.open("runs/sizes").recipe
    assert recipe.data["path"] == "s3://bucket/data/sizes.csv"  # as it is found from any machine
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    answer = fb.load("s3://bucket/runs/sizes").predict({"a": 0.9, "b": 0.9})
    assert answer.probabilities == fb.load(tmp_path / "runs" / "sizes").predict({"a": 0.9, "b": 0.9}).probabilities
    assert command(["evaluate", "s3://bucket/runs/sizes"]) == 0
    assert command(["resume", "s3://bucket/runs/sizes"]) == 2
    data = fb.Dataset.from_source({name: value for name, value in recipe.data.items() if name != "fingerprint"})
    assert len(data) == 60 and data.source["path"] == recipe.data["path"]


def test_what_has_changed_there_is_copied_anew(store: Any, tmp_path: Path) -> None:
    store.put_object(Bucket="bucket", Key="photos/a/1.txt", Body=b"one")
    store.put_object(Bucket="bucket", Key="photos/b/2.txt", Body=b"two")
    first = clouds.fetched(Path("s3://bucket/photos"), tmp_path)
    assert {file.relative_to(first).as_posix(): file.read_text() for file in first.rglob("*.txt")} == {
        "a/1.txt": "one", "b/2.txt": "two",
    }  # fmt: skip
    stamp = (first / "a/1.txt").stat().st_mtime
    assert stamp == store.head_object(Bucket="bucket", Key="photos/a/1.txt")["LastModified"].timestamp()
    os.utime(first / "a/1.txt", (0, 0))
    assert clouds.fetched("s3://bucket/photos", tmp_path) == first  # and was not copied again
    assert (first / "a/1.txt").stat().st_mtime == 0
    store.put_object(Bucket="bucket", Key="photos/a/1.txt", Body=b"uno")
    second = clouds.fetched("s3://bucket/photos", tmp_path)
    assert second != first and (second / "a/1.txt").read_text() == "uno"


@pytest.mark.parametrize("address", ["s3://bucket/nothing.csv", "s3://nowhere/x.csv"])
def test_what_is_not_there_is_told(store: Any, tmp_path: Path, address: str) -> None:
    with pytest.raises(DataError, match=address):
        clouds.fetched(address, tmp_path)
    assert [*tmp_path.iterdir()] == []


def test_a_name_that_leads_out_is_refused(store: Any, tmp_path: Path) -> None:
    store.put_object(Bucket="bucket", Key="evil/../../out.txt", Body=b"x")
    with pytest.raises(DataError, match=r"leads out|nothing is there|does not answer"):
        clouds.fetched("s3://bucket/evil", tmp_path / "cache")
    assert not (tmp_path / "out.txt").exists()
