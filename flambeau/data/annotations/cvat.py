"""CVAT for images 1.1 (docs.cvat.ai): one `annotations.xml` with an <image> for each picture and in it <box>, <polygon>
and <mask>; those of one label and `group_id` are parts of one thing. Crowd, difficult and confidence are attributes,
the split is the picture's `subset`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np

from flambeau.core.errors import DataError
from flambeau.data.annotations.base import Format, found_in, read_xml, split_name
from flambeau.data.annotations.files import files_at, head_of
from flambeau.data.annotations.form import (
    FLAGS,
    Annotations,
    Picture,
    add_part,
    box,
    corners_of,
    number,
    says_its_box,
    tidy,
)
from flambeau.data.sources.base import SOURCES
from flambeau.data.split import ALIASES
from flambeau.fields.picture.pixels import MAX_PIXELS
from flambeau.fields.picture.segments import Segment, bounds, filled, packed

CORNERS = ("xtl", "ytl", "xbr", "ybr")
FRAME = ("left", "top", "width", "height")


@SOURCES.register("cvat")
class Cvat(Format):
    """An annotations.xml, or a folder with one."""

    of, sign = "CVAT annotations", "CVAT's annotations.xml"
    holds = frozenset({"mask", *FLAGS, "confidence", "split"})
    splits_apart = False

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 0.95 * ("pattern" not in options and any(map(_is_cvat, _files(path))))

    @staticmethod
    def parse(path: Path) -> Annotations:
        file = next((file for file in _files(path) if _is_cvat(file)), path)
        root = read_xml(file)
        if root.tag != "annotations" or root.find("image") is None:
            raise DataError("there is no <image> in it", where=file, expected="CVAT for images 1.1, and no video")
        found = Annotations([], [label.text or "" for label in root.iterfind("meta//labels/label/name")])
        used: dict[str, None] = {}
        for image in root.iterfind("image"):
            where = f"{file}, image {image.get('id', len(found.pictures))}"
            sides = [int(number(image.get(side), where)) for side in ("height", "width")]
            split = ALIASES.get(str(image.get("subset")).lower())
            picture = Picture(image.get("name") or "", None, (sides[0], sides[1]), split=split, place=where)
            things: dict[Any, dict[str, Any]] = {}
            for i, shape in enumerate(image):
                if (made := _thing(shape, picture, f"{where}, {shape.tag} {i + 1}")) is None:
                    found.unread[f"<{shape.tag}>"] += 1
                    continue
                used[made["label"]] = None
                group = shape.get("group_id") or "0"
                add_part(things, made, i, None if group == "0" else group)
            picture.boxes = [*things.values()]
            found.pictures.append(picture)
        found.classes = found.classes or sorted(used)
        found_in(file.parent, found.pictures)
        return found

    @staticmethod
    def write(annotations: Annotations, folder: Path) -> None:
        root = xml.Element("annotations")
        xml.SubElement(root, "version").text = "1.1"
        labels = xml.SubElement(xml.SubElement(xml.SubElement(root, "meta"), "job"), "labels")
        for name in annotations.classes:
            xml.SubElement(xml.SubElement(labels, "label"), "name").text = name
        for i, picture in enumerate(annotations.pictures):
            assert picture.size is not None
            height, width = picture.size
            subset = {"subset": split_name(picture)} if picture.split is not None else {}
            told = {"id": str(i), "name": picture.name, **subset, "width": str(width), "height": str(height)}
            image = xml.SubElement(root, "image", told)
            for group, each in enumerate(picture.boxes, 1):
                _write_thing(image, each, group, picture.size)
        xml.indent(root)
        (folder / "annotations.xml").write_bytes(xml.tostring(root, encoding="utf-8", xml_declaration=True))


def _files(path: Path) -> list[Path]:
    return files_at(path, ".xml", 3)


def _is_cvat(file: Path) -> bool:
    return b"<annotations" in head_of(file)


def _thing(shape: xml.Element, picture: Picture, where: str) -> dict[str, Any] | None:
    """A box, polygon or mask; None of what is none of these."""
    corners: list[float] | None = None
    mask: Segment | None = None
    label = shape.get("label")
    if shape.tag not in ("box", "polygon", "mask"):
        return None
    if not label:
        raise DataError("the shape has no label", where=where)
    if shape.tag == "box":
        corners = [number(shape.get(corner), f"{where}, {corner}") for corner in CORNERS]
    elif shape.tag == "polygon":
        pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";")]
        mask = [[number(cell, f"{where}, points") for pair in pairs for cell in pair]]
    else:
        mask = _mask(shape, picture, where)
    told = {a.get("name"): (a.text or "").strip() for a in shape.iterfind("attribute")}
    flags = {flag: str(told.get(flag)).lower() in ("true", "1") for flag in FLAGS}
    return box(corners, label, where, mask=mask, confidence=told.get("confidence"), **flags)


def _mask(shape: xml.Element, picture: Picture, where: str) -> dict[str, Any]:
    """A mask as run lengths of the whole picture, from those of a part of it, row by row."""
    assert picture.size is not None
    left, top, width, height = (int(number(shape.get(side), f"{where}, {side}")) for side in FRAME)
    runs = [int(number(cell, f"{where}, rle")) for cell in (shape.get("rle") or "").split(",")]
    if picture.size[0] * picture.size[1] > MAX_PIXELS:
        raise DataError(f"a picture of {picture.size[1]}×{picture.size[0]} is too large for a mask", where=where)
    inside = 0 <= left <= left + width <= picture.size[1] and 0 <= top <= top + height <= picture.size[0]
    if min(runs) < 0 or sum(runs) != width * height or not inside:
        raise DataError(f"the mask's run lengths do not fill {width}×{height}", where=where)
    whole = np.zeros(picture.size, bool)
    part = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    whole[top : top + height, left : left + width] = part
    return packed(whole)


def _write_thing(image: xml.Element, each: Mapping[str, Any], group: int, size: tuple[int, int]) -> None:
    """The shapes of one thing, in a group where there are several."""
    mask, shapes = each.get("mask"), list[tuple[str, dict[str, str]]]()
    corners = dict(zip(CORNERS, (str(tidy(x)) for x in corners_of(each)), strict=True))
    if isinstance(mask, Mapping):
        left, top, right, bottom = map(int, bounds(mask))
        part = filled(mask, size)[top:bottom, left:right].ravel()
        if part.size:
            changes = np.flatnonzero(np.diff(part, prepend=False)).tolist()
            runs = np.diff([0, *changes, part.size]).tolist()
            frame = dict(zip(FRAME, map(str, (left, top, right - left, bottom - top)), strict=True))
            shapes.append(("mask", {"rle": ", ".join(map(str, runs)), **frame}))
    else:
        for ring in mask or ():
            points = ";".join(f"{tidy(x)},{tidy(y)}" for x, y in np.reshape(ring, (-1, 2)).tolist())
            shapes.append(("polygon", {"points": points}))
    if not shapes or not says_its_box(each):
        shapes.append(("box", corners))  # last: what is read keeps the corners of the last of its parts
    grouped = {"group_id": str(group)} if len(shapes) > 1 else {}
    told = {flag: "true" for flag in FLAGS if each.get(flag)}
    told |= {"confidence": repr(each["confidence"])} if "confidence" in each else {}
    for tag, values in shapes:
        common = {"label": each["label"], "occluded": "0", "z_order": "0", **grouped}
        shape = xml.SubElement(image, tag, {**common, **values})
        for name, text in told.items():
            xml.SubElement(shape, "attribute", {"name": name}).text = text
