"""`flambeau dataset`: datasets made of something else than labelled files."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common, watch

NAME = "dataset"


class Way(StrEnum):
    """What a dataset is made of."""

    FROM_LOG = "from-log"


def command(
    way: Annotated[Way, typer.Argument(help="from-log: of the predictions that a server kept.", show_default=False)],
    run: common.RunPath,
    log: watch.LogPlace,
    out: Annotated[Path, typer.Option(help="The folder that is made.", show_default=False)],
    since: watch.Since = None,
    model: watch.Model = None,
    unsure: Annotated[int, typer.Option(help="Rows of low confidence to label, at most.", min=0)] = 100,
    drifted: Annotated[int, typer.Option(help="Rows unlike the training's to label, at most.", min=0)] = 100,
    json: common.Json = False,
) -> None:
    """Make a dataset of what a served run met: rows with feedback to train on, and unsure and drifted ones to label.

    Example: `flambeau dataset from-log runs/photos --log predictions.db --out met`
    """
    from flambeau.production.collecting import collect
    from flambeau.production.tables import LogTables, ago
    from flambeau.run import Run

    result = collect(Run.open(run), LogTables(log), out, model=model, since=ago(since), unsure=unsure,
                     drifted=drifted, reporter=common.reporter())  # fmt: skip
    if json:
        common.emit(result)
        return
    common.echo(f"{result['train']}: {result['answered']:,} rows with their right answer")
    common.echo(
        f"{result['label']}: {result['unsure']:,} of low confidence and {result['drifted']:,} drifted, to label"
    )
    if result["answered"]:
        source = {"target": result["target"], "inputs": result["inputs"]}
        common.reporter().say(f"next: flambeau train {common.as_typed(Path(result['train']), source)}")
