"""Requests as an operator sees them: an id for each, a line in the log, a count."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
import uuid
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flambeau.serve import tracing
from flambeau.serve.metrics import Metrics
from flambeau.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
access = logging.getLogger("flambeau.access")

ID_HEADER = "x-request-id"
KNOWN_ID = re.compile(r"[\x21-\x7e]{1,128}")
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that is being answered."""
GONE = 499
"""The status that is noted where the client had gone before it was answered."""
LONGEST_PATH = 200


def request_id(sent: str | None) -> str:
    """The id that a client sent, or a new one where it sent none that can be echoed."""
    return sent if sent is not None and KNOWN_ID.fullmatch(sent) else uuid.uuid4().hex


class Observed:
    """ASGI middleware: gives each request an id, echoes it, counts it, and writes a line to the logger
    `flambeau.access`: method, path without its query, status, milliseconds, model; nothing of contents.

    What the application fails on is logged with its traceback, and answered here: so this answer has an id too.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        id, began, status = request_id(headers.get(ID_HEADER)), time.perf_counter(), 0
        REQUEST_ID.set(id)

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, version = message["status"], scope.get("answered_by")
                tracing.annotate(
                    request_id=id, **({"model": version.model, "version": version.name} if version else {})
                )
                message = {**message, "headers": [*message.get("headers", ()), (ID_HEADER.encode(), id.encode())]}
            await send(message)

        path = scope.get("raw_path", b"").decode("latin-1")[:LONGEST_PATH]
        try:
            await self.app(scope, receive, noted)
        except Exception:
            log.exception("%s %s failed", scope["method"], path)
            if status:
                raise  # the answer has begun: the connection is closed
            await _answer(Problem(500, "internal", "the server failed; its log says why"), scope, noted)
        finally:
            self._note(scope, path, status or GONE, time.perf_counter() - began)

    def _note(self, scope: Scope, path: str, status: int, seconds: float) -> None:
        version = scope.get("answered_by")
        model, name = (version.model, version.name) if version else ("", "")
        route = getattr(scope.get("route"), "path", "")
        self.metrics.request(model, name, route, status, seconds)
        if code := scope.get("rejected"):
            self.metrics.rejection(code, status)
        client = scope["client"][0] if scope.get("client") else ""
        note_access(scope["method"], path, status, seconds, model, name, client)


def note_access(
    method: str, path: str, status: int, seconds: float, model: str = "", version: str = "", client: str = "",
    id: str = "",
) -> None:  # fmt: skip
    """A line of a request that has been answered, to whoever wants such lines.

    Args:
        id: of the request, where it is not REQUEST_ID.
    """
    if access.isEnabledFor(logging.INFO):
        fields = {"client": client, "method": method, "path": path, "status": status,
                  "ms": round(1e3 * seconds, 1), "model": model, "version": version}  # fmt: skip
        access.info(
            '%s "%s %s" %d %.1f ms %s', client or "-", method, path, status, 1e3 * seconds,
            f"{model}/{version}" if model else "-", extra={"fields": fields, "request": id},
        )  # fmt: skip


async def _answer(problem: Problem, scope: Scope, send: Send) -> None:
    body = problem.body(scope["path"])
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope["rejected"] = problem.code
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Lines(logging.Formatter):
    """A line of text: when, how grave, what, and of which request."""

    def format(self, record: logging.LogRecord) -> str:
        """The record on a line; a traceback follows on lines of its own."""
        id = getattr(record, "request", None) or REQUEST_ID.get()
        when = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return f"{when} {record.levelname.lower()} {super().format(record)}{f' id={id}' if id else ''}"


class JsonLines(logging.Formatter):
    """A JSON object on a line: time, level, logger, message, request, the fields of an access line, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage(),
        }  # fmt: skip
        if id := getattr(record, "request", None) or REQUEST_ID.get():
            told["request"] = id
        told |= getattr(record, "fields", {})
        if record.exc_info:
            told["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(told, ensure_ascii=False)


def write_logs(as_json: bool) -> None:
    """Lets all loggers of this process write lines to stderr: requests, warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if as_json else Lines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    access.setLevel(logging.INFO)
