"""`flambeau embed`: what a model makes of rows before its last layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import UsageError

NAME = "embed"


@common.reads_other_data()
def command(
    run: common.RunPath,
    data: common.OtherData = None,
    out: Annotated[Path | None, option("A table of the vectors: .parquet or .csv.")] = None,
    projector: Annotated[Path | None, option("A folder for TensorBoard's projector.")] = None,
    picture: Annotated[str | None, option("Draw the held-out rows into the run's report: pca, tsne or umap.")] = None,
    samples: Annotated[int, typer.Option(help="Rows at most, from all over the data; 0 for all.", min=0)] = 0,
    device: common.Device = "auto",
    json: common.Json = False,
    **reading: Any,
) -> None:
    """Embed the rows a run did not train on, or other data: the activations before the model's last layer, as a table,
    for TensorBoard's projector, or as a picture in the report.

    Example: `flambeau embed runs/photos other-photos/ --out vectors.parquet`

    Example: `flambeau embed runs/photos --picture tsne`
    """
    from flambeau import report
    from flambeau.core.errors import check_known
    from flambeau.core.files import write_json
    from flambeau.run import Run
    from flambeau.studies.embeddings import METHODS, embeddings

    opened = Run.open(run)
    if out is None and projector is None and picture is None:
        raise UsageError("nothing is to be written", fix="give --out, --projector or --picture")
    if out is not None and out.suffix not in (".parquet", ".csv"):
        raise UsageError(f"vectors cannot be written as '{out.suffix}'", expected=".parquet or .csv")
    if picture is not None:
        check_known("no way to draw vectors is called", [picture], METHODS)
        if data is not None:
            raise UsageError("the report shows the run's own rows", fix="leave out the data, or --picture")
    made = embeddings(opened, data, samples=samples, device=device, reporter=common.reporter(), **reading)
    written: dict[str, str] = {}
    if out is not None:
        made.save(out)
        written["table"] = str(out)
    if projector is not None:
        made.save_projector(projector)
        written["projector"] = str(projector)
    if picture is not None:
        write_json(run / "embedding.json", made.picture(picture))
        written["report"] = str(report.write(opened))
    rows, size = made.vectors.shape
    if json:
        common.emit({"rows": rows, "size": size, "split": made.split, **written})
        return
    common.echo(f"{rows:,} rows, a vector of {size:,} numbers each: {', '.join(written.values())}")
    if projector is not None:
        common.echo(f"next: tensorboard --logdir {projector}")
