"""`flambeau board`: all runs of a folder on a local page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common

NAME = "board"
USUAL = Path("runs")


def command(
    runs: Annotated[Path, typer.Argument(help="The folder of the runs.")] = USUAL,
    data: Annotated[Path, typer.Option(help="The folder that trainings may take their data from.")] = Path(),
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.")] = 8765,
    read_only: Annotated[bool, typer.Option("--read-only", help="Show, and change nothing.")] = False,
    json: common.Json = False,
) -> None:
    """Show the runs of a folder on a local page: curves while they train, two side by side, mistakes, labels to look
    through; start, stop and resume trainings from it.

    The address that it prints holds a token; without it the page shows and changes nothing. Trainings go on where the
    board is ended.

    Example: `flambeau board runs`

    Example: `flambeau board runs --data ~/data --port 9000`
    """
    from flambeau.board import Workplace, run_board
    from flambeau.core.errors import UsageError

    if not runs.exists() and runs != USUAL:
        raise UsageError(
            "there is no such folder", where=runs, fix="give the folder of the runs, or leave it out", code="not-found"
        )
    if runs.exists() and not runs.is_dir():
        raise UsageError("this is no folder", where=runs, expected="the folder that holds the runs")
    if (runs / "recipe.yaml").is_file():
        raise UsageError("this is a run", where=runs, expected=f"the folder that holds it: {runs.parent}")
    if not data.is_dir():
        raise UsageError(
            "there is no such folder", where=data, fix="give the folder that the data lies in", code="not-found"
        )
    reporter = common.reporter()

    def ready(url: str, token: str) -> None:
        address = f"{url}/#token={token}" if token else url
        if json:
            common.emit({"url": url, "token": token or None, "runs": str(runs)})
        reporter.say(f"the board of {runs} is at {address} (Ctrl-C stops it; trainings go on)")

    try:
        run_board(Workplace(runs, data), host, port, read_only=read_only, ready=ready)
    except SystemExit as stop:  # by a signal, as servers end
        reporter.say("stopped")
        raise common.Ended(stop.code) from None
