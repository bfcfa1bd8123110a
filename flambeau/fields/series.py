"""Series: the course of one or more quantities, whole, to be told apart or measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw
from torch import Tensor

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.fields.base import FIELDS, Encoding, Field
from flambeau.fields.heat import Heat, Site, as_img, blocks, overlay, resampled
from flambeau.fields.picture.sheet import sheet
from flambeau.fields.time.ts import read_series
from flambeau.robustness import Corruption
from flambeau.robustness.numbers import STEPS, spread_of

SCALES = ("column", "row", "none")
DRAWN = (320, 120)  # pixels of a small picture of a series
MOST_DRAWN = 6  # channels


@FIELDS.register("series")
class Series(Field):
    """The steps of one series (T), or of C series side by side (C, T). Encoded as float32 (C, L), L the longest of the
    training rows: longer ones are cut at their end, shorter ones go on with the mean.

    Args:
        scale: what is subtracted and divided by: mean and standard deviation of the training rows, for each of the C
            (`column`), of each row and each of the C on its own (`row`), or nothing (`none`).
    """

    input_only = True
    over_time = True
    settings: ClassVar[tuple[str, ...]] = ("scale",)
    fitted = ("shape", "mean", "std")

    def __init__(self, scale: str = "column"):
        if scale not in SCALES:
            raise UsageError(f"no scale of series is called '{scale}'", expected=", ".join(SCALES))
        self.scale = scale
        self.shape: list[int] = [1, 1]
        self.mean: list[float] = [0.0]
        self.std: list[float] = [1.0]

    def values_in(
        self, path: Path, *, encoding: str | None = None, column: int | None = None
    ) -> Iterator[tuple[str, Any]]:
        yield from ((f"series {number}", series) for number, series in enumerate(read_series(path), 1))

    def fit(self, values: Sequence[Any]) -> None:
        arrays = [a for v in values if (a := self._read(v)) is not None]
        if not arrays:
            raise DataError("no row holds a series", expected="numbers, one for each step")
        channels = max({len(a) for a in arrays}, key=[len(a) for a in arrays].count)
        arrays = [a for a in arrays if len(a) == channels]
        self.shape = [channels, max(a.shape[1] for a in arrays)]
        if self.scale == "column":
            together = np.concatenate(arrays, 1)
            together[~np.isfinite(together)] = np.nan
            self.mean = np.nan_to_num(np.nanmean(together, 1)).tolist()
            std = np.nan_to_num(np.nanstd(together, 1))
            self.std = np.where(std > 0, std, 1.0).tolist()
        else:
            self.mean, self.std = [0.0] * channels, [1.0] * channels

    def steps_of(self, value: Any) -> np.ndarray | None:
        """A raw value as float64 (C, T); None where it is no series.

        Raises:
            DataError: it is meant as one, and cannot be read.
        """
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            return None
        return None if array.ndim not in (1, 2) else np.atleast_2d(array).copy()

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (self.shape[0], self.shape[1]))

    def _read(self, value: Any) -> np.ndarray | None:
        """`steps_of`, and None too where it cannot be read: its row is told when the store is built."""
        try:
            return self.steps_of(value)
        except DataError:
            return None

    def encode(self, value: Any) -> np.ndarray:
        array = self.steps_of(value)
        if array is None:
            raise DataError("the value is not a series", expected="numbers, one for each step")
        channels, length = self.shape
        if len(array) != channels:
            raise DataError(f"the series has {len(array)} channels", expected=str(channels))
        if array.shape[1] == 0 or np.isnan(array).all():
            raise DataError("the series is empty")
        if np.isinf(array).any():
            raise DataError(f"step {int(np.isinf(array).any(0).argmax()) + 1} is infinite", expected="finite numbers")
        array = array[:, :length]
        if self.scale == "row":
            std = np.nanstd(array, 1, keepdims=True)
            array = (array - np.nanmean(array, 1, keepdims=True)) / np.where(std > 0, std, 1.0)
        array = (array - np.asarray(self.mean)[:, None]) / np.asarray(self.std)[:, None]
        out = np.zeros((channels, length), np.float32)
        out[:, : array.shape[1]] = np.nan_to_num(array)
        return out

    @property
    def restores(self) -> bool:
        return self.scale != "row"  # what each row was divided by is not known

    def restore(self, prepared: Tensor) -> list[np.ndarray]:
        """Series (C, L), float64, in natural units."""
        mean, std = np.asarray(self.mean)[:, None], np.asarray(self.std)[:, None]
        return [*(prepared.double().cpu().numpy() * std + mean)]

    def table_rows(self, value: Any, name: str) -> list[dict[str, Any]]:
        """A row for each step."""
        steps = np.atleast_2d(value).T.tolist()
        return [{"series": name, "step": step, **{f"x{i}": x for i, x in enumerate(row, 1)}}
                for step, row in enumerate(steps, 1)]  # fmt: skip

    def sheet(self, values: Sequence[Any], columns: int = 8) -> PILImage.Image:
        """The first of the channels of each as a small curve."""
        curves = [curve(np.atleast_2d(value)[0])[0].resize((DRAWN[0] // 2, DRAWN[1] // 2)) for value in values]
        return sheet(curves, columns)

    def write(self, value: Any, stem: Path) -> Path:
        """A row for each step, a column for each channel."""
        path = stem.with_suffix(".csv")
        np.savetxt(path, np.atleast_2d(value).T, delimiter=",", fmt="%.8g")
        return path

    def check(self, values: Sequence[Any]) -> list[Finding]:
        arrays = [self._read(v) for v in values]
        lengths = {a.shape[1] for a in arrays if a is not None}
        findings = []
        if len(lengths) > 1:
            text = f"series have from {min(lengths)} to {max(lengths)} steps"
            findings.append(Finding("mixed-lengths", Severity.NOTE, text + "; shorter ones go on with the mean"))
        flat = [row for row, a in enumerate(arrays) if a is not None and a.size and np.ptp(np.nan_to_num(a)) == 0]
        if flat:
            findings.append(Finding("flat", Severity.WARNING, f"{len(flat)} series never change",
                                    places=[f"row {r}" for r in flat], rows=flat))  # fmt: skip
        return findings

    def qualities(self, value: Any) -> dict[str, float | bool]:
        steps = self.encode(value)
        return {"level": float(steps.mean()), "spread": float(steps.std())}

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        if encoded is None:
            return {}
        return {f"level of {name}": float(encoded.mean()), f"spread of {name}": float(encoded.std())}

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        shown = [
            array.T for value in values if (array := self._read(value)) is not None and len(array) == self.shape[0]
        ]
        spread = spread_of(np.concatenate(shown))[:, None] if shown else np.ones((1, 1))

        def opened(raw: Any) -> np.ndarray:
            array = self.steps_of(raw)
            if array is None:
                raise DataError("the value is not a series", expected="numbers, one for each step")
            return array / spread

        return STEPS.within(opened, lambda raw, x: x * spread)

    def example(self) -> list[Any]:
        return np.zeros(self.shape).tolist()

    def sites(self, prepared: Tensor) -> list[Site]:
        return [Site(prepared, 0.0, blocks(prepared))]

    def heat(self, value: Any, weights: Sequence[np.ndarray]) -> Heat:
        """Its channels one below the other, each step on the colour of its weight."""
        array = self.steps_of(value)
        assert array is not None
        seen = weights[0][0]
        if seen.ndim == 1:  # a coarser map (t) of all channels together
            seen = resampled(seen[None], self.shape[1]).repeat(len(array), 0)
        grid = seen[:, : array.shape[1]]
        return drawn_heat(array[:, : grid.shape[1]], grid)

    def render(self, value: Any) -> str:
        """The first of its channels as a small curve."""
        array = self.steps_of(value)
        if array is None or array.shape[1] < 2:
            return super().render(value)
        picture, told = curve(array[0])
        return as_img(picture, told, "png")


def curve(course: np.ndarray) -> tuple[PILImage.Image, str]:
    """A course (T) as a small picture, and its steps and range in words."""
    y = np.nan_to_num(course[:: max(1, len(course) // DRAWN[0])])
    low, span = float(y.min()), float(np.ptp(y))
    x = np.linspace(2, DRAWN[0] - 3, len(y))
    heights = DRAWN[1] - 4 - (y - low) / (span or 1.0) * (DRAWN[1] - 8)
    picture = PILImage.new("L", DRAWN, 255)
    ImageDraw.Draw(picture).line(list(zip(x.tolist(), heights.tolist(), strict=True)), fill=60, width=2)
    return picture, f"{len(course)} steps, {low:.4g} … {low + span:.4g}"


def drawn_heat(courses: np.ndarray, grid: np.ndarray) -> Heat:
    """Courses (C, T), the first few, with the weight of each step (C, T)."""
    scale = float(np.abs(grid).max()) or 1.0
    strips = []
    for course, weights in list(zip(courses, grid, strict=True))[:MOST_DRAWN]:
        picture, _ = curve(course) if len(course) > 1 else (PILImage.new("L", DRAWN, 255), "")
        strips.append(np.asarray(overlay(picture, weights[None], scale)))
    picture = PILImage.fromarray(np.concatenate(strips))
    return Heat(as_img(picture, f"{grid.shape[1]} steps"), grid=grid.astype(np.float32), picture=picture)
