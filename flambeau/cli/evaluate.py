"""`flambeau evaluate`: a run measured on its held-out rows, or on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common

NAME = "evaluate"


def command(
    run: common.RunPath,
    data: Annotated[Path | None, typer.Argument(help="Other data; the run's held-out rows if not given.",
                                                show_default=False)] = None,
    target: common.Target = None,
    pattern: common.Pattern = None,
    encoding: common.Charset = None,
    no_header: common.NoHeader = False,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:  # fmt: skip
    """Measure a run on the rows it did not train on, or on other labelled data.

    Example: `flambeau evaluate runs/photos other-photos/`
    """
    from flambeau.evaluation import evaluate_run

    reporter = common.reporter()
    options = common.dataset_options(target, None, pattern, encoding=encoding, no_header=no_header)
    result = evaluate_run(run, data, device=device, reporter=reporter, **options)
    for mistake in result["detail"].get("worst", []):
        mistake.pop("html", None)  # thumbnails are for the report
    if json:
        common.emit(result)
        return
    reporter.say(f"{result['samples']} samples ({result['side']})")
    typer.echo(common.show_metrics(result["metrics"]))
    for rival in result.get("baselines", []):
        typer.echo(f"  {rival['name']} ({rival['seconds']:.1f} s): {common.show_metrics(rival['metrics'])}")
    classes = result["detail"].get("per_class", [])
    for row in sorted(classes, key=lambda c: c["recall"])[:30]:
        typer.echo(f"  {row['class']}: precision {row['precision']:.3f}  recall {row['recall']:.3f}  of {row['count']}")
