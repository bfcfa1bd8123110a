"""`flambeau models`: the models that can be trained by name."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from flambeau.cli import common

NAME = "models"


def command(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with *.")] = "*",
    groups: Annotated[
        bool, typer.Option("--groups", help="Of one model, its layer groups from input to head: what is frozen as one.")
    ] = False,
    json: common.Json = False,
) -> None:
    """List the models that can be trained by name: Flambeau's own, timm's and torchvision's.

    Example: `flambeau models resnet`

    Example: `flambeau models resnet18 --groups`
    """
    from flambeau.models.catalog import list_models

    if groups:
        tell_groups(pattern, json)
        return
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


def tell_groups(name: str, as_json: bool) -> None:
    """The layer groups of a model: a line for each, its name, layers and parameters."""
    from flambeau.models import layer_groups, skeleton

    built = skeleton(name)
    found = layer_groups(built.model, built.head_parameters())
    if as_json:
        common.emit({"model": name, "groups": [group.to_dict() for group in found]})
        return
    rows = [("group", "layers", "parameters"), *((g.name, str(len(g.layers)), f"{g.count:,}") for g in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, layers, count in rows:
        common.echo(f"{name:{widths[0]}}  {layers:>{widths[1]}}  {count:>{widths[2]}}")
