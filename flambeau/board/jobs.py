"""Trainings and other commands that a board starts, each a process of its own, and how they are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flambeau.core.printable import printable
from flambeau.run import Run

MOST_LOG = 16_384
"""Bytes of a log that are shown, its last ones."""


@dataclass
class Job:
    """A command that was started: what it is for, its process, and the file that it writes what it says into."""

    what: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None


class Jobs:
    """The commands that were started, one for a name at a time. They go on where the board ends.

    Args:
        folder: where their logs are kept.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._jobs: dict[str, Job] = {}

    def __getitem__(self, name: str) -> Job:
        return self._jobs[name]

    def names(self, what: str) -> list[str]:
        """What commands of one kind were started for."""
        return [name for name, job in self._jobs.items() if job.what == what]

    def alive(self, name: str, what: str) -> bool:
        """Whether a command of this kind runs."""
        job = self._jobs.get(name)
        return job is not None and job.what == what and job.alive

    def busy(self, name: str) -> bool:
        """Whether any command runs for a name."""
        return name in self._jobs and self._jobs[name].alive

    def failed(self, name: str, what: str) -> bool:
        """Whether the last command of this kind ended with an error."""
        job = self._jobs.get(name)
        return job is not None and job.what == what and job.process.poll() not in (None, 0)

    def start(self, name: str, what: str, arguments: Sequence[str]) -> None:
        """Starts `flambeau ARGUMENTS` in a session of its own, so that Ctrl-C at the board does not reach it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / f"{name}.log"
        with log.open("wb") as told:
            process = subprocess.Popen(
                [sys.executable, "-m", "flambeau", *arguments], stdin=subprocess.DEVNULL, stdout=told,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._jobs[name] = Job(what, process, log)

    def stop(self, name: str, run: Run) -> bool:
        """Asks the training of a run to save and stop, whoever started it; whether there was one."""
        process = self._jobs[name].process.pid if self.busy(name) else run.holder
        if process is None:
            return False
        try:
            os.kill(process, signal.SIGTERM)
        except OSError:
            return False
        return True

    def told(self, name: str) -> str:
        """The end of what the command said."""
        path = self._jobs[name].log if name in self._jobs else self.folder / f"{name}.log"
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - MOST_LOG))
                return "\n".join(map(printable, file.read().decode(errors="replace").splitlines()))
        except OSError:
            return ""

    def close(self) -> None:
        """Ends what only this board asked for: all but trainings."""
        for job in self._jobs.values():
            if job.alive and job.what != "train":
                job.process.terminate()
                job.process.wait()
