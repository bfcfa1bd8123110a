"""A predictor for pictures of any size: each in tiles that overlap, so that memory is bounded and no seam is seen."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.fields import Field
from flambeau.objectives import Objective
from flambeau.objectives.tasks.base import Tiles
from flambeau.predictor.base import Predictor
from flambeau.training.engine import Engine

OVERLAP = 32
"""Pixels that a tile sees beyond what is taken of its answer, on each side; a quarter of smaller tiles."""


class TilingPredictor(Predictor):
    """A predictor whose answer (C, s·h, s·w) is for a picture (h, w) as it is, where its model was trained on pictures
    pixel by pixel. Of a tile's answer the part is taken that is `OVERLAP` pixels or more away from edges that are none
    of the picture's."""

    @property
    def tiles(self) -> Tiles:
        """What it cuts pictures into."""
        return self.objective.task.tiles([self.fields[name] for name in self.inputs]) or Tiles((1, 1))

    def encode(self, value: Any) -> dict[str, np.ndarray]:
        name, (size, fills) = self.inputs[0], self.tiles
        return {name: self.fields[name].encode_whole(self.by_input(value)[name], size if fills else (1, 1))}

    def outputs(self, encoded: Sequence[Mapping[str, np.ndarray]]) -> Any:
        return [self._output(torch.from_numpy(one[self.inputs[0]])) for one in encoded]

    def blank(self) -> dict[str, np.ndarray]:
        return {self.inputs[0]: np.zeros((8, 8, self.fields[self.inputs[0]].input_shape[0]), np.uint8)}

    def _output(self, whole: Tensor) -> np.ndarray:
        """uint8 (h, w, C) to float32 (K, s·h, s·w)."""
        h, w = whole.shape[:2]
        height, width = self.tiles.size
        size, out, name = (min(h, height), min(w, width)), np.zeros((0, 0, 0), np.float32), self.inputs[0]
        for y, top, bottom in spans(h, height):
            for x, left, right in spans(w, width):
                tile = whole[None, y : y + size[0], x : x + size[1]]
                answer = self.forward(self.prepare(torch.arange(1), {name: tile}))[0]
                s = answer.shape[1] // size[0]
                out = out if out.size else np.zeros((len(answer), h * s, w * s), np.float32)
                part = answer[:, s * (top - y) : s * (bottom - y), s * (left - x) : s * (right - x)]
                out[:, s * top : s * bottom, s * left : s * right] = part
        return out


def predictor_of(
    objective: Objective, engine: Engine, fields: Mapping[str, Field], inputs: Sequence[str], target: str | None
) -> Predictor:
    """The Predictor of an objective: in tiles, where its task takes pictures whole."""
    tiles = objective.task.tiles([fields[name] for name in inputs])
    return (TilingPredictor if tiles else Predictor)(objective, engine, fields, inputs, target)


def spans(side: int, length: int) -> list[tuple[int, int, int]]:
    """Where tiles of a length begin along a side, and from where to where each answers.

    >>> spans(400, 256)
    [(0, 0, 200), (144, 200, 400)]
    """
    if side <= length:
        return [(0, 0, side)]
    overlap = min(OVERLAP, length // 4)
    count = -(-(side - 2 * overlap) // (length - 2 * overlap))
    starts = np.linspace(0, side - length, count).round().astype(int).tolist()
    cuts = [0, *((a + length + b) // 2 for a, b in itertools.pairwise(starts)), side]
    return list(zip(starts, cuts, cuts[1:], strict=False))
