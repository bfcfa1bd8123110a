"""Every size, queue and time is bounded, and the client is told so."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image as PILImage

import flambeau as fb
from flambeau.serve import Limits, background_server
from flambeau.serve.memory import MemoryGate

Post = Callable[..., httpx.Response]


def png_head(width: int, height: int) -> bytes:
    """A PNG that ends where its pixels would begin: whoever decodes it finds it cut short."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    head = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I", 1000) + b"IDAT"


def talk(url: str, sent: bytes) -> tuple[int, dict]:
    """Status and body of what a server answers to these bytes, with no more to come."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(sent)
        connection.settimeout(30)
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith(b"}"):
            chunk = connection.recv(65536)
            if not chunk:
                break
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_too_large_by_content_length_is_refused_unread(url: str) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 1000000000\r\n\r\n"
    status, body = talk(url, head)  # answered although not one byte of the body was sent
    assert status == 413
    assert body["error"]["code"] == "too-large" and "16,777,216" in body["error"]["message"]


def test_too_large_without_a_length_is_refused_on_the_way(predictor: fb.Predictor) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(10_000):
            taken += 1
            yield bytes(65536)

    with background_server(predictor, limits=Limits(max_body=2**20)) as url:
        for kind in ("image/png", "multipart/form-data; boundary=b"):
            try:
                response = httpx.post(f"{url}/predict", content=endless(), headers={"Content-Type": kind})
            except httpx.TransportError:  # the connection may be cut under a client that never stops to listen
                continue
            assert response.status_code == 413
        assert taken < 10_000

        just = [b"x" * 2**19, b"x" * 2**19, b"x"]
        response = httpx.post(f"{url}/predict", content=iter(just), headers={"Content-Type": "image/png"})
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too-large")
        response = httpx.post(f"{url}/predict", content=iter(just[:2]), headers={"Content-Type": "image/png"})
        assert (response.status_code, response.json()["error"]["code"]) == (422, "not-a-picture")


def test_the_whole_body_of_an_ordinary_client_is_answered(url: str) -> None:
    response = httpx.post(f"{url}/predict", content=bytes(20 * 2**20), headers={"Content-Type": "image/png"})
    assert response.status_code == 413


@pytest.mark.parametrize("size", [(8000, 8000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_told_from_the_head(url: str, post: Post, size: tuple[int, int]) -> None:
    response = post(url, png_head(*size))
    assert response.status_code == 413
    error = response.json()["error"]
    assert error["code"] == "too-many-pixels" and "50,000,000" in error["message"]
    within = post(url, png_head(7000, 7000))  # goes on to be decoded, and only then fails
    assert (within.status_code, within.json()["error"]["code"]) == (422, "unreadable")


@pytest.mark.parametrize(("kind", "mode", "allowed"), [
    ("PNG", "L", True), ("PNG", "I;16", True), ("PNG", "RGBA", False), ("WEBP", "RGB", False), ("TIFF", "RGBA", False),
])  # fmt: skip
def test_memory_is_bounded_whatever_the_mode(
    predictor: fb.Predictor, post: Post, kind: str, mode: str, allowed: bool
) -> None:
    buffer = io.BytesIO()
    PILImage.new(mode, (1000, 1000)).save(buffer, kind)
    with background_server(predictor, limits=Limits(max_pixels=2_000_000, max_decoding=5_000_000)) as url:
        response = post(url, buffer.getvalue())
    if allowed:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too-many-pixels")
        assert "bytes each to decode" in response.json()["error"]["message"]


def test_too_many_files_and_rows(predictor: fb.Predictor, rows_predictor: fb.Predictor, pictures: list[bytes]) -> None:
    limits = Limits(max_files=3, max_rows=3)
    with background_server(predictor, limits=limits) as url:
        files = [("file", (f"{i}.png", pictures[i])) for i in range(4)]
        assert httpx.post(f"{url}/predict", files=files[:3]).status_code == 200
        response = httpx.post(f"{url}/predict", files=files)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too-many")
    with background_server(rows_predictor, limits=limits) as url:
        response = httpx.post(f"{url}/predict", json={"inputs": [[0.0] * 13] * 4})
        assert (response.status_code, response.json()["error"]["code"]) == (413, "too-many")


def test_a_full_queue_answers_429_and_then_goes_on(braked: Any, pictures: list[bytes], post: Post) -> None:
    with background_server(braked, limits=Limits(max_queue=3)) as url, ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(post, url, pictures[i]) for i in range(3)]
        braked.wait_for_encoded(3)
        refused = post(url, pictures[3])
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        assert int(refused.headers["Retry-After"]) > 0
        with httpx.Client(base_url=url, headers={"Content-Type": "image/png"}) as client:
            refused = client.post("/predict", content=pictures[3])
            assert refused.status_code == 429 and "connection" not in refused.headers  # it may ask again on it
        place = urlsplit(url)
        with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
            # of a large body nothing need come
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 429 ")
        assert httpx.get(f"{url}/healthz").status_code == 200
        braked.gate.set()
        assert [w.result().status_code for w in waiting] == [200, 200, 200]
        assert post(url, pictures[3]).status_code == 200


def test_a_request_that_takes_too_long_gets_504(braked: Any, pictures: list[bytes], post: Post) -> None:
    with background_server(braked, limits=Limits(timeout=0.3)) as url:
        response = post(url, pictures[0])
        assert (response.status_code, response.json()["error"]["code"]) == (504, "timeout")
        braked.gate.set()
        assert post(url, pictures[0]).status_code == 200
        # the warm-up and the last one: the one that gave up was left out
        assert braked.batches == [1, 1]


def test_a_client_asks_for_less_time_and_who_would_wait_longer_is_told_at_once(
    braked: Any, pictures: list[bytes], post: Post
) -> None:
    def hurried(url: str, seconds: str) -> httpx.Response:
        headers = {"Content-Type": "image/png", "X-Request-Timeout": seconds}
        return httpx.post(f"{url}/predict", content=pictures[0], headers=headers, timeout=30)

    with background_server(braked) as url, ThreadPoolExecutor(1) as pool:
        assert hurried(url, "0.5").status_code == 504  # and 0.5 seconds an answer are learned from it
        waiting = pool.submit(post, url, pictures[0])
        braked.wait_for_encoded(2)
        refused = hurried(url, "0.01")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "overloaded")
        braked.gate.set()
        assert waiting.result().status_code == 200
        assert hurried(url, "nonsense").status_code == 200
        assert braked.batches == [1, 1, 1]  # the warm-up too; neither the late one nor the refused one


def test_who_has_gone_is_not_computed(braked: Any, pictures: list[bytes], post: Post) -> None:
    with background_server(braked) as url:
        place = urlsplit(url)
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: {len(pictures[0])}"
        with socket.create_connection((place.hostname, place.port)) as connection:
            connection.sendall(head.encode() + b"\r\n\r\n" + pictures[0])
            braked.wait_for_encoded(1)
        # what it has said since is read before a later connection is answered
        assert httpx.get(f"{url}/healthz").status_code == 200
        braked.gate.set()
        assert post(url, pictures[0]).status_code == 200
        assert braked.batches == [1, 1]


def test_an_upload_that_never_comes_gets_504(predictor: fb.Predictor) -> None:
    with background_server(predictor, limits=Limits(timeout=0.3)) as url:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\nabc"
        status, body = talk(url, head)
        assert (status, body["error"]["code"]) == (504, "timeout")


def test_decoding_holds_at_most_the_capacity() -> None:
    gate, inside, most, lock = MemoryGate(10), 0, 0, threading.Lock()

    def work(pixels: int) -> None:
        nonlocal inside, most
        with gate.holding(pixels):
            with lock:
                inside += min(pixels, 10)
                most = max(most, inside)
            with lock:
                inside -= min(pixels, 10)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [3, 10, 7, 99, 1, 5, 5, 6] * 50))  # 99 is more than the capacity, and still gets in
    assert inside == 0 and 0 < most <= 10


def test_limits_are_above_zero() -> None:
    with pytest.raises(fb.FlambeauError, match="max_files is 0"):
        Limits(max_files=0)
