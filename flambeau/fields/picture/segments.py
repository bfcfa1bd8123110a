"""Segments: the pixels of a thing in a picture, as files of annotations write them, in COCO's terms: polygons,
`[[x, y, x, y, …], …]` in pixels, or run lengths, `{"size": [H, W], "counts": …}`, column by column from the top left,
those outside first; `counts` is a list of numbers, or the text that pycocotools packs them into (`maskApi.c`).

A pixel is of a polygon where its middle is inside, by the even-odd rule; of several polygons where it is of any. What
`outlines` gives of a mask is that mask again when it is filled, holes and all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, shown
from flambeau.core.files import ODD
from flambeau.fields.picture.pixels import MAX_PIXELS

EXPECTED = 'polygons [[x, y, x, y, …], …] or run lengths {"size": [H, W], "counts": …}'
Segment = Sequence[Sequence[float]] | Mapping[str, Any]


def filled(segment: Segment, size: tuple[int, int]) -> np.ndarray:
    """The pixels of a segment in a picture of (H, W), bool (H, W).

    >>> filled([[0, 0, 2, 0, 2, 1, 0, 1]], (2, 3)).astype(int).tolist()
    [[1, 1, 0], [0, 0, 0]]
    >>> filled({"size": [2, 3], "counts": [2, 1, 3]}, (2, 3)).astype(int).tolist()
    [[0, 1, 0], [0, 0, 0]]

    Raises:
        DataError: it is no segment, or its run lengths are of a picture of another size.
    """
    if not isinstance(segment, Mapping):
        out = np.zeros(size, bool)
        for points in polygons(segment):
            out |= _inside(points, size)
        return out
    runs = run_lengths(segment)
    if [*segment["size"]] != [*size]:
        raise DataError(f"the segment is of a picture of {segment['size']}", expected=f"{[*size]}, height and width")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(size[::-1]).T


def polygons(segment: Sequence[Sequence[float]]) -> list[np.ndarray]:
    """The polygons of a segment, each float64 (N, 2) of (x, y). Raises DataError where they are none."""
    try:
        rings = [np.asarray(ring, np.float64).reshape(-1, 2) for ring in segment]
    except ODD:
        raise DataError(f"{shown(segment)} is no segment", expected=EXPECTED) from None
    if not rings or any(len(ring) < 3 or not np.isfinite(ring).all() for ring in rings):
        raise DataError(f"{shown(segment)} is no segment", expected="polygons of three corners and more")
    return rings


def run_lengths(segment: Mapping[str, Any]) -> np.ndarray:
    """The run lengths of a segment, int64 (N). Raises DataError where they do not fill a picture of its size."""
    try:
        height, width = map(int, segment["size"])
        counts = segment["counts"]
        counts = counts.decode() if isinstance(counts, bytes) else counts
        runs = np.asarray(_unpacked(counts) if isinstance(counts, str) else counts, np.int64).ravel()
    except ODD:
        raise DataError(f"{shown(segment)} is no segment", expected=EXPECTED) from None
    if not 0 < height * width <= MAX_PIXELS or height < 0 or (runs < 0).any() or runs.sum() != height * width:
        raise DataError(f"run lengths of {int(runs.sum())} pixels do not fill {height}×{width}", expected=EXPECTED)
    return runs


def packed(mask: np.ndarray) -> dict[str, Any]:
    """The run lengths of a mask, bool (H, W), as pycocotools packs them.

    >>> packed(np.array([[False, True], [False, True]]))
    {'size': [2, 2], 'counts': '22'}
    """
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=False)).tolist()
    runs = np.diff([0, *changes, flat.size]).tolist()
    text = []
    for i, run in enumerate(runs):
        left = run - runs[i - 2] if i > 2 else run
        while True:
            bits, left = left & 31, left >> 5
            more = left != (-1 if bits & 16 else 0)
            text.append(chr(bits + 32 * more + 48))
            if not more:
                break
    return {"size": [*mask.shape], "counts": "".join(text)}


def bounds(segment: Segment) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a segment; all 0 where it has no pixel. Raises DataError as `filled`."""
    if isinstance(segment, Mapping):
        mask = filled(segment, (int(segment["size"][0]), int(segment["size"][1])))
        if not mask.any():
            return 0, 0, 0, 0
        y, x = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        return float(x[0]), float(y[0]), float(x[-1] + 1), float(y[-1] + 1)
    points = np.concatenate(polygons(segment))
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    return left, top, right, bottom


