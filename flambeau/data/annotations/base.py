"""A format of annotations: a Source that can be written too."""

from __future__ import annotations

import re
import shutil
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar
from xml.etree import ElementTree

from flambeau.core.errors import DataError, UsageError, first_line
from flambeau.core.files import parse_json, read_bytes
from flambeau.core.findings import Finding, Severity
from flambeau.data.annotations.files import Pictures, size_of
from flambeau.data.annotations.form import FLAGS, Annotations, Picture
from flambeau.data.annotations.painted import painted
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.split import NAMES, Split, as_files_say
from flambeau.fields import Boxes, Field, Image

LOOKED_AT = 1000  # pictures of a dataset whose size is compared with what the file says
COPYING = ("copy", "link", "leave")
WRAPPERS = ("images", "labels", "jpegimages", "annotations")  # what formats call their own folders


class Format(Source):
    """One way to write down what lies where in pictures."""

    holds: ClassVar[frozenset[str]] = frozenset()
    """What it can say beside boxes with a label: of `mask`, `crowd`, `difficult`, `confidence`, `split`."""
    pictures_in: ClassVar[str] = "images"
    """The folder that pictures are written to."""
    splits_apart: ClassVar[bool] = True
    """Whether those of a split lie in a folder of its own there."""

    @staticmethod
    @abstractmethod
    def parse(path: Path) -> Annotations:
        """What a file or a folder says. Raises DataError with the file, and the place in it."""

    @staticmethod
    @abstractmethod
    def write(annotations: Annotations, folder: Path) -> None:
        """Writes annotations into a folder. Each picture has a size, and a name that no other has, but
        those of other splits where `splits_apart`; its file, where one is there, lies at `placed`."""

    @classmethod
    def read(
        cls, path: str | Path, *, target: str | None = None, fields: Mapping[str, Field] | None = None,
        split: Split | str = "auto", labels: bool = True,
    ) -> Dataset:  # fmt: skip
        """The pictures and their boxes as a Dataset, of columns `image` and `boxes`.

        Args:
            target: `boxes` if not given; `mask` for one class a pixel, painted from the segments of the objects.
            fields, split: as for `Dataset`; a split that the files have is kept.
            labels: False for the pictures alone.

        Raises:
            DataError: the files cannot be read, or none of their pictures is there.
        """
        target = target or "boxes"
        if target not in ("boxes", "mask"):
            raise UsageError(f"there is no column '{target}'", where=path, expected="boxes or mask")
        found = cls.parse(Path(path))
        pictures, findings = usable(found, path)
        columns: dict[str, Any] = {"image": [picture.path for picture in pictures]}
        kinds: dict[str, Field] = {"image": Image()}
        if labels and target == "mask":
            columns[target], kinds[target] = painted(pictures, found.classes)
        elif labels:
            columns[target], kinds[target] = [*map(_ignoring, pictures)], Boxes(classes=found.classes)
        how, names = Split.of(split), [picture.name for picture in pictures]
        divided = as_files_say([picture.split for picture in pictures], names, how)
        source = described(cls.registered(), path, target=target, fields=fields, split=how, labels=labels)
        return Dataset(columns, inputs=["image"], target=target if labels else None, fields={**kinds, **(fields or {})},
                       split=divided, source=source, keys=names, places=lambda row: pictures[row].name,
                       findings=findings)  # fmt: skip

    @classmethod
    def registered(cls) -> str:
        """The name in SOURCES."""
        return next(name for name, source in FORMATS.items() if source is cls)

    @classmethod
    def placed(cls, picture: Picture, folder: Path) -> Path:
        """Where the file of a picture lies in a folder that is written."""
        return folder / cls.pictures_in / (split_name(picture) if cls.splits_apart else "") / picture.name

    @classmethod
    def entry(cls, folder: Path) -> Path:
        """What is read of a folder that was written."""
        return folder

    @classmethod
    def losses(cls, annotations: Annotations) -> list[str]:
        """What of some annotations this format cannot say, in words with their number."""
        boxes = [box for picture in annotations.pictures for box in picture.boxes]
        lost = {key: sum(key in box for box in boxes) for key in ("mask", *FLAGS, "confidence")}
        lost["split"] = sum(picture.split is not None for picture in annotations.pictures)
        words = {"mask": "masks", "crowd": "crowd flags", "difficult": "difficult flags", "confidence": "confidences",
                 "split": "pictures' splits"}  # fmt: skip
        return [f"{count} {words[key]}" for key, count in lost.items() if count and key not in cls.holds]

    @classmethod
    def save(cls, annotations: Annotations, folder: Path, pictures: str = "copy") -> None:
        """Writes annotations and their pictures into a folder.

        Args:
            pictures: `copy`, `link` (symbolic links) or `leave` them where they are.

        Raises:
            DataError: a picture's size is not known.
        """
        if pictures not in COPYING:
            raise UsageError(f"pictures={pictures} does not fit", expected=", ".join(COPYING))
        for picture in annotations.pictures:
            if picture.size is None:
                picture.size = size_of(picture.path) if picture.path else None
            if picture.size is None:
                raise DataError("the size of the picture is not known, for it is not there", where=picture.place,
                                fix=f"put {picture.name} beside the annotations")  # fmt: skip
        written = Annotations(distinct(annotations.pictures, cls.splits_apart), annotations.classes)
        folder.mkdir(parents=True, exist_ok=True)
        cls.write(written, folder)
        for picture in written.pictures:
            if pictures == "leave" or picture.path is None:
                continue
            there = cls.placed(picture, folder)
            there.parent.mkdir(parents=True, exist_ok=True)
            if pictures == "copy":
                shutil.copyfile(picture.path, there)
            else:
                there.symlink_to(Path(picture.path).resolve())


