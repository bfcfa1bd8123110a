"""Charts as inline SVG. Colours and fonts come from the page's style sheet, so that light, dark and Chinese work.

Every chart is drawn 480 units wide and scaled by the page. Numbers that are not finite are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from flambeau.report.markup import Markup, join, tag
from flambeau.report.scale import Scale, short

WIDTH, HEIGHT = 480, 280
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 30, 42
MOST_POINTS = 400  # more than a screen shows; longer curves are averaged down to this
MOST_DOTS = 60  # points that get a dot with their value as a tooltip

Point = tuple[float, float]
Format = Callable[[float], str]


@dataclass(frozen=True)
class Series:
    """A curve: its name, points (x, y), the number of its colour (1 to 4), and how strong it is drawn."""

    name: str
    points: Sequence[Point]
    colour: int = 1
    style: Literal["line", "faint", "dots", "band"] = "line"
    upper: Sequence[Point] = ()
    """Of a band, its upper edge; `points` is the lower one."""


def percent(value: float) -> str:
    """A share as percent.

    >>> percent(0.5), percent(0.975)
    ('50%', '97.5%')
    """
    return f"{value * 100:.4g}%"


def line_chart(
    series: Sequence[Series], *, label: str, x_label: str, y_label: str, log: bool = False,
    y_format: Format = short, floor: float | None = None, ceiling: float | None = None,
    mark: tuple[float, str] | None = None, whole_x: bool = False, log_x: bool = False,
) -> Markup:  # fmt: skip
    """Curves over a common axis; `mark` is a vertical line at an x, with its text."""
    points = [p for s in series for p in (*s.points, *s.upper)]
    x = Scale.around((p[0] for p in points), LEFT, WIDTH - RIGHT, log=log_x, room=0.02, whole=whole_x)
    y = Scale.around((p[1] for p in points), HEIGHT - BOTTOM, TOP, log=log, floor=floor, ceiling=ceiling)
    marked = None
    if mark is not None:
        at = x(mark[0])
        beside = min(max(at, WIDTH * 0.6), WIDTH - RIGHT - 45)  # over the plot, clear of the name of the axis
        marked = join(
            tag("line", x1=at, x2=at, y1=TOP - 4, y2=HEIGHT - BOTTOM, class_="mark"),
            tag("text", mark[1], x=beside, y=TOP - 12, text_anchor="middle"),
        )
    return _svg(label, _axes(x, y, x_label, y_label, y_format), marked, (_curve(s, x, y, y_format) for s in series))


def bar_chart(
    bars: Sequence[tuple[float, float, float]], *, label: str, x_label: str, y_label: str, colour: int = 1,
    whole_x: bool = False, x_format: Format = short,
) -> Markup:  # fmt: skip
    """Bars (from x, to x, height), heights from 0 upwards."""
    x = Scale.around((e for b in bars for e in b[:2]), LEFT, WIDTH - RIGHT, room=0.02, whole=whole_x)
    y = Scale.around([0.0, *(b[2] for b in bars)], HEIGHT - BOTTOM, TOP, floor=0.0)
    drawn = (_rectangle(x(a), x(b), y(h), y(0), f"bar c{colour}", short(h)) for a, b, h in bars if y.shows(h))
    return _svg(label, _axes(x, y, x_label, y_label, x_format=x_format), drawn)


def reliability(
    confidence: Sequence[float], accuracy: Sequence[float], count: Sequence[float], *, label: str, x_label: str,
    y_label: str,
) -> Markup:  # fmt: skip
    """Accuracy over confidence in bins of equal width; the share of samples in a bin is the strength of its bar.

    The dashed diagonal is perfect calibration: Niculescu-Mizil & Caruana 2005.
    """
    x, y = Scale(0, 1, LEFT, WIDTH - RIGHT), Scale(0, 1, HEIGHT - BOTTOM, TOP)
    largest = max([*count, 1])
    bars = []
    for i, (sure, right, n) in enumerate(zip(confidence, accuracy, count, strict=True)):
        if n > 0:
            a, b = i / len(count), (i + 1) / len(count)
            tooltip = f"{percent(sure)} → {percent(right)} ({n:g})"
            strength = f"{0.25 + 0.75 * (n / largest) ** 0.5:.2f}"
            bars.append(_rectangle(x(a) + 1, x(b) - 1, y(right), y(0), "bar c1", tooltip, opacity=strength))
            bars.append(tag("line", x1=x(a) + 1, x2=x(b) - 1, y1=y(sure), y2=y(sure), class_="expected"))
    diagonal = tag("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="diagonal")
    return _svg(label, _axes(x, y, x_label, y_label, percent, percent), bars, diagonal)


def spark(bins: Sequence[float], label: str) -> Markup:
    """A histogram as small as a word, without axes."""
    width, largest = 120 / max(len(bins), 1), max([*bins, 1])
    bars = (_rectangle(i * width + 0.5, (i + 1) * width - 0.5, 28 - 27 * n / largest, 28, "bar c1", f"{n:,}")
            for i, n in enumerate(bins) if n)  # fmt: skip
    return tag("svg", bars, viewBox="0 0 120 28", role="img", aria_label=label, class_="spark")


def scatter(pairs: Sequence[Sequence[float]], *, label: str, x_label: str, y_label: str) -> Markup:
    """Points (x, y) over one common range, with the diagonal where both are equal."""
    values = [v for p in pairs for v in p[:2]]
    x = Scale.around(values, LEFT, WIDTH - RIGHT)
    y = Scale.around(values, HEIGHT - BOTTOM, TOP)
    radius = 3 if len(pairs) < 300 else 2
    dots = (tag("circle", cx=x(p[0]), cy=y(p[1]), r=radius) for p in pairs if x.shows(p[0]) and y.shows(p[1]))
    diagonal = tag("line", x1=x(x.low), y1=y(x.low), x2=x(x.high), y2=y(x.high), class_="diagonal")
    return _svg(label, _axes(x, y, x_label, y_label), tag("g", dots, class_="points c1"), diagonal)


def cloud(dots: Sequence[tuple[float, float, int, str]], *, label: str) -> Markup:
    """Points (x, y, number of the colour, tooltip) without axes, whose units mean nothing."""
    x = Scale.around((d[0] for d in dots), 8, WIDTH - 8)
    y = Scale.around((d[1] for d in dots), HEIGHT - 8, 8)
    radius = 3.5 if len(dots) < 300 else 2
    shown = (d for d in dots if x.shows(d[0]) and y.shows(d[1]))
    circles = (
        tag("circle", tag("title", text), cx=x(across), cy=y(up), r=radius, class_=f"c{colour}")
        for across, up, colour, text in shown
    )
    return _svg(label, tag("g", circles, class_="points"))


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points, each the mean of neighbours.

    >>> thinned([(0, 1), (1, 3), (2, 5), (3, 7)], most=2)
    [(0.5, 2.0), (2.5, 6.0)]
    """
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // most)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(sum(p[0] for p in g) / len(g), sum(p[1] for p in g) / len(g)) for g in groups]


