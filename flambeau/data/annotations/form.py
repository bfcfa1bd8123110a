"""The plain form that every format of annotations is read to and written from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import sub
from pathlib import PurePosixPath
from typing import Any

from flambeau.core.errors import DataError, shown
from flambeau.core.files import ODD
from flambeau.core.findings import Finding, Severity
from flambeau.data.sources.levels import side_of
from flambeau.fields.boxes import CORNERS
from flambeau.fields.picture.segments import Segment, bounds

FLAGS = ("crowd", "difficult")
NEAR = 1e-4  # pixels, within which a box is that of its segment


@dataclass
class Picture:
    """One picture and what is in it.

    Attributes:
        name: its path with `/`, below whatever folder the pictures lie in.
        path: where it lies; None where it is not to be found.
        size: (height, width) as the file says, or as the picture is; None where neither is known.
        boxes: raw values of the kind `boxes`: each a dict of x1, y1, x2, y2 in pixels from the top left corner and
            `label`; where there is one, `mask` (a segment, see `fields/picture/segments.py`); `crowd` and `difficult`
            where they are true; `confidence` of what a model found.
        split: TRAIN, VALID or TEST; None where the file does not say.
        place: the file, and what of it, for messages.
    """

    name: str
    path: str | None = None
    size: tuple[int, int] | None = None
    boxes: list[dict[str, Any]] = field(default_factory=list)
    split: int | None = None
    place: str = ""


@dataclass
class Annotations:
    """Pictures, the classes by their order in the file, and what was noticed; `unread` counts what is in the file and
    is not taken, by its kind."""

    pictures: list[Picture]
    classes: list[str]
    findings: list[Finding] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)

    def said(self) -> list[Finding]:
        """What was noticed, and what is not read."""
        found = [
            Finding("unread-annotations", Severity.WARNING, f"{count} of the kind {kind} are not read", count=count)
            for kind, count in sorted(self.unread.items())
        ]
        return [*self.findings, *found]


def box(
    corners: Iterable[Any] | None,
    label: Any,
    where: str,
    *,
    mask: Segment | None = None,
    confidence: Any = None,
    **flags: Any,
) -> dict[str, Any]:  # fmt: skip
    """One box of a picture.

    Args:
        corners: x1, y1, x2, y2 in pixels; those of `mask` where they are None.
        where: the file and the thing in it, for messages.
        flags: of FLAGS.

    Raises:
        DataError: a corner is no finite number, or the mask is no segment.
    """
    try:
        found = [float(x) for x in (bounds(mask) if mask is not None and corners is None else corners or ())]
    except DataError as error:
        raise DataError(error.found, where=where, expected=error.expected) from None
    except ODD:
        said = f"{shown(corners if mask is None else mask)} is no {'box' if mask is None else 'segment'}"
        raise DataError(said, where=where) from None
    if len(found) != 4 or not all(map(math.isfinite, found)):
        raise DataError(f"{shown(corners)} is no box", where=where, expected="four numbers")
    made: dict[str, Any] = {**dict(zip(CORNERS, found, strict=True)), "label": str(label)}
    if mask is not None:
        made["mask"] = mask
    if confidence is not None:
        made["confidence"] = number(confidence, where)
    return {**made, **{flag: True for flag in FLAGS if flags.get(flag)}}


def corners_of(box: Mapping[str, Any]) -> list[float]:
    """x1, y1, x2, y2."""
    return [float(box[corner]) for corner in CORNERS]


def says_its_box(made: Mapping[str, Any]) -> bool:
    """Whether a thing has a segment, and its box is that of the segment."""
    return "mask" in made and max(map(abs, map(sub, bounds(made["mask"]), corners_of(made)))) < NEAR


def add_part(things: dict[Any, dict[str, Any]], made: dict[str, Any], number: int, group: Any) -> None:
    """Puts what a file says at a place of its own beside what it said before: those of one group and label are parts of
    one thing, where that can be; one of no group (None) is a thing of its own."""
    first = things.setdefault((None, number) if group is None else (str(group), made["label"]), made)
    if first is not made and not _put_together(first, made):
        things[None, number] = made


def _put_together(first: dict[str, Any], other: Mapping[str, Any]) -> bool:
    """Makes another part of a thing, as files have them that say a box or one polygon at a time, a part of the first: a
    box keeps its corners and gets the segment beside it. False where they are no parts of one thing."""
    if "mask" in first and "mask" in other:
        if not isinstance(first["mask"], list) or not isinstance(other["mask"], list):
            return False
        first["mask"] = [*first["mask"], *other["mask"]]
        for corner, choose in zip(CORNERS, (min, min, max, max), strict=True):
            first[corner] = choose(first[corner], other[corner])
    elif "mask" in first:
        first |= {corner: other[corner] for corner in CORNERS}
    elif "mask" in other:
        first["mask"] = other["mask"]
    else:
        return False
    return True


def number(value: Any, where: str) -> float:
    """A finite number that a file has, as a number or as text. Raises DataError with the place."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{shown(value)} is no number", where=where)
    return found


def tidy(value: float) -> float | int:
    """A coordinate as it is written: whole numbers without a point, all else to a hundred-thousandth of a pixel."""
    rounded = round(value, 5)
    return int(rounded) if rounded.is_integer() else rounded


def side_in(path: str) -> int | None:
    """The split that a path says, in one of its folders or in a part of its file's name.

    >>> side_in("images/val2017/1.jpg"), side_in("instances_train2017.json"), side_in("images/cat.jpg")
    (1, 0, None)
    """
    parts = PurePosixPath(path).parts
    stem = PurePosixPath(parts[-1]).stem if parts else ""
    names = [*parts[:-1], stem, *stem.replace("-", "_").split("_")]
    return next((side for name in names if (side := side_of(name)) is not None), None)
