"""Pages of the documentation: their blocks, run as a reader would; as a script: `python pages.py PAGE`."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = "$ flambeau "


@dataclass
class Block:
    """One fenced block: its language, its text and the line of the page that the text begins at."""

    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    whole = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(whole):
        yield Block(match[1], match[2], whole.count("\n", 0, match.start(2)) + 1)


def run_page(page: Path) -> None:
    """Runs what a page shows, from top to bottom, in the folder one is in; blocks share one namespace, as they do for a
    reader who types them one after another. Raises AssertionError for a command that fails."""
    from flambeau.cli.main import run

    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page):
        if block.language == "python":
            # as many lines above as on the page, so that a traceback points into it
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
        elif block.language == "console":
            for line in block.text.splitlines():
                assert line.startswith(COMMAND), f"{page}: no command: {line}"
                told = io.StringIO()
                with contextlib.redirect_stderr(told):
                    status = run(shlex.split(line, comments=True)[2:])
                assert status == 0, f"{page}: {line}: exit status {status}: {told.getvalue()}"


if __name__ == "__main__":
    run_page(Path(sys.argv[1]))
