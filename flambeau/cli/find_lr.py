"""`flambeau find-lr`: which learning rate to train with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, train
from flambeau.cli.common import option

NAME = "find-lr"
SHOWN = ("model", "objective", "optimizer", "batch_size")  # of what was asked for: what the rate was found for
OF_TRAINING = ("learning_rate", "run", "no_check", "no_baseline", "dry_run", "json")  # which mean nothing here


def command(
    plot: Annotated[Path | None, option("Draw the curve into this file: .svg or .png.")] = None,
    start: Annotated[float, typer.Option(help="The lowest rate.")] = 1e-6,
    end: Annotated[float, typer.Option(help="The highest rate.")] = 10.0,
    steps: Annotated[int, typer.Option(help="How many rates are tried.")] = 100,
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Look for a learning rate: raise it from step to step on a copy of the model until the loss diverges. Nothing is
    trained, and no run is left. Takes what `flambeau train` takes; `flambeau train --learning-rate find` looks first.

    Example: `flambeau find-lr photos/ --model resnet18 --plot curve.svg`
    """
    from flambeau.report import rates

    learner = train.learner_of({**asked, "learning_rate": None})
    curve = learner.find_lr(start=start, end=end, steps=steps)
    drawn = rates.save(curve, plot) if plot is not None else None
    if json:
        common.emit({**curve.to_dict(), "plot": str(drawn) if drawn else None})
    else:
        common.echo(f"{curve.suggestion:g}")
        data = common.as_typed(asked["data"], learner.data.source if learner.data is not None else {})
        beside = [f"--{name.replace('_', '-')} {shlex.quote(str(asked[name]))}" for name in SHOWN if asked.get(name)]
        learner.reporter.say(
            " ".join([f"next: flambeau train {data}", *beside, f"--learning-rate {curve.suggestion:g}"])
        )


train.share_options(command, without=OF_TRAINING)
