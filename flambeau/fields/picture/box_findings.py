"""What is wrong with boxes: on their own, and in the pictures that they lie in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.fields.base import Field
from flambeau.fields.boxes import Box, read
from flambeau.fields.decoding import upright
from flambeau.fields.image import Image
from flambeau.fields.picture.instances import area_of
from flambeau.fields.picture.looking import size_of
from flambeau.fields.picture.pixels import TURNED
from flambeau_onnx.pictures import fitted

EDGE = 1.0  # pixels that a box may lie outside of its picture, as tools that count from 1 write it
LEAST = 4.0  # pixels across, at the size that a model sees, under which a thing is hardly seen
GRAVE = 0.05  # share of things under that from which it is more than a note
RARE = 10  # boxes of a class under which it can hardly be learned
STEP = 32  # pixels that a side which is proposed is a multiple of


class Rows(list[Finding]):
    """The Findings about rows, as a check comes upon them."""

    def note(self, check: str, rows: Sequence[int], what: str, fix: str, severity: Severity = Severity.NOTE) -> None:
        """Adds the Finding that so many rows are `what`; none for no rows."""
        if rows:
            counted = f"{len(rows):,} row{'s' * (len(rows) > 1)}"
            self.append(Finding(check, severity, f"{counted} {what}", rows=list(rows), fix=fix))

    def warn(self, check: str, rows: Sequence[int], what: str, fix: str) -> None:
        """The same, where something is amiss."""
        self.note(check, rows, what, fix, Severity.WARNING)


def findings(values: Sequence[Any], classes: Sequence[str] = (), masks: bool = False) -> list[Finding]:
    """Findings about raw values on their own.

    Args:
        classes: that were named before the boxes were seen.
        masks: whether the masks of boxes are learned.
    """
    rows_of, counts, with_mask = defaultdict[str, list[int]](list), Counter[str](), 0
    for row, value in enumerate(values):
        with suppress(DataError):
            boxes = read(value)
            counts.update(box.label for box in boxes)
            with_mask += sum(box.mask is not None for box in boxes)
            for trait in _traits(boxes, masks):
                rows_of[trait].append(row)
    found = Rows()
    found.warn("swapped-corners", rows_of["swapped"], "with boxes whose corners are swapped, which are put in order",
               "write the top left corner first")  # fmt: skip
    found.warn("no-area", rows_of["flat"], "with boxes of no area, which are left out", "mend or remove them")
    found.warn("same-box", rows_of["twice"], "with the same box twice, which is taken once", "remove the copies")
    found.note("empty-pictures", rows_of["empty"], "without a box: pictures of none of these things",
               "if something is in them, draw it")  # fmt: skip
    found.warn("unreadable-mask", rows_of["unreadable"], "with masks that cannot be read, left out", "mend them")
    found.note("without-mask", rows_of["unmasked"], "with boxes that have no mask: their boxes alone are learned",
               "draw their outlines")  # fmt: skip
    return [*found, *_of_classes(counts, classes, len(values)), *_of_masks(counts.total(), with_mask if masks else 1)]


def _traits(boxes: Sequence[Box], masks: bool) -> list[str]:
    """What is to be said of the boxes of a row."""
    flags = {
        "swapped": not all(box.in_order for box in boxes),
        "flat": not all(box.has_area for box in boxes),
        "twice": len({box.key for box in boxes}) < len(boxes),
        "empty": not boxes,
    }
    if masks:
        flags["unmasked"] = any(box.mask is None for box in boxes)
        try:
            for box in boxes:
                if box.mask is not None:
                    area_of(box.mask)
        except DataError:
            flags["unreadable"] = True
    return [trait for trait, there in flags.items() if there]


def _of_classes(counts: Mapping[str, int], classes: Sequence[str], rows: int) -> list[Finding]:
    if not counts:
        message, fix = "no row has a box", "look whether it is the right column"
        return [Finding("no-boxes", Severity.ERROR, message, count=rows, fix=fix)]
    found = []
    if unused := [name for name in classes if name not in counts]:
        message = f"{len(unused)} of {len(classes)} classes that are named have no box: {', '.join(unused[:10])}"
        fix = "draw some, or take their names out"
        found.append(Finding("unused-class", Severity.WARNING, message, places=unused, fix=fix))
    if rare := sorted((n, name) for name, n in counts.items() if n < RARE):
        message = f"{len(rare)} of {len(counts)} classes have under {RARE} boxes"
        fix = "they can hardly be learned: look whether some are misspelt"
        places = [f"{name}: {n}" for n, name in rare]
        found.append(Finding("few-samples", Severity.NOTE, message, places=places, count=len(rare), fix=fix))
    return found


def _of_masks(boxes: int, with_mask: int) -> list[Finding]:
    if not boxes or with_mask:
        return []
    message, fix = f"none of {boxes:,} boxes has a mask, and masks are to be learned", "choose a model of boxes alone"
    return [Finding("no-masks", Severity.ERROR, message, count=boxes, fix=fix)]


class Seen(NamedTuple):
    """A row whose boxes and picture can be read: its number, boxes, (height, width) as people see it, and whether its
    EXIF lays it on its side."""

    row: int
    boxes: list[Box]
    sides: tuple[int, int]
    turned: bool


def findings_in(values: Sequence[Any], leader: Field, pictures: Sequence[Any]) -> list[Finding]:
    """Findings about raw values in the raw pictures of the field `leader`."""
    seen, rows_of = list[Seen](), defaultdict[str, list[int]](list)
    for row, (value, picture) in enumerate(zip(values, pictures, strict=True)):
        with suppress(DataError):
            (height, width), orientation = upright(picture)
            seen.append(Seen(row, read(value), (height, width), orientation in TURNED))
    for one in seen:
        if trait := _place(one):
            rows_of[trait].append(one.row)
        if any(isinstance(box.mask, Mapping) and [*box.mask.get("size", ())] != [*one.sides] for box in one.boxes):
            rows_of["mask"].append(one.row)
    found = Rows()
    found.note("normalised", rows_of["shares"], "whose boxes all lie in 0…1, so they are shares and not pixels",
               "multiply by the picture's width and height",
               Severity.ERROR if 2 * len(rows_of["shares"]) > len(values) else Severity.WARNING)  # fmt: skip
    found.warn("exif-boxes", rows_of["exif"], "whose boxes fit the picture as it is stored, not as its EXIF turns it",
               "draw them on the picture as it is shown, or turn it for good and draw no EXIF along")  # fmt: skip
    found.warn("outside-picture", rows_of["outside"], "with boxes wholly outside the picture, which are left out",
               "mend the corners, in the picture's own pixels")  # fmt: skip
    found.note("partly-outside", rows_of["partly"], "with boxes partly outside the picture, which are cut at its edges",
               "mend the corners if they are off by more than rounding")  # fmt: skip
    found.warn("mask-size", rows_of["mask"], "with masks of a picture of another size", "make them of this picture")
    pixels = [one for one in seen if one.row not in {*rows_of["shares"]}]
    return [*found, *(_tiny(pixels, leader) if isinstance(leader, Image) else [])]


def _place(seen: Seen) -> str | None:
    """How the boxes of a row lie in its picture, where that is amiss."""
    boxes, (height, width) = seen.boxes, seen.sides
    if boxes and all(0 <= x <= 1 for box in boxes for x in box.corners):
        return "shares"
    corners = np.asarray([box.corners for box in boxes], np.float64).reshape(-1, 2, 2)
    low, high = corners.min(1), corners.max(1)  # (N, 2) of x and y

    def beyond(x: float, y: float) -> bool:
        return bool((low < -EDGE).any() or (high > (x + EDGE, y + EDGE)).any())

    if seen.turned and beyond(width, height) and not beyond(height, width):
        return "exif"
    if bool(((high <= 0) | (low >= (width, height))).any()):
        return "outside"
    return "partly" if beyond(width, height) else None


def _tiny(seen: Sequence[Seen], leader: Image) -> list[Finding]:
    """Things that are hardly seen at the size that the model's pictures have, or will have."""
    if not seen:
        return []
    height, width = leader.size or size_of([one.sides for one in seen])
    across, rows = list[float](), list[int]()
    for one in seen:
        fit = fitted(one.sides, (height, width), leader.resize)
        scale = (fit.inner[0] * fit.inner[1] / ((fit.box[2] - fit.box[0]) * (fit.box[3] - fit.box[1]))) ** 0.5
        sides = [scale * abs((b.x2 - b.x1) * (b.y2 - b.y1)) ** 0.5 for b in one.boxes if b.has_area and not b.crowd]
        across += sides
        if any(side < LEAST for side in sides):
            rows.append(one.row)
    under = [side for side in across if side < LEAST]
    if not under:
        return []
    larger = -(-max(height, width) * LEAST / np.quantile(under, 0.1) // STEP) * STEP
    message = f"{len(under):,} of {len(across):,} things are under {LEAST:g} pixels across at {height}×{width}, "
    severity = Severity.WARNING if len(under) > GRAVE * len(across) else Severity.NOTE
    return [
        Finding("tiny-objects", severity, message + "where they are hardly seen", rows=rows, count=len(under),
                fix=f"train with larger pictures, of {int(larger)} pixels a side for most of them")
    ]  # fmt: skip
