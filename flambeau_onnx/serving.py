"""`python -m flambeau_onnx serve EXPORT`: an export behind HTTP, with the standard library alone.

`POST /v1/predict` takes `{"inputs": [...]}`, files within as base64, or one picture or sound as the body;
`/health/live` and `/health/ready` (`/healthz`, `/readyz`) are for whoever looks after it. A connection is for one
request. Bounded are connections, bodies, what is held of them, what is computed at a time, sizes before decoding, and
the whole time of a request; keys are those of FLAMBEAU_API_KEYS, where there are any. What stands before it has TLS.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import hmac
import io
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flambeau_onnx.encoders import Audio, Image
from flambeau_onnx.errors import ExportError
from flambeau_onnx.model import Answer, Model, load

log = logging.getLogger(__name__)
KEYS = "FLAMBEAU_API_KEYS"
ODD = (ValueError, TypeError, LookupError, OverflowError, ArithmeticError, AttributeError, MemoryError, OSError)
"""What values raise that no encoder foresees: the client's, not the server's."""
RAW = ("image/", "audio/", "application/octet-stream")
LIVE, READY, PREDICT = ("/health/live", "/healthz"), ("/health/ready", "/readyz"), ("/v1/predict", "/predict")
LONGEST_MESSAGE = 300
LINGERING, CHUNK, LINGER_SECONDS = 32 << 20, 1 << 16, 1.0


@dataclass(frozen=True)
class Bounds:
    """What a server takes on.

    Attributes:
        connections: at one time; further ones get 503.
        body, bodies: bytes of one, and of all that are held.
        rows, files, values: inputs of a request, files among them, and values in its JSON.
        pixels: of a picture, told from its head.
        computing: requests that are decoded and computed at one time.
        seconds: of a request, from its first byte until it is read, and until it has its turn.
    """

    connections: int = 64
    body: int = 16 << 20
    bodies: int = 256 << 20
    rows: int = 1024
    files: int = 32
    values: int = 1_000_000
    pixels: int = 25_000_000
    computing: int = 2
    seconds: float = 30.0


class Refused(Exception):
    """A request that is not answered: its status, a word for programs, a line for people."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.code, self.headers = status, code, dict(headers or {})
        self.message = " ".join(message.split())[:LONGEST_MESSAGE]


