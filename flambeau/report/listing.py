"""The runs of a folder, a row each: what `flambeau runs` lists and the board shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flambeau.core.files import finite
from flambeau.report.facts import Facts
from flambeau.run import Run


def describe(run: Run) -> dict[str, Any]:
    """A run as plain JSON: where it is, its data, model and state, how far it is, and its figures so far.

    Raises:
        RunError: a file of it is damaged.
    """
    facts = Facts(run)
    recipe, epochs = facts.recipe, facts.epochs
    metrics = facts.metrics or (epochs[-1].get("valid", {}) if epochs else {})
    name, more = facts.main
    if name not in metrics and metrics:  # of a training that measures its losses alone
        name, more = next(iter(metrics)), False
    fields = facts.fields.get("fields", {})
    target = facts.target.get("kind")
    inputs = list(dict.fromkeys(fields[n].get("kind", "") for n in facts.fields.get("inputs", []) if n in fields))
    touched = [path.stat().st_mtime for n in ("recipe.yaml", "metrics.jsonl", "evaluation.json")
               if (path := run.path / n).exists()]  # fmt: skip
    return {
        "run": str(run.path), "data": recipe.data.get("path") or recipe.own_parts.get("data") or "data in memory",
        "kind": " → ".join(filter(None, (", ".join(inputs), target))), "objective": recipe.objective.name,
        "model": recipe.trains, "epochs": recipe.training.epochs,
        "epochs_done": epochs[-1]["epoch"] if epochs else 0, "finished": run.finished, "status": run.status,
        "metrics": finite(metrics), "metric": name, "value": finite(metrics.get(name)), "higher_is_better": more,
        "seconds": facts.seconds, "changed": max(touched, default=0.0),
    }  # fmt: skip


def paths(folder: Path) -> list[Path]:
    """The folders of runs in a folder, by name."""
    return sorted(path.parent for path in folder.glob("*/recipe.yaml"))
