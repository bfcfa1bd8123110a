"""Running the application: the socket, the signals, and the word that says where it listens."""

from __future__ import annotations

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
from typing import TYPE_CHECKING

import uvicorn

from flambeau.core.errors import UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.predictor import Predictor
from flambeau.run import Run
from flambeau.serve.app import create_app
from flambeau.serve.connection import connections
from flambeau.serve.folder import ModelFolder
from flambeau.serve.keys import Keys
from flambeau.serve.limits import Limits
from flambeau.serve.metrics import Metrics

if TYPE_CHECKING:
    from flambeau.production.log import PredictionLog

OTHER_FILES = 256
"""File descriptors that are kept for all but connections."""
Served = Predictor | Run | str | Path
Models = Served | Mapping[str, Served] | ModelFolder


@dataclasses.dataclass(frozen=True)
class Doors:
    """Who is let in, and how.

    Attributes:
        api_keys: what clients say; nobody is asked where there are none.
        admin_keys: what is said to change the models; nobody may where there are none.
        tls_cert: a PEM file of the certificate and those that sign it: the server then speaks HTTPS.
        tls_key: a PEM file of its key; in the same file if not given.
        grpc_port: where the Open Inference Protocol is spoken over gRPC, at the same address; nowhere if not given.
    """

    api_keys: Sequence[str] = ()
    admin_keys: Sequence[str] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    grpc_port: int | None = None

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

    Raises:
        RunError: there is no such run, or it has no weights.
        UsageError: the address cannot be listened at, or the model cannot be served.
    """
    server, listener = _prepare(predictor, host, port, limits, title, doors, ready, reporter or Reporter(), kept_in)
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
    address = _address(listener, doors.scheme)
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


def _load(served: Models, title: str | None) -> tuple[dict[str, Predictor], dict[str, str]]:
    """Predictors by name, and where they came from."""
    if isinstance(served, ModelFolder):
        served = {name: newest.path for name, newest in served.newest().items()}
    if not isinstance(served, Mapping):
        name = "Flambeau" if isinstance(served, Predictor) else _path_of(served).resolve().name
        served = {title or name: served}
    predictors = {name: one if isinstance(one, Predictor) else Predictor.load(one) for name, one in served.items()}
    return predictors, {name: str(_path_of(one)) for name, one in served.items() if not isinstance(one, Predictor)}


def _path_of(run: Run | str | Path) -> Path:
    return run.path if isinstance(run, Run) else Path(run)


def _prepare(
    served: Models, host: str, port: int, limits: Limits, title: str | None, doors: Doors,
    ready: Callable[[int], None] | None, reporter: Reporter, kept_in: PredictionLog | None,
) -> tuple[Server, socket.socket]:  # fmt: skip
    limits = _with_room(limits)
    predictors, sources = _load(served, title)
    title = title or (next(iter(predictors)) if len(predictors) == 1 else "Flambeau")
    keys, metrics = Keys(doors.api_keys, doors.admin_keys), Metrics()
    beside, folder = None, served if isinstance(served, ModelFolder) else None
    if doors.grpc_port is not None:
        from flambeau.serve import rpc

        rpc.check_installed()
        _listen(host, doors.grpc_port).close()  # so that a port that is taken is told before anything is loaded
        tls = (doors.tls_cert, doors.tls_key) if doors.tls_cert is not None else None
        beside = partial(
            rpc.serving, keys=keys, limits=limits, metrics=metrics, host=host, port=doors.grpc_port, tls=tls
        )
    app = create_app(
        predictors,
        limits=limits,
        title=title,
        keys=keys,
        sources=sources,
        kept_in=kept_in,
        beside=beside,
        folder=folder,
        metrics=metrics,
    )
    doors.check()
    listener = _listen(host, port)
    address, number = listener.getsockname()[:2]
    if not keys.needed and not ipaddress.ip_address(address.split("%")[0]).is_loopback:
        reporter.say(
            f"warning: {address} can be reached from other machines, and nothing asks who they are; "
            "give --api-keys, put it behind something that does, or leave --host out",
            style="yellow",
        )
    config = uvicorn.Config(
        app, http=connections(limits, metrics), ws="none", lifespan="on", log_config=None, access_log=False,
        server_header=False,
        proxy_headers=False, timeout_graceful_shutdown=int(limits.timeout) + 1,
        ssl_certfile=doors.tls_cert, ssl_keyfile=doors.tls_key,
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


def _address(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
