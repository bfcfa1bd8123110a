"""The one family of exceptions. Each message says what was found, where, what was expected and what to do."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Collection, Iterable
from pathlib import Path
from types import ModuleType

UNKNOWN_NAME = "unknown-name"
"""The code of an error whose `fix` is made by `nearest`."""


class FlambeauError(Exception):
    """Base of every error that Flambeau raises on purpose; the command line prints it as one line, exit 2.

    Args:
        found: what was found, in a clause ("the file is empty").
        where: file and row, layer, or step that it was found at.
        expected: what was expected in its place.
        fix: what the user can do about it, in a clause.
        code: a name that stays, under which `docs/reference/errors.md` says more; that of the class if not given.

    >>> str(FlambeauError("the folder is empty", where="photos/", fix="put one folder per class into it"))
    'photos/: the folder is empty; put one folder per class into it'
    """

    code: str = "other"

    def __init__(
        self,
        found: str,
        *,
        where: object = None,
        expected: str | None = None,
        fix: str | None = None,
        code: str | None = None,
    ):
        self.found, self.where, self.expected, self.fix = found, where, expected, fix
        self.code = code or (UNKNOWN_NAME if isinstance(fix, Nearest) else type(self).code)
        text = f"{where}: {found}" if where is not None else found
        if expected:
            text += f"; expected {expected}"
        if fix:
            text += f"; {fix}"
        super().__init__(text)

    def to_dict(self) -> dict[str, str | None]:
        """The error as plain JSON."""
        where = None if self.where is None else str(self.where)
        return {"error": str(self), "code": self.code, "found": self.found, "where": where, "expected": self.expected,
                "fix": self.fix}  # fmt: skip

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows (a hook of IPython's): the lines of the user's own, then the message. The rest of the
        way to it is still in `__traceback__`."""
        inside = tuple(f"{place}{os.sep}" for place in (Path(__file__).parents[1], sys.prefix, sys.base_prefix))
        own = [f for f in traceback.extract_tb(self.__traceback__) if not f.filename.startswith(inside)]
        return [*(f"line {f.lineno}: {f.line}" for f in own), f"{type(self).__name__}: {self}"]


class UsageError(FlambeauError):
    """An argument, option or setting that does not exist or does not fit."""

    code = "usage"


class DataError(FlambeauError):
    """Data that cannot be read or does not fit: a file, a row, a column, a label, a shape."""

    code = "data"


class ModelError(FlambeauError):
    """A model that cannot be built, or whose weights or outputs do not fit."""

    code = "model"


class RunError(FlambeauError):
    """A run folder that cannot be written, read or continued."""

    code = "run"


class TrainingError(FlambeauError):
    """A training that cannot go on: NaN, out of memory, a loss that does not fit."""

    code = "training"


class MissingExtra(FlambeauError, ImportError):
    """A package of an optional part of Flambeau that is not installed."""

    code = "missing-extra"

    def __init__(self, package: str, extra: str, purpose: str):
        super().__init__(f"{purpose} needs the package {package}", fix=f"pip install 'flambeau[{extra}]'")


def needed(module: str, extra: str, purpose: str) -> ModuleType:
    """A module of a package that comes with an extra, imported. Raises MissingExtra where that is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtra(module.partition(".")[0], extra, purpose) from None


def require(fits: bool, what: str, expected: str) -> None:
    """Raises UsageError where a setting, called `what` in words with its value, does not fit."""
    if not fits:
        raise UsageError(f"{what} does not fit", expected=expected)


def first_line(error: BaseException, most: int = 200) -> str:
    """The first line of an error's message, cut at `most` characters; its type where it has none.

    >>> first_line(ValueError("no number\\nat line 2")), first_line(EOFError())
    ('no number', 'EOFError')
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


class Nearest(str):
    """A clause about names that are known: an error whose `fix` it is has the code `unknown-name`."""


def nearest(name: str, known: Iterable[str]) -> Nearest:
    """A clause that names the known name nearest to `name`, or lists the known ones.

    >>> nearest("lable", ["label", "path"])
    "did you mean 'label'?"
    >>> nearest("zzz", ["label", "path"])
    'known: label, path'
    """
    names = [str(k) for k in known]
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return Nearest(f"did you mean '{close[0]}'?")
    shown = ", ".join(n if len(n) <= 60 else f"{n[:59]}…" for n in names[:12]) + (", …" if len(names) > 12 else "")
    return Nearest(f"known: {shown}" if names else "there is none")


def check_known(found: str, names: Iterable[object], known: Collection[str], where: object = None) -> None:
    """Raises UsageError, which is `found` and the name, where one of some names is not among the known ones."""
    for name in names:
        if name not in known:
            raise UsageError(f"{found} '{name}'", where=where, fix=nearest(str(name), known))


def shown(value: object, most: int = 80) -> str:
    """A value as a message names it: as Python writes it where that is short, else what it is and of which shape.

    >>> shown("gpu"), shown([0] * 99)
    ("'gpu'", 'a list of 99')
    """
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and shape and dtype is not None:
        return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of so many digits
        return "a number of thousands of digits"
    if len(text) <= most and "\n" not in text and " at 0x" not in text:
        return text
    name = getattr(value, "__qualname__", None)
    if isinstance(value, (list, tuple, dict, set, str, bytes)):
        return f"a {type(value).__name__} of {len(value)}"
    return name if isinstance(name, str) else f"a {type(value).__name__}"
