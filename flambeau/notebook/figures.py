"""A figure that has its numbers with it."""

from __future__ import annotations

import io
from typing import Any

import polars as pl

from flambeau.core.errors import needed

needed("matplotlib", "plot", "a figure")

from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

DPI = 100


class Drawn(Figure):
    """A matplotlib Figure outside pyplot: nothing keeps it once nobody has it, and a notebook shows it once."""

    def __init__(self, frame: pl.DataFrame, **options: Any):
        super().__init__(layout="constrained", dpi=DPI, **options)
        FigureCanvasAgg(self)
        self._numbers = frame

    def frame(self) -> pl.DataFrame:
        """The numbers that are drawn."""
        return self._numbers

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        self.savefig(written, format="png", dpi=DPI)
        return written.getvalue()
