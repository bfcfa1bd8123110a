"""Inputs by URL: fetched from hosts that were named and from public addresses alone, and bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from starlette.testclient import TestClient

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.serve import Limits, create_app
from flambeau.serve.problems import Problem
from flambeau.serve.protocol import Raw
from flambeau.serve.remote import Fetching

LIMITS = Limits(max_body=100_000, fetch_timeout=5.0)


class Store(BaseHTTPRequestHandler):
    """Pictures, and what is none."""

    picture = b""
    asked: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        path, content, headers = self.path.partition("?")[0], self.picture, {}
        if path == "/silent.png":
            self.rfile.read(1)  # until the client has gone
            return
        if path == "/away.png":
            headers = {"Location": "/one.png"}
        if path == "/packed.png":
            headers = {"Content-Encoding": "gzip"}
        self.send_response({"/away.png": 302, "/gone.png": 404}.get(path, 200))
        for name, value in headers.items():
            self.send_header(name, value)
        if path == "/short.png":
            self.send_header("Content-Length", "99999")
        self.end_headers()
        self.wfile.write(bytes(LIMITS.max_body + 1) if path == "/large.png" else content)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def store(blank: bytes) -> Iterator[int]:
    """The port of a store."""
    Store.picture = blank
    Store.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def of_store(port: int, limits: Limits = LIMITS) -> Fetching:
    """One to which `pictures.example` is the store, and loopback as good as any."""

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    return Fetching([f"pictures.example:{port}"], limits, here, lambda address: True)


def fetched(fetching: Fetching, *urls: str) -> list[Any]:
    async def asked() -> list[Any]:
        async with fetching.inputs(urls) as inputs:
            return inputs

    return asyncio.run(asked())


def test_pictures_are_predicted_by_their_urls(predictor: fb.Predictor, store: int, blank: bytes) -> None:
    place = f"http://pictures.example:{store}"
    with TestClient(create_app(predictor, limits=LIMITS, fetching=of_store(store))) as client:
        by_file = client.post("/v1/predict", content=blank, headers={"Content-Type": "image/png"}).json()
        one = client.post("/v1/predict", json={"urls": [f"{place}/one.png?signature=1"]})
        assert one.status_code == 200 and one.json()["predictions"][0].pop("file") == "one.png"
        assert one.json()["predictions"][0]["label"] == by_file["predictions"][0]["label"]
        several = client.post("/v1/predict", json={"urls": [f"{place}/1.png", "http://other.example/2.png"]}).json()
        first, second = several["predictions"]
        assert first["label"] == by_file["predictions"][0]["label"] and second["code"] == "not-allowed"
        for body, status, code in (
            ({"urls": ["https://other.example/1.png"]}, 403, "not-allowed"), ({"urls": []}, 422, "no-inputs"),
            ({"urls": [f"{place}/gone.png"]}, 422, "not-fetched"), ({"inputs": [1]}, 422, "no-inputs"),
            ({"urls": ["x"] * (LIMITS.max_files + 1)}, 413, "too-many"), ({"urls": [7]}, 422, "no-inputs"),
        ):  # fmt: skip
            refused = client.post("/v1/predict", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (status, code), refused.text
        body = client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
        assert "urls" in body["application/json"]["schema"]["properties"]
    assert Store.asked[0] == ("/one.png?signature=1", f"pictures.example:{store}")
    with TestClient(create_app(predictor, limits=LIMITS)) as client:  # it is off unless it is asked for
        assert client.post("/v1/predict", json={"urls": [f"{place}/one.png"]}).status_code == 415


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("away.png", "redirects are not followed"),
        ("gone.png", "the host answers 404"),
        ("packed.png", "compressed"),
        ("short.png", "cannot be fetched"),
        ("large.png", "too large"),
    ],
)
def test_what_is_not_the_file_itself_is_refused(store: int, file: str, told: str) -> None:
    with pytest.raises(Problem, match=told) as refused:
        fetched(of_store(store), f"http://pictures.example:{store}/{file}?signature=hidden")
    assert "hidden" not in refused.value.message
    assert [path.partition("?")[0] for path, _ in Store.asked] == [f"/{file}"]


def test_a_host_that_says_nothing_is_waited_for_so_long_and_files_are_bounded_together(store: int) -> None:
    with pytest.raises(Problem, match=r"longer than 0\.2 seconds"):
        fetched(of_store(store, Limits(fetch_timeout=0.2)), f"http://pictures.example:{store}/silent.png")
    few = of_store(store, Limits(max_body=len(Store.picture) * 3 // 2))
    results = fetched(few, *[f"http://pictures.example:{store}/{i}.png" for i in range(2)])
    assert sorted(getattr(one, "code", "") for one in results) == ["", "too-large"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0.0.0.0", "10.1.2.3", "192.168.0.1", "100.64.0.1",
     "169.254.169.254", "224.0.0.1", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[fe80::1]",
     "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"],
)  # fmt: skip
def test_no_address_is_asked_that_is_not_public_though_it_was_named(store: int, host: str) -> None:
    with pytest.raises(Problem) as refused:
        fetched(Fetching([f"{host}:{store}"], LIMITS), f"http://{host}:{store}/one.png")
    assert refused.value.code in ("not-allowed", "not-fetched") and not Store.asked


def test_a_name_is_looked_up_once_and_each_of_its_addresses_counts(store: int) -> None:
    answers = [["127.0.0.1"], ["192.0.2.1"]]  # the second would be where nothing answers

    async def turning(host: str, port: int) -> list[str]:
        return answers.pop(0)

    any_address = Fetching([f"a.example:{store}"], LIMITS, turning, lambda address: True)
    (raw,) = fetched(any_address, f"http://a.example:{store}/one.png")
    assert isinstance(raw, Raw) and raw.value == Store.picture and len(answers) == 1

    for mixed in (["93.184.215.14", "127.0.0.1"], ["127.0.0.1"], ["fe80::1%lo"], []):

        async def resolve(host: str, port: int, found: list[str] = mixed) -> list[str]:
            return found

        Store.asked.clear()
        with pytest.raises(Problem, match="not public"):
            fetched(Fetching([f"a.example:{store}"], LIMITS, resolve), f"http://a.example:{store}/one.png")
        assert not Store.asked


@pytest.mark.parametrize(
    "url",
    ["ftp://a.example/1", "file:///etc/hostname", "//a.example/1", "http:///1", "http://a.example@b.example/1",
     "http://me:pass@a.example/1", "http://b.example\\@a.example/1", "http://a.example:x/1", "http://a.example/1 2",
     "http://a.example/1\r\nHost: b", "http://a.example./1", "http://a.example:8080/1", "http://sub.a.example/1", "",
     "http://[/1", "http://" + "a" * 3000],
)  # fmt: skip
def test_a_url_that_is_none_or_leads_elsewhere_is_refused_before_a_name_is_looked_up(url: str) -> None:
    async def never(host: str, port: int) -> list[str]:
        raise AssertionError(host)

    with pytest.raises(Problem) as refused:
        fetched(Fetching(["a.example"], LIMITS, never), url)
    assert refused.value.code in ("bad-url", "not-allowed")


@pytest.mark.parametrize("host", ["http://a.example", "a.example/x", "*", "a b", "a.example:0", "a.example:99999", ""])
def test_a_host_that_is_none_is_told(host: str) -> None:
    with pytest.raises(UsageError, match="no host that inputs may be fetched from"):
        Fetching([host], LIMITS)
