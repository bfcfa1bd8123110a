"""`flambeau runs`: the runs in a folder, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common

NAME = "runs"


def command(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    json: common.Json = False,
) -> None:
    """List the runs in a folder: data, model, how far, how good.

    Example: `flambeau runs`
    """
    from flambeau.core.errors import FlambeauError, RunError
    from flambeau.run import Run

    if not folder.is_dir():
        raise RunError("there is no such folder", where=folder, fix="train something first: flambeau train DATA")
    rows: list[dict[str, Any]] = []
    for path in sorted(p.parent for p in folder.glob("*/recipe.yaml")):
        try:
            rows.append(_describe(Run(path)))
        except FlambeauError as error:
            rows.append({"run": str(path), "error": str(error)})
    if json:
        common.emit({"runs": rows})
        return
    for row in rows:
        if "error" in row:
            typer.echo(f"{row['run']}: {row['error']}")
            continue
        state = "finished" if row["finished"] else f"stopped after {row['epochs_done']} of {row['epochs']} epochs"
        typer.echo(f"{row['run']}: {row['model']} on {row['data']}, {state}  {common.show_metrics(row['metrics'])}")
    if not rows:
        typer.echo(f"no runs in {folder}")


def _describe(run: Any) -> dict[str, Any]:
    recipe, lines = run.recipe, run.metrics
    epochs = [line for line in lines if "train_loss" in line]
    metrics = run.evaluation.get("metrics") or (epochs[-1].get("valid", {}) if epochs else {})
    return {
        "run": str(run.path), "data": recipe.data.get("path") or recipe.own_parts.get("data") or "data in memory",
        "model": recipe.own_parts.get("model", recipe.model.name), "epochs": recipe.training.epochs,
        "epochs_done": epochs[-1]["epoch"] if epochs else 0, "finished": run.finished, "metrics": metrics,
    }  # fmt: skip
