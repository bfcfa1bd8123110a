"""YOLO's text files (docs.ultralytics.com/datasets): a .txt for each picture, on each line the number of a class and in
shares of the picture's sides the middle, width and height of a box, or the corners of a polygon; a confidence may
follow. `data.yaml` has the names, a list or by number, and where the splits lie; a picture without .txt is empty."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, first_line, shown
from flambeau.core.files import parse_yaml
from flambeau.core.findings import Finding, Severity
from flambeau.data.annotations.base import Format, by_split, split_name, write_lines
from flambeau.data.annotations.files import glance, head_of, is_picture, size_of
from flambeau.data.annotations.form import Annotations, Picture, box, corners_of, side_in
from flambeau.data.sources.base import SOURCES
from flambeau.data.sources.walk import walk
from flambeau.data.split import ALIASES
from flambeau.fields.language.charsets import read_text
from flambeau.fields.picture.segments import joined, outlined, polygons

LINE = re.compile(rb"\s*\d+(\.0*)?(\s+[-+\d.eE]+){4,}\s*")
NAMES = ("classes.txt", "obj.names", "names.txt")
NOT_LABELS = (*NAMES, "train.txt", "val.txt", "valid.txt", "test.txt", "readme.txt", "requirements.txt")
LOOKED_AT = 12  # text files that are opened to see what they hold


@SOURCES.register("yolo")
class Yolo(Format):
    """A data.yaml, or a folder with one, or with `images/` and `labels/`, or with a .txt beside each picture."""

    of, sign = "YOLO annotations", "a folder with data.yaml or labels/*.txt"
    holds = frozenset({"mask", "confidence", "split"})

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        if "pattern" in options:
            return 0.0
        if path.is_file():
            return 0.95 * (path.suffix.lower() in (".yaml", ".yml") and _is_yaml(path))
        if not path.is_dir():
            return 0.0
        files = [f for f in glance(path, ".txt", most=LOOKED_AT) if f.name.lower() not in NOT_LABELS]
        first = [line for file in files for line in head_of(file).splitlines()[:1]]
        written = bool(first) and all(LINE.fullmatch(line) for line in first)
        return 0.9 * (written or (not first and any(map(_is_yaml, _yamls(path)))))

    @staticmethod
    def parse(path: Path) -> Annotations:
        yaml = path if path.is_file() else next((file for file in _yamls(path) if _is_yaml(file)), None)
        root = path if path.is_dir() else path.parent
        told = _read_yaml(yaml) if yaml else {}
        names = _names(told.get("names"), yaml or path) or _listed(root)
        found = Annotations([], [])
        base = root / str(told.get("path") or "")
        base = base if base.is_dir() else root
        listed = [
            (key, str(place), _there(base, str(place)) or _there(root, str(place)))
            for key in ("train", "val", "valid", "test")
            for place in (told[key] if isinstance(told.get(key), list) else [told.get(key)])
            if place
        ]
        places = [(key, there) for key, _, there in listed if there is not None]
        for key, place, there in listed:
            if there is None:
                if key == "train" or not places:
                    raise DataError(f"there is no {place}", where=root, fix="mend train, val and test in data.yaml")
                message = f"there is no {place}, where data.yaml has {key}; that is left out"
                found.findings.append(Finding("missing-split", Severity.WARNING, message, places=[str(yaml)],
                                              fix=f"mend or take out {key} in data.yaml"))  # fmt: skip
        if places:
            several = len({key for key, _ in places}) > 1
            for key, there in places:
                found.pictures += [
                    Picture(*named, split=ALIASES[key] if several else None) for named in _lying(base, there)
                ]
        else:
            for name, file in _lying(root, root):
                found.pictures.append(Picture(name, file, split=side_in(Path(file).relative_to(root).as_posix())))
        highest, without = -1, 0
        for picture in found.pictures:
            labels = _labels_of(Path(picture.path or ""))
            picture.place = str(labels)
            picture.size = size_of(picture.path) if picture.path else None
            if not labels.is_file():
                without += 1
            elif picture.size is not None:
                highest = max([highest, *_read_labels(picture, labels, names)])
        if without == len(found.pictures) and without:
            raise DataError("no picture has a .txt of its boxes", where=path, expected=str(found.pictures[0].place))
        found.classes = names or [str(number) for number in range(highest + 1)]
        if not names:
            found.findings.append(Finding("no-names", Severity.NOTE, "the classes have no names, and are called by "
                                          "their numbers", fix="put a data.yaml with names beside them"))  # fmt: skip
        return found

    @staticmethod
    def write(annotations: Annotations, folder: Path) -> None:
        import yaml

        numbers = {name: i for i, name in enumerate(annotations.classes)}
        for picture in annotations.pictures:
            stem = folder / "labels" / split_name(picture) / picture.name
            write_lines(stem.with_suffix(".txt"), (_line(each, picture, numbers) for each in picture.boxes))
        splits = by_split(annotations.pictures)
        keys = {split.replace("valid", "val") or "train": f"images/{split}".rstrip("/") for split in splits}
        document = {**keys, "names": dict(enumerate(annotations.classes))}
        text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
        (folder / "data.yaml").write_text(text, encoding="utf-8")


def _is_yaml(file: Path) -> bool:
    """Whether a YAML file has names of classes and says where pictures lie."""
    head = head_of(file, 1 << 16)
    return bool(re.search(rb"(?m)^names\s*:", head) and re.search(rb"(?m)^(train|val|valid|test|path|nc)\s*:", head))


def _yamls(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        told = parse_yaml(read_text(file))
    except ValueError as error:
        raise DataError(f"the file is not YAML ({first_line(error, 100)})", where=file) from None
    if not isinstance(told, dict):
        raise DataError(f"the file holds a {type(told).__name__}", where=file, expected="names, train and val")
    return told


def _names(given: Any, where: Path) -> list[str]:
    """The classes by their numbers, from a list or a mapping of numbers."""
    if given is None:
        return []
    if isinstance(given, list):
        return [*map(str, given)]
    try:
        by_number = {int(number): str(name) for number, name in given.items()}
    except (AttributeError, TypeError, ValueError):
        raise DataError(f"names is {shown(given)}", where=where, expected="a list, or names by number") from None
    if [*sorted(by_number)] != [*range(len(by_number))]:
        raise DataError(f"names has the numbers {', '.join(map(str, sorted(by_number)[:12]))}", where=where,
                        expected="0, 1, 2, … without gaps")  # fmt: skip
    return [by_number[number] for number in range(len(by_number))]


def _listed(root: Path) -> list[str]:
    """The classes that a text file beside the pictures lists, a line each."""
    files = [folder / name for folder in (root, root / "labels") for name in NAMES]
    file = next((file for file in files if file.is_file()), None)
    return [] if file is None else [line.strip() for line in read_text(file).splitlines() if line.strip()]


def _there(base: Path, place: str) -> Path | None:
    """A folder or file as data.yaml or a list calls it, or by the longest end of that which is there and of the same
    split: `../train` is left where a set was exported, and whole paths of the machine it comes from."""
    if (base / place).exists():
        return base / place
    parts = [part for part in re.split(r"[\\/]+", place) if part not in ("", ".", "..")]
    ends = [parts[i:] for i in range(len(parts)) if _side(parts[i:]) == _side(parts)]
    return next((there for end in ends if (there := base.joinpath(*end)).exists()), None)


def _side(parts: list[str]) -> int | None:
    return side_in("/".join([*parts, "x"]))


def _lying(base: Path, there: Path) -> list[tuple[str, str]]:
    """The name and the path of each picture of a split: of a folder, or of a text file that lists them."""
    if there.is_file():
        lines = [line.strip() for line in read_text(there).splitlines() if line.strip()]
        named = [(line, _there(there.parent, line) or _there(base, line)) for line in lines]
        if absent := next((line for line, file in named if file is None), None):
            raise DataError(f"the picture {absent} is not there", where=there)
        return [(file.name, str(file)) for _, file in named if file is not None]
    files = [there / file for file in walk(there).files if is_picture(file)]
    return [(_name(file.relative_to(there)), str(file)) for file in files]


def _name(file: Path) -> str:
    """A picture's name below its `images` and the folder of its split."""
    parts = [*file.parts]
    while len(parts) > 1 and (parts[0].lower() == "images" or side_in(f"{parts[0]}/x") is not None):
        parts.pop(0)
    return Path(*parts).as_posix()


