"""What the levels of a folder mean: a folder around all, the sides of the split, the classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from flambeau.core.findings import Finding, Severity
from flambeau.data.split import ALIASES, NAMES, TRAIN

# what people put before and behind: train_data, val_images, dataset-test, train2017
AROUND = "data|dataset|sets?|images?|imgs?|pictures|photos|pics|sounds?|audio|texts?|files|samples|splits?|folder"
SIDE = re.compile(rf"(?:{AROUND})*({'|'.join(sorted(ALIASES, key=len, reverse=True))})(?:{AROUND})*")
OUTSIDE = -1


class Levels(NamedTuple):
    """Of each file the folders that it lies in from its class on, and itself; its side of the split, OUTSIDE for none,
    or None if there is no split; and what is to be said."""

    parts: list[list[str]]
    sides: list[int] | None
    findings: list[Finding]


def side_of(name: str) -> int | None:
    """The side of the split that a folder is called by.

    >>> side_of("train"), side_of("Test_Images"), side_of("dataset-val2017"), side_of("trains"), side_of("cat")
    (0, 2, 1, None, None)
    """
    match = SIDE.fullmatch(re.sub(r"[\W_\d]+", "", name.lower()))
    return ALIASES[match[1]] if match else None


def levels(parts: Sequence[Sequence[str]]) -> Levels:
    """Finds out which folders are sides of the split, and which are classes.

    Folders called train and test are sides where they hold folders, or where nothing lies beside them; else they are
    classes like the others.

    Args:
        parts: of each file its folders and its name, from the outermost on.
    """
    paths = [list(p) for p in parts]
    tops = {p[0] for p in paths if len(p) > 1}
    named = {top: side for top in tops if (side := side_of(top)) is not None}
    inner: dict[str, set[str]] = {top: {p[1] for p in paths if p[0] == top and len(p) > 2} for top in tops}
    others = tops - set(named)
    whole = bool(named) and not others and all(inner[top] for top in named)
    if len(named) == 1 and len(others) > 1 and all(inner[top] for top in tops):
        named_only = f"{_listed(named)} is a class, and no split, for all folders beside it hold folders too"
        return Levels(paths, None, [_note(named_only, sorted(named))])
    if whole or (TRAIN in named.values() and (not others or any(inner[top] for top in named))):
        told = [f"'{top}'" for top in sorted(named) if top.lower() not in ALIASES]
        said = f"{', '.join(told)} {'are splits' if len(told) > 1 else 'is a split'}, and no class"
        sides = [named.get(p[0], OUTSIDE) if len(p) > 1 else OUTSIDE for p in paths]
        rest = [p[1:] if side >= 0 else p for p, side in zip(paths, sides, strict=True)]
        return Levels(_unwrapped(rest, sides), sides, [_note(said, sorted(named))] if told else [])
    if named and others and all(inner[top] and inner[top] <= others for top in named):
        said = f"{_listed(named)}: a split, of classes that lie beside it too, which train"
        sides = [named.get(p[0], TRAIN) if len(p) > 1 else OUTSIDE for p in paths]
        rest = [p[1:] if p[0] in named else p for p in paths]
        return Levels(rest, sides, [_note(said, sorted(named))])
    below = {name: side for top in tops for name in inner[top] if (side := side_of(name)) is not None}
    if not named and TRAIN in below.values() and all(inner[top] <= set(below) for top in tops):
        said = f"each class holds splits: {_listed(below)}"
        sides = [below[p[1]] if len(p) > 2 else OUTSIDE for p in paths]
        rest = [[p[0], *p[2:]] if len(p) > 2 else p for p in paths]
        return Levels(rest, sides, [_note(said, sorted(below))])
    if not named:
        return Levels(paths, None, [])
    said = f"{_listed(named)} {'are classes' if len(named) > 1 else 'is a class'}, and no split"
    return Levels(paths, None, [_note(said, sorted(named))])


def wrapper(parts: Sequence[Sequence[str]]) -> list[str]:
    """The folders around all, each the only one in the one before, with folders in it: what packing a folder makes."""
    depth = 0
    while (
        parts
        and side_of(parts[0][depth]) is None
        and all(len(p) > depth + 2 and p[: depth + 1] == parts[0][: depth + 1] for p in parts)
    ):
        depth += 1
    return list(parts[0][:depth]) if parts else []


def wraps(name: str) -> bool:
    """Whether a folder is called by what it holds, and by no class.

    >>> wraps("images"), wraps("JPEGImages"), wraps("cats")
    (True, True, False)
    """
    return re.fullmatch(rf"(?:jpe?g|png|all|{AROUND})+", re.sub(r"[\W_\d]+", "", name.lower())) is not None


def _unwrapped(parts: list[list[str]], sides: Sequence[int]) -> list[list[str]]:
    """Without folders that a side holds around all of its classes, called as a side or as what it holds (train/train,
    test/images)."""
    for side in {*sides} - {OUTSIDE}:
        rows = [i for i, s in enumerate(sides) if s == side]
        around = _around([parts[i] for i in rows])
        for i in rows:
            parts[i] = parts[i][around:]
    return parts


def _around(parts: Sequence[Sequence[str]]) -> int:
    """How many folders lie around all of a side's classes: 1 or 0."""
    first = {p[0] for p in parts}
    name = next(iter(first))
    return int(len(first) == 1 and all(len(p) > 2 for p in parts) and (side_of(name) is not None or wraps(name)))


def _listed(named: dict[str, int]) -> str:
    return ", ".join(
        f"'{name}' ({NAMES[named[name]]})" if name.lower() not in ALIASES else f"'{name}'" for name in sorted(named)
    )


def _note(said: str, places: list[str]) -> Finding:
    return Finding("folder-levels", Severity.NOTE, said, places=places, fix="rename the folders if that is not meant")
