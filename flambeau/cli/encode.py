"""`flambeau encode`: the codes of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import UsageError

NAME = "encode"


@common.reads_other_data()
def command(
    run: common.RunPath,
    data: common.OtherData = None,
    out: Annotated[Path | None, option("A table of the codes: .parquet or .csv.")] = None,
    samples: Annotated[int, typer.Option(help="Rows at most, from all over the data; 0 for all.", min=0)] = 0,
    device: common.Device = "auto",
    ray: Annotated[
        bool, typer.Option("--ray", help="On a Ray cluster: a table or files, encoded into the folder --out.")
    ] = False,
    json: common.Json = False,
    **reading: Any,
) -> None:
    """Write the codes that an autoencoder gives held-out rows, or others, as a table.

    Example: `flambeau encode runs/photos other-photos/ --out codes.parquet`

    Example: `flambeau encode runs/photos more-photos/ --ray --out codes/`
    """
    from flambeau.studies.embeddings import embeddings

    if ray:
        _on_ray(run, data, out, device, json, samples or reading)
        return
    if out is None:
        raise UsageError("where are the codes to be written?", fix="give --out, such as codes.csv or codes.parquet")
    if out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"codes cannot be written as '{out.suffix}'", expected=".parquet or .csv")
    made = embeddings(run, data, samples=samples, device=device, codes=True, reporter=common.reporter(), **reading)
    made.save(out)
    rows, size = made.vectors.shape
    if json:
        common.emit({"rows": rows, "size": size, "split": made.split, "table": str(out)})
        return
    common.echo(f"{rows:,} rows, a code of {size:,} numbers each: {out}")


def _on_ray(run: Path, data: Path | None, out: Path | None, device: str, json: bool, odd: Any) -> None:
    from flambeau.cli import on_ray

    if data is None or out is None:
        raise UsageError("--ray encodes a table or files into a folder", fix="give them, and --out")
    if odd:
        raise UsageError("--samples and how data is read mean nothing with --ray", fix="leave them out")
    told = on_ray.encode(run, [str(data)], out, batch_size=64, device=device)
    if json:
        common.emit(told)
    else:
        common.echo(f"{told['rows']:,} rows encoded by {told['workers']} workers, {told['failed']:,} failed: {out}")