def _labels_of(picture: Path) -> Path:
    """The .txt of a picture: in `labels`, where that lies as `images` does, or beside it."""
    parts = [*picture.with_suffix(".txt").parts]
    for i in range(len(parts) - 2, -1, -1):
        if parts[i].lower() == "images":
            labels = Path(*parts[:i], "labels", *parts[i + 1 :])
            return labels if labels.is_file() or not picture.with_suffix(".txt").is_file() else Path(*parts)
    return Path(*parts)


def _read_labels(picture: Picture, file: Path, names: list[str]) -> list[int]:
    """Reads the boxes of a picture; the numbers of their classes."""
    assert picture.size is not None
    height, width = picture.size
    numbers = []
    for i, line in enumerate(read_text(file).splitlines(), 1):
        if not (cells := line.split()):
            continue
        where = f"{file}, line {i}"
        try:
            number, values = int(re.sub(r"\.0*$", "", cells[0])), [float(cell) for cell in cells[1:]]  # 1.0, of pandas
        except ValueError:
            number, values = -1, []
        if number < 0 or len(values) < 4:
            raise DataError(f"{shown(line.strip())} is no box", where=where,
                            expected="class x y width height, or class and the corners of a polygon")  # fmt: skip
        if names and number >= len(names):
            raise DataError(f"the class {number} has no name", where=where, expected=f"0…{len(names) - 1}")
        confidence = values.pop() if len(values) % 2 else None
        label = names[number] if names else str(number)
        if len(values) == 4:
            x, y, w, h = values
            corners = ((x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height)
            picture.boxes.append(box(corners, label, where, confidence=confidence))
        else:
            ring = (np.asarray(values).reshape(-1, 2) * [width, height]).ravel().tolist()
            picture.boxes.append(box(None, label, where, mask=[ring], confidence=confidence))
        numbers.append(number)
    return numbers


def _line(each: Mapping[str, Any], picture: Picture, numbers: Mapping[str, int]) -> str:
    """One box, or one polygon: several parts are one, led from each to the next and back along a line."""
    assert picture.size is not None
    height, width = picture.size
    x1, y1, x2, y2 = corners_of(each)
    values = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    if "mask" in each and (rings := outlined(each["mask"], picture.size)):
        values = (joined(polygons(rings)) / [width, height]).ravel().tolist()
    values += [each["confidence"]] if "confidence" in each else []
    return " ".join([str(numbers[each["label"]]), *(f"{value:.10g}" for value in values)])
