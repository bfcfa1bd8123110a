"""Who may ask a board, and who may change things by it."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from flambeau.serve.keys import key_of
from flambeau.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

COOKIE = "flambeau-board"
SESSION = "/api/session"
READING = ("GET", "HEAD")
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


class Doors:
    """ASGI middleware. A request must name the loopback as its host, so that no other site's name leads here (DNS
    rebinding); one that changes things must come from this server's own page and hold the token. Where other machines
    can reach the board, it may have any name, and reading needs the token too: in a header, or in the cookie that POST
    /api/session sets.

    Args:
        token: what changes things.
        guarded: whether reading needs the token too.
        changes: whether anything can be changed at all.
    """

    def __init__(self, app: ASGIApp, token: str, guarded: bool, changes: bool):
        self.app, self.token, self.guarded, self.changes = app, token, guarded, changes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := self.refusal(scope)):
            body = problem.body(scope["path"])
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": problem.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await self.app(scope, receive, send)

    def refusal(self, scope: Scope) -> Problem | None:
        """Why a request is not let in."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if not self.guarded and name not in LOOPBACK:
            return Problem(421, "host", f"this is not the server of '{name}'")
        if scope["method"] in READING:
            if scope["path"] == "/" or not self.guarded or self._known(headers, cookie=True):
                return None
            return Problem(401, "no-token", "the board's token is needed; open the address that it was started with")
        if headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
            return Problem(403, "cross-site", "a page of another site has sent this; only the board's own page may")
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        if origin and origin != f"{scope.get('scheme', 'http')}://{host}":
            return Problem(403, "cross-site", "a page of another site has sent this; only the board's own page may")
        if not self.changes and scope["path"] != SESSION:
            return Problem(403, "read-only", "this board shows runs and changes nothing")
        if not self._known(headers):
            return Problem(401, "no-token", "the board's token is needed; open the address that it was started with")
        return None

    def _known(self, headers: dict[bytes, bytes], cookie: bool = False) -> bool:
        given = key_of(headers)
        if given is None and cookie:
            try:
                found = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
            except CookieError:
                found = None
            given = found.value.encode() if found else None
        return bool(self.token) and given is not None and hmac.compare_digest(given, self.token.encode())
