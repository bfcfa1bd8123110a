"""Several small pictures side by side in one."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image as PILImage

GAP = 2
"""Pixels between two pictures."""
BEHIND = 128
"""The grey level that is seen between them."""


def sheet(pictures: Sequence[PILImage.Image], columns: int) -> PILImage.Image:
    """Pictures of one mode row by row, each in a cell that takes the largest.

    Args:
        columns: in a row.
    """
    width, height = (max(picture.size[axis] for picture in pictures) + GAP for axis in (0, 1))
    rows = -(-len(pictures) // columns)
    size = width * min(columns, len(pictures)) - GAP, height * rows - GAP
    mode = pictures[0].mode
    made = PILImage.new(mode, size, BEHIND if mode == "L" else (BEHIND,) * len(mode))
    for i, picture in enumerate(pictures):
        made.paste(picture, (i % columns * width, i // columns * height))
    return made
