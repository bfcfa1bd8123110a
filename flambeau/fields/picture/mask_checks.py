"""What is wrong with masks in their pictures: sizes, values, classes, edges between colours."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.fields.decoding import frame, read_bytes
from flambeau.fields.picture.classmaps import UNKNOWN, coloured, numbered, read_mask

if TYPE_CHECKING:
    from flambeau.fields.mask import Mask

MANY = 10  # masks, in one of which alone a class is stray
BLENDED = 1e-3  # of a mask's pixels that are of no class's colour: what a hand leaves is less
OF_ROWS: dict[str, tuple[Severity, str, str]] = {
    "unreadable-mask": (Severity.WARNING, "{n} masks cannot be read", "their rows are left out; mend or remove them"),
    "turned-mask": (
        Severity.ERROR, "{n} masks lie on their side: as high as their picture is wide, and as wide as it is high",
        "turn them as the picture's EXIF says, or take the orientation out of it",
    ),
    "aspect": (Severity.WARNING, "{n} masks have other proportions than their picture", "look whether they are of it"),
    "scaled-mask": (Severity.NOTE, "{n} masks have another size than their picture", "they are brought to it"),
    "unknown-class": (
        Severity.ERROR, "{n} masks have values that are no class", "say how many there are: classes=; 255 is unknown",
    ),
    "all-unknown": (Severity.WARNING, "of {n} masks nothing is known", "they are left out; mend or remove them"),
    "blended-colours": (
        Severity.WARNING, "{n} masks have colours of no class, as JPEG and smooth resizing make them at edges",
        "nothing is known there; save masks as PNG, and resize them without smoothing",
    ),
    "jpeg-mask": (Severity.WARNING, "{n} masks of class numbers are JPEG, which changes numbers", "save them as PNG"),
    "single-class-mask": (Severity.NOTE, "{n} masks are of one class throughout", "look whether something is left out"),
    "stray-class": (Severity.WARNING, "in one mask alone there is each class of {names}", "mend it, or leave it"),
}  # fmt: skip
"""By the check: how bad it is, what is said, and what to do."""


def findings_in(field: Mask, values: Sequence[Any], pictures: Sequence[Any]) -> list[Finding]:
    """One pass over the masks; why one cannot be read is told when it is encoded."""
    field = copy.copy(field)
    try:
        field.fit(values)
    except DataError as error:
        return [Finding("mask-colours", Severity.ERROR, error.found, fix=error.fix or "", count=len(values))]
    counts, rows = np.zeros((len(values), UNKNOWN + 1), np.int64), {check: list[int]() for check in OF_ROWS}
    for row, (value, picture) in enumerate(zip(values, pictures, strict=True)):
        try:
            mask = numbered(read_mask(value, coloured(field.colours)), field.colours)
        except (DataError, TypeError):
            if value is not None:
                rows["unreadable-mask"].append(row)
            continue
        try:
            height, width = (int(side) for side in frame(picture, (1, 1), "squash")[:2])
        except (DataError, TypeError):
            continue
        counts[row] = np.bincount(mask.reshape(-1), minlength=UNKNOWN + 1)
        if check := compared(mask.shape, (height, width)):
            rows[check].append(row)
        if field.colours is None and is_jpeg(value):
            rows["jpeg-mask"].append(row)
    K, total = len(field.classes), counts.sum(1)
    known, unknown = counts[:, :K], counts[:, UNKNOWN]
    stray = [k for k in np.flatnonzero((known > 0).sum(0) == 1).tolist() if len(values) >= MANY and K > 1]
    masks = {
        "unknown-class": counts[:, K:UNKNOWN].any(1),
        "all-unknown": (total > 0) & (unknown == total),
        "blended-colours": (unknown >= BLENDED * total) & (unknown > 0) & (unknown < total) & bool(field.colours),
        "single-class-mask": ((known > 0).sum(1) == 1) & (unknown == 0) & (K > 1),
        "stray-class": (known[:, stray] > 0).any(1),
    }
    rows |= {check: np.flatnonzero(mask).tolist() for check, mask in masks.items()}
    names = ", ".join(field.classes[k] for k in stray)
    said = [Finding(check, OF_ROWS[check][0], OF_ROWS[check][1].format(n=f"{len(at):,}", names=names), rows=at,
                    fix=OF_ROWS[check][2]) for check, at in rows.items() if at]  # fmt: skip
    return said + of_classes(field.classes, known.sum(0), int(unknown.sum()))


def of_classes(classes: Sequence[str], counts: np.ndarray, unknown: int) -> list[Finding]:
    """What is to be said of the classes, by how many pixels (K) each has, and how many are unknown."""
    total, there = int(counts.sum()), [name for name, n in zip(classes, counts, strict=True) if n]
    if not total:
        return []
    findings = []
    if len(there) == 1:
        message = f"all masks have one class, '{there[0]}'"
        findings.append(Finding("one-class", Severity.ERROR, message, fix="look whether they are the right files"))
    if unused := [name for name, n in zip(classes, counts, strict=True) if not n]:
        message, fix = f"{len(unused)} of {len(classes)} classes are in no mask", "look whether they are left out"
        findings.append(Finding("unused-class", Severity.WARNING, message, places=unused, fix=fix))
    order = sorted(zip(counts.tolist(), classes, strict=True), reverse=True)
    shares = [f"{name}: {n / total:.2%}" for n, name in order if n]
    shares += [f"unknown: {unknown / (total + unknown):.2%} of all"] if unknown else []
    findings.append(Finding("class-share", Severity.NOTE, "the share of pixels that each class has", places=shares))
    return findings


def compared(mask: Sequence[int], picture: tuple[int, int]) -> str:
    """The check that a mask of some (height, width) fails in a picture that is shown so; empty for none."""
    (h, w), (height, width) = mask, picture
    if (h, w) == (height, width):
        return ""
    if (h, w) == (width, height):
        return "turned-mask"
    return (
        "aspect" if abs(h * width - w * height) > max(height, width) else "scaled-mask"
    )  # but for a pixel of rounding


def is_jpeg(value: Any) -> bool:
    """Whether a raw value is a file that is JPEG."""
    if isinstance(value, (str, Path)):
        value = read_bytes(value)
    return isinstance(value, bytes) and value[:2] == b"\xff\xd8"
