"""Where a program is, sampled: call stacks counted, by py-spy or by a thread of our own, and drawn as a flame graph."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

RATE = 100  # samples a second
WIDTH, LINE = 1200, 17  # pixels of a drawing and of one of its lines
LEAST = 0.5  # pixels of a box that is drawn
PTRACER, ANY = 0x59616D61, ctypes.c_ulong(-1)  # prctl's PR_SET_PTRACER, where the Yama module guards processes
FRAME = re.compile(r"^(?P<function>.*) \((?P<file>.*):(?P<line>\d+)\)$")
COLOURS = ("#e4a15a", "#e88b62", "#d9b45b", "#dd7a55", "#c9a04f", "#eab676")


@dataclass(frozen=True)
class Frame:
    """A place in a program: the function with its class, the file and the line."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({Path(self.file).name}:{self.line})"


Stack = tuple[Frame, ...]
"""From the outermost call to the innermost."""


@dataclass
class Stacks:
    """Sampled call stacks.

    Attributes:
        main: of the main thread of this process, with how often each was seen.
        others: of its other threads, and of its child processes.
        rate: samples a second.
        note: what kept py-spy from sampling, where it did; children were not seen then.
    """

    main: Counter[Stack] = field(default_factory=Counter)
    others: Counter[Stack] = field(default_factory=Counter)
    rate: int = RATE
    note: str = ""

    def trimmed(self) -> Counter[Stack]:
        """Those of the main thread without the calls that all begin with, but for the innermost of these."""
        shared = itertools.takewhile(lambda level: len({*level}) == 1, zip(*self.main, strict=False))
        above = max(sum(1 for _ in shared) - 1, 0)
        return Counter({stack[above:]: count for stack, count in self.main.items()})

    def speedscope(self, name: str) -> dict[str, Any]:
        """As a document of https://www.speedscope.app: one profile of the main thread, one of all else, in seconds."""
        frames: dict[Frame, int] = {}
        profiles = []
        for called, counted in (("main thread", self.trimmed()), ("other threads and processes", self.others)):
            samples = [[frames.setdefault(frame, len(frames)) for frame in stack] for stack in counted]
            weights = [count / self.rate for count in counted.values()]
            profiles.append(
                {
                    "type": "sampled",
                    "name": called,
                    "unit": "seconds",
                    "startValue": 0,
                    "endValue": sum(weights),
                    "samples": samples,
                    "weights": weights,
                }
            )
        listed = [{"name": f.function, "file": f.file, "line": f.line} for f in frames]
        return {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": name,
            "exporter": "flambeau",
            "shared": {"frames": listed},
            "profiles": [p for p in profiles if p["samples"]],
        }

    def svg(self, title: str) -> str:
        """A flame graph of the main thread (Gregg 2016, "The flame graph", CACM 59:6): the width is the share of time,
        what is called stands on what calls it; figures under the pointer."""
        total = sum(self.main.values()) or 1
        boxes: list[str] = []
        deepest = 0

        def draw(stacks: list[tuple[Stack, int]], depth: int, left: float) -> None:
            nonlocal deepest
            groups: dict[tuple[str, str], list[tuple[Stack, int]]] = {}
            for stack, count in stacks:
                if len(stack) > depth:
                    groups.setdefault((stack[depth].function, stack[depth].file), []).append((stack, count))
            for (function, file), members in sorted(groups.items()):
                count = sum(n for _, n in members)
                width = WIDTH * count / total
                if width >= LEAST:
                    deepest = max(deepest, depth + 1)
                    boxes.append(_box(function, file, depth, left, width, count / total))
                    draw(members, depth + 1, left)
                left += width

        draw([*self.trimmed().items()], 0, 0.0)
        height = (deepest + 2) * LINE
        drawn = "\n".join(boxes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 {-height + LINE} {WIDTH} {height + 6}" '
            f'font-family="monospace" font-size="11"><text x="4" y="{-height + 2 * LINE - 4}">{escape(title)}</text>\n'
            f"{drawn}\n</svg>\n"
        )


