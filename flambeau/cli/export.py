"""`flambeau export`: a run as programs that need no Flambeau."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.printable import quoted

NAME = "export"


def command(
    run: common.RunPath,
    format_: Annotated[
        str,
        option(
            "program (torch.export), onnx, compiled (C++), executorch (phones), torchscript, or hf (the Hub).",
            "--format",
        ),
    ] = "program",
    precision: Annotated[str, typer.Option(help="Of weights and sums: float32, bf16 or int8.")] = "float32",
    out: Annotated[Path | None, option("The folder; exports/FORMAT within the run if not given.")] = None,
    json: common.Json = False,
) -> None:
    """Write a run's model as programs for other places, and check on held-out rows that they answer as it does.

    Preparation (normalising, resizing, log-mel) and the final activation are inside of a program; what is done before
    it (decoding a file, cutting a text) is told in export.json. The folder is predicted, evaluated and served with
    like a run.

    Example: `flambeau export runs/photos`

    Example: `flambeau export runs/photos --format onnx --precision int8 --out photos-onnx`
    """
    from flambeau.exports import Manifest, export, told

    reporter = common.reporter()
    done = export(run, format=format_, precision=precision, out=out, reporter=reporter)
    if not done.exported:  # weights, and no program
        if json:
            common.emit({"export": str(done.path), "files": sorted(file.name for file in done.path.iterdir())})
        else:
            common.echo(f"{done.path}: config.json, model.safetensors, and README.md that says what it is worth")
        return
    manifest = Manifest.read(done.path)
    if json:
        common.emit({"export": str(done.path), **manifest.to_dict()})
        return
    for line in told(done.path, manifest):
        common.echo(line)
    reporter.say(f"next: flambeau predict {quoted(done.path)} FILE, or flambeau serve {quoted(done.path)}")
