"""Who may ask: keys of clients, and apart from them those of administrators."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from flambeau.core.errors import UsageError
from flambeau.core.files import read_regular
from flambeau.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.types import Scope

SHORTEST = 16
OPEN = ("/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
"""What is answered without a key: nothing of a model is in it."""
ADMIN = "/admin/"
BEARER = {"WWW-Authenticate": "Bearer"}


class Keys:
    """The keys that are let in, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    Kept as digests, and compared with all of them in constant time, so that the time of an answer tells nothing of
    a key.

    Args:
        clients: for all but the administration; none needed where it is empty.
        administrators: for the administration alone, which is closed where it is empty.
    """

    def __init__(self, clients: Collection[str] = (), administrators: Collection[str] = ()):
        self._clients, self._administrators = (
            [_digest(key.encode()) for key in keys] for keys in (clients, administrators)
        )
        self.needed, self.administered = bool(clients), bool(administrators)

    def refusal(self, scope: Scope) -> Problem | None:
        """Why a request is not let in."""
        admin = scope["path"].startswith(ADMIN)
        if admin and not self.administered:
            return Problem(403, "closed", "nobody may change the models of this server; it has no keys for that")
        if not admin and (not self.needed or scope["path"] in OPEN):
            return None
        return self.refusal_of(key_of(dict(scope["headers"])), admin)

    def refusal_of(self, key: bytes | None, admin: bool = False) -> Problem | None:
        """Why this key is not let in, where one is needed."""
        if not admin and not self.needed:
            return None
        if key is None:
            told = "a key is needed; expected the header 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            return Problem(401, "no-key", told, BEARER)
        given, matches = _digest(key), 0
        for known in self._administrators if admin else self._clients:
            matches += hmac.compare_digest(given, known)
        return None if matches else Problem(401, "wrong-key", "the key is none of those that are let in", BEARER)


def key_of(headers: dict[bytes, bytes]) -> bytes | None:
    """The key among headers with lower-case names."""
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key")


def read_keys(path: Path) -> list[str]:
    """The keys of a file, one a line; empty lines and those that begin with # are none.

    Raises:
        RunError: it cannot be read. UsageError: it has none, or one that can be guessed.
    """
    try:
        lines = read_regular(path).decode().splitlines()
    except UnicodeDecodeError:
        raise UsageError("the keys are no text", where=path, expected="one a line, in UTF-8") from None
    return checked([line.strip() for line in lines if line.strip() and not line.startswith("#")], str(path))


def checked(keys: list[str], where: str) -> list[str]:
    """The keys, none of which can be guessed.

    Raises:
        UsageError: there is none, or one that is too short or no word of ASCII.
    """
    if not keys:
        raise UsageError("there is no key", where=where, expected="one a line")
    for number, key in enumerate(keys, 1):
        if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
            raise UsageError(
                f"key {number} has {len(key)} characters", where=where,
                expected=f"at least {SHORTEST} letters, digits and signs without spaces",
                fix='make one: python -c "import secrets; print(secrets.token_urlsafe(32))"',
            )  # fmt: skip
    return keys


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
