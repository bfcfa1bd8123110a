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

    def ready(actual: int) -> None:
        if json:
            common.emit({"url": f"http://{host}:{actual}", "run": str(run)})
        reporter.say(f"serving {run} at http://{host}:{actual} (Ctrl-C stops)")

    run_server(opened.path, host=host, port=port, ready=ready)
