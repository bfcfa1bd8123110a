"""The board: a local page of all runs in a folder, with curves as they are drawn, mistakes and labels to look through,
and trainings that are started, stopped and resumed from it.

`run_board` serves it until it is stopped, `background_board` beside other code. It listens on the loopback, answers no
other site's page, changes nothing without the token that it is started with, and keeps every path inside its folders.
"""

from __future__ import annotations

from importlib.util import find_spec

from flambeau.core.errors import MissingExtra

for _package in ("starlette", "uvicorn"):
    if find_spec(_package) is None:
        raise MissingExtra(_package, "serve", "the board")

from flambeau.board.app import create_app  # noqa: E402 -- the packages that it needs are looked for first
from flambeau.board.running import background_board, run_board  # noqa: E402
from flambeau.board.workplace import Workplace  # noqa: E402

__all__ = ["Workplace", "background_board", "create_app", "run_board"]