class Serving:
    """A model as requests ask it.

    Args:
        name: what it is called.
    """

    def __init__(self, model: Model, name: str, bounds: Bounds = Bounds()):
        self.model, self.name, self.bounds = model, name, bounds
        self.version = hashlib.sha256((model.folder / "export.json").read_bytes()).hexdigest()[:12]
        self.files = {column for column, one in model.encoders.items() if isinstance(one, Image | Audio)}
        self.takes_file = len(model.encoders) == 1 == len(self.files)
        self._batch = 1 if any(isinstance(one, Audio) for one in model.encoders.values()) else 8 if self.files else 64
        self._turns = threading.Semaphore(bounds.computing)

    def answer(self, body: bytes, content_type: str, top: int, until: float) -> dict[str, Any]:
        """The answer to a request, plain JSON.

        Args:
            until: when nobody waits for it any more, as `time.monotonic()` has it.

        Raises:
            Refused: it cannot be read or computed.
        """
        values = self._values(body, content_type)
        if not self._turns.acquire(timeout=max(0.0, until - time.monotonic())):
            raise Refused(504, "timeout", f"this took longer than {self.bounds.seconds:g} seconds")
        try:
            entries = self._predicted(values, top)
        finally:
            self._turns.release()
        if len(entries) == 1 and "code" in entries[0]:
            raise Refused(422, entries[0]["code"], entries[0]["error"])
        return {"predictions": entries, "model": {"name": self.name, "version": self.version}}

    def _values(self, body: bytes, content_type: str) -> list[Any]:
        if self.takes_file and content_type.startswith(RAW):
            return [body]
        if content_type != "application/json":
            raise Refused(415, "content-type", f"the content type is {content_type or 'missing'}; expected "
                          "application/json" + (f" or {', '.join(RAW)}" if self.takes_file else ""))  # fmt: skip
        if sum(map(body.count, (b",", b"[", b"{"))) > self.bounds.values:
            raise Refused(413, "too-many", f"the request has too many values; expected at most {self.bounds.values:,}")
        try:
            read = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, "bad-json", f"the body is not JSON ({error})") from None
        values = read.get("inputs") if isinstance(read, dict) else None
        if not isinstance(values, list) or not values:
            raise Refused(422, "no-inputs", 'expected {"inputs": [...]} with at least one')
        most = self.bounds.files if self.files else self.bounds.rows
        if len(values) > most:
            raise Refused(413, "too-many", f"the request has {len(values):,} inputs; expected at most {most:,}")
        return values

    def _predicted(self, values: Sequence[Any], top: int) -> list[dict[str, Any]]:
        try:
            ready = [self._checked(value) for value in values]
            return [self._told(answer, top) for answer in self.model.answers(ready, self._batch)]
        except ODD as error:
            if len(values) > 1:  # those that can be are answered
                return [entry for value in values for entry in self._predicted([value], top)]
            said = str(error) if isinstance(error, ExportError) else f"the input cannot be read ({error})"
            return [{"error": " ".join(said.split())[:LONGEST_MESSAGE], "code": "unreadable"}]

    def _checked(self, value: Any) -> Any:
        """A value as the model takes it: files are bytes, never names of files that lie here."""
        if self.model.of_rows and isinstance(value, list):
            return tuple(value)
        if not self.files:
            return value
        (only,) = self.model.encoders if len(self.model.encoders) == 1 else (None,)
        row = dict(value) if isinstance(value, Mapping) else {only: value} if only is not None else {}
        if not self.files <= row.keys():
            raise ExportError(f"expected an object of {', '.join(self.model.encoders)}")
        for column in self.files:
            row[column] = self._file(column, row[column])
        return row

    def _file(self, column: str, value: Any) -> bytes:
        if isinstance(value, str):
            try:
                value = base64.b64decode(value, validate=True)
            except ValueError:
                raise ExportError(f"the value of '{column}' is not base64 text") from None
        if not isinstance(value, bytes):
            raise ExportError(f"the value of '{column}' is no file; expected its bytes as base64 text")
        if isinstance(self.model.encoders[column], Image):
            self._check_picture(value)
        return value

    def _check_picture(self, data: bytes) -> None:
        from PIL import Image as PILImage

        from flambeau_onnx.pictures import DAMAGES, SERVED, readable

        try:
            with PILImage.open(io.BytesIO(data), formats=readable(SERVED)) as picture:
                width, height = picture.size
        except (*DAMAGES, PILImage.DecompressionBombError) as error:
            raise ExportError(f"this is not a picture that can be read ({type(error).__name__}); expected "
                              f"{', '.join(readable(SERVED))}") from None  # fmt: skip
        if width * height > self.bounds.pixels:
            raise ExportError(f"the picture has {width}×{height} pixels; expected at most {self.bounds.pixels:,}")

    def _told(self, answer: Answer, top: int) -> dict[str, Any]:
        told = answer.to_dict()
        if chances := told.get("probabilities"):
            likeliest = sorted(chances.items(), key=lambda one: -one[1])
            told |= {"confidence": likeliest[0][1], "probabilities": dict(likeliest[:top])}
        if self.model.target.get("kind") == "tags":
            told |= {"tokens": [word for word, _ in told["label"]], "label": [tag for _, tag in told["label"]]}
        if told["label"] is None:
            told["outputs"] = {name: array.tolist() for name, array in answer.outputs.items()}
        return told


class Server(ThreadingHTTPServer):
    """Listens, a thread for each connection.

    Raises:
        OSError: the address cannot be listened at.
    """

    daemon_threads = False  # those that answer are waited for
    request_queue_size = 128

    def __init__(self, serving: Serving, host: str, port: int, keys: Sequence[str] = ()):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.serving, self.keys = serving, [key.encode() for key in keys]
        self.stopping = False
        self._places = threading.Semaphore(serving.bounds.connections)
        self._held, self._lock = 0, threading.Lock()
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Without looking its own name up, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers in a thread, where there is room for one more."""
        if not self._places.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.setblocking(False)
                request.send(BUSY)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A line in the log; that a client has gone is none."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request failed")

    @contextlib.contextmanager
    def holding(self, size: int) -> Iterator[None]:
        """Holds room for a body.

        Raises:
            Refused: there is none.
        """
        with self._lock:
            if self._held + size > self.serving.bounds.bodies:
                raise Refused(503, "overloaded", "too many bytes are being held", {"Retry-After": "1"})
            self._held += size
        try:
            yield
        finally:
            with self._lock:
                self._held -= size

    def allows(self, sent: str | None) -> bool:
        """Whether a key is one of the server's; compared in constant time."""
        given = (sent or "").encode()
        return not self.keys or any([hmac.compare_digest(given, key) for key in self.keys])