def _box(function: str, file: str, depth: int, left: float, width: float, share: float) -> str:
    letters = int(width / 6.7)
    shown = function if len(function) <= letters else function[: max(letters - 1, 0)] + "…" if letters > 3 else ""
    colour = COLOURS[sum(map(ord, function)) % len(COLOURS)]
    y = -depth * LINE
    return (
        f"<g><title>{escape(f'{function} ({file}) {share:.1%}')}</title>"
        f'<rect x="{left:.1f}" y="{y - LINE + 1}" width="{max(width - 0.4, 0.1):.1f}" height="{LINE - 1}" '
        f'fill="{colour}"/><text x="{left + 3:.1f}" y="{y - 4}">{escape(shown)}</text></g>'
    )


@contextlib.contextmanager
def sampled(rate: int = RATE) -> Iterator[Stacks]:
    """Samples this process, and its children where py-spy may look, until it is left; the counts are there then."""
    stacks = Stacks(rate=rate)
    sampler: PySpy | OwnThread
    try:
        sampler = PySpy(stacks)
    except NotAllowed as error:
        stacks.note = str(error)
        sampler = OwnThread(stacks)
    try:
        yield stacks
    finally:
        sampler.stop()


class NotAllowed(Exception):
    """py-spy is not there, or may not look; it says what to do."""


class PySpy:
    """py-spy, attached to this process."""

    def __init__(self, stacks: Stacks):
        beside = Path(sys.executable).with_name("py-spy")
        program = str(beside) if beside.exists() else shutil.which("py-spy")
        if program is None:
            raise NotAllowed("py-spy is not installed (pip install 'flambeau[profile]')")
        self._stacks = stacks
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "raw"
        _allow(ANY)
        self._process = subprocess.Popen(
            [
                program,
                "record",
                "--pid",
                str(os.getpid()),
                "--format",
                "raw",
                "--rate",
                str(stacks.rate),
                "--idle",
                "--threads",
                "--subprocesses",
                "--full-filenames",
                "--duration",
                "unlimited",
                "--output",
                str(self._file),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        said: list[str] = []
        for line in self._process.stdout:
            said.append(line.strip())
            if "Sampling process" in line:
                return
        self._folder.cleanup()
        _allow(ctypes.c_ulong(0))
        why = next((line for line in said if line), "it ended")[:120]
        allow = "allow ptrace, by docker run --cap-add=SYS_PTRACE or sysctl kernel.yama.ptrace_scope=0"
        raise NotAllowed(f"py-spy may not look at this process ({why}): {allow}")

    def stop(self) -> None:
        """Ends it and counts what it saw. More than once is as once."""
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGINT)
        self._process.communicate()
        _allow(ctypes.c_ulong(0))
        if self._file.exists():
            read_raw(self._file.read_text(encoding="utf-8", errors="replace"), self._stacks, os.getpid())
        self._folder.cleanup()


def _allow(pid: ctypes.c_ulong) -> None:
    """Lets another process look at this one; nothing where the system does not guard it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PTRACER, pid, 0, 0, 0)


def read_raw(text: str, stacks: Stacks, pid: int) -> None:
    """Counts what py-spy wrote in its format `raw`: a stack and its count in a line."""
    for line in text.splitlines():
        path, _, count = line.rpartition(" ")
        parts = path.split(";")
        frames = tuple(
            Frame(match["function"], match["file"], int(match["line"]))
            for match in map(FRAME.match, parts)
            if match is not None
        )
        if not frames or not count.isdigit():
            continue
        ours = any(part.startswith(f"process {pid}:") for part in parts) or not parts[0].startswith("process ")
        main = ours and any(part.startswith(f"thread ({pid})") for part in parts)
        (stacks.main if main else stacks.others)[frames] += int(count)


class OwnThread:
    """A thread that looks at the others of this process."""

    def __init__(self, stacks: Stacks):
        self._stacks, self._done = stacks, threading.Event()
        self._thread = threading.Thread(target=self._look, name="sampler", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        main, mine = threading.main_thread().ident, threading.get_ident()
        while not self._done.wait(1 / self._stacks.rate):
            for thread, frame in sys._current_frames().items():
                if thread == mine:
                    continue
                frames: list[Frame] = []
                at: Any = frame
                while at is not None:
                    frames.append(Frame(at.f_code.co_qualname, at.f_code.co_filename, at.f_lineno))
                    at = at.f_back
                (self._stacks.main if thread == main else self._stacks.others)[tuple(reversed(frames))] += 1

    def stop(self) -> None:
        """Ends it."""
        self._done.set()
        self._thread.join()
