"""`flambeau tune`: which settings are best."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, train
from flambeau.cli.common import option

NAME = "tune"
OF_TRAINING = ("run", "metric", "no_check", "no_baseline", "dry_run", "json")  # which are else here, or mean nothing


def command(
    tune: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=RANGE", help="A setting, and what is tried: 1e-4..1e-2:log, or sgd,adamw."),
    ] = None,
    space: Annotated[Path | None, option("The same as YAML: a line for each setting.")] = None,
    trials: Annotated[int | None, option("How many, of all workers together; 30 if not given, or the grid.")] = None,
    method: Annotated[str, typer.Option(help="tpe, gp, random or grid.")] = "tpe",
    name: Annotated[str | None, option("Of the study's folder in runs/; the data's if not given.")] = None,
    storage: Annotated[
        str | None, option("postgresql://…, that workers on several machines share; SQLite in the folder if not given.")
    ] = None,
    no_prune: Annotated[bool, typer.Option("--no-prune", help="Train each trial to its end.")] = False,
    lost_after: Annotated[
        int, typer.Option(help="Seconds without a sign from a worker until its trial is begun again.")
    ] = 60,
    metric: common.Metric = None,
    no_check: common.NoCheck = False,
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Search for the settings that validate best, by Optuna. The test rows are measured once, by the best. Takes what
    `flambeau train` takes.

    The same command goes on where a search was stopped; with the same --storage and --name it helps from another
    machine.

    Example: `flambeau tune photos/ --tune learning_rate=1e-4..1e-2:log --tune optimizer=sgd,adamw --trials 30`

    Example: `flambeau tune photos/ --space space.yaml --storage postgresql://me@db/search --name photos-tune`
    """
    from flambeau import studies
    from flambeau.core.errors import UsageError

    if space is not None and tune:
        raise UsageError("--space and --tune were both given", fix="give one of them")
    learner = train.learner_of({**asked, "run": None, "metric": metric})
    study = studies.tune(
        learner, space if space is not None else tune or [], trials=trials, method=method, name=name, storage=storage,
        prune=not no_prune, lost_after=lost_after, check=not no_check,
    )  # fmt: skip
    result = study.result or {}
    data = common.as_typed(asked["data"], learner.data.source if learner.data is not None else {})
    following = f"flambeau train {data} --recipe {shlex.quote(result['recipe'])}"
    if json:
        common.emit({"study": str(study.path), **result, "next": following})
        return
    best, states = result["best"], [trial["state"] for trial in result["trials"]]
    ended = "".join(f", {states.count(s)} {s}" for s in ("pruned", "failed") if s in states)
    common.echo(f"best of {len(states)} trials{ended}: trial {best['trial']}, {result['metric']} {best['value']:.4f} "
                "on the validation rows")  # fmt: skip
    if result["test"]:
        common.echo(f"on the test rows: {common.show_metrics(result['test'])}")
    for setting, value in best["settings"].items():
        share = result["importance"].get(setting)
        common.echo(f"  {setting} {value}" + (f"  ({share:.0%} of what matters)" if share is not None else ""))
    learner.reporter.say(f"report: {result['report']}")
    learner.reporter.say(f"next: {following}")


train.share_options(command, without=OF_TRAINING)
