"""`flambeau watch`: a served run by its log of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.printable import quoted

NAME = "watch"
LogPlace = Annotated[
    str, typer.Option("--log", help="Where predictions are kept, as `flambeau serve --log` was told.",
                      envvar="FLAMBEAU_LOG", show_default=False)
]  # fmt: skip
Since = Annotated[str | None, option("Only predictions of such a time, such as 7d or 12h; all if not given.")]
Model = Annotated[str | None, option("What the server calls it; by the run's folder and weights if not given.")]


def command(
    run: common.RunPath,
    log: LogPlace,
    since: Since = None,
    model: Model = None,
    out: Annotated[Path | None, option("The page; watch.html in the run if not given.")] = None,
    metrics: Annotated[Path | None, option("Gauges for Prometheus, as a text file.")] = None,
    language: common.Language = "en",
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Watch a served run: live accuracy by feedback, class mix, confidence, and drift of what it is asked. The exit
    status is 1 where anything is amiss.

    Example: `flambeau watch runs/photos --log predictions.db --since 7d`
    """
    from flambeau.core.errors import UsageError
    from flambeau.core.files import write_atomic
    from flambeau.production.tables import LogTables, ago
    from flambeau.production.watching import gauges, lines, watch
    from flambeau.report.production import build
    from flambeau.report.words import Words
    from flambeau.run import Run

    Words(language)
    for path in (out, metrics):
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError("there is no such folder", where=path.parent, fix="make it", code="not-found")
    opened, tables = Run.open(run), LogTables(log)
    result = watch(opened, tables, model=model, since=ago(since), device=device, reporter=common.reporter())
    page = out or run / "watch.html"
    write_atomic(page, build(result, language).encode())
    if metrics is not None:
        write_atomic(metrics, gauges(result).encode())
    if json:
        common.emit({**result, "page": str(page)})
    else:
        for line in lines(result):
            common.echo(line)
        common.reporter().say(f"page: {page}")
        if result["alerts"]:
            common.reporter().say(f"next: flambeau dataset from-log {quoted(run)} --log {quoted(tables)} --out FOLDER")
    if result["alerts"]:
        raise common.Ended(1)
