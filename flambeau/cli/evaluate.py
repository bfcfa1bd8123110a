"""`flambeau evaluate`: a run measured on its held-out rows, or on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common

NAME = "evaluate"
MOST_ROWS = 30  # classes that are shown


def command(
    run: common.RunPath,
    data: Annotated[
        Path | None, typer.Argument(help="Other data; the run's held-out rows if not given.", show_default=False)
    ] = None,
    target: common.Target = None,
    pattern: common.Pattern = None,
    encoding: common.Charset = None,
    no_header: common.NoHeader = False,
    root: common.Root = None,
    time_format: common.TimeFormat = None,
    device: common.Device = "auto",
    metric: common.Metric = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Put no simple rival beside the model.")] = False,
    tta: common.Tta = None,
    json: common.Json = False,
) -> None:
    """Measure a run on the rows it did not train on, or on other labelled data.

    Example: `flambeau evaluate runs/photos other-photos/`

    Example: `flambeau evaluate runs/photos --tta 8`
    """
    from flambeau.evaluation import evaluate_run
    from flambeau.learner import verdicts

    reporter = common.reporter()
    options = common.dataset_options(
        target, None, pattern, encoding=encoding, no_header=no_header, time_format=time_format, root=root
    )
    result = evaluate_run(
        run, data, device=device, metric=metric, baseline=not no_baseline, tta=tta, reporter=reporter, **options
    )
    for shown in (*result["detail"].get("worst", []), *result["detail"].get("pictures", [])):
        shown.pop("html", None)  # thumbnails are for the report
    if json:
        common.emit(result)
        return
    reporter.say(verdicts.measured_on(result) + (f" of {data}" if data else ""))
    common.echo(verdicts.figures(result))
    if seen := result.get("tta"):
        common.echo(f"with test-time augmentation, {seen['views']} views{' ' + seen['name'] if seen['name'] else ''}:")
        common.echo(verdicts.figures({"metric": result["metric"], **seen}))
    rivals = result.get("baselines", [])
    for rival in rivals:
        note = f"; {rival['note']}" if rival.get("note") else ""
        measured = verdicts.figures({"metric": result["metric"], "metrics": rival["metrics"]})
        common.echo(f"  {rival['name']} ({rival['seconds']:.1f} s): {measured}{note}")
    if line := verdicts.verdict(rivals, result["metrics"], result["metric"]):
        common.echo(f"  {line}")
    detail = result["detail"]
    if lost := detail.get("lost"):
        why = "the model does not read so far, or their tag is none of training's"
        common.echo(f"  {lost} of {detail['tokens']} words are wrong in any case: {why}")
    for rows in (detail.get("spans", []), detail.get("per_class", [])):
        there = [row for row in rows if row["count"]]
        for row in sorted(there, key=lambda c: c["recall"])[:MOST_ROWS]:
            measures = "  ".join(f"{name} {row[name]:.3f}" for name in ("precision", "recall", "f1"))
            common.echo(f"  {row['class']}: {measures}  of {row['count']}")
        if len(there) > MOST_ROWS:
            common.echo(f"  and {len(there) - MOST_ROWS} more of {len(there)}, with higher recall; --json has all")
