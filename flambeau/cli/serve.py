"""`flambeau serve`: a run behind HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from flambeau.cli import common

NAME = "serve"


def command(
    run: common.RunPath,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.")] = 8000,
    json: common.Json = False,
) -> None:
    """Serve a run: POST /predict, a page at /, /healthz, /readyz, /openapi.json.

    Example: `flambeau serve runs/photos --port 8000`
    """
    from flambeau.run import Run
    from flambeau.serve import run_server

    opened = Run.open(run)
    reporter = common.reporter()

    def address(actual: int) -> str:
        return f"http://[{host}]:{actual}" if ":" in host else f"http://{host}:{actual}"

    def ready(actual: int) -> None:
        if json:
            common.emit({"url": address(actual), "run": str(run)})
        reporter.say(f"serving {run} at {address(actual)} (Ctrl-C stops)")

    try:
        run_server(opened.path, host=host, port=port, ready=ready)
    except SystemExit as stop:  # by a signal, as servers end: no error, and no second JSON document
        reporter.say("stopped")
        raise common.Ended(stop.code) from None
