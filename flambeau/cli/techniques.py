"""`flambeau techniques`: the tricks that can be switched on by name."""

from __future__ import annotations

from typing import Annotated

import typer

from flambeau.cli import common

NAME = "techniques"


def command(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with *.")] = "*",
    json: common.Json = False,
) -> None:
    """List the tricks that `train --technique NAME` switches on: what they do, their options, and what they cost.

    Example: `flambeau techniques mix`
    """
    import fnmatch

    from flambeau.techniques.described import all_described

    wanted = pattern if "*" in pattern else f"*{pattern}*"
    listed = [d for d in all_described() if fnmatch.fnmatch(d.name, wanted)]
    if json:
        common.emit({"techniques": [d.to_dict() for d in listed]})
        return
    for d in listed:
        options = "".join(f" {name}={default}" for name, default in d.options.items())
        common.echo(f"{d.name}{options}")
        for line in (d.what, d.paper, f"{d.costs} {d.gain}".strip()):
            common.echo(f"    {line}")
    if not listed:
        common.echo(f"no technique's name fits '{pattern}'")
