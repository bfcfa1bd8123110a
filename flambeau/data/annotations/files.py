"""The pictures that annotations are of: where they lie, and how large they are; and what lies in a folder, at a
glance."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from flambeau.core.errors import DataError
from flambeau.core.files import read_bytes
from flambeau.data.annotations.form import side_in
from flambeau.data.sources.walk import is_hidden, walk
from flambeau.fields.decoding import SUFFIXES, upright

HEAD = 1 << 16  # bytes of a picture in which its size nearly always stands
DEEPEST, MOST_ENTRIES = 4, 20_000  # folders and entries that a glance goes through


class Pictures:
    """The picture files below a folder, to be found by what a file of annotations calls them."""

    def __init__(self, root: Path):
        self.root = root
        self.files = [file.replace(os.sep, "/") for file in walk(root).files if is_picture(file)]
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for file in self.files:
            name = PurePosixPath(file).name.casefold()
            self.by_name[name].append(file)
            self.by_name[PurePosixPath(name).stem].append(file)

    def find(self, name: str, split: int | None = None, near: Path | None = None) -> str | None:
        """The path of the picture that a file calls `name`, with or without folders and ending: beside `near`, or the
        one that shares the most folders with the name, then one in a folder called as the split."""
        beside = (near or self.root) / name
        try:
            if is_picture(name) and beside.is_file():
                return str(beside)
        except (OSError, ValueError):  # too long for a path, or with a null character
            return None
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if not parts:
            return None
        found = self.by_name.get(parts[-1].casefold()) or self.by_name.get(PurePosixPath(parts[-1]).stem.casefold(), [])
        if not found:
            return None

        def likeness(file: str) -> tuple[int, bool]:
            shared = 0
            for mine, its in zip(parts[-2::-1], PurePosixPath(file).parts[-2::-1], strict=False):
                if mine.casefold() != its.casefold():
                    break
                shared += 1
            return shared, split is not None and side_in(f"{PurePosixPath(file).parent}/x") == split

        return str(self.root / max(found, key=likeness))


def is_picture(name: str | os.PathLike[str]) -> bool:
    """Whether a file is a picture, by its ending."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def size_of(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Height and width of a picture as people see it, turned as its EXIF says; None where it cannot be read."""
    for count in (HEAD, None):
        try:
            return upright(read_bytes(path, count))[0]
        except DataError:
            continue
    return None


def glance(folder: Path, *suffixes: str, most: int = 8) -> Iterator[Path]:
    """Some files of a folder with one of these endings, those that lie highest first; of a large folder not all are
    looked at."""
    left, level = MOST_ENTRIES, [str(folder)]
    for _ in range(DEEPEST):
        below: list[str] = []
        for place in level:
            try:
                entries = [*os.scandir(place)] if left > 0 else []
            except OSError:
                continue
            left -= len(entries)
            for file in sorted(e.path for e in entries if e.name.lower().endswith(suffixes) and not is_hidden(e.name)):
                yield Path(file)
                most -= 1
                if not most:
                    return
            inside = (e for e in entries if "." not in e.name[1:] and e.is_dir() and not is_hidden(e.name))
            below += sorted(entry.path for entry in inside)
        level = below


def files_at(path: Path, suffix: str, most: int) -> list[Path]:
    """The file itself where it ends so, or some of a folder's files, as `glance` finds them."""
    if path.is_dir():
        return [*glance(path, suffix, most=most)]
    return [path] if path.suffix.lower() == suffix and path.is_file() else []


def head_of(path: Path, count: int = 4096) -> bytes:
    """How a file begins; empty where it cannot be read."""
    try:
        return read_bytes(path, count)
    except DataError:
        return b""
