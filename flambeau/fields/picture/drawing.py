"""Boxes and the masks of things drawn into a picture, to be kept as a file or shown in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from flambeau.fields.decoding import upright
from flambeau.fields.heat import as_img
from flambeau.fields.image import Image
from flambeau.fields.picture.instances import as_segment
from flambeau.fields.picture.segments import filled

SHARE = 0.4  # of a thing's colour over its pixels
OTHER = "white"  # the colour of a class that has none
SHOWN, CLOSE = 288, 112  # pixels a side of a whole picture in a report, and of a part of one
AROUND = 0.6  # of a box's longer side, shown about it in a close-up
DASH = 5  # lengths of a dash and of what is between two, in line widths


def with_boxes(
    picture: PILImage.Image, boxes: Sequence[Mapping[str, Any]], colours: Mapping[str, str], dashed: bool = False
) -> PILImage.Image:
    """A picture in RGB with boxes, raw values of the kind `boxes`: the edge of each in the colour of its class, over it
    the class and how sure a model is, and its pixels tinted where there is a mask. The surest lie above.

    Raises:
        DataError: a mask is none, or of a picture of another size.
    """
    out, (width, height) = picture.copy(), picture.size
    line, size = max(1, round(max(width, height) / 300)), max(10, round(max(width, height) / 50))
    font = ImageFont.load_default(size=size)
    for box in sorted(boxes, key=lambda box: box.get("confidence", 1.0)):
        colour = colours.get(box["label"], OTHER)
        if box.get("mask") is not None:
            pixels = _pixels(box["mask"], (height, width))
            tint = PILImage.new("RGB", picture.size, colour)
            out.paste(PILImage.blend(out, tint, SHARE), mask=pixels)
        draw = ImageDraw.Draw(out)
        (x1, x2), (y1, y2) = sorted((box["x1"], box["x2"])), sorted((box["y1"], box["y2"]))
        if dashed:
            _dashed(draw, (x1, y1, x2, y2), colour, line)
        else:
            draw.rectangle((x1, y1, x2, y2), outline=colour, width=line)
        text = box["label"] + (f" {box['confidence']:.2f}" if "confidence" in box else "")
        left, top, right, bottom = draw.textbbox((x1, max(0, y1 - size - 2 * line)), text, font=font)
        draw.rectangle((left, top, right + line, bottom + line), fill=colour)
        draw.text((x1, max(0, y1 - size - 2 * line)), text, fill="black", font=font)
    return out


def compared(
    leader: Image, picture: Any, truth: Sequence[Mapping[str, Any]], answer: Sequence[Mapping[str, Any]],
    colours: Mapping[str, str],
) -> str:  # fmt: skip
    """A raw picture twice as HTML: with the true boxes dashed, and with those of an answer.

    Raises:
        DataError: the picture or a mask cannot be read.
    """
    small, (sides, _) = leader.thumbnail(picture, SHOWN), upright(picture)
    true = with_boxes(small, _scaled(truth, sides, small.size), colours, dashed=True)
    return (
        f"{as_img(true, 'true')} {as_img(with_boxes(small, _scaled(answer, sides, small.size), colours), 'predicted')}"
    )


def close_up(leader: Image, picture: Any, box: Sequence[float], colour: str) -> str:
    """The part of a raw picture about a box, in 0…1 of the model's input, as HTML.

    Raises:
        DataError: the picture cannot be read.
    """
    placement = leader.placement([picture])
    H, W = placement.size
    corners = placement.raw_boxes(torch.tensor([[box]]) * torch.tensor([W, H, W, H]))[0, 0]
    whole = leader.thumbnail(picture, max(upright(picture)[0]))
    x1, y1, x2, y2 = corners.tolist()
    reach = max(x2 - x1, y2 - y1, 2.0) * (0.5 + AROUND)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    part = whole.crop((round(x - reach), round(y - reach), round(x + reach), round(y + reach)))
    scale = CLOSE / part.width
    part = part.resize((CLOSE, CLOSE))
    left, top = round(x - reach), round(y - reach)
    inside = [scale * (edge - start) for edge, start in zip((x1, y1, x2, y2), (left, top) * 2, strict=True)]
    ImageDraw.Draw(part).rectangle(inside, outline=colour, width=2)
    return as_img(part)


def _scaled(boxes: Sequence[Mapping[str, Any]], sides: tuple[int, int], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Boxes of a picture of (height, width) in the same of (width, height)."""
    across, down = size[0] / sides[1], size[1] / sides[0]
    small = []
    for box in boxes:
        mask = box.get("mask")
        if mask is not None:
            mask = np.asarray(_pixels(mask, sides).resize(size, PILImage.Resampling.NEAREST))
        edges = {name: box[name] * (across if name[0] == "x" else down) for name in ("x1", "y1", "x2", "y2")}
        small.append({**box, **edges, "mask": mask})
    return small


def _pixels(mask: Any, size: tuple[int, int]) -> PILImage.Image:
    segment = as_segment(mask)
    return PILImage.fromarray(segment if isinstance(segment, np.ndarray) else filled(segment, size))


def _dashed(draw: ImageDraw.ImageDraw, corners: tuple[float, float, float, float], colour: str, line: int) -> None:
    x1, y1, x2, y2 = corners
    step = 2 * DASH * line
    for start in np.arange(x1, x2, step).tolist():
        for y in (y1, y2):
            draw.line((start, y, min(start + step / 2, x2), y), colour, line)
    for start in np.arange(y1, y2, step).tolist():
        for x in (x1, x2):
            draw.line((x, start, x, min(start + step / 2, y2)), colour, line)
