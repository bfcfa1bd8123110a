"""`flambeau interpolate`: what a run makes on the way from one sample to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.cli.generate import TABLES, OfClass, check_picture, sheet, written
from flambeau.core.errors import UsageError

NAME = "interpolate"
MILLISECONDS = 100  # that an animation shows a step


def command(
    run: common.RunPath,
    ends: Annotated[
        list[str] | None, typer.Argument(help="Two files, the first and the last.", show_default=False)
    ] = None,
    seed: Annotated[
        list[int] | None, option("In place of a file: the first sample that `generate` makes of a seed; twice.")
    ] = None,
    count: Annotated[int, typer.Option(help="Steps, both ends with them.", min=2)] = 10,
    of_class: OfClass = None,
    out: Annotated[
        Path | None, option("A strip (.png), an animation (.gif), a table of rows (.csv, .parquet), or a folder.")
    ] = None,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Go from one sample to another through what a run has learned: by the codes of two files, or between two seeds.

    Example: `flambeau interpolate runs/photos a.png b.png --out strip.png`

    Example: `flambeau interpolate runs/faces --seed 1 --seed 2 --count 40 --out way.gif`
    """
    from flambeau.cli.asked import Layout, asked
    from flambeau.core.errors import DataError
    from flambeau.predictor import Predictor
    from flambeau.predictor.generating import generative

    if out is None:
        raise UsageError("where is the way to be written?", fix="give --out, such as strip.png or way.gif")
    if out.suffix and out.suffix.lower() not in TABLES:
        check_picture(out, (".png", ".gif", ".jpg", ".webp"))
    if bool(ends) == bool(seed):
        raise UsageError("a way has two ends", fix="give two files, or --seed twice")
    predictor = Predictor.load(run, device=device)
    generative(predictor.objective)
    given: list[tuple[object, object]] = [(number, number) for number in seed or ()]
    if ends:
        given = [(name, value) for _, name, value, _ in asked(ends, predictor, Layout())]
    if error := next((value for _, value in given if isinstance(value, DataError)), None):
        raise error
    if len(given) != 2:
        raise UsageError(f"a way has two ends, not {len(given)}", fix="give two files, or --seed twice")
    (first_name, first_value), (last_name, last_value) = given
    made = predictor.interpolate(first_value, last_value, count, label=of_class)
    field = predictor.fields[predictor.inputs[0]]
    if out.suffix.lower() in TABLES or not out.suffix:
        files = written(field, made, out, count)
    elif out.suffix.lower() == ".gif":
        first, *others = (sheet(field, [value]).convert("RGB") for value in made)
        first.save(out, save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
        files = [str(out)]
    else:
        sheet(field, made, columns=count).save(out)
        files = [str(out)]
    if json:
        common.emit({"count": count, "class": of_class, "ends": [first_name, last_name], "generated": files})
        return
    common.echo(f"{count:,} steps from {first_name} to {last_name}: {out}")
