"""`flambeau report`: the report of a run."""

from __future__ import annotations

import typer

from flambeau.cli import common

NAME = "report"


def command(run: common.RunPath, json: common.Json = False) -> None:
    """Write a run's report anew (report.html, one self-contained file) and print its path.

    Example: `flambeau report runs/photos`
    """
    from flambeau import report
    from flambeau.run import Run

    path = report.write(Run.open(run))
    if json:
        common.emit({"report": str(path)})
    else:
        typer.echo(path)
