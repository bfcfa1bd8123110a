"""`flambeau compare`: runs side by side on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option

NAME = "compare"


def command(
    what: Annotated[list[Path], typer.Argument(help="Two or more run folders.", show_default=False)],
    data: Annotated[
        Path | None, option("Other labelled data to compare on; the rows that all runs held out if not given.")
    ] = None,
    out: Annotated[Path | None, option("The page; comparison.html beside the first run if not given.")] = None,
    language: Annotated[str, typer.Option(help="Of the page: en or zh-CN.")] = "en",
    metric: common.Metric = None,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Put runs side by side on the same rows: which is better and whether by chance, what differs in their recipes,
    and the samples that only one gets right; in the terminal and on one page.

    Example: `flambeau compare runs/resnet18 runs/mobilenet`
    """
    from flambeau.studies import compare

    reporter = common.reporter()
    comparison = compare(what, data, metric=metric, device=device, reporter=reporter)
    tell(comparison, out or what[0].parent / "comparison.html", language, json)


def tell(comparison: Any, out: Path, language: str, as_json: bool) -> None:
    """Writes the page, and says what came out."""
    page = comparison.write(out, language)
    if as_json:
        common.emit({**comparison.to_dict(), "page": str(page)})
        return
    for line in comparison.lines():
        common.echo(line)
    common.reporter().say(f"page: {page}")
