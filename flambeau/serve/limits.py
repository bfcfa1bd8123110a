"""The bounds of a server, and the guard in front of the application that holds requests to them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from starlette.requests import ClientDisconnect

from flambeau.core.errors import UsageError
from flambeau.serve.keys import Keys
from flambeau.serve.metrics import Metrics, gauge
from flambeau.serve.problems import Problem, body_too_large, busy, overloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from prometheus_client.metrics_core import Metric
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_SECONDS = 5.0
SMALL = 256 * 2**10
"""Bytes of a body that is read though its request is refused, so that the connection can be kept."""
TIMEOUT_HEADER = b"x-request-timeout"
DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""Until when whoever asked waits, as `time.monotonic()` has it."""
PATIENT = ("/v1/completions", "/v1/chat/completions", "/admin/")
"""What a path begins with where answers are waited for by `text_timeout`: texts, and models that are loaded."""


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        max_body: bytes of a request.
        max_memory: bytes of all bodies that are held at one time. Where more come, the upload that has lasted longest
            without being whole gets 503.
        max_pixels: pixels of a picture, told from its head before it is decoded.
        max_decoding: bytes that decoding a picture may take, as its format and mode need them by pixel; also those of
            all that are being decoded at one time.
        max_files: pictures in a request.
        max_generated: samples made anew for a request.
        max_texts: texts that go on, or wait to, by a language model; further ones get 429.
        max_tokens: tokens that a text goes on by.
        max_rows: rows in a request, for models that take JSON.
        max_values: values in the JSON of a request, those within lists and objects counted.
        max_queue: requests that have arrived whole and wait or are computed; further ones get 429. An upload takes no
            place before it is whole. So do those that would wait longer than they have, as fast as the model is.
        max_connections: open connections. Where more come, the one that has waited longest for its client gives way.
        max_per_address: those of one address (of IPv6 one network of 64 bits). Behind a proxy all are the proxy's.
        max_batch: inputs in a forward pass.
        max_wait: seconds that a forward pass waits at most for inputs that are still being decoded.
        header_timeout: seconds for the head of a request, from its first byte; then 408.
        keep_alive: seconds that a connection may be silent between requests. Longer than proxies and clients keep one
            (often 60), so that none is closed while they send on it.
        timeout: seconds for a request, the upload included; then 504. As many for the client to take the answer. A
            request may ask for fewer by the header `X-Request-Timeout`.
        text_timeout: seconds for texts to come to an end, in place of `timeout`.
        fetch_timeout: seconds for an input to be fetched in, where a request names it by its URL.
        decode_threads: threads that decode pictures.
        forward_threads: threads that the model is computed in at most, on a processor; together they have as many cores
            as torch has.

    Raises:
        UsageError: one of them is not above zero.
    """

    max_body: int = 16 * 2**20
    max_memory: int = 256 * 2**20
    max_pixels: int = 50_000_000
    max_decoding: int = 400 * 2**20
    max_files: int = 32
    max_generated: int = 64
    max_texts: int = 256
    max_tokens: int = 4096
    max_rows: int = 1024
    max_values: int = 1_000_000
    max_queue: int = 1024
    max_connections: int = 2048
    max_per_address: int = 1024
    max_batch: int = 32
    max_wait: float = 0.004
    header_timeout: float = 10.0
    keep_alive: float = 75.0
    timeout: float = 30.0
    text_timeout: float = 300.0
    fetch_timeout: float = 10.0
    decode_threads: int = 2
    forward_threads: int = 8

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not value > 0:
                raise UsageError(f"the limit {entry.name} is {value}", expected="a number above 0")

    @property
    def drain(self) -> float:
        """Seconds that what is being answered when the server stops may still take."""
        return max(self.timeout, self.text_timeout)


@dataclass(eq=False)
class _Upload:
    """A request whose body arrives, or has arrived."""

    limit: asyncio.Timeout
    size: int = 0
    whole: bool = False
    refusal: Problem | None = None


class Guard:
    """ASGI middleware: refuses who has no key, bodies that are too large and requests beyond the queue, ends what
    lasts too long.

    A body is refused by its Content-Length before any of it is read, and one without a length as soon as it has
    passed the limit. The application gets a body when it is whole, and only then does the request take a place.

    Args:
        refusal: why a request would wait too long, told from its head.
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, keys: Keys = Keys(), metrics: Metrics | None = None,
        refusal: Callable[[Scope], Problem | None] = lambda scope: None,
    ):  # fmt: skip
        self.app, self.limits, self.keys, self.refusal = app, limits, keys, refusal
        self.in_flight = 0
        self._held = 0
        if metrics is not None:
            metrics.readings.append(self._readings)
        self._uploads: dict[_Upload, None] = {}  # those that are not whole, the oldest first

    def _readings(self) -> Iterable[Metric]:
        yield gauge("flambeau_queue_requests", "Requests that have arrived whole, and wait or are computed.", (),
                    [((), self.in_flight)])  # fmt: skip
        yield gauge("flambeau_queue_limit", "How many they may be; further ones get 429.", (),
                    [((), self.limits.max_queue)])  # fmt: skip
        yield gauge("flambeau_uploads_bytes", "Bytes of the bodies that are held.", (), [((), self._held)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if problem := self.keys.refusal(scope) or _refused(scope, self.limits):
            await self._refuse(problem, scope, receive, send)
            return
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        seconds = _seconds(scope, self.limits)
        DEADLINE.set(time.monotonic() + seconds)
        upload = _Upload(asyncio.timeout(seconds))
        try:
            async with upload.limit:
                if scope["method"] == "POST":
                    refusal = self._no_room(scope)
                    if refusal is not None and _length(scope) > SMALL:
                        raise refusal
                    body = await self._read(upload, receive)
                    if refusal is not None:  # the connection is kept: a new one would cost more than this body
                        raise refusal
                    if scope["path"].startswith(PATIENT):  # whoever answers keeps to it; this is for all that may hang
                        patience = self.limits.text_timeout + LINGER_SECONDS
                        upload.limit.reschedule(asyncio.get_running_loop().time() + patience)
                        await self._in_queue(scope, _once(body, receive), noted)
                    else:
                        await self._while_awaited(self._in_queue(scope, _once(body), noted), receive)
                else:
                    await self.app(scope, receive, noted)
            return
        except ClientDisconnect:
            return
        except Problem as raised:
            problem = raised
        except TimeoutError:
            if not upload.limit.expired():
                raise
            late = Problem(504, "timeout", f"this took longer than {seconds:g} seconds")
            problem = upload.refusal or late
        finally:
            self._uploads.pop(upload, None)
            self._held -= upload.size
        if not started:
            await self._refuse(problem, scope, receive, send, upload.whole)

    def _no_room(self, scope: Scope) -> Problem | None:
        """Why a request need not be read: the queue is full, or it would wait too long."""
        if self.in_flight >= self.limits.max_queue:
            return busy("the server is busy: too many requests are waiting")
        return self.refusal(scope)

    async def _in_queue(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.in_flight >= self.limits.max_queue:
            raise busy("the server is busy: too many requests are waiting")
        self.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.in_flight -= 1

    @staticmethod
    async def _while_awaited(answering: Coroutine[Any, Any, None], receive: Receive) -> None:
        """Answers a request whose body is whole, and gives up as soon as its client has gone."""
        task = asyncio.create_task(answering)
        gone = asyncio.ensure_future(receive())  # after a whole body a client sends nothing more: only that it has gone
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientDisconnect
            task.result()
        finally:
            for one in (task, gone):
                one.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await one

    async def _read(self, upload: _Upload, receive: Receive) -> bytes:
        """The whole body.

        Raises:
            Problem: it is too large, or there is no room for it.
        """
        body = bytearray()
        self._uploads[upload] = None
        while not upload.whole:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnect
            body += (chunk := message.get("body", b""))
            upload.size += len(chunk)
            self._held += len(chunk)
            if upload.size > self.limits.max_body:
                raise body_too_large(self.limits.max_body)
            if self._held > self.limits.max_memory:
                self._make_room(upload)
            upload.whole = not message.get("more_body", False)
        del self._uploads[upload]
        return bytes(body)

    def _make_room(self, newest: _Upload) -> None:
        """Refuses the upload that has lasted longest, which may be the one that asks for room."""
        oldest = next(iter(self._uploads))
        refusal = overloaded("the server holds too many uploads")
        if oldest is newest:
            raise refusal
        del self._uploads[oldest]
        self._held -= oldest.size
        oldest.size, oldest.refusal = 0, refusal
        with contextlib.suppress(RuntimeError):  # its own time is over just now
            oldest.limit.reschedule(asyncio.get_running_loop().time())

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send, whole: bool = False) -> None:
        """Answers; where the body is not whole, what still arrives of it is thrown away.

        A socket that is closed with unread bytes in it resets the connection, and the client may lose the answer. So
        the answer goes first, then what still arrives is read, up to the body limit and for some seconds.
        """
        scope["rejected"] = problem.code
        body = problem.body(scope["path"])
        headers = {"content-type": "application/json", "content-length": str(len(body))}
        headers |= {} if whole else {"connection": "close"}
        headers |= {name.lower(): value for name, value in problem.headers.items()}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
        await send({"type": "http.response.body", "body": body, "more_body": not whole})
        if whole:
            return
        left = self.limits.max_body
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LINGER_SECONDS, self.limits.timeout)):
                while left > 0:
                    message = await receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        break
                    left -= len(message.get("body", b""))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _once(body: bytes, receive: Receive | None = None) -> Receive:
    """A `receive` that gives this body, then what the other gives, or nothing for as long as it is waited for."""
    sent = False

    async def receive_body() -> Message:
        nonlocal sent
        if sent:
            return await (receive() if receive is not None else asyncio.Future())
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


def _length(scope: Scope) -> float:
    """Bytes of the body, as the head says; without end where it does not say."""
    length = dict(scope["headers"]).get(b"content-length", b"")
    return int(length) if length.isdigit() else math.inf


def _seconds(scope: Scope, limits: Limits) -> float:
    """How long a request may take: `timeout`, or less where it says so; what it says is no number counts as nothing."""
    for name, value in scope["headers"]:
        if name == TIMEOUT_HEADER:
            with contextlib.suppress(ValueError):
                asked = float(value)
                return asked if 0 < asked < limits.timeout else limits.timeout
    return limits.timeout


def _refused(scope: Scope, limits: Limits) -> Problem | None:
    """What is wrong with a request by its head alone."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > limits.max_body:
        return body_too_large(limits.max_body)
    if length and b"transfer-encoding" in headers:
        return Problem(400, "bad-request", "the request has both a Content-Length and a Transfer-Encoding")
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1")
    if encoding.lower() != "identity":
        return Problem(415, "content-encoding", f"the body is encoded as {encoding}; expected it as it is")
    if scope["method"] == "POST" and headers.get(b"sec-fetch-site") == b"cross-site":
        return Problem(403, "cross-site", "a page of another site has sent this; only this server's own page may")
    return None
