"""LabelMe JSON (github.com/wkentaro/labelme): a file beside each picture with its shapes: rectangles, polygons and
masks; shapes of one label and `group_id` are parts of one thing. Crowd and difficult are flags of the shapes."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage

from flambeau.core.errors import DataError, shown
from flambeau.core.files import write_json
from flambeau.data.annotations.base import Format, found_in, read_json
from flambeau.data.annotations.files import glance, head_of
from flambeau.data.annotations.form import (
    FLAGS,
    Annotations,
    Picture,
    add_part,
    box,
    corners_of,
    number,
    says_its_box,
    side_in,
    tidy,
)
from flambeau.data.sources.base import SOURCES
from flambeau.data.sources.walk import walk
from flambeau.fields.picture.pixels import MAX_PIXELS, open_picture
from flambeau.fields.picture.segments import bounds, filled, packed
from flambeau_onnx.pictures import DAMAGES

Points = list[list[float]]


@SOURCES.register("labelme")
class LabelMe(Format):
    """A folder with a JSON file for each picture."""

    of, sign = "LabelMe annotations", "a folder with LabelMe's JSON files"
    holds = frozenset({"mask", *FLAGS, "confidence", "split"})
    pictures_in = ""

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        files = [*glance(path, ".json", most=3)] if path.is_dir() else []
        return 0.85 * ("pattern" not in options and bool(files) and all(map(_is_labelme, files)))

    @staticmethod
    def parse(path: Path) -> Annotations:
        found, classes = Annotations([], []), set[str]()
        for name in (file for file in walk(path).files if file.lower().endswith(".json")):
            file = path / name
            document = read_json(file)
            if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
                raise DataError("there is no list of shapes", where=file, expected="a file of LabelMe")
            picture = _picture(document, file, path)
            picture.boxes = _boxes(document["shapes"], picture, found)
            classes |= {each["label"] for each in picture.boxes}
            found.pictures.append(picture)
        found.classes = sorted(classes)
        found_in(path, found.pictures)
        return found

    @staticmethod
    def write(annotations: Annotations, folder: Path) -> None:
        for picture in annotations.pictures:
            assert picture.size is not None
            file = LabelMe.placed(picture, folder)
            file.parent.mkdir(parents=True, exist_ok=True)
            shapes = [shape for group, each in enumerate(picture.boxes) for shape in _shapes(each, group, picture.size)]
            height, width = picture.size
            write_json(file.with_suffix(".json"), {
                "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": file.name, "imageData": None,
                "imageHeight": height, "imageWidth": width,
            })  # fmt: skip


def _is_labelme(file: Path) -> bool:
    head = head_of(file, 1 << 16).replace(b" ", b"")
    return head.lstrip(b"\xef\xbb\xbf\r\n\t").startswith(b"{") and b'"shapes":[' in head


def _picture(document: Mapping[str, Any], file: Path, root: Path) -> Picture:
    called = str(document.get("imagePath") or file.stem).replace("\\", "/")
    inside = file.relative_to(root).parent
    beside = file.parent / called
    sides = [document.get(side) for side in ("imageHeight", "imageWidth")]
    size = (int(number(sides[0], str(file))), int(number(sides[1], str(file)))) if all(sides) else None
    split = side_in((inside / "x").as_posix())
    names = inside.parts if split is None else inside.parts[1:]
    return Picture(Path(*names, Path(called).name).as_posix(), str(beside) if beside.is_file() else None, size,
                   split=split, place=str(file))  # fmt: skip


def _boxes(shapes: list[Any], picture: Picture, found: Annotations) -> list[dict[str, Any]]:
    """The things of a picture: shapes of one group are one."""
    things: dict[Any, dict[str, Any]] = {}
    for i, shape in enumerate(shapes):
        where = f"{picture.place}, shapes[{i}]"
        if not isinstance(shape, dict) or "label" not in shape:
            raise DataError(f"{shown(shape)} has no label", where=where)
        points = shape.get("points")
        try:
            corners = [[float(x), float(y)] for x, y in points or ()]
        except (TypeError, ValueError):
            raise DataError(f"the points {shown(points)} are no points", where=where, expected="[[x, y], …]") from None
        mask: Any = None
        match str(shape.get("shape_type") or "polygon"), len(corners):
            case "rectangle", 2 | 4:
                pass
            case "polygon", count if count > 2:
                mask = [[x for point in corners for x in point]]
            case "mask", 2:
                mask = _mask(shape.get("mask"), corners, picture, where)
            case form, _:
                found.unread[f"shape '{form}'"] += 1
                continue
        across, down = zip(*corners, strict=True)
        flags = dict(flags) if isinstance(flags := shape.get("flags"), dict) else {}
        flags |= {"difficult": True} if shape.get("difficult") else {}
        made = box(None if mask else (min(across), min(down), max(across), max(down)), shape["label"], where,
                   mask=mask, confidence=shape.get("score"),
                   **{flag: flags.get(flag) for flag in FLAGS})  # fmt: skip
        add_part(things, made, i, shape.get("group_id"))
    return [*things.values()]


def _mask(text: Any, corners: Points, picture: Picture, where: str) -> dict[str, Any]:
    """A mask as run lengths of the whole picture: a PNG in base64 of what lies between two corners, both in it."""
    if picture.size is None:
        raise DataError("there is a mask, and imageHeight and imageWidth are missing", where=where)
    try:
        with open_picture(base64.b64decode(text, validate=True)) as png:
            pixels = np.asarray(png.convert("L")) > 0
    except (*DAMAGES, PILImage.DecompressionBombError, binascii.Error) as error:
        raise DataError(f"the mask cannot be read ({error})", where=where) from None
    if picture.size[0] * picture.size[1] > MAX_PIXELS:
        raise DataError(f"a picture of {picture.size[1]}×{picture.size[0]} is too large for a mask", where=where)
    whole = np.zeros(picture.size, bool)
    left, top = (round(min(point[axis] for point in corners)) for axis in (0, 1))
    part = whole[max(top, 0) : max(top, 0) + len(pixels), max(left, 0) : max(left, 0) + pixels.shape[1]]
    part[:] = pixels[: part.shape[0], : part.shape[1]]
    return packed(whole)


def _shapes(each: Mapping[str, Any], group: int, size: tuple[int, int]) -> list[dict[str, Any]]:
    """The shapes of one thing, in a group where there are several."""
    x1, y1, x2, y2 = corners_of(each)
    mask = each.get("mask")
    rectangle: dict[str, Any] = {"shape_type": "rectangle", "points": [[tidy(x1), tidy(y1)], [tidy(x2), tidy(y2)]]}
    parts = list[dict[str, Any]]()
    if isinstance(mask, Mapping):
        left, top, right, bottom = map(int, bounds(mask))
        part = filled(mask, size)[top:bottom, left:right]
        if part.size:
            crop = io.BytesIO()
            PILImage.fromarray(part).save(crop, "png")
            ends = [[left, top], [right - 1, bottom - 1]]
            parts.append({"shape_type": "mask", "points": ends, "mask": base64.b64encode(crop.getvalue()).decode()})
    elif mask:
        rings = [[[tidy(x), tidy(y)] for x, y in np.reshape(ring, (-1, 2)).tolist()] for ring in mask]
        parts += [{"shape_type": "polygon", "points": ring} for ring in rings]
    if not parts or not says_its_box(each):
        parts.append(rectangle)  # last: what is read keeps the corners of the last of its parts
    flags = {flag: True for flag in FLAGS if each.get(flag)}
    score = {"score": each["confidence"]} if "confidence" in each else {}
    return [{"label": each["label"], "group_id": group if len(parts) > 1 else None, "description": "", "flags": flags,
             "mask": None, **score, **part} for part in parts]  # fmt: skip