class _Formats(Mapping[str, type[Format]]):
    """The sources that are formats of annotations, by name."""

    def _all(self) -> dict[str, type[Format]]:
        return {name: source for name, source in SOURCES.items() if issubclass(source, Format)}

    def __getitem__(self, name: str) -> type[Format]:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


def format_of(path: Path) -> type[Format]:
    """The format of a path. Raises DataError where none claims it."""
    claims = {name: of.claims(path, {}) for name, of in FORMATS.items()}
    best = max(claims, key=lambda name: claims[name])
    if not claims[best]:
        if not path.exists():
            raise DataError("there is no such file or folder", where=path, code="not-found")
        raise DataError("there are no annotations in it", where=path, expected=f"those of {', '.join(FORMATS)}")
    return FORMATS[best]


def fresh(folder: Path) -> Path:
    """A folder that is written to, made. Raises UsageError where it holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("there is something already", where=folder, fix="give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


FORMATS = _Formats()
"""By the name that SOURCES has them under."""


# -- what is read -------------------------------------------------------------------------------------------------


def usable(found: Annotations, path: str | Path, needed: bool = True) -> tuple[list[Picture], list[Finding]]:
    """The pictures that are there, one that is listed several times once with all of its boxes; and what is to be said.

    Args:
        needed: whether a picture is left out whose file is not there.

    Raises:
        DataError: there is none.
    """
    if not found.pictures:
        raise DataError("there is no picture in it", where=path)
    findings = found.said()
    missing = [picture.name for picture in found.pictures if picture.path is None and needed]
    if len(missing) == len(found.pictures):
        raise DataError(f"none of its {len(missing)} pictures is there, such as {missing[0]}", where=path,
                        fix="put the pictures beside or below the annotations")  # fmt: skip
    if missing:
        message = f"{len(missing)} of {len(found.pictures)} pictures are not there and are left out"
        findings.append(Finding("missing-pictures", Severity.WARNING, message, places=missing,
                                fix="put them beside the others"))  # fmt: skip
    kept: dict[tuple[Any, int | None], Picture] = {}
    twice = []
    for picture in found.pictures:
        if picture.path is None and needed:
            continue
        first = kept.setdefault((picture.path or (picture.name,), picture.split), picture)
        if first is not picture:
            first.boxes = [*first.boxes, *(box for box in picture.boxes if box not in first.boxes)]
            twice.append(picture.name)
    if twice:
        findings.append(Finding("twice", Severity.WARNING, f"{len(twice)} pictures are listed several times; their "
                                "boxes are put together", places=sorted({*twice})))  # fmt: skip
    pictures = [*kept.values()]
    step = max(1, len(pictures) // LOOKED_AT)
    unlike = [p for p in pictures[::step] if p.size is not None and _differs(p)]
    if unlike:
        first = unlike[0]
        assert first.size is not None
        height, width = size_of(first.path or "") or (0, 0)
        message = (f"{len(unlike)} pictures have another size than the annotations say; the first is {width}×{height} "
                   f"and said to be {first.size[1]}×{first.size[0]}")  # fmt: skip
        findings.append(Finding("size", Severity.WARNING, message, places=[p.name for p in unlike],
                                fix="look whether the boxes are of these pictures, turned as EXIF says"))  # fmt: skip
    return pictures, findings


def _ignoring(picture: Picture) -> list[dict[str, Any]]:
    """A picture's boxes; what is difficult counts as little as a crowd: nothing is learned of it, nor is it missed."""
    return [{**each, "crowd": True} if each.get("difficult") else each for each in picture.boxes]


