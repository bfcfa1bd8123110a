"""Running the application: the socket, the signals, and the word that says where it listens."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ipaddress
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import uvicorn

from flambeau.core import plugins
from flambeau.core.errors import UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.predictor import Predictor
from flambeau.run import Run
from flambeau.serve import heap
from flambeau.serve.app import create_app
from flambeau.serve.connection import connections
from flambeau.serve.folder import ModelFolder
from flambeau.serve.keys import Keys
from flambeau.serve.limits import LINGER_SECONDS, Limits
from flambeau.serve.metrics import Metrics
from flambeau.serve.observing import write_logs
from flambeau.serve.remote import Fetching

if TYPE_CHECKING:
    from fastapi import FastAPI

    from flambeau.production.log import PredictionLog
    from flambeau.serve.worker import Joined

OTHER_FILES = 256
"""File descriptors that are kept for all but connections."""
Served = Predictor | Run | str | Path
Models = Served | Mapping[str, Served] | ModelFolder
Logs = Literal["", "text", "json"]
BACKLOG = 2048
"""Connections that the system holds until they are accepted."""


@dataclasses.dataclass(frozen=True)
class Doors:
    """Who is let in, and how.

    Attributes:
        api_keys: what clients say; nobody is asked where there are none.
        admin_keys: what is said to change the models; nobody may where there are none.
        tls_cert: a PEM file of the certificate and those that sign it: the server then speaks HTTPS.
        tls_key: a PEM file of its key; in the same file if not given.
        grpc_port: where the Open Inference Protocol is spoken over gRPC, at the same address; nowhere if not given.
        fetch_from: hosts that inputs are fetched from, where a request names them by URL: `pictures.example`,
            `store.example:8443`. Only from public addresses; see `flambeau.serve.remote`.
    """

    api_keys: Sequence[str] = ()
    admin_keys: Sequence[str] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    grpc_port: int | None = None
    fetch_from: Sequence[str] = ()

    @property
    def scheme(self) -> str:
        """What an address begins with."""
        return "https" if self.tls_cert else "http"

    def check(self) -> None:
        """Looks at the certificate.

        Raises:
            UsageError: the certificate or its key cannot be read, or they do not go together.
        """
        if self.tls_cert is None:
            if self.tls_key is not None:
                raise UsageError("there is a key for TLS and no certificate", fix="give --tls-cert too")
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key, password="")
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"the certificate cannot be used ({error.strerror or error})",
                where=self.tls_cert,
                expected="PEM files of a certificate and its key, without a password",
            ) from None


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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops: what has connected before is answered, and told to come no more; see `Connection.shutdown`."""
        crowd = [connection for one in sockets or () for connection in _accepted(one)]
        for server in self.servers:
            server.close()
        config, loop = self.config, asyncio.get_running_loop()
        kind: Any = config.http_protocol_class
        made = partial(kind, config=config, server_state=self.server_state,
                       app_state=self.lifespan.state)  # fmt: skip
        patience = LINGER_SECONDS if config.ssl else None  # one that never begins its handshake holds nobody up
        greeted = (
            loop.connect_accepted_socket(made, one, ssl=config.ssl, ssl_handshake_timeout=patience) for one in crowd
        )
        await asyncio.gather(*greeted, return_exceptions=True)
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        await super().shutdown(sockets)


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """The connections that wait to be accepted."""
    with contextlib.suppress(OSError):  # none waits
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def run_server(
    predictor: Models,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    limits: Limits = Limits(),
    title: str | None = None,
    doors: Doors = Doors(),
    kept_in: PredictionLog | None = None,
    ready: Callable[[int], None] | None = None,
    reporter: Reporter | None = None,
    workers: int = 1,
    logs: Logs = "",
) -> None:
    """Serves one or several models until SIGINT or SIGTERM; requests that are being computed get their answers first.

    Once all is closed the signal is raised again, for the handler that was there before: so Ctrl-C ends in
    KeyboardInterrupt, and SIGTERM ends the process, as if there had been no server.

    Args:
        predictor: a Predictor, or a run or export to load one from; several by name; or a folder of them.
        host: the address to listen at. Others than this machine's own are warned about where no key is asked for.
        port: 0 for any free one.
        limits: bounds on sizes, queues and times.
        title: what the model is called; the name of the run if not given.
        doors: who is let in, and how.
        kept_in: a log of its predictions; see `flambeau.production.log`.
        ready: called with the port as soon as the server listens.
        reporter: where the warning goes; stderr if not given.
        workers: processes that answer at one address; each loads the models and has these limits of its own. One that
            dies is replaced. A script asks for several under `if __name__ == "__main__":`.
        logs: lines to stderr of each request, of warnings and errors: none, as text, or as JSON.

    Raises:
        RunError: there is no such run, or it has no weights.
        UsageError: the address cannot be listened at, or the model cannot be served.
    """
    reporter = reporter or Reporter()
    if logs:
        write_logs(as_json=logs == "json")
    if workers < 1:
        raise UsageError(f"there are {workers} workers", expected="1 or more")
    if workers > 1:
        _run_workers(workers, predictor, host, port, limits, title, doors, ready, reporter, kept_in, logs)
        return
    heap.limit_arenas()
    server, listener = _prepare(predictor, host, port, limits, title, doors, ready, reporter, kept_in)
    server.run(sockets=[listener])


