"""`flambeau runs`: the runs in a folder, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common

NAME = "runs"


def command(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"), json: common.Json = False
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
            common.echo(f"{row['run']}: {row['error']}")
            continue
        common.echo(
            f"{row['run']}: {row['model']} on {row['data']}, {_state(row)}  {common.show_metrics(row['metrics'])}"
        )
    if not rows:
        common.echo(f"no runs in {folder}")


def _state(row: dict[str, Any]) -> str:
    done = f"after {row['epochs_done']} of {row['epochs']} epochs"
    resume = f"flambeau resume {row['run']}"
    return {
        "running": f"running, {done}", "finished": "finished", "unreported": f"finished, no report ({resume})",
        "unmeasured": f"trained, killed before it was measured ({resume})", "stopped": f"stopped {done} ({resume})",
        "killed": f"killed {done} ({resume})", "begun": f"begun, nothing saved ({resume})",
    }[row["status"]]  # fmt: skip


def _describe(run: Any) -> dict[str, Any]:
    recipe, lines = run.recipe, run.lines
    epochs = [line for line in lines if "train_loss" in line]
    valid = epochs[-1].get("valid", {}) if epochs else {}
    metrics = run.evaluation.get("metrics") or valid
    return {
        "run": str(run.path), "data": recipe.data.get("path") or recipe.own_parts.get("data") or "data in memory",
        "model": recipe.trains, "epochs": recipe.training.epochs,
        "epochs_done": epochs[-1]["epoch"] if epochs else 0, "finished": run.finished, "status": run.status,
        "metrics": metrics,
    }  # fmt: skip
