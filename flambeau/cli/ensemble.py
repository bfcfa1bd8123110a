"""`flambeau ensemble`: several runs made into one."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import UsageError
from flambeau.core.printable import quoted

NAME = "ensemble"


def command(
    runs: Annotated[
        list[Path], typer.Argument(help="Two or more run folders; one with --snapshots.", show_default=False)
    ],
    out: Annotated[Path | None, option("The folder to leave; under runs/ if not given.")] = None,
    how: Annotated[str, typer.Option(help="mean, weighted (fitted on validation rows) or rank.")] = "mean",
    snapshots: Annotated[bool, option("Of the weights that the technique snapshots has kept of one run.")] = False,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Make one run of several, whose answer is the joint one: evaluate, predict, report and serve it like any other.

    Its members lie in it. They have the same target and were trained on the same rows; they may read other columns of
    these, or the same ones in another way.

    Example: `flambeau ensemble runs/rgb runs/hsv --how weighted --out runs/both`
    """
    from flambeau.ensembles import ensemble, snapshots_of
    from flambeau.learner import verdicts

    reporter = common.reporter()
    if snapshots:
        if len(runs) > 1:
            raise UsageError(f"{len(runs)} runs are given with --snapshots", expected="one")
        with snapshots_of(runs[0]) as members:
            run = ensemble(members, out, how=how, device=device, reporter=reporter)
    else:
        run = ensemble(runs, out, how=how, device=device, reporter=reporter)
    result = run.evaluation
    if json:
        common.emit({"run": str(run.path), "report": str(run.path / "report.html"), "split": result.get("split"),
                     "metrics": result.get("metrics", {}), "members": result.get("members", [])})  # fmt: skip
        return
    if result:
        reporter.say(verdicts.measured_on(result))
        common.echo(verdicts.figures(result))
        for member in filter(itemgetter("metrics"), result["members"]):
            common.echo(f"  {member['run']}: {verdicts.figures({'metric': result['metric'], **member})}")
    reporter.say(f"run: {run.path}")
    reporter.say(f"next: flambeau predict {quoted(run.path)} FILE, or flambeau serve {quoted(run.path)}")
