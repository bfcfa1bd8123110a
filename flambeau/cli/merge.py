"""`flambeau merge`: a fine-tuned language model as a folder for transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common

NAME = "merge"


def command(
    run: common.RunPath,
    out: Annotated[Path, typer.Option(help="The folder to write.", show_default=False)],
    json: common.Json = False,
) -> None:
    """Write a fine-tuned language model as a folder of transformers, its adapter merged.

    Example: `flambeau merge runs/chats --out merged`
    """
    from flambeau.predictor.merging import merge

    folder = merge(run, out)
    size = sum(file.stat().st_size for file in folder.iterdir())
    if json:
        common.emit({"folder": str(folder), "bytes": size})
        return
    common.echo(f"{folder}: {size / 1e6:,.1f} MB, the adapter merged; go on with: flambeau train … --model hf:{folder}")
