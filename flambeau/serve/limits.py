"""The bounds of a server, and the guard in front of the application that holds requests to them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from flambeau.core.errors import UsageError
from flambeau.serve.problems import Problem, body_too_large, overloaded

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """What a server takes on. The memory for uploads is at most `max_queue` × `max_body`.

    Attributes:
        max_body: bytes of a request.
        max_pixels: pixels of a picture, told from its head before it is decoded; also of all that are being decoded
            at one time.
        max_files: pictures in a request.
        max_rows: rows in a request, for models that take JSON.
        max_queue: requests that are being read, waiting or computed at one time; further ones get 503.
        max_connections: open connections.
        max_batch: inputs in a forward pass.
        max_wait: seconds that a forward pass waits at most for inputs that are still being decoded.
        timeout: seconds for a request, the upload included; then 504.
        decode_threads: threads that decode pictures.

    Raises:
        UsageError: one of them is not above zero.
    """

    max_body: int = 16 * 2**20
    max_pixels: int = 50_000_000
    max_files: int = 32
    max_rows: int = 1024
    max_queue: int = 64
    max_connections: int = 512
    max_batch: int = 32
    max_wait: float = 0.004
    timeout: float = 30.0
    decode_threads: int = 2

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not value > 0:
                raise UsageError(f"the limit {entry.name} is {value}", expected="a number above 0")


class BodyTooLarge(Exception):
    """The body that is arriving has passed the limit. No handler of the application knows it: the guard answers."""


class Guard:
    """ASGI middleware: refuses bodies that are too large, requests beyond the queue, and ends those that last too long.

    A body is refused by its Content-Length before any of it is read, and one without a length as soon as it has
    passed the limit.
    """

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self.limits = app, limits
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if (_content_length(scope) or 0) > self.limits.max_body:
            await self._refuse(body_too_large(self.limits.max_body), receive, send)
        elif scope["method"] != "POST":
            await self._serve(scope, receive, send)
        elif self.in_flight >= self.limits.max_queue:
            await self._refuse(overloaded("the server is busy: too many requests are waiting"), receive, send)
        else:
            self.in_flight += 1
            try:
                await self._serve(scope, receive, send)
            finally:
                self.in_flight -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        received, more, started = 0, True, False

        async def counted() -> Message:
            nonlocal received, more
            message = await receive()
            received += len(message.get("body", b""))
            more = message.get("more_body", False)
            if received > self.limits.max_body:
                raise BodyTooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        limit = asyncio.timeout(self.limits.timeout)
        try:
            async with limit:
                await self.app(scope, counted, noted)
            return
        except ClientDisconnect:
            return
        except BodyTooLarge:
            problem = body_too_large(self.limits.max_body)
        except TimeoutError:
            if not limit.expired():
                raise
            problem = Problem(504, "timeout", f"this took longer than {self.limits.timeout:g} seconds")
        if not started:
            await self._refuse(problem, receive if more else _ended, send)

    async def _refuse(self, problem: Problem, receive: Receive, send: Send) -> None:
        """Answers without the body having been read.

        A socket that is closed with unread bytes in it resets the connection, and the client may lose the answer. So
        the answer goes first, then what still arrives is thrown away, up to the body limit and for some seconds.
        """
        body = problem.body()
        headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        headers |= {name.lower(): value for name, value in problem.headers.items()}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        left = self.limits.max_body
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(LINGER_SECONDS, self.limits.timeout)):
                while left > 0:
                    message = await receive()
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        break
                    left -= len(message.get("body", b""))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _ended() -> Message:
    return {"type": "http.disconnect"}


def _content_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None
