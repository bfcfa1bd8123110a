"""Clouds of points: a kind of data, the form that models are told of it, and a model.

flambeau train shapes/ --plugin examples/plugins/points.py --model pointnet
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from flambeau.core.errors import DataError
from flambeau.fields import FIELDS, Encoding, Field, Recognition
from flambeau.fields.decoding import read_bytes
from flambeau.models import OWN
from flambeau.models.inputs import FORMS, Form

FORMS["points"] = Form("(3, N), each", (2,), "clouds of points", (3, 64))


@FIELDS.register("points")
class Points(Field):
    """float32 (3, N) of an .xyz file, three numbers a line: N of its points in their order, by the mean extent."""

    kind = "points"
    suffixes = frozenset({".xyz"})
    input_only = True
    settings, fitted = ("count",), ("extent",)

    def __init__(self, count: int = 64):
        self.count, self.extent = count, 1.0

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        paths = [isinstance(value, (str, Path)) and Path(value).suffix.lower() == ".xyz" for value in values]
        return Recognition(float(bool(paths) and all(paths)), "files of points")

    def points(self, value: Any) -> np.ndarray:
        """float64 (n, 3) of a path or of a file's bytes."""
        content = value if isinstance(value, bytes) else read_bytes(value)
        try:
            rows = np.array([line.split() for line in content.decode().splitlines() if line.strip()], np.float64)
        except ValueError as error:
            raise DataError(f"the points cannot be read ({error})", expected="three numbers a line") from None
        if rows.ndim != 2 or rows.shape[1] != 3 or not np.isfinite(rows).all():
            raise DataError("the file holds no points", expected="three numbers a line")
        return rows

    def fit(self, values: Sequence[Any]) -> None:
        extents = []
        for value in values:
            try:
                extents.append(float(np.abs(self.points(value)).max()))
            except DataError:  # named when it is encoded
                continue
        self.extent = float(np.mean(extents)) if extents else 1.0

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (3, self.count))

    def encode(self, value: Any) -> np.ndarray:
        points = self.points(value)
        at = np.linspace(0, len(points) - 1, self.count).round().astype(np.int64)
        return (points[at].T / self.extent).astype(np.float32)


@OWN.register("pointnet", kinds=("points",), of=lambda spec: (spec.channels,))
class PointNet(nn.Module):
    """Qi et al. 2017, arXiv:1612.00593, without its transforms: (B, 3, N) to (B, K)."""

    def __init__(self, channels: int, num_outputs: int, width: int = 32):
        super().__init__()
        first, second = nn.Conv1d(channels, width, 1), nn.Conv1d(width, 2 * width, 1)
        self.each = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())
        self.head = nn.Linear(2 * width, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.each(x).amax(2))