@contextlib.contextmanager
def background_server(
    predictor: Models, host: str = "127.0.0.1", port: int = 0, *, limits: Limits = Limits(),
    title: str | None = None, doors: Doors = Doors(), kept_in: PredictionLog | None = None,
) -> Iterator[str]:  # fmt: skip
    """Serves one or several models in a thread while the block runs; gives the address, such as `http://127.0.0.1:40123`.

    Arguments and errors as for `run_server`.
    """
    listening = threading.Event()
    server, listener = _prepare(predictor, host, port, limits, title, doors, lambda _: listening.set(), QUIET, kept_in)
    with in_background(server, listener, listening):
        yield address_of(listener, doors.scheme)


@contextlib.contextmanager
def in_background(server: uvicorn.Server, listener: socket.socket, listening: threading.Event) -> Iterator[None]:
    """Runs a server in a thread while the block runs.

    Args:
        listening: set by the server as soon as it listens.
    """
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
        yield
    finally:
        server.should_exit = True
        thread.join()


@dataclasses.dataclass(frozen=True)
class Building:
    """What a server's process is made of.

    Attributes:
        sources: where the models came from, by name.
        versions: what they are called, where it is not 1.
        folder: where new versions come from, if this process is to look.
        joined: the place of this process among several; None where it is alone.
    """

    predictors: Mapping[str, Predictor]
    sources: Mapping[str, str]
    limits: Limits
    title: str
    doors: Doors
    host: str
    kept_in: PredictionLog | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    folder: ModelFolder | None = None
    joined: Joined | None = None


def build(of: Building) -> tuple[FastAPI, uvicorn.Config]:
    """The application, and how uvicorn is to run it.

    Raises:
        UsageError: a model cannot be served. MissingExtra: gRPC is asked for, and not installed.
    """
    limits, doors = of.limits, of.doors
    keys, metrics = Keys(doors.api_keys, doors.admin_keys), Metrics()
    beside = None
    if doors.grpc_port is not None:
        from flambeau.serve import rpc

        rpc.check_installed()
        tls = (doors.tls_cert, doors.tls_key) if doors.tls_cert is not None else None
        beside = partial(
            rpc.serving, keys=keys, limits=limits, metrics=metrics, host=of.host, port=doors.grpc_port, tls=tls,
            shared=of.joined is not None,
        )  # fmt: skip
    app = create_app(
        of.predictors, limits=limits, title=of.title, keys=keys, sources=of.sources, versions=of.versions,
        kept_in=of.kept_in, beside=beside, folder=of.folder, metrics=metrics, joined=of.joined,
        fetching=Fetching(doors.fetch_from, limits) if doors.fetch_from else None,
    )  # fmt: skip
    config = uvicorn.Config(
        app, http=connections(limits, metrics), ws="none", lifespan="on", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=int(limits.drain) + 1,
        loop="asyncio",  # uvloop does not share a listening socket among processes as `Shared` does
        timeout_keep_alive=int(limits.keep_alive) + 1,  # ours comes first
        ssl_certfile=doors.tls_cert, ssl_keyfile=doors.tls_key,
    )  # fmt: skip
    return app, config


