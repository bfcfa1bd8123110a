"""`flambeau report`: the report of a run."""

from __future__ import annotations

from flambeau.cli import common

NAME = "report"


def command(run: common.RunPath, language: common.SameLanguage = None, json: common.Json = False) -> None:
    """Write a run's report anew: report.html, one self-contained file, whose path is printed.

    Example: `flambeau report runs/photos`
    """
    from flambeau import report
    from flambeau.run import Run

    path = report.write(Run.open(run), language=language)
    if json:
        common.emit({"report": str(path)})
    else:
        common.echo(path)
