"""Heat: what each part of a value weighed in an answer, drawn for a person; and which parts a prepared value has."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

FOR, AGAINST = (220, 90, 40), (40, 110, 220)
"""What spoke for an answer and what against it: the colours that the report marks words with."""
LARGEST = 512  # pixels a side of a picture that heat is drawn on, and that it is given for
GRID, STRETCHES = 10, 40
"""How many parts a picture has along a side, and a series or a wave along time."""
SUMMARY = 32  # cells a side of a grid as JSON


class Site(NamedTuple):
    """One tensor of a prepared batch, that an explanation weighs.

    Attributes:
        values: (B, …), float, or int64 where numbers stand for words or categories.
        blank: what is in place of a part that is hidden: one number.
        parts: int64 (1, …) as values: entries of one number are one part, hidden together; from 0 on.
    """

    values: Tensor
    blank: float
    parts: Tensor


@dataclass(frozen=True)
class Heat:
    """What the parts of one value weighed. Above 0 spoke for the answer, below 0 against it.

    Attributes:
        html: a fragment for a page.
        parts: (name, weight) of each, where parts have names: words, columns.
        grid: float32 (h, w) over a picture, its sides those of the picture at most `LARGEST` pixels large; or (C, T)
            over C bands or channels along time. None where there is none.
        picture: the same drawn, in RGB.
    """

    html: str
    parts: tuple[tuple[str, float], ...] = ()
    grid: np.ndarray | None = None
    picture: PILImage.Image | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON: `parts`, and `grid` as means over at most 32×32 cells where there is one."""
        parts = {"parts": [{"name": name, "weight": weight} for name, weight in self.parts]}
        if self.grid is None:
            return parts
        H, W = self.grid.shape
        rows = [block.mean(0) for block in np.array_split(self.grid, min(H, SUMMARY))]
        cells = [[float(cell.mean()) for cell in np.array_split(row, min(W, SUMMARY))] for row in rows]
        return {**parts, "shape": [H, W], "grid": cells}


def each(values: Tensor) -> Tensor:
    """Every entry a part of its own: int64 (1, …)."""
    return torch.arange(values[0].numel(), device=values.device).view(1, *values.shape[1:])


def blocks(values: Tensor) -> Tensor:
    """Parts of a picture (B, C, H, W), its channels together: squares; of waves or series (B, C, T), each channel on
    its own: stretches of time."""
    *channels, length = values.shape[1:]
    along = torch.arange(length, device=values.device)
    if values.ndim == 3:
        count = min(length, STRETCHES)
        return (torch.arange(channels[0], device=values.device)[:, None] * count + along * count // length)[None]
    C, H = channels
    rows, columns = min(H, GRID), min(length, GRID)
    down = torch.arange(H, device=values.device) * rows // H
    return (down[:, None] * columns + along * columns // length).expand(1, C, H, length)


def overlay(picture: PILImage.Image, grid: np.ndarray, scale: float = 0.0) -> PILImage.Image:
    """A picture made pale and grey, with what spoke for the answer in orange and what against it in blue.

    Args:
        grid: float (h, w), over all of the picture.
        scale: the weight that has the full colour; if not given, about the largest.
    """
    scale = scale or float(np.percentile(np.abs(grid), 99.5)) or float(np.abs(grid).max()) or 1.0
    field = PILImage.fromarray((grid / scale).clip(-1, 1).astype(np.float32))
    heat = np.asarray(field.resize(picture.size, PILImage.Resampling.BILINEAR))[..., None]
    pale = 96 + 0.62 * np.asarray(picture.convert("L"), np.float32)[..., None].repeat(3, 2)
    colour = np.where(heat > 0, np.asarray(FOR, np.float32), np.asarray(AGAINST, np.float32))
    return PILImage.fromarray((pale + (colour - pale) * 0.8 * np.abs(heat)).round().astype(np.uint8))


def resampled(grid: np.ndarray, steps: int) -> np.ndarray:
    """(C, T) to (C, steps) along time: means where they become fewer."""
    T = grid.shape[1]
    if steps >= T:
        return grid[:, np.arange(steps) * T // steps]
    edges = np.arange(steps) * T // steps
    return np.add.reduceat(grid, edges, 1) / np.diff(np.append(edges, T))


def encoded(picture: PILImage.Image, kind: str = "") -> tuple[str, str]:
    """(png or jpeg, base64) of a picture; JPEG from 65 pixels a side on, where no kind is said."""
    kind = kind or ("png" if max(picture.size) <= 64 else "jpeg")
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return kind, base64.b64encode(buffer.getvalue()).decode()


def as_img(picture: PILImage.Image, told: str = "", kind: str = "") -> str:
    """An <img> with its bytes inside, as `encoded` makes them."""
    kind, data = encoded(picture, kind)
    return f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(told, quote=True)}">'


def strength(weight: float, most: float) -> str:
    """The class that a part is marked by in HTML: `for1` to `for4`, `against1` to `against4`, or none."""
    step = min(4, int(abs(weight) / (most or 1.0) * 4.999))
    return f" class={'for' if weight > 0 else 'against'}{step}" if step else ""


def listed(parts: Sequence[tuple[str, str, float]], most_shown: int = 12) -> Heat:
    """Parts by (name, value, weight), the heaviest first."""
    order = sorted(parts, key=lambda part: -abs(part[2]))
    most = abs(order[0][2]) if order else 0.0
    lines = [
        f"<span class=name>{html.escape(name)}</span> <span{strength(weight, most)}>{html.escape(value)} "
        f"({weight:+.3g})</span>"
        for name, value, weight in order[:most_shown]
    ]
    more = " <span class=name>…</span>" if len(order) > most_shown else ""
    return Heat(" ".join(lines) + more, tuple((name, weight) for name, _, weight in order))
