"""A folder of models that is watched: `FOLDER/NAME/VERSION` is a run or an export, and the newest version answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.core.errors import UsageError
from flambeau.serve.problems import Problem

log = logging.getLogger(__name__)
SECONDS = 1.0
"""Between two looks."""
PASSING = (429, 503, 504)
"""What says nothing against a version: such as that no worker is ready."""


class Newest(NamedTuple):
    """The newest version of a model."""

    version: str
    path: Path


class ModelFolder:
    """Versions are numbers; a new one is put there under another name and renamed, so that it is whole when it is seen.
    What cannot be loaded is named in the log, and looked at again when it has changed, or at once where the server was
    only too busy for it. Nothing is unloaded.

    Args:
        path: the folder; a model each in a folder of its name.
    """

    def __init__(self, path: Path):
        self.path = path
        self._loaded: set[Path] = set()
        self._failed: dict[Path, int] = {}
        self._postponed: set[Path] = set()

    def newest(self) -> dict[str, Newest]:
        """The newest version of each model, by name.

        Raises:
            UsageError: it cannot be read, or there is none.
        """
        newest: dict[str, Newest] = {}
        try:
            for place in sorted(self.path.iterdir()):
                versions = [one for one in place.iterdir() if one.name.isdecimal()] if place.is_dir() else []
                if versions:
                    last = max(versions, key=lambda one: int(one.name))
                    newest[place.name] = Newest(last.name, last)
        except OSError as error:
            raise UsageError(f"the models cannot be seen ({error.strerror})", where=self.path) from None
        if not newest:
            raise UsageError("there is no model", where=self.path, expected="folders such as photos/1, runs or exports")
        return newest

    async def watch(self, load: Callable[[str, str, str], Awaitable[Any]], loaded: Iterable[str]) -> None:
        """Loads what is newer than the models of now, until it is cancelled.

        Args:
            load: what a model's name, a path and a version's name are given to; raises Problem.
            loaded: paths that are loaded already.
        """
        self._loaded |= {Path(source) for source in loaded}
        while True:
            await asyncio.sleep(SECONDS)
            try:
                for name, (version, path) in (await asyncio.to_thread(self.newest)).items():
                    await self._load(load, name, version, path)
            except UsageError as error:
                log.error("%s", error)
            except Exception:
                log.exception("the folder of models could not be looked at; it is again")

    async def _load(self, load: Callable[[str, str, str], Awaitable[Any]], name: str, version: str, path: Path) -> None:
        if path in self._loaded:
            return
        try:
            changed = path.stat().st_mtime_ns
            if self._failed.get(path) == changed:
                return
            self._failed[path] = changed
            await load(name, str(path), version)
            self._loaded.add(path)
        except (OSError, Problem) as error:
            if isinstance(error, Problem) and error.status in PASSING:
                del self._failed[path]
                if path in self._postponed:
                    return
                self._postponed.add(path)
            log.error("version %s of '%s' is not served: %s", version, name, error)
