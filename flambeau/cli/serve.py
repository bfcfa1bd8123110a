"""`flambeau serve`: runs and exports behind HTTP."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import UsageError

if TYPE_CHECKING:
    from flambeau.production.log import PredictionLog

NAME = "serve"
API_KEYS, ADMIN_KEYS = "FLAMBEAU_API_KEYS", "FLAMBEAU_ADMIN_KEYS"


def command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]RUN…", help="Run folders or exports: runs/photos, or photos=runs/a for another name; or "
            "archives that are fetched: https://…/photos.tar#sha256=… (s3, gs, file).",
            show_default=False,
        ),
    ] = None,
    models: Annotated[
        Path | None, common.option("A folder that is watched, of NAME/VERSION, runs or exports; in place of runs.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.")] = 8000,
    api_keys: Annotated[
        Path | None, common.option(f"A file of keys, one a line, one of which each request must have (or {API_KEYS}).")
    ] = None,
    admin_keys: Annotated[
        Path | None, common.option(f"A file of keys for /admin, which is closed if not given (or {ADMIN_KEYS}).")
    ] = None,
    tls_cert: Annotated[Path | None, common.option("HTTPS: a PEM file of the certificate.")] = None,
    tls_key: Annotated[Path | None, common.option("HTTPS: a PEM file of its key; the same file if not given.")] = None,
    grpc_port: Annotated[
        int | None, common.option("A port for the Open Inference Protocol over gRPC; REST has it under /v2 always.")
    ] = None,
    fetch_from: Annotated[
        str | None,
        common.option("Take inputs by URL from these hosts: HOST[:PORT][,HOST]; public addresses only. Else none are."),
    ] = None,
    log: Annotated[
        str | None,
        option(
            "Keep each prediction: an SQLite file, or postgresql://…; or the environment's FLAMBEAU_LOG.",
            "--log",
            envvar="FLAMBEAU_LOG",
        ),
    ] = None,
    log_inputs: Annotated[bool, typer.Option("--log-inputs", help="Inputs too; drift is only seen of these.")] = False,
    log_sample: Annotated[float, typer.Option(help="The share of predictions that are kept.", min=0, max=1)] = 1.0,
    log_keep: Annotated[str | None, option("Forget predictions after such a time, such as 30d or 12h.")] = None,
    log_waiting: Annotated[
        Path | None, option("Where what is to be logged waits for the database; log-waiting in the run if not given.")
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes behind the port, each with the models; one that dies is replaced.", min=1)
    ] = 1,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="A line on stderr for each request; nothing of its contents.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="The same as JSON, warnings and errors too.")] = False,
    json: common.Json = False,
) -> None:  # fmt: skip
    """Serve runs and exports: POST /v1/predict, a page at /, /healthz, /readyz, /openapi.json.

    Example: `flambeau serve runs/photos --port 8000`

    Example: `flambeau serve runs/photos --log predictions.db --log-inputs --log-keep 30d`
    """
    from flambeau.run import Run
    from flambeau.serve import Doors, ModelFolder, run_server

    if bool(runs) == bool(models):
        raise UsageError(
            "there are runs and a folder of models" if runs else "there is no run",
            expected="one of them: RUN, or --models FOLDER",
        )
    folder = ModelFolder(models) if models is not None else None
    named = {name: newest.path for name, newest in folder.newest().items()} if folder else _named(runs or [])
    opened = {name: Run.open(path) for name, path in named.items()}
    hosts = [host for host in (fetch_from or "").split(",") if host.strip()]
    doors = Doors(_keys(api_keys, API_KEYS), _keys(admin_keys, ADMIN_KEYS), tls_cert, tls_key, grpc_port, hosts)
    waiting = log_waiting or next(iter(opened.values())).path / "log-waiting"
    kept_in = _log(log, waiting, log_inputs, log_sample, log_keep)
    reporter = common.reporter()
    shown = str(models or ", ".join(runs or []))

    def ready(actual: int) -> None:
        address = f"{doors.scheme}://[{host}]:{actual}" if ":" in host else f"{doors.scheme}://{host}:{actual}"
        if json:
            common.emit({"url": address, "run": shown, "models": {name: str(path) for name, path in named.items()}})
        reporter.say(f"serving {shown} at {address} (Ctrl-C stops)")

    try:
        run_server(
            folder or opened, host=host, port=port, doors=doors, ready=ready, kept_in=kept_in, workers=workers,
            logs="json" if log_json else "text" if access_log else "",
        )  # fmt: skip
    except SystemExit as stop:  # by a signal, as servers end: no error, and no second JSON document
        reporter.say("stopped")
        raise common.Ended(stop.code) from None


def _log(place: str | None, waiting: Path, inputs: bool, sample: float, keep: str | None) -> PredictionLog | None:
    """The log that is asked for.

    Raises:
        UsageError: it cannot be, or something is asked of a log, and there is none.
    """
    if place is None:
        if inputs or keep or sample != 1:
            raise UsageError("nothing is logged", fix="say where: --log predictions.db")
        return None
    from flambeau.production.log import LogSettings, PredictionLog
    from flambeau.production.tables import LogTables, seconds_of

    settings = LogSettings(inputs, sample, seconds_of(keep) if keep else None)
    return PredictionLog(LogTables(place), waiting, settings)


def _named(runs: Sequence[str]) -> dict[str, Path]:
    """Folders by the name of their model.

    Raises:
        UsageError: two have one name.
    """
    from flambeau import hub
    from flambeau.deployment.fetching import Address, fetch

    named: dict[str, Path] = {}
    for run in runs:
        name, equals, path = run.partition("=")
        if not equals or "/" in name or Path(run).exists():
            name, path = "", run
        if path.startswith(hub.SCHEME):
            name, path = name or path.partition("@")[0].rpartition("/")[2], str(hub.fetched(path))
        elif (address := Address.of(path)) is not None:
            name, path = name or address.name, str(fetch(address, reporter=common.reporter()))
        else:
            name = name or Path(path).resolve().name
        if not name or not path:
            raise UsageError(f"'{run}' is no run", expected="RUN or NAME=RUN")
        if name in named:
            raise UsageError(f"two models are called '{name}': {named[name]} and {path}", fix="name one: other=RUN")
        named[name] = Path(path)
    return named


def _keys(path: Path | None, variable: str) -> list[str]:
    from flambeau.serve.keys import checked, read_keys

    if path is not None:
        return read_keys(path)
    given = [key for key in re.split(r"[\s,]+", os.environ.get(variable, "")) if key]
    return checked(given, variable) if given else []
