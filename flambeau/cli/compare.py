"""`flambeau compare`: runs, or variants that it trains first, side by side on the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, train
from flambeau.cli.common import option

NAME = "compare"
OF_TRAINING = ("run", "recipe", "no_check", "no_baseline", "dry_run", "json")  # which mean nothing here


def command(
    what: Annotated[
        list[Path],
        typer.Argument(help="Two or more run folders; or data, or one run, with --over.", show_default=False),
    ],
    over: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=A,B,…", help="A setting and its values, to train with each; repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="With --over: trainings of each, with other seeds.", min=1)] = 1,
    data: Annotated[
        Path | None, option("Of runs: other labelled data to compare on; the rows that all held out if not given.")
    ] = None,
    out: Annotated[Path | None, option("The page; comparison.html beside the first run if not given.")] = None,
    study: Annotated[Path | None, option("With --over: the folder to leave; under runs/ if not given.")] = None,
    language: Annotated[str, typer.Option(help="Of the page: en or zh-CN.")] = "en",
    metric: common.Metric = None,
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not look for mistakes in the data first.")] = False,
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Put runs side by side on the same rows: which is better and whether by chance, what differs in their recipes,
    and the samples that only one gets right; in the terminal and on one page. With --over it trains variants first, and
    takes what `flambeau train` takes; stopped, the same command goes on.

    Example: `flambeau compare runs/resnet18 runs/mobilenet`

    Example: `flambeau compare photos/ --over optimizer=sgd,adamw --over learning_rate=1e-3,1e-2 --seeds 3`
    """
    from flambeau import studies
    from flambeau.core.errors import UsageError

    if over:
        if len(what) > 1:
            raise UsageError(f"--over trains on one thing, and {len(what)} were given", expected="data, or one run")
        learner = variants_of(what[0], {**asked, "metric": metric})
        left, comparison = studies.compare_settings(
            learner, over, seeds=seeds, metric=metric, check=not no_check, study=study
        )
        tell(comparison, out or left.path / "comparison.html", language, json, study=str(left.path))
        return
    if len(what) == 1 and what[0].exists() and not (what[0] / "recipe.yaml").exists():
        raise UsageError("what is to be compared?", fix="give two run folders, or data and --over KEY=A,B")
    options = common.dataset_options(
        asked["target"], asked["input_"], asked["pattern"],
        **{name: asked[name] for name in ("encoding", "no_header", "time_format", "root")},
    )  # fmt: skip
    device = asked["device"] or "auto"
    comparison = studies.compare(
        what, data, metric=metric, device=device, reporter=common.reporter(), **(options if data else {})
    )
    tell(comparison, out or what[0].parent / "comparison.html", language, json)


def variants_of(what: Path, asked: dict[str, Any]) -> Any:
    """The Learner that variants are made of: of data, or of the recipe of a run."""
    of_run = (what / "recipe.yaml").exists()
    sources = {"data": None, "recipe": what / "recipe.yaml"} if of_run else {"data": what, "recipe": None}
    return train.learner_of({**asked, **sources, "run": None, "no_baseline": True})


def tell(comparison: Any, out: Path, language: str, as_json: bool, **more: str) -> None:
    """Writes the page, and says what came out."""
    page = comparison.write(out, language)
    if as_json:
        common.emit({**more, **comparison.to_dict(), "page": str(page)})
        return
    for line in comparison.lines():
        common.echo(line)
    common.reporter().say(f"page: {page}")


train.share_options(command, without=OF_TRAINING)