def _named(served: Models, title: str | None) -> tuple[dict[str, Served], dict[str, str]]:
    """What is served by name, and where it comes from."""
    if isinstance(served, ModelFolder):
        served = {name: newest.path for name, newest in served.newest().items()}
    if not isinstance(served, Mapping):
        name = "Flambeau" if isinstance(served, Predictor) else _path_of(served).resolve().name
        served = {title or name: served}
    named = dict(served)
    return named, {name: str(_path_of(one)) for name, one in named.items() if not isinstance(one, Predictor)}


def _path_of(run: Run | str | Path) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def _versions(served: Models, sources: Mapping[str, str]) -> dict[str, str]:
    """Of a folder of models the names of their versions; of others they are numbered."""
    return {name: Path(source).name for name, source in sources.items()} if isinstance(served, ModelFolder) else {}


def _titled(title: str | None, named: Mapping[str, Served]) -> str:
    return title or (next(iter(named)) if len(named) == 1 else "Flambeau")


def _prepare(
    served: Models, host: str, port: int, limits: Limits, title: str | None, doors: Doors,
    ready: Callable[[int], None] | None, reporter: Reporter, kept_in: PredictionLog | None,
) -> tuple[Server, socket.socket]:  # fmt: skip
    limits = _with_room(limits)
    named, sources = _named(served, title)
    if doors.grpc_port is not None:
        listen(host, doors.grpc_port).close()  # so that a port that is taken is told before anything is loaded
    predictors = {name: one if isinstance(one, Predictor) else Predictor.load(one) for name, one in named.items()}
    building = Building(
        predictors, sources, limits, _titled(title, named), doors, host, kept_in, _versions(served, sources),
        served if isinstance(served, ModelFolder) else None,
    )  # fmt: skip
    _, config = build(building)
    doors.check()
    listener = listen(host, port)
    _warn(listener, doors, reporter)
    number = listener.getsockname()[1]
    return Server(config, lambda: ready(number) if ready else None), listener


def _run_workers(
    workers: int, served: Models, host: str, port: int, limits: Limits, title: str | None, doors: Doors,
    ready: Callable[[int], None] | None, reporter: Reporter, kept_in: PredictionLog | None, logs: Logs,
) -> None:  # fmt: skip
    from flambeau.serve import changes, worker
    from flambeau.serve.workers import Workers, threads_each

    limits = _with_room(limits)
    named, sources = _named(served, title)
    if loaded := [name for name in named if name not in sources]:
        raise UsageError(f"the model '{loaded[0]}' is in this process only", expected="runs or exports, which each "
                         "worker loads", fix="save it, or serve it without workers")  # fmt: skip
    for path in sources.values():
        Run.open(Path(path))
    if doors.grpc_port is not None:
        listen(host, doors.grpc_port).close()
    doors.check()
    versions = _versions(served, sources)
    states = [changes.first_state(name, versions.get(name, "1"), source) for name, source in sources.items()]
    place = None
    if kept_in is not None:
        url = kept_in.tables.url.render_as_string(hide_password=False)
        place = (url, kept_in.folder, kept_in.settings)
        kept_in.tables.engine.dispose()
    plan = worker.Plan(limits, _titled(title, named), doors, host, threads_each(workers), logs, place,
                       tuple(plugins.places()))  # fmt: skip
    listener = listen(host, port)
    _warn(listener, doors, reporter)
    number = listener.getsockname()[1]
    folder = served if isinstance(served, ModelFolder) else None
    Workers(workers, plan, states, listener, folder).run(lambda: ready(number) if ready else None)


def _warn(listener: socket.socket, doors: Doors, reporter: Reporter) -> None:
    """Says so where anybody may ask."""
    address = listener.getsockname()[0]
    if not doors.api_keys and not ipaddress.ip_address(address.split("%")[0]).is_loopback:
        reporter.say(
            f"warning: {address} can be reached from other machines, and nothing asks who they are; "
            "give --api-keys, put it behind something that does, or leave --host out",
            style="yellow",
        )


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


def listen(host: str, port: int) -> socket.socket:
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
            listener.listen(BACKLOG)
            on_failure.pop_all()
        return listener
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host} port {port} ({error.strerror or error})",
            fix="choose another port (0 for any free one) or host",
        ) from None


def address_of(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
