"""What a generative model makes: samples beside real rows, what they came to be epoch by epoch, ways between them, the
plane of the codes, the nearest training pictures, how they were measured, and what was watched."""

from __future__ import annotations

import base64
import io
import math
import re
from typing import Any

from flambeau.core.errors import DataError
from flambeau.fields.decoding import MAX_PIXELS
from flambeau.report.facts import Facts
from flambeau.report.markup import Markup, tag
from flambeau.report.parts import cell, figure, grid, note, number, percentage, section, table
from flambeau.report.svg import Series, line_chart
from flambeau.report.words import Words
from flambeau.training.samples import epoch_of, samples_in

SHEET = re.compile(r'<img src="(data:image/(png|jpeg);base64,[A-Za-z0-9+/]+={0,2})" alt="">')
SHEETS = ("real", "samples", "nearest", "reconstructed", "changed", "between", "plane")
FRAMES, SHOWS, LAST = 30, 300, 1500  # frames, and milliseconds of each and of the last
LARGEST = 400
MOST_FRAME = 4_000_000  # bytes of a picture of an epoch; what is larger is none of ours


def generated(facts: Facts, words: Words) -> Markup | None:
    """The section; nothing where a model makes nothing, or nothing that can be seen or was measured."""
    portrait = facts.evaluation.get("portrait") or {}
    measured = facts.evaluation.get("generated") or {}
    sheets = [_sheet(name, str(portrait[name]), words) for name in SHEETS if name in portrait]
    shown = [*sheets[:2], _animation(facts, words), *sheets[2:]]
    if not any(shown) and not measured:
        return None
    return section(words, "generated", grid(*(one for one in shown if one)), *_measured(measured, words),
                   *_watched(facts, words))  # fmt: skip


def _sheet(name: str, rendered: str, words: Words) -> Markup | None:
    match = SHEET.fullmatch(rendered)
    if match is None:
        return None
    title = words(f"generated.{name}")
    return figure(title, _picture(match[1], title, match[2] == "png"), remark=words(f"generated.{name}.note"))


def _picture(source: str, told: str, few: bool) -> Markup:
    return tag("img", src=source, alt=told, class_="sheet tiny" if few else "sheet")


def _animation(facts: Facts, words: Words) -> Markup | None:
    """The pictures of the epochs one after the other, which moves only where it is opened."""
    paths = samples_in(facts.path)
    if len(paths) < 2:
        return None
    count = min(FRAMES, len(paths))
    if (made := animated([paths[round(i * (len(paths) - 1) / (count - 1))] for i in range(count)])) is None:
        return None
    source = f"data:image/webp;base64,{base64.b64encode(made).decode()}"
    told = words("generated.epochs.note", first=epoch_of(paths[0]), last=epoch_of(paths[-1]))
    opened = tag("details", tag("summary", words("generated.epochs.open")),
                 _picture(source, words("generated.epochs"), few=True))  # fmt: skip
    return figure(words("generated.epochs"), opened, remark=told)


def animated(paths: list[Any]) -> bytes | None:
    """A moving WebP of pictures of one size, at most `LARGEST` pixels a side; None where they are no such."""
    from PIL import Image

    frames = []
    for path in paths:
        try:
            if path.stat().st_size > MOST_FRAME:
                return None
            with Image.open(path, formats=["PNG"]) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    return None
                frames.append(picture.convert("RGB"))
        except (OSError, ValueError, SyntaxError, DataError):
            return None
    if len({frame.size for frame in frames}) != 1:
        return None
    small = max(frames[0].size) <= LARGEST
    for frame in frames if not small else ():
        frame.thumbnail((LARGEST, LARGEST))
    held = io.BytesIO()
    moving = {"append_images": frames[1:], "duration": [SHOWS] * (len(frames) - 1) + [LAST], "loop": 0}
    frames[0].save(held, "webp", save_all=True, lossless=small, quality=60, **moving)
    return held.getvalue()


def _measured(measured: dict[str, Any], words: Words) -> list[Markup]:
    """What `flambeau evaluate` measured of samples beside held-out rows, and of training rows beside the same."""
    metrics, floor = measured.get("metrics") or {}, measured.get("floor") or {}
    if not metrics:
        return []
    head = (tag("th", words(w), scope="col") for w in ("generated.measure", "generated.made", "generated.floor"))
    rows = [tag("tr", tag("th", words.metric(name), scope="row"), cell(number(value)),
                cell(number(floor[name]) if name in floor else "–")) for name, value in metrics.items()]  # fmt: skip
    rows += [tag("tr", tag("th", words(f"generated.{name}"), scope="row"), cell(percentage(measured[name])), cell("–"))
             for name in ("diversity", "duplicates", "copied", "of_class_asked") if name in measured]  # fmt: skip
    told = words("generated.measured.note", samples=measured["samples"], features=measured["features"]["name"])
    made = [tag("h3", words("generated.measured")), note(told), table(head, rows, "list")]
    if classes := measured.get("classes"):
        head = (tag("th", words(w), scope="col") for w in ("class", "generated.made", "generated.real"))
        by_class = (tag("tr", tag("th", one["class"], scope="row"), cell(percentage(one["generated"])),
                        cell(percentage(one["real"]))) for one in classes)  # fmt: skip
        made.append(table(head, by_class, "list"))
    return made


def _watched(facts: Facts, words: Words) -> list[Markup]:
    """What was measured at the ends of epochs, and in steps beside their losses, each a curve."""
    unit = facts.steps_per_epoch or 1
    lines = [(line["step"] / unit, line) for line in (*facts.monitored, *facts.figures)]
    names = dict.fromkeys(name for _, line in lines for name in line if f"watched.{name}" in words)
    charts = []
    for colour, name in enumerate(names, 1):
        values = [(x, line[name]) for x, line in lines if isinstance(line.get(name), (int, float))]
        points = [(x, y) for x, y in values if math.isfinite(y)]
        if len(points) < 2:
            continue
        title = words(f"watched.{name}")
        chart = line_chart([Series(title, points, (colour - 1) % 8 + 1)], label=title, floor=0.0, y_label="",
                           x_label=words("epoch" if facts.steps_per_epoch else "step"))  # fmt: skip
        charts.append(figure(title, chart))
    return (
        [tag("h3", words("generated.watched")), note(words("generated.watched.note")), grid(*charts)] if charts else []
    )
