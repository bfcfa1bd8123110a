"""A table with a box a line: the picture, the class and x1, y1, x2, y2, or left, top, width, height, by these names or
others that people use; a line without corners is a picture without objects. Shares of the sides become pixels."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.data.annotations.base import Format, found_in, split_name
from flambeau.data.annotations.files import head_of, is_picture, size_of
from flambeau.data.annotations.form import CORNERS, FLAGS, Annotations, Picture, box, corners_of, number, tidy
from flambeau.data.sources.base import SOURCES
from flambeau.data.sources.table_folders import tables_about
from flambeau.data.sources.tables import JSON_LINES, is_table, read_table
from flambeau.data.split import ALIASES
from flambeau.fields.language.charsets import detect

CALLED = {
    "picture": "image filename file image_path path img image_name imageid image_id file_name picture photo "
    "fichier bild datei imagen archivo 图片 文件名",
    "label": "label class name category class_name labelname label_name category_name "
    "classe categorie etiquette klasse kategorie clase categoria 类别 标签",
    "x1": "x1 xmin x_min left xtl bbox_x1 bbox_xmin x0 gauche links izquierda 左",
    "y1": "y1 ymin y_min top ytl bbox_y1 bbox_ymin y0 haut oben arriba 上",
    "x2": "x2 xmax x_max right xbr bbox_x2 bbox_xmax droite rechts derecha 右",
    "y2": "y2 ymax y_max bottom ybr bbox_y2 bbox_ymax bas unten abajo 下",
    "left": "x left bbox_x xmin x_min x1 gauche links izquierda 左",
    "top": "y top bbox_y ymin y_min y1 haut oben arriba 上",
    "width": "width w bbox_width bbox_w largeur breite ancho 宽",
    "height": "height h bbox_height bbox_h hauteur hohe hoehe alto 高",
    "split": "split subset set",
    "confidence": "confidence score",
    **dict(zip(FLAGS, FLAGS, strict=True)),
}
"""What columns are called, in small letters without accents."""
SIDES = ("left", "top", "width", "height")
PLAIN = ("picture", *CORNERS, "label")  # the order of a table without names of columns


@SOURCES.register("box-table")
class BoxTable(Format):
    """A CSV, TSV or Parquet file with a box on each line, or a folder with one about the pictures in it."""

    of, sign = "tables of boxes", "a CSV file with the columns image, x1, y1, x2, y2, label"
    holds = frozenset({*FLAGS, "confidence", "split"})
    splits_apart = False

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        if options.keys() - {"split", "target", "fields", "labels"}:
            return 0.0
        if path.is_dir():
            return 0.6 * (options.get("target") in (None, "boxes", "mask") and _inside(path) is not None)
        if not is_table(path):
            return 0.0
        if options.get("target") not in (None, "boxes", "mask") or path.suffix.lower() in JSON_LINES:
            return 0.0
        return 0.95 * (_layout(_header(path)) is not None)

    @staticmethod
    def parse(path: Path) -> Annotations:
        path = _inside(path) or path
        named = _layout(_header(path))
        if named is None:
            raise DataError("it has not the columns of boxes", where=path, expected="image, x1, y1, x2, y2, label")
        plain = [*named.values()] == [*PLAIN]
        frame = read_table(path, header=not plain, columns=PLAIN if plain else None).frame
        columns = {key: frame[name].to_list() for key, name in named.items() if name in frame.columns}
        keys = CORNERS if "x2" in columns else SIDES
        columns |= {key: [*map(_pointed, columns[key])] for key in keys}
        pictures: dict[str, Picture] = {}
        shares = _are_shares(columns, keys)
        for row, name in enumerate(columns["picture"]):
            where = f"{path}, row {row + 1}"
            if name is None or not str(name).strip():
                raise DataError("the picture's name is missing", where=where)
            picture = pictures.setdefault(str(name).strip(), Picture(str(name).strip(), place=where))
            cells = {key: columns[key][row] for key in columns}
            if cells.get("split") is not None:
                picture.split = _split(cells["split"], where)
            values = [cells[key] for key in keys]
            if all(value is None or value == "" for value in values):
                continue
            x1, y1, x2, y2 = (number(value, f"{where}, {key}") for key, value in zip(keys, values, strict=True))
            if keys is SIDES:
                x2, y2 = x1 + x2, y1 + y2
            if (label := cells["label"]) is None or not str(label).strip():
                raise DataError("the box has no class", where=where)
            flags: dict[str, Any] = {flag: str(cells.get(flag)).lower() in ("1", "true", "yes") for flag in FLAGS}
            confidence = cells.get("confidence") or None
            made = box((x1, y1, x2, y2), str(label).strip(), where, confidence=confidence, **flags)
            picture.boxes.append(made)
        found_in(path.parent, pictures.values())
        found = Annotations([*pictures.values()], sorted({b["label"] for p in pictures.values() for b in p.boxes}))
        if shares:
            _to_pixels(found, path)
        return found

    @classmethod
    def entry(cls, folder: Path) -> Path:
        return folder / "boxes.csv"

    @staticmethod
    def write(annotations: Annotations, folder: Path) -> None:
        boxes = [each for picture in annotations.pictures for each in picture.boxes]
        more = [key for key in (*FLAGS, "confidence") if any(key in each for each in boxes)]
        split = ["split"] if any(picture.split is not None for picture in annotations.pictures) else []
        with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *CORNERS, "label", *more, *split])
            for picture in annotations.pictures:
                name, side = f"{BoxTable.pictures_in}/{picture.name}", [split_name(picture)] if split else []
                for each in picture.boxes:
                    values = [int(v) if (v := each.get(key, "")) is True else v for key in more]
                    writer.writerow([name, *map(tidy, corners_of(each)), each["label"], *values, *side])
                if not picture.boxes:
                    writer.writerow([name, *[""] * (5 + len(more)), *side])


def _inside(folder: Path) -> Path | None:
    """The one table of boxes in a folder that is about pictures there, as `tables_about` says."""
    if not folder.is_dir() or not any(map(_layout, map(_header, filter(is_table, folder.iterdir())))):
        return None
    found = [file for file in tables_about(folder) if _layout(_header(file))]
    return found[0] if len(found) == 1 else None


def _header(path: Path) -> list[str]:
    """The first cells of a table, at a glance where it is a text."""
    if path.suffix.lower() in (".csv", ".tsv", ".tab"):
        first = head_of(path, 1 << 14).partition(b"\n")[0]
        line = first.decode(detect(first), "replace").strip("\r\ufeff")
        return next(csv.reader([line], delimiter=max(",;\t|", key=line.count)), [])
    if not path.is_file():
        return []
    try:
        return list(read_table(path).frame.columns)
    except DataError:
        return []


def _layout(header: Sequence[str]) -> dict[str, str] | None:
    """The column of each part of a box; of a line that is one itself (picture, x1, y1, x2, y2, class) the names that
    its cells get; None for any other table."""
    plain = {re.sub(r"[\W_]+", "_", _without_accents(name)).strip("_"): name for name in reversed(header)}
    found: dict[str, str] = {}
    for key, names in CALLED.items():
        if name := next((name for name in names.split() if name in plain), None):
            found[key] = plain[name]
    for keys in (CORNERS, SIDES):
        if {"picture", "label", *keys} <= found.keys() and len({found[key] for key in keys}) == 4:
            others = {*CORNERS, *SIDES} - {*keys}
            return {key: name for key, name in found.items() if key not in others}
    cells = [cell.strip() for cell in header]
    numbers = all(re.fullmatch(r"-?\d+(\.\d+)?|", cell) for cell in cells[1:5])
    if len(cells) == len(PLAIN) and is_picture(cells[0]) and numbers and not re.fullmatch(r"[\d.]+", cells[5]):
        return dict(zip(PLAIN, PLAIN, strict=True))
    return None


def _without_accents(name: str) -> str:
    parted = unicodedata.normalize("NFKD", name.strip().lower())
    return "".join(letter for letter in parted if not unicodedata.combining(letter))


def _pointed(value: Any) -> Any:
    """A number that is written with a decimal comma with a point; all else as it is."""
    return value.replace(",", ".") if isinstance(value, str) and re.fullmatch(r"\s*-?\d+,\d+\s*", value) else value


def _are_shares(columns: Mapping[str, Sequence[Any]], keys: Sequence[str]) -> bool:
    """Whether all corners lie in 0…1."""
    seen = False
    for key in keys:
        for value in columns[key]:
            if value is None or value == "":
                continue
            try:
                if not 0 <= float(value) <= 1:
                    return False
            except ValueError:
                return False
            seen = True
    return seen


def _split(value: Any, where: str) -> int:
    split = ALIASES.get(str(value).strip().lower())
    if split is None:
        raise DataError(f"the split '{value}' is not known", where=where, expected="train, valid or test")
    return split


def _to_pixels(found: Annotations, path: Path) -> None:
    """Multiplies shares of the sides by the sides."""
    for picture in found.pictures:
        picture.size = size_of(picture.path) if picture.path else None
        height, width = picture.size or (1, 1)
        for each in picture.boxes:
            for corner, side in zip(CORNERS, (width, height) * 2, strict=True):
                each[corner] *= side
    message = "all corners lie in 0…1: they are taken as shares of the pictures' sides, and not as pixels"
    found.findings.append(Finding("normalised", Severity.NOTE, message, places=[str(path)]))
