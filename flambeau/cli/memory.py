"""`flambeau memory`: where the memory of a training goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, train
from flambeau.cli.common import option
from flambeau.core.errors import UsageError

NAME = "memory"
OF_TRAINING = ("run", "no_check", "no_baseline", "dry_run", "json", "data")  # which mean nothing here, or another thing
COLUMNS = ("parameters", "gradients", "optimizer", "activations")


def command(
    data: Annotated[
        Path | None, typer.Argument(help="A run, or what `flambeau train` takes.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(help="Layers that are shown, the largest first.", min=1)] = 12,
    snapshot: Annotated[Path | None, option("On CUDA: a file for pytorch.org/memory_viz.")] = None,
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Say where the memory of a training step goes: by layer parameters, gradients, optimizer state and activations,
    and the peak; and what gradient checkpointing would save and cost. Measured on the largest batch of the training;
    nothing is kept. Takes a run, whose recipe and data it measures, or what `flambeau train` takes.

    Example: `flambeau memory photos/ --model resnet18 --batch-size 64`

    Example: `flambeau memory runs/photos`
    """
    from flambeau.run import Run
    from flambeau.studies.memory import memory

    if data is not None and (data / "recipe.yaml").exists():
        if Run(data).members:
            raise UsageError("an ensemble is not trained as one", where=data, fix=f"take {data / 'members' / '1'}")
        given = {**asked, "data": None, "recipe": data / "recipe.yaml"}
    else:
        given = {**asked, "data": data}
    learner = train.learner_of({**given, "run": False, "no_baseline": True})
    result = memory(learner, snapshot)
    if json:
        common.emit(result)
        return
    plain, other = result["plain"], result["checkpointed"]
    common.echo(
        f"a step of {result['model']} on {result['batch_size']} samples takes {mib(plain['peak'])} at its peak: "
        + ", ".join(f"{what} {mib(plain[what])}" for what in COLUMNS)
    )
    layers = sorted(plain["layers"], key=lambda layer: -sum(layer[what] for what in COLUMNS))
    name_width = max([len(layer["name"] or "(model)") for layer in layers[:top]] + [5])
    common.echo(f"  {'layer':{name_width}}  " + "  ".join(f"{what:>11}" for what in COLUMNS))
    for layer in layers[:top]:
        figures = "  ".join(f"{mib(layer[what]):>11}" for what in COLUMNS)
        common.echo(f"  {layer['name'] or '(model)':{name_width}}  {figures}  {layer['kind']}")
    if rest := layers[top:]:
        sums = "  ".join(f"{mib(sum(layer[what] for layer in rest)):>11}" for what in COLUMNS)
        common.echo(f"  {f'{len(rest)} more':{name_width}}  {sums}")
    if other is not None:
        slower = other["seconds"] / plain["seconds"] - 1
        saved = plain["peak"] - other["peak"]
        brought = f"would bring the peak to {mib(other['peak'])} ({saved / plain['peak']:.0%} less)"
        common.echo(
            f"gradient checkpointing {brought} and take {slower:.0%} more time a step: "
            "--technique gradient_checkpointing"
            if saved > 0
            else "gradient checkpointing would save nothing here"
        )
    if "allocated" in result:
        common.echo(f"torch's allocator held {mib(result['allocated'])} on {result['device']} at the most")
    if snapshot is not None:
        common.echo(f"next: open {snapshot} at pytorch.org/memory_viz")


def mib(size: float) -> str:
    """Bytes in MiB.

    >>> mib(3 * 2**20), mib(1500)
    ('3.0 MiB', '0.0 MiB')
    """
    return f"{size / 2**20:,.1f} MiB"


train.share_options(command, without=OF_TRAINING)