class _Until(io.RawIOBase):
    """What a socket receives, until a moment: a byte now and then wins no time."""

    def __init__(self, connection: socket.socket, until: float):
        self._connection, self._until = connection, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request was not whole in time")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """A request."""

    server: Server
    server_version, sys_version = "flambeau_onnx", ""

    def setup(self) -> None:
        """Begins to count its time."""
        super().setup()
        self.until = time.monotonic() + self.server.serving.bounds.seconds
        self.unread = True
        self.rfile = io.BufferedReader(_Until(self.connection, self.until))

    def finish(self) -> None:
        """Takes some of what nobody will read, so that a client that is still sending gets its answer and no reset."""
        super().finish()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            left = LINGERING if self.unread else 0
            while left > 0 and time.monotonic() < self.until:
                self.connection.settimeout(LINGER_SECONDS)
                if not (taken := len(self.connection.recv(CHUNK))):
                    break
                left -= taken

    def do_GET(self) -> None:
        """Health."""
        path = urlsplit(self.path).path
        if path in LIVE:
            self._send(200, {"status": "ok"})
        elif path in READY:
            stopping = self.server.stopping
            self._send(503 if stopping else 200, {"status": "stopping" if stopping else "ready"})
        elif path in PREDICT:
            self._refuse(Refused(405, "method", "expected POST", {"Allow": "POST"}))
        else:
            self._refuse(Refused(404, "not-found", f"there is no {path}"))

    def do_POST(self) -> None:
        """A prediction."""
        try:
            self._send(200, self._predicted())
        except Refused as refusal:
            self._refuse(refusal)
        except OSError:
            raise
        except Exception:
            log.exception("a prediction failed")
            self._refuse(Refused(500, "internal", "the server failed; its log says why"))

    def _predicted(self) -> dict[str, Any]:
        parts, server = urlsplit(self.path), self.server
        if parts.path not in PREDICT:
            raise Refused(404, "not-found", f"there is no {parts.path}")
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not server.allows(token.strip() if scheme.lower() == "bearer" else self.headers.get("X-API-Key")):
            raise Refused(401, "unauthorised", "a key is needed: Authorization: Bearer KEY",
                          {"WWW-Authenticate": "Bearer"})  # fmt: skip
        top = parse_qs(parts.query).get("top", ["5"])[0]
        if not re.fullmatch("[1-9][0-9]{0,3}", top):
            raise Refused(422, "bad-parameter", "top: expected a number from 1 to 9999")
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,18}", length) or "Transfer-Encoding" in self.headers:
            raise Refused(411, "length", "the request says no length; expected Content-Length")
        if int(length) > server.serving.bounds.body:
            raise Refused(413, "too-large", f"the request is too large; expected at most "
                          f"{server.serving.bounds.body:,} bytes")  # fmt: skip
        with server.holding(int(length)):
            body = self.rfile.read(int(length))
            self.unread = False
            if len(body) < int(length):
                raise ConnectionError("the client has gone")
            content_type = self.headers.get("Content-Type", "").split(";")[0].strip().lower()
            return server.serving.answer(body, content_type, int(top), self.until)

    def _refuse(self, refusal: Refused) -> None:
        said = {"error": {"status": refusal.status, "code": refusal.code, "message": refusal.message}}
        self._send(refusal.status, said, refusal.headers)

    def _send(self, status: int, said: Mapping[str, Any], headers: Mapping[str, str] = {}) -> None:
        try:
            body = json.dumps(said, ensure_ascii=False, allow_nan=False).encode()
        except ValueError:
            raise Refused(500, "not-finite", "the model's output is not a finite number") from None
        self.connection.settimeout(self.server.serving.bounds.seconds)
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)),
                            "X-Content-Type-Options": "nosniff", **headers}.items():  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is no request that is known, in the form of all other errors."""
        self._refuse(Refused(int(code), "bad-request", message or "this is not a request that can be read"))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what a server is asked is told by what stands before it."""


BUSY = (b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/json\r\n\r\n"
        b'{"error":{"status":503,"code":"overloaded","message":"the server has too many connections"}}')  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Serves until SIGTERM or SIGINT, and answers first what it has begun; the exit status, 128 and the signal's."""
    parser = argparse.ArgumentParser("flambeau_onnx serve", description=__doc__)
    parser.add_argument("export", help="folder of an export in the format onnx")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free")
    parser.add_argument("--name", help="what the model is called; the export's folder if not given")
    parser.add_argument("--timeout", type=float, default=Bounds.seconds, help="seconds of a request")
    asked = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    warnings.filterwarnings("ignore", "Image size")  # Pillow's, over pictures that are refused
    model = load(asked.export)
    serving = Serving(model, asked.name or model.folder.resolve().name, Bounds(seconds=asked.timeout))
    keys = [key for key in re.split(r"[\s,]+", os.environ.get(KEYS, "")) if key]
    ended: list[int] = []
    with Server(serving, asked.host, asked.port, keys) as server:

        def stop(number: int, _: Any) -> None:
            server.stopping = True
            ended.append(number)
            threading.Thread(target=server.shutdown).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        host = f"[{asked.host}]" if ":" in asked.host else asked.host
        sys.stdout.write(f"serving {serving.name} at http://{host}:{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
    return 128 + ended[0]
