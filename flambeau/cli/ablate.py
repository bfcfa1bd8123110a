"""`flambeau ablate`: what each part of a training brings, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, compare, train
from flambeau.cli.common import option

NAME = "ablate"


def command(
    what: Annotated[Path, typer.Argument(help="Data, or a run whose recipe is taken apart.", show_default=False)],
    seeds: Annotated[int, typer.Option(help="Trainings of each, with other seeds.", min=1)] = 3,
    part: Annotated[
        list[str] | None, option("Leave out of these alone: techniques, augmentation, inputs; repeatable.")
    ] = None,
    out: Annotated[Path | None, option("The page; comparison.html in the study's folder if not given.")] = None,
    study: Annotated[Path | None, option("The folder to leave; under runs/ if not given.")] = None,
    language: common.Language = "en",
    metric: common.Metric = None,
    no_check: common.NoCheck = False,
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Leave out one technique, augmentation or input at a time: what each brings, and what it costs. Takes what
    `flambeau train` takes; stopped, the same command goes on.

    Example: `flambeau ablate houses.csv --target price --technique ema --technique label_smoothing --seeds 3`

    Example: `flambeau ablate runs/photos --part techniques`
    """
    from flambeau import studies
    from flambeau.report.words import Words
    from flambeau.studies.variants import PARTS

    Words(language)  # one that is not known is told before anything is trained
    learner = compare.variants_of(what, {**asked, "metric": metric})
    left, comparison = studies.ablate(
        learner, seeds=seeds, parts=part or PARTS, metric=metric, check=not no_check, study=study
    )
    compare.tell(comparison, out or left.path / "comparison.html", language, json, study=str(left.path))


train.share_options(command, without=(*compare.OF_TRAINING, "data"))
