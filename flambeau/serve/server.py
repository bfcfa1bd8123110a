"""Running the application: the socket, the signals, and the word that says where it listens."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from flambeau.core.errors import UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.predictor import Predictor
from flambeau.run import Run
from flambeau.serve.app import create_app
from flambeau.serve.connection import connections
from flambeau.serve.limits import Limits

OTHER_FILES = 256
"""File descriptors that are kept for all but connections."""


class Server(uvicorn.Server):
    """uvicorn's server, that calls back when it listens."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]):
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, then says so."""
        await super().startup(sockets)
        if self.started:
            self._listening()


def run_server(
    predictor: Predictor | Run | str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    limits: Limits = Limits(),
    title: str | None = None,
    ready: Callable[[int], None] | None = None,
    reporter: Reporter | None = None,
) -> None:
    """Serves a model until SIGINT or SIGTERM; requests that are being computed get their answers first.

    Once all is closed the signal is raised again, for the handler that was there before: so Ctrl-C ends in
    KeyboardInterrupt, and SIGTERM ends the process, as if there had been no server.

    Args:
        predictor: a Predictor, or a run to load one from.
        host: the address to listen at. Others than this machine's own are warned about: nothing asks for a password.
        port: 0 for any free one.
        limits: bounds on sizes, queues and times.
        title: what the model is called; the name of the run if not given.
        ready: called with the port as soon as the server listens.
        reporter: where the warning goes; stderr if not given.

    Raises:
        RunError: there is no such run, or it has no weights.
        UsageError: the address cannot be listened at, or the model cannot be served.
    """
    predictor, title = _load(predictor, title)
    server, listener = _prepare(predictor, host, port, limits, title, ready, reporter or Reporter())
    server.run(sockets=[listener])


@contextlib.contextmanager
def background_server(
    predictor: Predictor | Run | str | Path, host: str = "127.0.0.1", port: int = 0, *, limits: Limits = Limits(),
    title: str | None = None,
) -> Iterator[str]:  # fmt: skip
    """Serves a model in a thread while the block runs; gives the address, such as `http://127.0.0.1:40123`.

    Arguments and errors as for `run_server`.
    """
    predictor, title = _load(predictor, title)
    listening = threading.Event()
    server, listener = _prepare(predictor, host, port, limits, title, lambda _: listening.set(), QUIET)
    address = _address(listener)
    failure: list[BaseException] = []

    def run() -> None:
        try:
            server.run(sockets=[listener])
        except BaseException as error:  # noqa: BLE001 -- raised again in the thread that asked for the server
            failure.append(error)
        finally:
            listening.set()

    thread = threading.Thread(target=run, name="flambeau-server")
    thread.start()
    listening.wait()
    try:
        if failure:
            raise failure[0]
        yield address
    finally:
        server.should_exit = True
        thread.join()


def _load(predictor: Predictor | Run | str | Path, title: str | None) -> tuple[Predictor, str]:
    if isinstance(predictor, Predictor):
        return predictor, title or "Flambeau"
    path = predictor.path if isinstance(predictor, Run) else Path(predictor)
    return Predictor.load(predictor), title or path.resolve().name


def _prepare(
    predictor: Predictor, host: str, port: int, limits: Limits, title: str,
    ready: Callable[[int], None] | None, reporter: Reporter,
) -> tuple[Server, socket.socket]:  # fmt: skip
    limits = _with_room(limits)
    app = create_app(predictor, limits=limits, title=title)
    listener = _listen(host, port)
    address, number = listener.getsockname()[:2]
    if not ipaddress.ip_address(address.split("%")[0]).is_loopback:
        reporter.say(
            f"warning: {address} can be reached from other machines, and nothing asks who they are; "
            "put it behind something that does, or leave --host out",
            style="yellow",
        )
    config = uvicorn.Config(
        app, http=connections(limits), ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=int(limits.timeout) + 1,
    )  # fmt: skip
    return Server(config, lambda: ready(number) if ready else None), listener


def _with_room(limits: Limits) -> Limits:
    """The limits with no more connections than this process may have; it lets itself have as many as it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.max_connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(ValueError, OSError):  # some systems have a lower bound than they tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        soft = allowed
    return dataclasses.replace(limits, max_connections=max(1, min(limits.max_connections, soft - OTHER_FILES)))


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        UsageError: the address does not exist here, or is taken.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"there is no port {port}", expected="0 to 65535")
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # with the protocol spelled out: only then does asyncio switch Nagle's delay (40 ms an answer) off
        listener = socket.socket(address[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(listener.close)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address[4])
            listener.listen(128)
            on_failure.pop_all()
        return listener
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host} port {port} ({error.strerror or error})",
            fix="choose another port (0 for any free one) or host",
        ) from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