def area(segment: Segment) -> float:
    """Pixels of a segment: those that run lengths count, and what polygons enclose, overlaps twice."""
    if isinstance(segment, Mapping):
        return float(run_lengths(segment)[1::2].sum())
    rings = polygons(segment)
    return float(sum(abs(_signed_area(ring)) for ring in rings))


def outlines(mask: np.ndarray) -> list[list[float]]:
    """The polygons about the pixels of a mask, bool (H, W), along their edges: one for each part that hangs together;
    where one has a hole all of them in one, led there and back along a line.

    >>> outlines(np.array([[True, True], [False, False]]))
    [[0.0, 0.0, 2.0, 0.0, 2.0, 1.0, 0.0, 1.0]]
    """
    rings = _rings(mask)
    if any(_signed_area(ring) < 0 for ring in rings):
        rings = [joined(rings)]
    return [ring.ravel().tolist() for ring in rings]


def joined(rings: Sequence[np.ndarray]) -> np.ndarray:
    """Several polygons, each float64 (N, 2), as one that encloses the same by the even-odd rule: from the first corner
    of the first to each of the others and back."""
    first = rings[0]
    parts = [first]
    for ring in rings[1:]:
        parts += [first[:1], ring, ring[:1]]
    return np.concatenate(parts)


def outlined(segment: Segment, size: tuple[int, int]) -> list[list[float]]:
    """The polygons of a segment in a picture of (H, W): its own, or those about its pixels. Raises as `filled`."""
    if isinstance(segment, Mapping):
        return outlines(filled(segment, size))
    return [ring.ravel().tolist() for ring in polygons(segment)]


def _signed_area(ring: np.ndarray) -> float:
    """Positive of a polygon that runs clockwise, as one sees it."""
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels whose middle a polygon encloses: to the right of each crossing of an edge and a line of middles, what
    was inside is outside."""
    height, width = size
    flips = np.zeros((height, width + 1), np.uint8)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, 0), strict=True):
        if y1 > y2:  # a line there and back crosses at the same places, to the last bit
            x1, y1, x2, y2 = x2, y2, x1, y1
        rows = np.arange(max(0, int(np.ceil(y1 - 0.5))), min(height, int(np.ceil(y2 - 0.5))))
        if len(rows):
            across = x1 + (rows + 0.5 - y1) * ((x2 - x1) / (y2 - y1))
            columns = np.ceil(across - 0.5).clip(0, width).astype(np.int64)
            flips[rows, columns] ^= 1
    return np.bitwise_xor.accumulate(flips, axis=1)[:, :width].astype(bool)


def _rings(mask: np.ndarray) -> list[np.ndarray]:
    """The corners of the closed lines along the edges of a mask, each float64 (N, 2), its pixels at the right hand."""
    there = np.pad(np.asarray(mask, bool), 1)
    onward: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    # where the neighbour on that side is none: the first and the second end of that edge
    for (down, right), (y1, x1), (y2, x2) in (
        ((-1, 0), (0, 0), (0, 1)), ((0, 1), (0, 1), (1, 1)), ((1, 0), (1, 1), (1, 0)), ((0, -1), (1, 0), (0, 0)),
    ):  # fmt: skip
        edge = there & ~np.roll(there, (-down, -right), (0, 1))
        for y, x in zip(*(at.tolist() for at in np.nonzero(edge)), strict=True):
            onward[x + x1 - 1, y + y1 - 1].append((x + x2 - 1, y + y2 - 1))
    rings = []
    for start in list(onward):
        while onward[start]:
            ring, at = [start], onward[start].pop()
            while at != start:
                ring.append(at)
                at = onward[at].pop()
            points = np.asarray(ring, np.float64)
            bends = np.diff(points, axis=0, prepend=points[-1:]) != np.diff(points, axis=0, append=points[:1])
            rings.append(points[bends.any(1)])
    return rings


def _unpacked(text: str) -> list[int]:
    """The run lengths that a text of pycocotools holds."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
