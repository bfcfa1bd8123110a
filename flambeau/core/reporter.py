"""What a person is told while something runs: lines and progress bars, on stderr."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.core.cell import Output, kernel
from flambeau.core.printable import duration, printable

FIRST, EVERY = 20.0, 60.0
"""Seconds after which progress is a first line, and after which another one, where there is no terminal."""


class Bar:
    """A progress bar. `update` may be called as often as one likes: it draws at most five times a second.

    Attributes:
        due: when it draws next, on the clock of `time.perf_counter`; never, where nothing is said.
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


class CellBar(Bar):
    """A progress bar in a cell of a notebook."""

    def __init__(self, output: Output, what: str, total: int | None):
        super().__init__()
        self._output, self._what, self._total, self.due = output, what, total, 0.0

    def update(self, done: int, note: str = "") -> None:
        now = time.perf_counter()
        if now >= self.due:
            self.due = now + 0.2
            self._output.bar(id(self), self._what, done, self._total, printable(note))


class LineBar(Bar):
    """Progress as a line now and then: where output goes into a file."""

    def __init__(self, reporter: Reporter, what: str, total: int | None):
        super().__init__()
        self._reporter, self._what, self._total = reporter, what, total
        self._began = time.perf_counter()
        self.due = self._began + FIRST

    def update(self, done: int, note: str = "") -> None:
        now = time.perf_counter()
        if now < self.due:
            return
        self.due = now + EVERY
        of = left = ""
        if self._total:
            of = f" of {self._total:,}"
            left = f", about {duration((now - self._began) / max(1, done) * max(0, self._total - done))} left"
        self._reporter.say(f"{self._what}: {done:,}{of}{left}{'; ' if note else ''}{note}")


class Reporter:
    """Says lines and shows progress on stderr, or nothing where `quiet`."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._console: Any = None
        self._output: Output | None = None

    @property
    def console(self) -> Any:
        """The rich console on stderr, made when first used."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        return self._console

    @property
    def output(self) -> Output | None:
        """That of the cell which runs, in a notebook; None anywhere else."""
        shell = kernel()
        if shell is None:
            return None
        if self._output is None or self._output.cell != shell.execution_count:
            self._output = Output(shell)
        return self._output

    def say(self, text: str, style: str | None = None) -> None:
        """A line, or several; what a terminal would obey is shown instead."""
        if self.quiet:
            return
        if (output := self.output) is not None:
            output.say(printable(text, lines=True), style)
        else:
            self.console.print(printable(text, lines=True), style=style, markup=False)

    @contextmanager
    def bar(self, what: str, total: int | None) -> Iterator[Bar]:
        """A bar over `total` pieces, drawn on a terminal and in a notebook; a line now and then anywhere else, so that
        log files stay clean."""
        if not self.quiet and (output := self.output) is not None:
            bar = CellBar(output, printable(what), total)
            try:
                yield bar
            finally:
                output.end(id(bar))
            return
        if self.quiet or not self.console.is_terminal:
            yield Bar() if self.quiet else LineBar(self, printable(what), total)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield Bar(progress, progress.add_task(printable(what), total=total, note=""))


QUIET = Reporter(quiet=True)
