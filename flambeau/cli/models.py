"""`flambeau models`: the models that can be trained by name."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from flambeau.cli import common

NAME = "models"


def command(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with *.")] = "*",
    json: common.Json = False,
) -> None:
    """List the models that can be trained by name: Flambeau's own, timm's and torchvision's.

    Example: `flambeau models resnet`
    """
    from flambeau.models.catalog import list_models

    found = list_models(pattern)
    if json:
        common.emit({"models": [dataclasses.asdict(m) for m in found]})
        return
    for model in found:
        count = model.parameters or 0
        told = f"{count / 1e6:.1f} M" if count >= 100_000 else f"{count / 1e3:.0f} k"
        size = f"  {told} parameters" if count else ""
        common.echo(f"{model.name}{size}{f'  {model.note}' if model.note else ''}")
    if not found:
        common.echo(f"no model's name fits '{pattern}'")
