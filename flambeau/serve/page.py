"""The page at `/`: one document with its style and script inside, that asks nothing of any other address."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILES = (
    "page.html", "page.css", "page-texts.js", "page-drawn.js", "page.js", "page-made.js", "page-writes.js",
    "page-rows.js",
)  # fmt: skip


def load_page() -> tuple[bytes, str]:
    """The page, and the Content-Security-Policy that lets run what it holds and nothing else.

    Names and messages reach the page as JSON and are shown as text, so none of them is in the document.
    """
    folder = files("flambeau.serve")
    return put_together(*(folder.joinpath(name).read_text(encoding="utf-8") for name in FILES))


def put_together(html: str, style: str, *scripts: str) -> tuple[bytes, str]:
    """A page of its parts, and its Content-Security-Policy."""
    script = "\n".join(scripts)
    page = html.replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src 'self' blob: data:; "
        "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.encode(), policy


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class SafeHeaders:
    """ASGI middleware: headers that keep browsers from guessing types, framing, leaking addresses and caching; and one
    that says which version of a model has answered."""

    HEADERS = (
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    )

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                version = scope.get("answered_by")
                named = [(b"x-model-version", version.name.encode())] if version else []
                message = {**message, "headers": [*message.get("headers", ()), *self.HEADERS, *named]}
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)
