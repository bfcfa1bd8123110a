"""Plug-ins: parts of other packages and files, which enter themselves into the registries when they are imported."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

from flambeau.core.errors import RunError, UsageError, shown

GROUP = "flambeau.plugins"
"""The group of entry points that installed packages name their plug-ins in."""
_loaded: dict[str, str] = {}
_discovered: list[str] = []


def load(files: Sequence[str | Path]) -> None:
    """Imports plug-ins from Python files. Only for files that the user has named: they are run.

    Raises:
        UsageError: there is no such file, or it fails.
    """
    for file in map(Path, files):
        place = str(file.resolve())
        if place in _loaded:
            continue
        spec = importlib.util.spec_from_file_location(f"flambeau_plugin_{file.stem}", file)
        if not file.is_file() or spec is None or spec.loader is None:
            raise UsageError("there is no such plug-in", where=file, expected="a Python file", code="not-found")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        try:
            spec.loader.exec_module(module)
        except UsageError as error:
            raise UsageError(error.found, where=file, expected=error.expected, fix=error.fix) from error
        except Exception as error:
            raise UsageError(f"the plug-in fails ({type(error).__name__}: {shown(str(error))})", where=file) from error
        _loaded[place] = file.name


def discover() -> bool:
    """Imports the plug-ins of installed packages, once; whether there were any that had not been.

    Raises:
        UsageError: one of them fails.
    """
    if _discovered:
        return False
    _discovered.append(GROUP)
    points = list(entry_points(group=GROUP))
    for point in points:
        try:
            point.load()
        except Exception as error:
            raise UsageError(f"the plug-in {point.name} fails ({type(error).__name__}: {shown(str(error))})",
                             fix=f"mend or remove the package {point.value}") from error  # fmt: skip
    return bool(points)


def need(files: Sequence[str], where: object) -> None:
    """Raises RunError where plug-ins that a run was trained with, by the names of their files, are not loaded. They are
    never loaded by themselves: nothing that a run's folder says is run."""
    missing = [file for file in files if file not in names()]
    if missing:
        many = "s" * (len(missing) > 1)
        raise RunError(f"it was trained with the plug-in{many} {', '.join(missing)}", where=where,
                       fix=" ".join(f"--plugin {file}" for file in missing) + ", each with its path; in Python: "
                       "flambeau.core.plugins.load([…])")  # fmt: skip


def at_fault(error: BaseException) -> str | None:
    """The file and line of a plug-in an error came through last; None if through none."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    inside = [f"{path}, line {line}" for path, line in places if str(Path(path).resolve()) in _loaded]
    return inside[-1] if inside else None


def names() -> list[str]:
    """The files that plug-ins were loaded from, by their names."""
    return list(_loaded.values())


def places() -> list[str]:
    """Those files, with their paths."""
    return list(_loaded)
