"""What a board works on: the folder of runs and the folder of data, out of which no name leads."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flambeau.board.jobs import Jobs
from flambeau.core.errors import FlambeauError
from flambeau.report import listing
from flambeau.run import Run
from flambeau.serve.problems import Problem

OWN = ".board"
"""The board's folder in that of the runs: what its commands said."""
NAME = re.compile(r"[^\s./\\\x00-\x1f\x7f-][^/\\\x00-\x1f\x7f]{0,99}")
BUDGET = re.compile(r"\d+(\.\d+)?\s*[smh]")
MODEL = re.compile(r"[\w][\w./:-]{0,199}")
LARGEST = 1_000_000  # epochs
MOST_SUGGESTED = 200
WATCHED = ("recipe.yaml", "metrics.jsonl", "evaluation.json", "model.safetensors", "report.html", "fields.json")
"""Files of a run whose change changes its row."""


class Workplace:
    """The folders of a board, and the commands that it starts in them.

    Args:
        runs: the folder of the runs; made when the first training is started.
        data: the folder that trainings may take their data from.
    """

    def __init__(self, runs: Path, data: Path):
        self.folder, self.data = runs.resolve(), data.resolve()
        self.jobs = Jobs(self.folder / OWN)
        self.changing = threading.Lock()
        self._rows: dict[Path, tuple[Any, dict[str, Any]]] = {}

    def rows(self) -> list[dict[str, Any]]:
        """All runs, each as `listing.describe` tells it with its name; one that cannot be read by its error. Trainings
        that have not come as far, or failed before, are told by their state alone."""
        paths = [path for path in listing.paths(self.folder) if path.resolve().is_relative_to(self.folder)]
        rows = [self._row(path) for path in paths]
        there = {row["name"] for row in rows}
        for name in self.jobs.names("train"):
            if name not in there:
                state = "starting" if self.jobs.busy(name) else "failed"
                rows.append({"name": name, "state": state, "error": _last(self.jobs.told(name))})
        return rows

    def _row(self, path: Path) -> dict[str, Any]:
        run, name = Run(path), path.name
        try:
            sign = [(path / file).stat().st_mtime_ns if (path / file).exists() else 0 for file in WATCHED]
            kept = self._rows.get(path)
            if kept is None or kept[0] != sign:
                kept = self._rows[path] = sign, listing.describe(run)
            row = {**kept[1], "name": name, "status": run.status, "reported": run.reported}
        except FlambeauError as error:
            return {"name": name, "state": "unreadable", "error": str(error)}
        training = row["status"] == "running" or self.jobs.alive(name, "train")
        row["state"] = "training" if training else "ended" if run.measured else "stopped"
        if row["state"] == "stopped" and self.jobs.failed(name, "train"):
            row["error"] = _last(self.jobs.told(name))
        return row

    def run(self, name: str) -> Run:
        """A run by its name.

        Raises:
            Problem: there is none.
        """
        path = self.folder / name
        if not NAME.fullmatch(name) or not path.resolve().is_relative_to(self.folder):
            raise _no_name(400, name)
        if not (path / "recipe.yaml").is_file():
            raise Problem(404, "no-run", f"there is no run '{name}' in {self.folder}")
        return Run(path)

    def suggested(self) -> list[str]:
        """What lies in the folder of data, as a person would type it."""
        if not self.data.is_dir():
            return []
        there = [path for path in sorted(self.data.iterdir()) if not path.name.startswith(".")]
        return [path.name + "/" * path.is_dir() for path in there[:MOST_SUGGESTED] if path.resolve() != self.folder]

    # -- what changes things ------------------------------------------------------------------------------------

    def train(self, asked: Mapping[str, Any]) -> str:
        """Starts a training; the name of its run.

        Args:
            asked: `data` and, where given, `target`, `model`, `epochs`, `budget`, `name`.

        Raises:
            Problem: one of them cannot be.
        """
        data = self._inside(str(asked.get("data") or ""))
        words: list[str] = []
        if target := str(asked.get("target") or ""):
            words.append(f"--target={target}")
        if model := str(asked.get("model") or ""):
            if not MODEL.fullmatch(model):
                raise Problem(422, "model", f"'{model}' is no name of a model; see flambeau models")
            words.append(f"--model={model}")
        if (epochs := asked.get("epochs")) not in (None, ""):
            if not str(epochs).isdecimal() or not 1 <= int(epochs) <= LARGEST:
                raise Problem(422, "epochs", f"'{epochs}' is no number of epochs; expected 1, 2, 3, …")
            words.append(f"--epochs={int(epochs)}")
        if budget := str(asked.get("budget") or ""):
            if not BUDGET.fullmatch(budget):
                raise Problem(422, "budget", f"'{budget}' is no time; expected such as 10m, 90s or 2h")
            words.append(f"--budget={budget}")
        name = self.free(str(asked.get("name") or "") or data.stem)
        self.jobs.start(name, "train", ["train", *words, f"--run={self.folder / name}", "--", str(data)])
        return name

    def resume(self, name: str) -> None:
        """Goes on with a training.

        Raises:
            Problem: there is none of the name, it is at its end, or it runs.
        """
        run = self.run(name)
        if run.status == "running" or self.jobs.busy(name):
            raise Problem(409, "busy", f"'{name}' runs already")
        if run.status == "finished":
            raise Problem(409, "finished", f"'{name}' is at its end; start a longer training instead")
        self.jobs.start(name, "train", ["resume", str(run.path)])

    def stop(self, name: str) -> None:
        """Asks a training to save and stop.

        Raises:
            Problem: it does not run.
        """
        starting = self.jobs.alive(name, "train")
        if not self.jobs.stop(name, Run(self.folder / name) if starting else self.run(name)):
            raise Problem(409, "idle", f"'{name}' does not run")

    def _inside(self, asked: str) -> Path:
        path = (self.data / asked).resolve()
        if not asked or not path.is_relative_to(self.data):
            raise Problem(422, "data", f"'{asked}' is not inside {self.data}; the board takes data from there alone "
                          "(flambeau board --data FOLDER)")  # fmt: skip
        if not path.exists():
            raise Problem(422, "data", f"there is no '{asked}' in {self.data}")
        return path

    def free(self, name: str) -> str:
        """A name of a run that is not taken: this one, or NAME-2, …. Raises Problem where it cannot be one."""
        if not NAME.fullmatch(name):
            raise _no_name(422, name)
        free, number = name, 2
        while (self.folder / free).exists() or self.jobs.busy(free):
            free, number = f"{name}-{number}", number + 1
        return free


def _no_name(status: int, name: str) -> Problem:
    return Problem(status, "name", f"'{name}' is no name of a run; expected neither '/' nor '\\' in it, and another "
                   "letter than '.' or '-' first")  # fmt: skip


def _last(log: str) -> str:
    """What a command said at its end."""
    return next((line for line in reversed(log.splitlines()) if line.strip()), "")
