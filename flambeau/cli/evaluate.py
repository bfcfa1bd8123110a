"""`flambeau evaluate`: a run measured on its held-out rows, or on other data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flambeau.cli import common, measures
from flambeau.cli.common import option
from flambeau.core.errors import DataError, UsageError
from flambeau.core.printable import quoted

NAME = "evaluate"


@common.reads_other_data()
def command(
    run: common.RunPath,
    data: common.OtherData = None,
    device: common.Device = "auto",
    metric: common.Metric = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Put no simple rival beside the model.")] = False,
    tta: common.Tta = None,
    slice_: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            help="Where it fails: a column, length, size, folder or series; repeatable. All that suits if not given.",
        ),
    ] = None,
    cost: Annotated[str | None, option("Choose the threshold by what mistakes cost, such as 'fn=10 fp=1'.")] = None,
    precision: Annotated[float | None, option("Choose the threshold that has this precision.")] = None,
    recall: Annotated[float | None, option("Choose the threshold that has this recall.")] = None,
    positive: Annotated[
        str | None,
        option("Of two classes the one that it is for, or what --target says of odd rows; the rarer if not given."),
    ] = None,
    accuracy: Annotated[float | None, option("Answer `unknown` where less sure, so that so many are right.")] = None,
    features: Annotated[
        str | None,
        option(
            "Of a run that generates: what samples are seen by, a run that tells classes apart, or weights of "
            "EfficientNet-Lite0."
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="Of a run that generates: samples, beside as many rows.", min=50)] = 2000,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Of a language model: tokens that a window foretells; fewer let it look back at more.", min=1
        ),
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Keep what was chosen: predict and serve go by it.")] = False,
    json: common.Json = False,
    **reading: Any,
) -> None:
    """Measure a run on rows it did not train on, or on other data. A threshold is chosen on the run's
    validation rows.

    Example: `flambeau evaluate runs/photos other-photos/`

    Example: `flambeau evaluate runs/churn --slice country --precision 0.9 --apply`

    Example: `flambeau evaluate runs/photos --tta 8`

    Example: `flambeau evaluate runs/dcgan --features runs/classifier --count 2000`

    Example: `flambeau evaluate runs/autoencoder other.csv --target broken --positive yes`
    """
    from flambeau.evaluation import evaluate_run
    from flambeau.learner import stages, verdicts
    from flambeau.objectives import OBJECTIVES
    from flambeau.objectives.decisions import Wish
    from flambeau.run import Run
    from flambeau.studies import generated, oddness

    wish = Wish.of(cost, precision=precision, recall=recall, accuracy=accuracy)
    if (reading.get("target") or positive) and oddness.tells(run):
        found = oddness.measured(run, data, positive=positive, device=device, reporter=common.reporter(), **reading)
        if json:
            common.emit(found)
        for told in () if json else oddness.lines(found):
            common.echo(told)
        return
    if wish is None and (apply or positive):
        raise UsageError("no threshold is asked for", fix="give --cost, --precision, --recall or --accuracy")
    reporter = common.reporter()
    result = evaluate_run(
        run, data, device=device, metric=metric, baseline=not no_baseline, tta=tta, slices=slice_ or (),
        wish=wish, positive=positive, apply=apply, stride=stride, reporter=reporter,
        **reading,
    )  # fmt: skip
    if features is not None or generated.generates(run):
        try:
            result["generated"] = generated.measured(
                run, data, features=features, count=count, device=device, reporter=reporter, **reading
            )
        except DataError as error:  # the losses are measured nevertheless
            if features is not None:
                raise
            reporter.say(str(error), style="yellow")
    result["stages"] = stages.told(Run.open(run))
    detail = result["detail"]
    grouped = [sample for group in detail.get("groups", {}).get("worst", []) for sample in group["samples"]]
    for shown in (*detail.get("worst", []), *detail.get("pictures", []), *grouped):
        shown.pop("html", None)  # thumbnails are for the report
    if json:
        common.emit(result)
        return
    opened = Run.open(run)
    kind = OBJECTIVES[opened.recipe.objective.name]
    reporter.say(verdicts.measured_on(result, verdicts.chosen(opened)) + (f" of {data}" if data else ""))
    common.echo(verdicts.figures(result))
    for stage in result["stages"]:
        figures = verdicts.figures({"metric": "perplexity", "metrics": stage["metrics"]})
        common.echo(f"  began with {stage['run']} ({stage['stage']}, {stage['epochs']} epochs): {figures}")
    if result["further"]:
        common.echo(f"  {verdicts.figures(result['further'])}")
    if seen := result.get("tta"):
        common.echo(f"with test-time augmentation, {seen['views']} views{' ' + seen['name'] if seen['name'] else ''}:")
        common.echo(verdicts.figures({"metric": result["metric"], **seen}))
    rivals = result.get("baselines", [])
    for rival in rivals:
        note = f"; {rival['note']}" if rival.get("note") else ""
        measured = verdicts.figures({"metric": result["metric"], "metrics": rival["metrics"]})
        common.echo(f"  {rival['name']} ({rival['seconds']:.1f} s): {measured}{note}")
    for said in (verdicts.verdict, verdicts.unrelated_line):
        if line := said(rivals, result["metrics"], result["metric"]):
            common.echo(f"  {line}")
    for line in measures.lines(result):
        common.echo(f"  {line}")
    for line in generated.lines(result["generated"]) if "generated" in result else ():
        common.echo(line)
    if apply:
        reporter.say(f"kept: {run / 'decision.json'}")
    fields, inputs, _ = opened.fields()
    field = fields.get(inputs[0]) if inputs else None
    following = kind.next_verb if field is None else kind.next_of(field)
    reporter.say(f"next: flambeau {following.format(run=quoted(run))}")
