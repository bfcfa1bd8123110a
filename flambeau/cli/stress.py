"""`flambeau stress`: a run on spoilt input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option

NAME = "stress"


@common.reads_other_data()
def command(
    run: common.RunPath,
    data: common.OtherData = None,
    corruptions: Annotated[
        str | None, option("Which, by name, such as 'noise,blur'; all that its inputs know if not given.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Rows that are measured, at most; 0 for all.", min=0)] = 500,
    seed: Annotated[int, typer.Option(help="Another seed spoils otherwise.")] = 0,
    out: Annotated[Path | None, option("The page; stress.html in the run if not given.")] = None,
    language: common.Language = "en",
    device: common.Device = "auto",
    metric: common.Metric = None,
    json: common.Json = False,
    **reading: Any,
) -> None:
    """Measure a run under noise, blur, slips of the keyboard, missing values and the like, each at five severities: a
    table, the worst with what hardens against it, and a page of curves.

    Example: `flambeau stress runs/photos`

    Example: `flambeau stress runs/photos other-photos/ --corruptions noise,blur --samples 200`
    """
    from flambeau.core.errors import UsageError
    from flambeau.core.files import write_atomic
    from flambeau.report.stress import build
    from flambeau.report.words import Words
    from flambeau.studies.corrupted import lines, stress

    Words(language)  # what cannot be written is told before the work
    if out is not None and not out.absolute().parent.is_dir():
        raise UsageError(
            "there is no such folder for the page",
            where=out.parent,
            fix="make it, or give another --out",
            code="not-found",
        )
    names = [name.strip() for name in (corruptions or "").split(",") if name.strip()]
    result = stress(
        run, data, corruptions=names, samples=samples, seed=seed, metric=metric, device=device,
        reporter=common.reporter(), **reading,
    )  # fmt: skip
    page = out or run / "stress.html"
    write_atomic(page, build(run.resolve().name, result, language).encode())
    if json:
        for one in result["corruptions"]:
            one.pop("examples")
        common.emit({**result, "page": str(page)})
        return
    for line in lines(result):
        common.echo(line)
    common.reporter().say(f"page: {page}")
