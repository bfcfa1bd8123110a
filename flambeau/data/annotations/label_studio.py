"""Label Studio's JSON (labelstud.io/guide/export): a list of tasks, each with the address of its picture and what was
annotated, in percent of the picture's sides: rectanglelabels and polygonlabels. What a brush painted is not read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np

from flambeau.core.errors import DataError, shown
from flambeau.core.files import ODD, write_json
from flambeau.core.findings import Finding, Severity
from flambeau.data.annotations.base import Format, found_in, read_json, split_name
from flambeau.data.annotations.coco import json_files
from flambeau.data.annotations.files import head_of, is_picture
from flambeau.data.annotations.form import Annotations, Picture, box, corners_of, number
from flambeau.data.sources.base import SOURCES
from flambeau.data.split import ALIASES
from flambeau.fields.picture.segments import joined, outlined, polygons

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file


@SOURCES.register("label-studio")
class LabelStudio(Format):
    """A JSON file of tasks, or a folder with one."""

    of, sign = "Label Studio annotations", "a JSON file that Label Studio exported"
    holds = frozenset({"mask", "confidence", "split"})
    splits_apart = False

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 0.95 * ("pattern" not in options and any(map(_is_label_studio, json_files(path))))

    @staticmethod
    def parse(path: Path) -> Annotations:
        file = next((file for file in json_files(path) if _is_label_studio(file)), path)
        tasks = read_json(file)
        if not isinstance(tasks, list):
            raise DataError(f"the file holds a {type(tasks).__name__}", where=file, expected="a list of tasks")
        found, several, turned = Annotations([], []), list[str](), 0
        for i, task in enumerate(tasks):
            where = f"{file}, task {i + 1}"
            data = task.get("data") if isinstance(task, dict) else None
            if not isinstance(data, dict):
                raise DataError("the task has no data", where=where)
            picture = Picture(_name(data, where), place=where, split=ALIASES.get(str(data.get("split")).lower()))
            try:
                done = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
                results = [*((done or task.get("predictions") or [{}])[0].get("result") or [])]
            except ODD:
                raise DataError("the task's annotations are no list with a result each", where=where) from None
            if len(done) > 1:
                several.append(picture.name)
            for j, region in enumerate(results, 1):
                made = _thing(region, picture, f"{where}, region {j}")
                if made is None:
                    found.unread[str(region.get("type", "without a type"))] += 1
                    continue
                turned += bool(region["value"].get("rotation"))
                picture.boxes.append(made)
            found.pictures.append(picture)
        found.classes = sorted({each["label"] for picture in found.pictures for each in picture.boxes})
        found_in(file.parent, found.pictures)
        if several:
            message = f"{len(several)} pictures were annotated several times; the first is taken"
            found.findings.append(Finding("several-annotators", Severity.NOTE, message, places=several))
        if turned:
            message = f"{turned} boxes are turned; upright ones about them are taken"
            found.findings.append(Finding("turned-boxes", Severity.NOTE, message, count=turned))
        return found

    @staticmethod
    def write(annotations: Annotations, folder: Path) -> None:
        tasks = []
        for i, picture in enumerate(annotations.pictures, 1):
            regions = [region for each in picture.boxes for region in _regions(each, picture)]
            data = {"image": f"{LabelStudio.pictures_in}/{picture.name}"}
            data |= {"split": split_name(picture)} if picture.split is not None else {}
            found = any("confidence" in each for each in picture.boxes)
            tasks.append({"id": i, "data": data, "annotations": [] if found else [{"result": regions}],
                          "predictions": [{"result": regions}] if found else []})  # fmt: skip
        write_json(folder / "tasks.json", tasks)


def _is_label_studio(file: Path) -> bool:
    head = head_of(file, 1 << 16).lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"[") and b'"data"' in head and (b'"annotations"' in head or b'"predictions"' in head)


def _name(data: Mapping[str, Any], where: str) -> str:
    """The path of a task's picture: what is addressed as /data/upload/1/1a2b3c4d-cat.jpg or ?d=folder/cat.jpg."""
    told = data.get("image") or next((v for v in data.values() if isinstance(v, str) and is_picture(v)), None)
    if not isinstance(told, str):
        raise DataError("the task names no picture", where=where, expected='"data": {"image": …}')
    address = urlparse(told)
    inside = parse_qs(address.query).get("d", [unquote(address.path)])[0].lstrip("/")
    path = Path(re.sub(r"^data/(upload/(\d+/)?|local-files/)", "", inside))
    path = path.with_name(UPLOADED.sub("", path.name)) if inside.startswith("data/upload") else path
    return path.as_posix()


def _thing(region: Any, picture: Picture, where: str) -> dict[str, Any] | None:
    """A rectangle or a polygon; None of what is none of these."""
    if not isinstance(region, dict):
        raise DataError(f"{shown(region)} is no region", where=where)
    form, value = region.get("type"), region.get("value")
    if form not in ("rectanglelabels", "polygonlabels"):
        return None
    if not isinstance(value, dict):
        raise DataError(f"{shown(region)} is no region", where=where)
    sides = ("original_width", "original_height")
    width, height = (number(region.get(side), f"{where}, {side}") for side in sides)
    picture.size = (int(height), int(width))
    labels = value.get(form)
    if not isinstance(labels, list) or not labels:
        raise DataError("the region has no label", where=where)
    scale = np.asarray([width, height]) / 100
    if form == "polygonlabels":
        try:
            ring = np.asarray(value.get("points"), np.float64).reshape(-1, 2)
        except ODD:
            raise DataError(f"the points {shown(value.get('points'))} are no points", where=where) from None
        return box(None, labels[0], where, mask=[(ring * scale).ravel().tolist()],
                   confidence=region.get("score"))  # fmt: skip
    left, top, wide, high = (number(value.get(side), f"{where}, {side}") for side in ("x", "y", "width", "height"))
    corners = np.asarray([(0, 0), (wide, 0), (wide, high), (0, high)]) * scale
    turn = math.radians(number(value.get("rotation") or 0, where))  # about the corner at the left and top
    if turn:
        corners = corners @ np.asarray([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    corners += np.asarray([left, top]) * scale
    return box([*corners.min(0), *corners.max(0)], labels[0], where, confidence=region.get("score"))


def _regions(each: Mapping[str, Any], picture: Picture) -> list[dict[str, Any]]:
    """The region of a thing: its polygon, several parts of which are one, or its box."""
    assert picture.size is not None
    height, width = picture.size
    percent = np.asarray([100 / width, 100 / height])
    if "mask" in each and (rings := outlined(each["mask"], picture.size)):
        form = "polygonlabels"
        value: dict[str, Any] = {"points": (joined(polygons(rings)) * percent).tolist(), "closed": True}
    else:
        form = "rectanglelabels"
        x1, y1, x2, y2 = (np.reshape(corners_of(each), (2, 2)) * percent).ravel().tolist()
        value = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}
    score = {"score": each["confidence"]} if "confidence" in each else {}
    return [{"type": form, "from_name": "label", "to_name": "image", "original_width": width, "original_height": height,
             "image_rotation": 0, "value": {**value, form: [each["label"]]}, **score}]  # fmt: skip