def _svg(label: str, *content: Markup | Iterable[Markup] | None) -> Markup:
    return tag("svg", *content, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)


def _axes(x: Scale, y: Scale, x_label: str, y_label: str, y_format: Format = short, x_format: Format = short) -> Markup:
    bottom = HEIGHT - BOTTOM
    return join(
        (tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y(v), y2=y(v), class_="grid") for v in y.ticks()),
        (tag("text", y_format(v), x=LEFT - 7, y=y(v) + 4, text_anchor="end") for v in y.ticks()),
        tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"),
        (tag("text", x_format(v), x=x(v), y=bottom + 16, text_anchor="middle") for v in x.ticks(7)),
        tag("text", x_label, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6, text_anchor="middle", class_="name"),
        tag("text", y_label, x=4, y=TOP - 12, class_="name") if y_label else None,
    )


def _curve(series: Series, x: Scale, y: Scale, y_format: Format) -> Markup:
    if series.style == "band":
        edge = [p for p in (*series.points, *reversed(series.upper)) if x.shows(p[0]) and y.shows(p[1])]
        area = "L".join(f"{x(a)} {y(b)}" for a, b in edge)
        return tag("path", d=f"M{area}Z" if edge else "", class_=f"band c{series.colour}")
    points = [p for p in thinned(series.points) if x.shows(p[0]) and y.shows(p[1])]
    path = "M" + "L".join(f"{x(a)} {y(b)}" for a, b in points) if len(points) > 1 else ""
    dotted = series.style == "dots" or len(points) == 1
    dots = None
    if dotted and len(points) <= MOST_DOTS:
        dots = join(
            tag("circle", tag("title", f"{series.name} {y_format(b)} ({short(a)})"), cx=x(a), cy=y(b), r=3)
            for a, b in points
        )
    return tag("g", tag("path", d=path) if path else None, dots, class_=f"curve {series.style} c{series.colour}")


def _rectangle(a: float, b: float, top: float, bottom: float, kind: str, tooltip: str, **more: object) -> Markup:
    width, height = round(max(b - a, 0.5), 1), round(max(bottom - top, 0), 1)
    return tag(
        "rect", tag("title", tooltip), x=round(a, 1), y=round(top, 1), width=width, height=height, class_=kind, **more
    )
