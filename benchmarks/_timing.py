"""What the benchmarks share: interleaved rounds, medians, ratios, one child process per figure.

Figures from a shared machine drift over minutes by more than many of the differences that matter.
So each round runs every competitor once, and what is reported is the ratio of the medians beside
the smallest and the largest ratio of one round: drift that hits a round hits all of its
competitors.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class ChildFailed(RuntimeError):
    """A child process ended with an error; the message carries the end of what it printed."""


@dataclass(frozen=True)
class Comparison:
    """Our figures against a peer's, from rounds that ran both.

    `of_medians` is ours / theirs. `smallest` and `largest` are that ratio within one round.
    """

    of_medians: float
    smallest: float
    largest: float

    def __str__(self) -> str:
        return f"{self.of_medians:.2f} (rounds {self.smallest:.2f}–{self.largest:.2f})"


def interleave(
    competitors: Mapping[str, Callable[[], float]], rounds: int, say: Callable[[str], None] | None = None
) -> dict[str, list[float]]:
    """Run every competitor once a round; the figures of each, in the order of the rounds.

    The order turns round from one round to the next (A B C, then C B A), so that nobody always runs
    on the processor that the same neighbour has just heated up.
    """
    figures: dict[str, list[float]] = {name: [] for name in competitors}
    for round_ in range(rounds):
        names = list(competitors) if round_ % 2 == 0 else list(reversed(list(competitors)))
        for name in names:
            figure = competitors[name]()
            figures[name].append(figure)
            if say is not None:
                say(f"round {round_ + 1}/{rounds}  {name}: {figure:.4g}")
    return figures


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Comparison:
    """Ours against theirs; both in the order of the rounds, equally long."""
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Comparison(statistics.median(ours) / statistics.median(theirs), min(pairs), max(pairs))


def half_interval(values: Sequence[float]) -> float | None:
    """Half of the 95 % interval of the mean by Student's t; None for one value, which has none."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5


def summary(figures: Sequence[float]) -> dict[str, float]:
    """Median, smallest, largest and number of rounds."""
    return {"median": statistics.median(figures), "min": min(figures), "max": max(figures), "rounds": len(figures)}


def run_child(
    arguments: Sequence[str], *, threads: int | None = None, terminal: bool = True, timeout: float = 3600
) -> dict[str, Any]:
    """Run `python <arguments> --out FILE` in an empty folder; the JSON object that it writes to FILE.

    The child has a terminal of its own: several trainers leave their progress bar out where there
    is none, and would be measured without what their users see. The empty folder keeps one child's
    logs and runs out of the way of the next.

    Raises:
        ChildFailed: it ended with an error, or ran longer than `timeout` seconds.
    """
    environment = dict(os.environ, TERM="xterm-256color", COLUMNS="120", LINES="40", PYTHONWARNINGS="ignore")
    # No peer may look for the network, and none may start threads behind the others' backs.
    environment.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", PYTHONHASHSEED="0")
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            environment[name] = str(threads)
    with tempfile.TemporaryDirectory(prefix="flambeau-benchmark-") as folder:
        out = Path(folder) / "out.json"
        work = Path(folder) / "work"
        work.mkdir()
        command = [sys.executable, *arguments, "--out", str(out)]
        status, said = _run(command, work, environment, terminal, timeout)
        if status != 0 or not out.exists():
            raise ChildFailed(f"{' '.join(command)} ended with {status}:\n{said}")
        result: dict[str, Any] = json.loads(out.read_text())
        return result


def _run(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], terminal: bool, timeout: float
) -> tuple[int, str]:
    """Status and the last lines of what the command printed."""
    last: deque[bytes] = deque(maxlen=64)
    if terminal:
        reader, writer = pty.openpty()
        fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    else:
        reader, writer = os.pipe()

    def drain() -> None:
        # A terminal whose other end has closed answers with EIO instead of an empty read.
        with contextlib.suppress(OSError):
            while piece := os.read(reader, 65536):
                last.append(piece)

    process = subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=writer, stderr=writer
    )
    os.close(writer)
    thread = threading.Thread(target=drain, daemon=True)
    thread.start()
    try:
        status = process.wait(timeout=timeout)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        status = -9
    thread.join(timeout=5)
    os.close(reader)
    text = b"".join(last).decode(errors="replace").replace("\r", "\n")
    return status, "\n".join(line for line in text.splitlines() if line.strip())[-4000:]


def parser(description: str | None, rounds: int) -> argparse.ArgumentParser:
    """An argument parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=rounds, help=f"rounds, interleaved (default {rounds})")
    made.add_argument("--json", action="store_true", help="print one line of JSON in place of the table")
    made.add_argument("--quiet", action="store_true", help="no line for each round on stderr")
    return made


def speaker(quiet: bool) -> Callable[[str], None] | None:
    """What `interleave` reports a finished figure to: stderr, or nobody."""
    return None if quiet else lambda line: print(line, file=sys.stderr, flush=True)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def verdict(holds: bool, promise: str) -> str:
    """One line that says whether a promised figure holds."""
    return f"{'holds ' if holds else 'FAILS '} {promise}"
