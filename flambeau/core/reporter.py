"""What a person is told while something runs: lines and progress bars, on stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.core.printable import printable


class Bar:
    """A progress bar. `update` may be called as often as one likes: it draws at most five times a second.

    Attributes:
        due: when it draws next, on the clock of `time.perf_counter`; never, where there is no terminal.
    """

    def __init__(self, progress: Any = None, task: Any = None):
        self._progress, self._task = progress, task
        self.due = 0.0 if progress is not None else math.inf

    def update(self, done: int, note: str = "") -> None:
        """Shows that `done` of the total is done, and a note beside it."""
        now = time.perf_counter()
        if now >= self.due:
            self.due = now + 0.2
            self._progress.update(self._task, completed=done, note=printable(note))


class Reporter:
    """Says lines and shows progress on stderr, or nothing where `quiet`."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._console: Any = None

    @property
    def console(self) -> Any:
        """The rich console on stderr, made when first used."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        return self._console

    def say(self, text: str, style: str | None = None) -> None:
        """A line, or several; what a terminal would obey is shown instead."""
        if not self.quiet:
            self.console.print(printable(text, lines=True), style=style, markup=False)

    @contextmanager
    def bar(self, what: str, total: int | None) -> Iterator[Bar]:
        """A bar over `total` pieces; drawn on a terminal only, so that log files stay clean."""
        if self.quiet or not self.console.is_terminal:
            yield Bar()
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield Bar(progress, progress.add_task(printable(what), total=total, note=""))


QUIET = Reporter(quiet=True)
