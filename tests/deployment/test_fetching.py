"""A model that is fetched at the start: what comes is what the digest says, or it is not served."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from forkserver import Forkserver

import flambeau as fb
from flambeau.core.errors import DataError, RunError, UsageError
from flambeau.deployment import Address, fetch, fetching
from flambeau.deployment.making import Deployment

NONE = "0" * 64


class Store(BaseHTTPRequestHandler):
    """Files as a web server has them, which may end a connection too early, or know no ranges."""

    files: ClassVar[dict[str, bytes]] = {}
    cut: ClassVar[list[int]] = []
    """After how many bytes the next connections end."""
    ranges: ClassVar[bool] = True
    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        data, asked = self.files.get(self.path), self.headers.get("Range")
        self.asked.append(asked)
        if data is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if asked and self.ranges and start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: self.cut.pop(0) if self.cut else None])

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of such a server."""
    monkeypatch.setattr(fetching, "WAIT", 0.0)
    Store.files, Store.cut, Store.ranges, Store.asked = {}, [], True, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def archive(deployment: Deployment) -> bytes:
    """The run as `flambeau deploy --model-at` packs it."""
    assert deployment.archive is not None
    return deployment.archive.read_bytes()


def address_of(place: str, data: bytes) -> Address:
    address = Address.of(f"{place}#sha256={hashlib.sha256(data).hexdigest()}")
    assert address is not None
    return address


def test_a_model_is_fetched_once_and_answers_as_the_run_does(
    store: str, archive: bytes, small_run: Path, deployment: Deployment, tmp_path: Path
) -> None:
    Store.files["/small.tar.gz"] = archive
    address = address_of(f"{store}/small.tar.gz", archive)
    assert deployment.plan.address is not None and address.sha256 == deployment.plan.address.sha256
    place = fetch(address, tmp_path)
    assert fb.Run(place).version == fb.Run(small_run).version == deployment.plan.version
    answers = [[one.label for one in fb.load(run).predict([1.0, 8.0])] for run in (place, small_run)]
    assert answers[0] == answers[1]
    assert fetch(address, tmp_path) == place and len(Store.asked) == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [place.name], "no archive is left"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_or_begins_again(ranges: bool, store: str, archive: bytes, tmp_path: Path) -> None:
    Store.files["/small.tar.gz"], Store.ranges = archive, ranges
    half = len(archive) // 2
    Store.cut = [half, 10]
    place = fetch(address_of(f"{store}/small.tar.gz", archive), tmp_path)
    assert fb.Run(place).finished
    second = f"bytes={half}-"
    assert Store.asked == ([None, second, f"bytes={half + 10}-"] if ranges else [None, second, "bytes=10-"])


def test_what_an_earlier_start_left_is_gone_on_with_or_thrown_away(store: str, archive: bytes, tmp_path: Path) -> None:
    Store.files["/small.tar.gz"] = archive
    address = address_of(f"{store}/small.tar.gz", archive)
    part = tmp_path / f".{address.sha256[:16]}-small.tar.gz"
    for left, asked in ((archive[:1000], ["bytes=1000-"]), (b"x" * 1000, ["bytes=1000-", None]),
                        (archive, []), (archive + b"more", None)):  # fmt: skip
        Store.asked.clear()
        part.write_bytes(left)
        place = fetch(address, tmp_path)
        assert fb.Run(place).finished and (asked is None or Store.asked == asked)
        place.rename(tmp_path / f"done-{len(left)}-{left[:1]!r}")


def test_a_wrong_digest_is_refused_and_nothing_is_kept(store: str, archive: bytes, tmp_path: Path) -> None:
    Store.files["/small.tar.gz"] = archive
    with pytest.raises(RunError, match=f"not the model that is wanted: its sha256 is .*expected {NONE}"):
        fetch(Address(f"{store}/small.tar.gz", NONE), tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_what_cannot_be_had_or_unpacked_is_told(store: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none.tar: the model cannot be fetched .*404") as told_of:
        fetch(Address(f"{store}/none.tar?signature=hidden", NONE), tmp_path)
    assert "hidden" not in str(told_of.value)
    assert len(Store.asked) == 1, "what is not there is asked for once"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as outside:
        entry = tarfile.TarInfo("../../evil")
        entry.size = 4
        outside.addfile(entry, io.BytesIO(b"evil"))
    for name, data, told in (("evil.tar", stream.getvalue(), "leads out of the folder"),
                             ("no.tar", b"no archive", "is damaged")):  # fmt: skip
        Store.files[f"/{name}"] = data
        with pytest.raises(DataError, match=told):
            fetch(address_of(f"{store}/{name}", data), tmp_path)
    with pytest.raises(RunError, match=r"cannot be fetched .*No such file"):
        fetch(Address(f"file://{tmp_path}/none.tar", NONE), tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("https://a/b.tar", "does not say what the archive must be"),
        ("https://a/b.tar#sha256=12", "does not say what the archive must be"),
        (f"ftp://a/b.tar#sha256={NONE}", "nothing is fetched by ftp://"),
        (f"https://a/b#sha256={NONE}", "this is no archive of a run"),
        (f"https://a:b/c.tar#sha256={NONE}", "https://a:b/c.tar: this is no address .*'b'.*expected such as"),
        ("https://me:hidden@a/b.tar?signature=hidden", "^https://a/b.tar: the address does not say"),
    ],
)
def test_an_address_says_what_it_must_be(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Address.of(text)
    assert Address.of("runs/photos") is None


def test_a_server_fetches_its_model_and_refuses_another(
    flambeau: Forkserver, store: str, archive: bytes, tmp_path: Path
) -> None:
    Store.files["/small.tar.gz"] = archive
    address = address_of(f"{store}/small.tar.gz", archive)
    server = flambeau.start("serve", address, "--port", "0", "--json", cwd=tmp_path)
    try:
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.address()}/v1/predict", b'{"inputs": [8.0]}', kind)
        told = json.load(urllib.request.urlopen(request, timeout=60))
    finally:
        server.send(signal.SIGTERM)
        server.wait()
    assert told["model"]["name"] == "small" and told["predictions"][0]["label"] in ("low", "high")
    assert (tmp_path / ".flambeau" / "fetched").is_dir()
    wrong = flambeau("serve", f"small={address.place}#sha256={NONE}", "--port", "0", cwd=tmp_path)
    assert wrong.status == 2 and "this is not the model that is wanted" in wrong.err


def test_a_model_is_fetched_from_s3(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "none", "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="models")
        client.put_object(Bucket="models", Key="small.tar.gz", Body=archive)
        address = address_of("s3://models/small.tar.gz", archive)
        (tmp_path / f".{address.sha256[:16]}-small.tar.gz").write_bytes(archive[:1000])
        assert fb.Run(fetch(address, tmp_path)).finished
        monkeypatch.setattr(fetching, "WAIT", 0.0)
        with pytest.raises(RunError, match="cannot be fetched"):
            fetch(Address("s3://models/none.tar", NONE), tmp_path)
    finally:
        server.stop()
