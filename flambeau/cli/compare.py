"""`flambeau compare`: runs, or variants that it trains first, side by side on the same rows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, train
from flambeau.cli.common import option
from flambeau.core.errors import UsageError
from flambeau.core.printable import quoted

NAME = "compare"
READING = ("target", "input_", "pattern", "encoding", "no_header", "time_format", "root")
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
    language: common.Language = "en",
    metric: common.Metric = None,
    no_check: common.NoCheck = False,
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Put runs side by side on the same rows: which is better and whether by chance, what differs in their recipes,
    and the samples that only one gets right; in the terminal and on one page. With --over it trains variants first, and
    takes what `flambeau train` takes; stopped, the same command goes on.

    Runs that generate are put side by side by what `flambeau evaluate` measured of them.

    Example: `flambeau compare runs/resnet18 runs/mobilenet`

    Example: `flambeau compare photos/ --over optimizer=sgd,adamw --over learning_rate=1e-3,1e-2 --seeds 3`
    """
    from flambeau import studies
    from flambeau.report.words import Words
    from flambeau.studies import generated

    Words(language)  # one that is not known is told before anything is trained
    if over:
        if data is not None:
            raise UsageError("--data means nothing with --over", fix="leave it out: the data's held-out rows are asked")
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
    _check_unused({**asked, "seeds": seeds, "study": study, "no_check": no_check}, reads=data is not None)
    options = common.dataset_options(
        asked["target"], asked["input_"], asked["pattern"],
        **{name: asked[name] for name in READING[3:]},
    )  # fmt: skip
    if data is None and len(what) > 1 and all(generated.generates(run) for run in what):
        figures = generated.compared(what)
        if json:
            common.emit(figures)
            return
        for measure, values in figures.items():
            common.echo(f"{measure}: " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))
        return
    device = asked["device"] or "auto"
    comparison = studies.compare(
        what, data, metric=metric, device=device, reporter=common.reporter(), **(options if data else {})
    )
    tell(comparison, out or what[0].parent / "comparison.html", language, json)


def _check_unused(asked: Mapping[str, Any], reads: bool) -> None:
    """Runs are compared as they are: options of a training mean nothing there, and are not passed over in silence.

    Args:
        reads: other data is given, which options say how to read.
    """
    usual = {name: one.default for name, one in inspect.signature(command).parameters.items()}
    used = {"device", *(READING if reads else ())}
    if odd := next((name for name, value in asked.items() if name not in used and value != usual[name]), None):
        needs = "--data" if odd in READING else "--over"
        raise UsageError(f"{train.option_of(odd)} means nothing without {needs}", fix=f"leave it out, or give {needs}")


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
    reporter = common.reporter()
    reporter.say(f"page: {page}")
    best = next(one for one in comparison.facts["entries"] if one["name"] == comparison.facts["reference"])
    reporter.say(f"next: flambeau predict {quoted(best['runs'][0])} FILE")


train.share_options(command, without=OF_TRAINING)
