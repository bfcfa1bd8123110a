"""`flambeau cv`: how well a model does on rows that it did not see, with the spread of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, train
from flambeau.cli.common import option
from flambeau.core.printable import quoted

NAME = "cv"
OF_TRAINING = ("run", "test", "no_check", "no_baseline", "dry_run", "json", "split")  # which mean nothing here


def command(
    folds: Annotated[int | None, option("How many; one for each group of --by if not given, else 5.", min=2)] = None,
    repeats: Annotated[int, typer.Option(help="Deal the rows anew, so many times.", min=1)] = 1,
    split: Annotated[
        str,
        typer.Option(
            help="auto (grouped where there is --by, else each class alike), random, stratified, grouped, or time: "
            "each fold later than all that trains."
        ),
    ] = "auto",
    study: Annotated[Path | None, option("The folder to leave; under runs/ if not given.")] = None,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="Leave a run of all models together.")] = False,
    no_check: common.NoCheck = False,
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Train a model for each fold of the data, which tests it: mean and standard deviation of each metric, and what
    each row was answered by a model that did not see it. Asked for again after it was stopped, it goes on. Takes what
    `flambeau train` takes; --by says which rows stay together, or the folds that the data gives.

    Example: `flambeau cv photos/ --folds 5 --repeats 2`

    Example: `flambeau cv clips/ --pattern '{fold}-{clip}-{take}-{class}.wav' --by fold`
    """
    from flambeau.studies import cross_validate
    from flambeau.studies.clean import judged, suspects

    of_data = "auto" if split in ("auto", "grouped", "random", "stratified") else split
    learner = train.learner_of({**asked, "split": of_data, "test": None, "run": None, "no_baseline": True})
    found = cross_validate(
        learner, folds, repeats=repeats, by=asked["by"], method=split, valid=asked["valid"],
        seed=asked["split_seed"], check=not no_check, ensemble=ensemble, study=study,
    )  # fmt: skip
    doubted = len(suspects(found.study.path))
    if json:
        common.emit({**found.to_dict(), "suspects": doubted})
        return
    count = len(found.folds)
    common.echo(f"mean ± standard deviation over {count} trainings, each tested on rows that it did not see:")
    names = sorted(found.mean, key=lambda name: (name != found.metric, name == "loss"))
    for name in names:
        each = ", ".join(f"{fold['metrics'][name]:.4g}" for fold in found.folds[:10])
        common.echo(f"  {name} {found.mean[name]:.4f} ± {found.deviation[name]:.4f}  ({each}{', …' * (count > 10)})")
    learner.reporter.say(f"what each row was answered: {found.study.path / 'out_of_fold.parquet'}")
    if judged(found.study.path):
        learner.reporter.say(f"{doubted:,} {'label' if doubted == 1 else 'labels'} may be wrong")
    source = learner.data.source if learner.data is not None else {}
    named = shlex.join([str(asked["data"] or source.get("path") or "DATA"), "--from", str(found.study.path)])
    following = f"flambeau clean {named}" if doubted else f"flambeau train {common.as_typed(asked['data'], source)}"
    if not doubted and (objective := learner.recipe.objective.name) != "supervised":
        following += f" --objective {objective}"
    if found.ensemble is not None:
        learner.reporter.say(f"all models together: {found.ensemble.path}")
        following += f", or flambeau predict {quoted(found.ensemble.path)} FILE"
    learner.reporter.say(f"next: {following}")


train.share_options(command, without=OF_TRAINING)
