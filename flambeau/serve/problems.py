"""What a client is told when something does not go: one status, one code for programs, one line for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

LONGEST_MESSAGE = 300


class Problem(Exception):
    """A request, or one input of it, that cannot be served.

    Args:
        status: the HTTP status.
        code: a short fixed name, for programs and for translation.
        message: one line for people.
        headers: further response headers.
    """

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None):
        self.status, self.code, self.message = status, code, one_line(message)
        self.headers = dict(headers or {})
        super().__init__(self.message)

    def to_dict(self) -> dict[str, Any]:
        """The body of the response."""
        return {"error": {"status": self.status, "code": self.code, "message": self.message}}

    def told(self, path: str) -> dict[str, Any]:
        """The body of the response to a path: under `/v2` in the form of the Open Inference Protocol."""
        return {"error": self.message} if path == "/v2" or path.startswith("/v2/") else self.to_dict()

    def body(self, path: str = "") -> bytes:
        """The same as JSON."""
        return json.dumps(self.told(path), ensure_ascii=False).encode()


def one_line(text: str) -> str:
    """The text on one line of at most 300 characters: messages may quote what a client sent, escapes for terminals and
    marks that turn the direction of writing among it.

    >>> one_line("two\\nlines"), one_line("\\x1b[2J")
    ('two lines', '\\\\x1b[2J')
    """
    line = " ".join(text[: 4 * LONGEST_MESSAGE].split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


def body_too_large(limit: int) -> Problem:
    """The request is larger than `limit` bytes."""
    return Problem(413, "too-large", f"the request is too large; expected at most {limit:,} bytes")


def overloaded(what: str) -> Problem:
    """The server cannot take a request as it is now; the client may come again in a second."""
    return Problem(503, "overloaded", what, {"Retry-After": "1"})


def busy(what: str, seconds: float = 1.0) -> Problem:
    """More is asked of the server than it can do; the client may come again in so many seconds."""
    return Problem(429, "overloaded", what, {"Retry-After": str(max(1, math.ceil(seconds)))})
