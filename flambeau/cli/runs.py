"""`flambeau runs`: the runs in a folder, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common
from flambeau.core.printable import quoted

NAME = "runs"


def command(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"), json: common.Json = False
) -> None:
    """List the runs in a folder: data, model, how far, how good.

    Example: `flambeau runs`
    """
    from flambeau.core.errors import FlambeauError, RunError
    from flambeau.report import listing
    from flambeau.run import Run

    if not folder.is_dir():
        raise RunError(
            "there is no such folder", where=folder, fix="train something first: flambeau train DATA", code="not-found"
        )
    rows: list[dict[str, Any]] = []
    for path in listing.paths(folder):
        try:
            rows.append(listing.describe(Run(path)))
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
    resume = f"flambeau resume {quoted(row['run'])}"
    return {
        "running": f"running, {done}", "finished": "finished", "unreported": f"finished, no report ({resume})",
        "unmeasured": f"trained, killed before it was measured ({resume})", "stopped": f"stopped {done} ({resume})",
        "killed": f"killed {done} ({resume})", "begun": f"begun, nothing saved ({resume})",
    }[row["status"]]  # fmt: skip
