"""The curve of a search for a learning rate, as a figure: in the report, as an SVG file, as a PNG file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from flambeau.core.errors import UsageError
from flambeau.core.files import write_atomic
from flambeau.report.markup import Markup, tag
from flambeau.report.scale import Scale, short
from flambeau.report.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Point, Series, line_chart
from flambeau.report.words import Words
from flambeau.training import RateCurve

ENLARGED = 2  # pixels of a PNG to a unit of the SVG
COLOURS = {"paper": "#ffffff", "ink": "#22262b", "grid": "#e6e3dc", "faint": "#b8cfdf", "line": "#2c6e9e",
           "mark": "#b4501a"}  # fmt: skip


def _points(curve: RateCurve, values: Sequence[float]) -> list[Point]:
    """(rate, value), none much above the fall: the end of a divergence would flatten the rest."""
    lowest = min(curve.smoothed)
    highest = max(curve.smoothed[: curve.smoothed.index(lowest) + 1])
    most = highest + (highest - lowest) * 0.5
    return [(rate, min(value, most)) for rate, value in zip(curve.rates, values, strict=True)]


def chart(curve: RateCurve, words: Words) -> tuple[Markup, list[Series]]:
    """The loss over the rate, which is drawn by its logarithm; the suggestion is marked."""
    series = [Series(words("find_lr.raw"), _points(curve, curve.losses), 1, "faint"),
              Series(words("find_lr.smoothed"), _points(curve, curve.smoothed), 1)]  # fmt: skip
    mark = curve.suggestion, short(curve.suggestion)
    drawn = line_chart(series, label=words("find_lr.title"), x_label=words("rate"), y_label=words("loss"), mark=mark,
                       log_x=True)  # fmt: skip
    return drawn, series


def save(curve: RateCurve, path: str | Path, language: str = "en") -> Path:
    """Draws a curve into a file: SVG or PNG, by its ending.

    Raises:
        UsageError: it ends otherwise.
    """
    path = Path(path)
    if path.suffix.lower() == ".png":
        write_atomic(path, _png(curve))
    elif path.suffix.lower() == ".svg":
        write_atomic(path, _svg_file(curve, Words(language)).encode())
    else:
        raise UsageError(f"a figure is not drawn into '{path.name}'", expected="a file that ends in .svg or .png")
    return path


def _svg_file(curve: RateCurve, words: Words) -> str:
    """The chart with the report's own colours inside, for it has no page around it."""
    style = (files("flambeau.report") / "style.css").read_text(encoding="utf-8")
    plain = re.sub(r"(?m)^(\* |html |body |main |h[1-6] |p |a |section |footer )\{[^}]*\}", "", style)
    drawn = chart(curve, words)[0]
    size = f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{2 * HEIGHT}"'
    inside = tag("style", Markup(f"{plain} svg {{ background: var(--card); font-family: sans-serif; }}"))
    head, _, rest = drawn.partition(">")
    return f"{head.replace('<svg', size, 1)}>{inside}{rest}\n"


def _png(curve: RateCurve) -> bytes:
    """The same figure in pixels."""
    import io

    from PIL import Image, ImageDraw, ImageFont

    losses, smoothed, k = _points(curve, curve.losses), _points(curve, curve.smoothed), ENLARGED
    x = Scale.around(curve.rates, LEFT, WIDTH - RIGHT, log=True, room=0.02)
    y = Scale.around((p[1] for p in losses + smoothed), HEIGHT - BOTTOM, TOP)
    image = Image.new("RGB", (WIDTH * k, HEIGHT * k), COLOURS["paper"])
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=11 * k)

    def line(points: list[Point], colour: str, width: int = 1) -> None:
        draw.line([(a * k, b * k) for a, b in points], fill=COLOURS[colour], width=width * k)

    def text(at: Point, words: str, anchor: str) -> None:
        draw.text((at[0] * k, at[1] * k), words, fill=COLOURS["ink"], font=font, anchor=anchor)

    for value in y.ticks():
        line([(LEFT, y(value)), (WIDTH - RIGHT, y(value))], "grid")
        text((LEFT - 7, y(value)), short(value), "rm")
    for value in x.ticks(7):
        text((x(value), HEIGHT - BOTTOM + 16), short(value), "ms")
    text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6), "learning rate", "ms")
    text((4, TOP - 12), "loss", "ls")
    for points, colour, width in ((losses, "faint", 1), (smoothed, "line", 2)):
        line([(x(a), y(b)) for a, b in points if math.isfinite(b)], colour, width)
    at = x(curve.suggestion)
    line([(at, TOP - 4), (at, HEIGHT - BOTTOM)], "mark")
    text((at, TOP - 8), short(curve.suggestion), "ms")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
