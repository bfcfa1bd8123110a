"""Running the board: until it is stopped, or beside other code."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import threading
from collections.abc import Callable, Iterator

import uvicorn

from flambeau.board.app import create_app
from flambeau.board.workplace import Workplace
from flambeau.serve.server import Server, address_of, in_background, listen

MOST_AT_ONCE = 64
"""Connections."""


def run_board(
    work: Workplace, host: str = "127.0.0.1", port: int = 0, *, read_only: bool = False,
    ready: Callable[[str, str], None] | None = None,
) -> None:  # fmt: skip
    """Serves the board until SIGINT or SIGTERM. Trainings that it has started go on.

    Args:
        host: where it listens. Others than the loopback let nobody read without the token either.
        read_only: nothing can be changed, and there is no token on the loopback.
        ready: called with the address and the token as soon as it listens.

    Raises:
        UsageError: the address cannot be listened at.
    """
    server, listener, token = _prepare(work, host, port, read_only, ready)
    del token
    server.run(sockets=[listener])


@contextlib.contextmanager
def background_board(work: Workplace, host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[str, str]]:
    """Serves the board in a thread while the block runs; gives its address and its token."""
    listening = threading.Event()
    server, listener, token = _prepare(work, host, port, False, lambda *_: listening.set())
    with in_background(server, listener, listening):
        yield address_of(listener, "http"), token


def _prepare(
    work: Workplace, host: str, port: int, read_only: bool, ready: Callable[[str, str], None] | None
) -> tuple[Server, socket.socket, str]:
    listener = listen(host, port)
    here = ipaddress.ip_address(listener.getsockname()[0].split("%")[0]).is_loopback
    token = "" if read_only and here else secrets.token_urlsafe(24)
    app = create_app(work, token=token, guarded=not here, changes=not read_only)
    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, limit_concurrency=MOST_AT_ONCE, timeout_graceful_shutdown=3,
    )  # fmt: skip
    address = address_of(listener, "http")
    return Server(config, lambda: ready(address, token) if ready else None), listener, token
