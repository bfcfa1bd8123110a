"""`flambeau reconstruct`: what comes back of samples by their codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.cli.generate import TABLES, written
from flambeau.core.errors import UsageError

NAME = "reconstruct"


def command(
    run: common.RunPath,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Files, and folders that are searched for files.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, option("A folder, for a file each under its own name; a table of rows (.csv, .parquet).")
    ] = None,
    of_class: Annotated[
        str | None, option("Decode to this class, where the run knows classes; the likeliest if not given.", "--class")
    ] = None,
    device: common.Device = "auto",
    json: common.Json = False,
) -> int:
    """Make samples again of the codes that a run gives them: what it has kept of each, and what it has lost.

    A file that cannot be read gets an error of its own; the others are made again. Exit status 2 if any failed.

    Example: `flambeau reconstruct runs/photos pictures/ --out back/`

    Example: `flambeau reconstruct runs/seasons walk.jpg --class winter --out changed/`
    """
    from flambeau.cli.asked import Layout, asked
    from flambeau.core.errors import DataError
    from flambeau.predictor import Predictor
    from flambeau.predictor.generating import reconstructed

    if not inputs or out is None:
        raise UsageError("what is to be made again, and where?", fix="give files or a folder, and --out")
    predictor = Predictor.load(run, device=device)
    values = list(asked(inputs, predictor, Layout()))
    rows = [{kind: name, **({"error": value.found} if isinstance(value, DataError) else {}), **which}
            for kind, name, value, which in values]  # fmt: skip
    whole: list[int] = []
    encoded = []
    for number, (row, (_, _, value, _)) in enumerate(zip(rows, values, strict=True)):
        try:
            if "error" not in row:
                encoded.append(predictor.encode(value))
                whole.append(number)
        except DataError as error:
            row["error"] = error.found
    field, made = predictor.fields[predictor.inputs[0]], reconstructed(predictor, encoded, of_class)
    if out.suffix.lower() in TABLES:
        names = [rows[number].get("series") or str(number + 1) for number in whole]
        written(field, (value for value, _ in made), out, len(whole), names)
    else:
        out.mkdir(parents=True, exist_ok=True)
        taken: set[str] = set()
        for number, (value, score) in zip(whole, made, strict=True):
            name = rows[number].get("series", "").replace("/", "_") or rows[number].get("file", f"{number + 1:04}")
            stem = Path(name).stem
            rows[number] |= {"score": score, "out": str(field.write(value, out / common.free_stem(stem, taken)))}
    if json:
        common.emit({"reconstructed": rows})
    else:
        for row in (row for row in rows if "error" in row):
            common.echo(f"{row.get('file') or row.get('text')}: error: {row['error']}")
        common.echo(f"{len(whole):,} made again of their codes: {out}")
    return 2 if len(whole) < len(rows) else 0
