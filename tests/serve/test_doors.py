"""Who is slow, silent, greedy or malformed keeps nobody else out, and is answered in one line where that goes."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

import flambeau as fb
from flambeau.serve import Limits, background_server
from flambeau.serve.server import Server
from flambeau.serve.service import DECODED_BATCHES

Post = Callable[..., httpx.Response]
HALF_HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: im"
PICTURE_HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"


def connect(url: str, sent: bytes = b"") -> socket.socket:
    place = urlsplit(url)
    connection = socket.create_connection((place.hostname, place.port), timeout=30)
    connection.sendall(sent)
    return connection


@pytest.fixture
def crowd() -> Iterator[Callable[[str, int, bytes], list[socket.socket]]]:
    """`crowd(url, 600, sent)` opens so many connections that have sent so much, and keeps them open."""
    with contextlib.ExitStack() as opened:
        yield lambda url, count, sent: [opened.enter_context(connect(url, sent)) for _ in range(count)]


def all_of(connection: socket.socket) -> bytes:
    """What a server says until it closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65536):
            received += chunk
    return received


def error_of(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer, whose body must be the one JSON that all errors have."""
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert "\n" not in error["message"] and error["message"].isprintable()
    assert int(head.split()[1]) == error["status"]
    return error["status"], error["code"]


@pytest.mark.parametrize("sent", [b"", b"G", HALF_HEAD], ids=["silent", "a byte", "half a head"])
def test_half_sent_heads_keep_nobody_out(
    predictor: fb.Predictor, pictures: list[bytes], post: Post, crowd: Any, sent: bytes
) -> None:
    limits = Limits(max_connections=512, header_timeout=600, keep_alive=600)
    with background_server(predictor, limits=limits) as url:
        crowd(url, 600, sent)
        for picture in pictures[:3]:
            assert post(url, picture).status_code == 200


@pytest.mark.parametrize("sent", [0, 1, 400_000])
def test_half_sent_bodies_keep_nobody_out(
    predictor: fb.Predictor, pictures: list[bytes], post: Post, crowd: Any, sent: int
) -> None:
    limits = Limits(max_queue=8, max_memory=8 * 2**20, timeout=600)
    with background_server(predictor, limits=limits) as url:
        crowd(url, 64, PICTURE_HEAD + b"Content-Length: 1000000\r\n\r\n" + bytes(sent))
        for picture in pictures[:3]:
            assert post(url, picture).status_code == 200


def test_of_one_address_only_so_many(predictor: fb.Predictor, crowd: Any) -> None:
    with background_server(predictor, limits=Limits(max_per_address=2, header_timeout=600)) as url:
        first, second, third = crowd(url, 3, HALF_HEAD)
        assert all_of(first) == b""  # has waited longest
        for connection in (second, third):
            connection.sendall(b"age/png\r\nContent-Length: 2\r\nConnection: close\r\n\r\nxx")
            assert error_of(all_of(connection)) == (422, "not-a-picture")


def test_requests_that_are_whole_do_not_give_way(braked: Any, pictures: list[bytes], crowd: Any) -> None:
    whole = PICTURE_HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(pictures[0]) + pictures[0]
    with background_server(braked, limits=Limits(max_per_address=2)) as url:
        asking = crowd(url, 2, whole)
        braked.wait_for_encoded(2)
        (late,) = crowd(url, 1, b"")
        assert error_of(all_of(late)) == (503, "overloaded")
        braked.gate.set()
        for connection in asking:
            assert b"200 OK" in all_of(connection)


def test_a_crowd_is_answered_without_a_refusal(braked: Any, pictures: list[bytes], crowd: Any) -> None:
    whole = PICTURE_HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(pictures[0]) + pictures[0]
    with background_server(braked) as url:
        asking = crowd(url, 192, whole)
        braked.wait_for_encoded(DECODED_BATCHES * Limits().max_batch)
        assert not braked.encoded.acquire(blocking=False)  # of a crowd only the next few are held decoded
        braked.gate.set()
        assert all(all_of(connection).startswith(b"HTTP/1.1 200 ") for connection in asking)
    assert sum(braked.batches) == 192 + 1 and max(braked.batches) == Limits().max_batch


def test_a_head_has_a_deadline_also_byte_by_byte(predictor: fb.Predictor) -> None:
    with background_server(predictor, limits=Limits(header_timeout=0.3)) as url:
        with connect(url, HALF_HEAD) as connection:
            assert error_of(all_of(connection)) == (408, "timeout")
        with connect(url) as silent:
            assert all_of(silent) == b""
        with connect(url, HALF_HEAD) as connection, contextlib.suppress(ConnectionError):
            connection.settimeout(0.05)
            for _ in range(1000):  # a byte now and then buys no time
                connection.sendall(b"x")
                with contextlib.suppress(TimeoutError):
                    if not connection.recv(65536):
                        break
            else:
                pytest.fail("the server has read for 50 seconds")
        with connect(url, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" + HALF_HEAD) as connection:
            first, _, second = all_of(connection).partition(b'{"status":"ok"}')
            assert b"200 OK" in first and error_of(second) == (408, "timeout")


def test_a_body_has_a_deadline(predictor: fb.Predictor) -> None:
    half = PICTURE_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabc"
    with background_server(predictor, limits=Limits(timeout=0.3)) as url, connect(url, half) as connection:
        assert error_of(all_of(connection)) == (504, "timeout")


def test_a_silent_connection_is_closed(predictor: fb.Predictor) -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with background_server(predictor, limits=Limits(keep_alive=0.2)) as url, connect(url, ask) as connection:
        assert all_of(connection).endswith(b'{"status":"ok"}')


def test_a_client_that_never_reads_is_cut_off(predictor: fb.Predictor) -> None:
    with (
        background_server(predictor, limits=Limits(timeout=0.5, header_timeout=600)) as url,
        connect(url) as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        with pytest.raises(ConnectionError):  # until the answers fill all buffers, and then until the deadline
            while True:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 100)


def test_requests_in_one_piece_are_answered_in_turn(url: str) -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(url, ask * 49 + ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")) as connection:
        assert all_of(connection).count(b'{"status":"ok"}') == 50


def test_stopping_waits_for_no_upload(predictor: fb.Predictor, crowd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = []
    shutdown = Server.shutdown

    async def noted(self: Server, sockets: Any = None) -> None:
        await shutdown(self, sockets)
        cut.append(len(self.server_state.connections))

    monkeypatch.setattr(Server, "shutdown", noted)
    with background_server(predictor, limits=Limits(timeout=3600)) as url:
        crowd(url, 4, PICTURE_HEAD + b"Content-Length: 1000\r\n\r\nabc")
        crowd(url, 4, HALF_HEAD)
        assert httpx.get(f"{url}/healthz").status_code == 200
    assert cut == [0]


LONG = b"x" * 2**20
REFUSED = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    "a query of 1 MB": (b"GET /?q=" + LONG + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
    "a header of 1 MB": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + LONG + b"\r\n\r\n", 431),
    "100,000 headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100_000 + b"\r\n", 431),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "two lengths": (PICTURE_HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a length of -1": (PICTURE_HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "a length of 5,000 digits": (PICTURE_HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
    "a length and chunks": (PICTURE_HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "a chunk of -1": (PICTURE_HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
    "gzip": (PICTURE_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 0\r\n\r\n", 415),
    "another site's page": (PICTURE_HEAD + b"Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n\r\n", 403),
    "a way up": (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    "an encoded way up": (b"GET /%2e%2e%2fetc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    "escapes in a path": (b"GET /%1b%5b2J%e2%80%ae HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
    "OPTIONS": (b"OPTIONS /predict HTTP/1.1\r\nHost: x\r\nOrigin: y\r\nConnection: close\r\n\r\n", 405),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 405),
    "CONNECT": (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_malformed_is_refused_in_one_line(url: str, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    sent, status = REFUSED[case]
    with connect(url) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(sent)
        assert error_of(all_of(connection))[0] == status
    assert capfd.readouterr().err == ""  # no line of the log for each, which anybody could fill


def test_an_upgrade_is_answered_as_if_not_asked_for(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    with connect(url, head) as connection:
        assert b"200 OK" in all_of(connection)
    assert capfd.readouterr().err == ""


def test_a_client_may_ask_before_it_sends(url: str, pictures: list[bytes]) -> None:
    head = PICTURE_HEAD + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with connect(url, head % len(pictures[0])) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(pictures[0])
        assert b"200 OK" in all_of(connection)
    with connect(url, head % 10**9) as connection:
        assert error_of(all_of(connection)) == (413, "too-large")  # and is not asked for


def part(name: str = "file", head: bytes = b"", content: bytes = b"") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="%s"; filename="a"\r\n%s\r\n%s\r\n' % (
        name.encode(), head, content,
    )  # fmt: skip


@pytest.mark.parametrize(("body", "status"), [
    (part() * 10_000, 413),
    (b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n' * 10_000, 400),
    (part(head=b"A: " + LONG + b"\r\n"), 400),
    (part(head=b"A: b\r\n" * 10_000), 400),
    (part("x" * 100_000), 400),
    (b"--b" * 1_000_000, 422),
    (b"\r\n" * 1_000_000, 422),
    (b"", 422),
], ids=["10,000 files", "10,000 fields", "header", "10,000 headers", "name", "bounds", "lines", "none"])  # fmt: skip
def test_forms_that_are_bombs(url: str, body: bytes, status: int) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    response = httpx.post(f"{url}/predict", content=body and body + b"--b--\r\n", headers=kind, timeout=30)
    assert response.status_code == status, response.text
    assert "\n" not in response.json()["error"]["message"]


ROW = ("0.0, " * 13)[:-2]
JSON_REFUSED = {
    "20,000 brackets": ('{"inputs": ' + "[" * 20_000 + "]" * 20_000 + "}", 400, "bad-json"),
    "20,000 braces": ('{"inputs": ' + '{"a":' * 20_000 + "1" + "}" * 20_000 + "}", 400, "bad-json"),
    "nine hundred brackets": ('{"inputs": [' + "[" * 900 + "]" * 900 + "]}", 422, "unreadable"),
    "5,000 digits": ('{"inputs": [[' + "9" * 5000 + "]]}", 400, "bad-json"),
    "4,000 digits": ('{"inputs": [[' + "9" * 4000 + "]]}", 422, "unreadable"),
    "a large exponent": ('{"inputs": [[1e999' + ", 0" * 12 + "]]}", 422, "unreadable"),
    "NaN": ('{"inputs": [[NaN]]}', 400, "bad-json"),
    "Infinity": ('{"inputs": [[-Infinity]]}', 400, "bad-json"),
    "a key twice": ('{"inputs": [[1]], "inputs": [[2]]}', 400, "bad-json"),
    "a million lists": ('{"inputs": [' + "[]," * 1_000_000 + "[]]}", 413, "too-many"),
    "1,025 rows": ('{"inputs": [' + f"[{ROW}]," * 1024 + f"[{ROW}]]}}", 413, "too-many"),
    "half a surrogate": ('{"inputs": ["\\ud800"]}', 400, "bad-json"),
    "no UTF-8": (b'{"inputs": ["\xff"]}', 400, "bad-json"),
    "a text of 1 MB": ('{"inputs": ["' + "x" * 2**20 + '"]}', 422, "unreadable"),
    "terminal escapes": ('{"inputs": ["\\u001b[2J\\u202e"]}', 422, "unreadable"),
    "a null": ('{"inputs": [null]}', 422, "unreadable"),
}


@pytest.fixture(scope="module")
def rows_url(rows_predictor: fb.Predictor) -> Iterator[str]:
    with background_server(rows_predictor) as address:
        yield address


@pytest.mark.parametrize("case", JSON_REFUSED)
def test_json_that_is_hostile_gets_one_line(rows_url: str, case: str) -> None:
    body, status, code = JSON_REFUSED[case]
    response = httpx.post(f"{rows_url}/predict", content=body, headers={"Content-Type": "application/json"}, timeout=30)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code), error
    assert error["message"].isprintable() and len(error["message"]) <= 300


def test_a_parameter_of_5000_digits(url: str, pictures: list[bytes], post: Post) -> None:
    response = post(url, pictures[0], top="9" * 5000)
    assert (response.status_code, response.json()["error"]["code"]) == (422, "bad-parameter")


@pytest.mark.parametrize("value", [1e30, 1e308, "1e300", -(10**40), "9" * 300])
def test_numbers_beyond_all_that_was_seen_are_the_clients(rows_predictor: fb.Predictor, value: Any) -> None:
    with background_server(rows_predictor) as url:
        response = httpx.post(f"{url}/predict", json={"inputs": [[value, *[0.0] * 12]]})
    assert (response.status_code, response.json()["error"]["code"]) == (422, "unreadable")
    assert "too large" in response.json()["error"]["message"]