def _differs(picture: Picture) -> bool:
    size = size_of(picture.path) if picture.path else None
    return size is not None and size != picture.size


def found_in(root: Path, pictures: Iterable[Picture], near: Path | None = None) -> None:
    """Gives pictures without a path that by which they lie below `root`."""
    lying = Pictures(root)
    for picture in pictures:
        if picture.path is None:
            picture.path = lying.find(picture.name, picture.split, near)


def read_json(path: Path) -> Any:
    """A JSON file of any size and origin. Raises DataError with the line where it is broken."""
    data = read_bytes(path)
    try:
        return parse_json(data.decode("utf-8-sig"))
    except ValueError as error:
        raise DataError(f"the file is not JSON ({first_line(error, 100)})", where=path) from None


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file. Raises DataError with the line where it is broken, and where it declares entities, of
    which a few lines can stand for more than a memory holds."""
    data = read_bytes(path)
    if b"<!ENTITY" in data:
        raise DataError("the file declares entities, which are not read", where=path)
    try:
        return ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"the file is not XML ({first_line(error, 100)})", where=path) from None


# -- what is written ----------------------------------------------------------------------------------------------


def split_name(picture: Picture) -> str:
    """The name of a picture's split; empty where it has none."""
    return "" if picture.split is None else NAMES[picture.split]


def distinct(pictures: Iterable[Picture], by_split: bool) -> list[Picture]:
    """The same pictures, by names that are relative paths whose stems are each there once: of a split, or of all."""
    taken: set[tuple[Any, str]] = set()
    out = []
    for picture in pictures:
        parts = [part for part in re.split(r"[\\/]", picture.name) if part not in ("", ".", "..") and part[-1:] != ":"]
        folders = [part for part in parts[:-1] if part.lower() not in WRAPPERS]
        name = Path(*folders, *(parts[-1:] or ["picture"]))
        space = picture.split if by_split else None
        stem, number = name.with_suffix(""), 2
        free = stem
        while (space, str(free)) in taken:
            free, number = stem.with_name(f"{stem.name}-{number}"), number + 1
        taken.add((space, str(free)))
        out.append(Picture(free.as_posix() + name.suffix, picture.path, picture.size, picture.boxes,
                           picture.split, picture.place))  # fmt: skip
    return out


def by_split(pictures: Iterable[Picture]) -> dict[str, list[Picture]]:
    """Pictures by the name of their split, empty for those of none."""
    found = defaultdict[str, list[Picture]](list)
    for picture in pictures:
        found[split_name(picture)].append(picture)
    return dict(found)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """A text file of lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
