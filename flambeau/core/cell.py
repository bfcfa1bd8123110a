"""What a cell of a notebook is told while it runs: its lines and its bars, in one output that is written anew."""

from __future__ import annotations

import html
import sys
from typing import Any

FEW = 12  # last lines that stay open; those before are folded
COLOURS = {"yellow": "#b9852f", "red": "#d0483f"}


def kernel() -> Any:
    """The kernel's shell where this runs in a notebook, else None; IPython in a terminal is none."""
    if (ipython := sys.modules.get("IPython")) is None:
        return None
    shell = ipython.get_ipython()
    return shell if hasattr(shell, "kernel") else None


class Output:
    """The output of one cell.

    Args:
        shell: of the kernel.
    """

    def __init__(self, shell: Any):
        from IPython.display import HTML, display

        self._html, self.cell = HTML, shell.execution_count
        self.lines: list[tuple[str, str | None]] = []
        self.bars: dict[int, tuple[str, int, int | None, str]] = {}
        self._handle = display(HTML(""), display_id=True)

    def say(self, text: str, style: str | None) -> None:
        """Another line, or several."""
        self.lines += [(line, style) for line in text.splitlines()]
        self.draw()

    def bar(self, key: int, what: str, done: int, total: int | None, note: str) -> None:
        """Where one bar stands."""
        self.bars[key] = (what, done, total, note)
        self.draw()

    def end(self, key: int) -> None:
        """A bar that is done is gone."""
        self.bars.pop(key, None)
        self.draw()

    def draw(self) -> None:
        """Writes the output anew."""
        self._handle.update(self._html(self.html()))

    def html(self) -> str:
        """Lines and bars as HTML, whatever they hold escaped."""
        lines = [_line(*line) for line in self.lines]
        before, last = lines[:-FEW], lines[-FEW:]
        folded = f"<details><summary>{len(before)} lines before</summary>{''.join(before)}</details>" if before else ""
        bars = "".join(_bar(*bar) for bar in self.bars.values())
        look = "font-family:monospace;font-size:12px;white-space:pre-wrap"
        return f'<div style="{look}">{folded}{"".join(last)}{bars}</div>'


def _line(text: str, style: str | None) -> str:
    look = f"color:{COLOURS[style]}" if style in COLOURS else "font-weight:bold" if style == "bold" else ""
    return f'<div style="{look}">{html.escape(text)}</div>'


def _bar(what: str, done: int, total: int | None, note: str) -> str:
    known = f' value="{done}" max="{total}"' if total else ""
    count = f"{done}/{total}" if total else f"{done}"
    return f"<div>{html.escape(what)} <progress{known}></progress> {count} {html.escape(note)}</div>"
