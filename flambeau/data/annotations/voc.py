"""Pascal VOC (Everingham et al. 2010): `Annotations/*.xml`, `JPEGImages/`, `ImageSets/Main/*.txt` for the split. The
first pixel is (1, 1), and the last one of a box is in it: in pixels from the corner xmin - 1, ymin - 1, xmax, ymax."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.data.annotations.base import Format, by_split, found_in, read_xml, write_lines
from flambeau.data.annotations.files import glance, head_of
from flambeau.data.annotations.form import Annotations, Picture, box, corners_of, number, side_in, tidy
from flambeau.data.sources.base import SOURCES
from flambeau.data.sources.walk import walk
from flambeau.data.split import TRAIN
from flambeau.fields.language.charsets import read_text

CORNERS = ("xmin", "ymin", "xmax", "ymax")
SETS = ("train", "val", "test", "trainval")  # of ImageSets/Main: the more special ones first


@SOURCES.register("voc")
class Voc(Format):
    """A folder with an XML file for each picture."""

    of, sign = "Pascal VOC annotations", "a folder with Annotations/*.xml"
    holds = frozenset({"difficult", "split"})
    pictures_in = "JPEGImages"
    splits_apart = False

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        files = [*glance(path, ".xml", most=3)] if path.is_dir() else []
        return 0.85 * ("pattern" not in options and bool(files) and all(map(is_voc, files)))

    @staticmethod
    def parse(path: Path) -> Annotations:
        walked = walk(path).files
        sets = sets_of(path, walked)
        pictures, classes, others, unlisted = list[Picture](), set[str](), list[str](), list[str]()
        parts = 0
        for name in (file for file in walked if file.lower().endswith(".xml")):
            file = path / name
            root = read_xml(file)
            if root.tag != "annotation":
                others.append(name)
                continue
            picture = _picture(root, file)
            picture.split = sets.get(file.stem, sets.get(Path(picture.name).with_suffix("").as_posix()))
            if sets and picture.split is None:
                unlisted.append(name)
                continue
            picture.split = picture.split if sets else side_in(name)
            for i, thing in enumerate(root.iter("object"), 1):
                picture.boxes.append(_box(thing, f"{file}, object {i}"))
                parts += sum(1 for _ in thing.iter("part"))
            classes |= {each["label"] for each in picture.boxes}
            pictures.append(picture)
        found = Annotations(pictures, sorted(classes))
        found_in(path, pictures)
        if parts:
            found.unread["parts of objects"] = parts
        for places, said in ((others, "XML files are no annotations of VOC"), (unlisted, "are in no list of a split")):
            if places:
                message = f"{len(places)} {said}, and are left out"
                found.findings.append(Finding("other-files", Severity.NOTE, message, places=places))
        return found

    @staticmethod
    def write(annotations: Annotations, folder: Path) -> None:
        for picture in annotations.pictures:
            assert picture.size is not None
            root = xml.Element("annotation")
            xml.SubElement(root, "folder").text = Voc.pictures_in
            xml.SubElement(root, "filename").text = picture.name
            size = xml.SubElement(root, "size")
            for side, value in zip(("width", "height", "depth"), (*picture.size[::-1], 3), strict=True):
                xml.SubElement(size, side).text = str(value)
            xml.SubElement(root, "segmented").text = "0"
            for each in picture.boxes:
                thing = xml.SubElement(root, "object")
                xml.SubElement(thing, "name").text = each["label"]
                xml.SubElement(thing, "pose").text = "Unspecified"
                xml.SubElement(thing, "truncated").text = "0"
                xml.SubElement(thing, "difficult").text = str(int(each.get("difficult", False)))
                x1, y1, x2, y2 = corners_of(each)
                bounds = xml.SubElement(thing, "bndbox")
                for corner, edge in zip(CORNERS, (x1 + 1, y1 + 1, x2, y2), strict=True):
                    xml.SubElement(bounds, corner).text = str(tidy(edge))
            xml.indent(root)
            file = (folder / "Annotations" / picture.name).with_suffix(".xml")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(xml.tostring(root, encoding="utf-8"))
        for split, pictures in by_split(annotations.pictures).items():
            if split:
                stems = [Path(picture.name).with_suffix("").as_posix() for picture in pictures]
                write_lines(folder / "ImageSets" / "Main" / f"{split.replace('valid', 'val')}.txt", stems)


def is_voc(file: Path) -> bool:
    """Whether an XML file is of VOC, by how it begins."""
    head = head_of(file)
    return b"<annotation>" in head or b"<annotation " in head


def _picture(root: xml.Element, file: Path) -> Picture:
    """A picture by what its file calls it; where that is of another name than the XML file, as is left by renaming, by
    the latter's. It is looked for beside the file first."""
    called = Path((root.findtext("filename") or file.stem).strip().replace("\\", "/"))
    called = called if called.stem == file.stem else called.with_name(file.stem)
    sides = [number(root.findtext(f"size/{side}") or "0", f"{file}, {side}") for side in ("height", "width")]
    beside = file.parent / called.name
    return Picture(called.as_posix(), str(beside) if beside.is_file() else None,
                   (int(sides[0]), int(sides[1])) if all(sides) else None, place=str(file))  # fmt: skip


def _box(thing: xml.Element, where: str) -> dict[str, Any]:
    label, bounds = (thing.findtext("name") or "").strip(), thing.find("bndbox")
    if not label or bounds is None:
        raise DataError("the object has no name or no bndbox", where=where)
    x1, y1, x2, y2 = (number(bounds.findtext(corner), f"{where}, {corner}") for corner in CORNERS)
    difficult = (thing.findtext("difficult") or "0").strip() not in ("0", "")
    return box((x1 - 1, y1 - 1, x2, y2), label, where, difficult=difficult)


def sets_of(path: Path, walked: list[str], of: str = "Main") -> dict[str, int]:
    """The split of each picture by its name without ending, as the lists in a folder of ImageSets say."""
    found: dict[str, int] = {}
    for name in SETS:
        for file in (f for f in walked if f.replace("\\", "/").endswith(f"ImageSets/{of}/{name}.txt")):
            side = TRAIN if name == "trainval" else side_in(name)
            for line in read_text(path / file).splitlines():
                if line.strip() and side is not None:
                    found.setdefault(line.split()[0], side)
    return found
