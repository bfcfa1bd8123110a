"""COCO JSON (cocodataset.org, "Data format"): one file a split with lists of images, annotations and categories; a box
is [left, top, width, height], a segment polygons or run lengths."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, shown
from flambeau.core.files import read_bytes, write_json
from flambeau.data.annotations.base import Format, by_split, found_in, read_json
from flambeau.data.annotations.files import files_at, head_of
from flambeau.data.annotations.form import Annotations, Picture, box, corners_of, number, side_in, tidy
from flambeau.data.sources.base import SOURCES
from flambeau.fields.picture.segments import area

LISTS = ("images", "annotations", "categories")
NO_IMAGES = re.compile(rb'"images"\s*:\s*\[\s*\]')
MOST_FILES = 30  # JSON files of a folder that may be of COCO


@SOURCES.register("coco")
class Coco(Format):
    """A JSON file with images, annotations and categories, or a folder with such files."""

    of, sign = "COCO annotations", "a JSON file with images, annotations and categories"
    holds = frozenset({"mask", "crowd", "confidence", "split"})

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 0.95 * ("pattern" not in options and any(map(is_coco, json_files(path))))

    @staticmethod
    def parse(path: Path) -> Annotations:
        files = [file for file in json_files(path) if is_coco(file)]
        if not files:
            raise DataError("no JSON file with images, annotations and categories is there", where=path)
        every = Annotations([], [])
        for file in files:
            found = read_file(file, None if path.is_file() else side_in(file.relative_to(path).as_posix()))
            every.classes += [name for name in found.classes if name not in every.classes]
            every.pictures += found.pictures
            every.unread += found.unread
            found_in(file.parent, (p for p in found.pictures if p.path is None and len(files) > 1))
        root = path if path.is_dir() else path.parent
        found_in(root, every.pictures)
        if all(picture.path is None for picture in every.pictures) and root.name.lower().startswith("annotation"):
            found_in(root.parent, every.pictures)
        return every

    @staticmethod
    def write(annotations: Annotations, folder: Path) -> None:
        (folder / "annotations").mkdir(exist_ok=True)
        categories = [{"id": i, "name": name} for i, name in enumerate(annotations.classes, 1)]
        ids = {category["name"]: category["id"] for category in categories}
        for split, pictures in by_split(annotations.pictures).items():
            images, things = list[dict[str, Any]](), list[dict[str, Any]]()
            for key, picture in enumerate(pictures, 1):
                assert picture.size is not None
                height, width = picture.size
                images.append({"id": key, "file_name": picture.name, "width": width, "height": height})
                for each in picture.boxes:
                    x1, y1, x2, y2 = corners_of(each)
                    mask = each.get("mask", [])
                    made = {"id": len(things) + 1, "image_id": key, "category_id": ids[each["label"]],
                            "bbox": [tidy(x1), tidy(y1), tidy(x2 - x1), tidy(y2 - y1)], "segmentation": mask,
                            "area": tidy(area(mask) if mask else abs((x2 - x1) * (y2 - y1))),
                            "iscrowd": int(each.get("crowd", False))}  # fmt: skip
                    things.append(made | ({"score": each["confidence"]} if "confidence" in each else {}))
            document = {"images": images, "annotations": things, "categories": categories}
            write_json(folder / "annotations" / f"instances{f'_{split}' if split else ''}.json", document)


def json_files(path: Path) -> list[Path]:
    """The file itself, or the JSON files of a folder, but for those that tools leave one a picture."""
    return files_at(path, ".json", MOST_FILES)


def is_coco(file: Path) -> bool:
    """Whether a JSON file is of COCO: a mapping in which the lists and the names of files are."""
    if not head_of(file).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    try:
        data = read_bytes(file)
    except DataError:
        return False
    listed = b'"file_name"' in data or NO_IMAGES.search(data) is not None
    return listed and all(f'"{name}"'.encode() in data for name in LISTS)


def read_file(file: Path, split: int | None) -> Annotations:
    """One JSON file; the pictures have no paths yet."""
    document = read_json(file)
    lists = {name: document.get(name) if isinstance(document, dict) else None for name in LISTS}
    if odd := next((name for name, values in lists.items() if not isinstance(values, list)), None):
        raise DataError(f"there is no list of {odd}", where=file, expected="images, annotations and categories")
    pictures: dict[Any, Picture] = {}
    for i, image in enumerate(lists["images"] or ()):
        where = f"{file}, images[{i}]"
        if not isinstance(image, dict) or not isinstance(name := image.get("file_name"), str):
            raise DataError(f"{shown(image)} has no file_name", where=where)
        height, width = (image.get(side) for side in ("height", "width"))
        size = (int(number(height, where)), int(number(width, where))) if height and width else None
        key = image.get("id")
        if not isinstance(key, (int, str)):
            raise DataError(f"the picture {name} has no id", where=where)
        if key in pictures:
            raise DataError(f"two pictures have the id {key}", where=where, fix=f"{name} and {pictures[key].name}")
        pictures[key] = Picture(name, None, size, [], split, where)
    classes = categories(lists["categories"] or [], file)
    unread: defaultdict[str, int] = defaultdict(int)
    for i, thing in enumerate(lists["annotations"] or ()):
        where = f"{file}, annotations[{i}]"
        if not isinstance(thing, dict):
            raise DataError(f"{shown(thing)} is no annotation", where=where)
        if not isinstance(key := thing.get("image_id"), Hashable) or (picture := pictures.get(key)) is None:
            raise DataError(f"there is no picture with the id {thing.get('image_id')}", where=where)
        if not isinstance(key := thing.get("category_id"), Hashable) or (label := classes.get(key)) is None:
            raise DataError(f"the category_id {thing.get('category_id')} is not among the categories", where=where,
                            expected=", ".join(map(str, [*classes][:12])))  # fmt: skip
        if "bbox" not in thing and not thing.get("segmentation"):
            unread["annotations without a box"] += 1
            continue
        picture.boxes.append(_thing(thing, label, where))
        unread["keypoints"] += bool(thing.get("keypoints"))
    found = Annotations([*pictures.values()], [*classes.values()])
    found.unread.update({kind: count for kind, count in unread.items() if count})
    return found


def categories(listed: Any, file: Path) -> dict[Any, str]:
    """The names of the categories by their numbers, which have gaps."""
    try:
        classes = {category["id"]: str(category["name"]) for category in listed}
    except (TypeError, KeyError):
        raise DataError("a category has no id or no name", where=f"{file}, categories") from None
    if len(classes) < len(listed):
        raise DataError("two categories have one id", where=f"{file}, categories")
    return classes


def _thing(thing: Mapping[str, Any], label: str, where: str) -> dict[str, Any]:
    segment = thing.get("segmentation") or None
    if isinstance(segment, list) and segment and not isinstance(segment[0], list):
        segment = [segment]  # one polygon, not in a list
    corners = None
    if thing.get("bbox"):
        try:
            left, top, width, height = (number(x, where) for x in thing["bbox"])
        except (TypeError, ValueError):
            raise DataError(f"the bbox {shown(thing['bbox'])} is no box", where=where,
                            expected="[left, top, width, height]") from None  # fmt: skip
        corners = (left, top, left + width, top + height)
    return box(corners, label, where, mask=segment, crowd=thing.get("iscrowd"), confidence=thing.get("score"))
