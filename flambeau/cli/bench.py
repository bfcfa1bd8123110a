"""`flambeau bench`: which way of answering is quickest here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.core.printable import quoted

NAME = "bench"


def command(
    sources: Annotated[
        list[Path], typer.Argument(help="A run, or folders of exports; the first is compared with.", metavar="RUN")
    ],
    formats: Annotated[
        str, typer.Option(help="Exports of a run that are made where they are missing; '' for none.")
    ] = "compiled,onnx,onnx-int8",
    rounds: Annotated[int, typer.Option(help="How often they take turns.", min=1)] = 5,
    processor_time: Annotated[
        bool, typer.Option("--processor-time", help="Of processors, for a machine that others use too.")
    ] = False,
    memory: Annotated[bool, typer.Option(help="Measure the memory, each in a process of its own.")] = True,
    json: common.Json = False,
) -> None:
    """Measure a run and its exports in turns: p50 and p99 of one row, rows a second at the best batch, size on disk,
    memory; and say which to take.

    What is slower than the run itself is never recommended. Of a run the figures go into its report.

    Example: `flambeau bench runs/photos`

    Example: `flambeau bench runs/photos/exports/onnx runs/photos/exports/onnx-int8 --rounds 10 --json`
    """
    from flambeau import report
    from flambeau.core.files import write_json
    from flambeau.exports.bench import bench, lines
    from flambeau.exports.manifest import is_export
    from flambeau.run import Run

    names = [name.strip() for name in formats.split(",") if name.strip()]
    reporter = common.reporter()
    result = bench(
        sources, formats=names, rounds=rounds, processor_time=processor_time, memory=memory, reporter=reporter
    )
    page = None
    if len(sources) == 1 and not is_export(sources[0]):
        write_json(sources[0] / "bench.json", result)
        page = report.write(Run.open(sources[0]))
    if json:
        common.emit(result)
        return
    for line in lines(result):
        common.echo(line)
    if page is not None:
        reporter.say(f"report: {page}")
    chosen = next(one for one in result["contenders"] if one["name"] == result["recommended"])
    reporter.say(f"next: flambeau serve {quoted(chosen['folder'] or sources[0])}")
