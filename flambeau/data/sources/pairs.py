"""Pairs as sources: pictures and what belongs to each of them, a mask or another picture, in two folders or beside one
another by a part of their names."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.data.annotations.base import read_json
from flambeau.data.annotations.coco import categories, is_coco, json_files
from flambeau.data.annotations.files import is_picture, size_of
from flambeau.data.annotations.form import side_in
from flambeau.data.annotations.painted import BACKGROUND
from flambeau.data.annotations.voc import sets_of
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.colour_lists import classes_beside
from flambeau.data.sources.folders import regex_of
from flambeau.data.sources.walk import is_hidden, walk
from flambeau.data.split import Split, as_files_say
from flambeau.fields import Field, Image, Mask, Picture
from flambeau.fields.mask import UNKNOWN
from flambeau.fields.picture.classmaps import read_mask

INPUTS = (
    "images imgs image img pictures photos jpegimages input inputs lr low lq blurred blur noisy rainy hazy degraded"
)
MASKS = "masks mask segmentations segmentation segmentationclass seg annotations annotation trimaps labelmaps"
PICTURES = "sharp hr high hq clean restored"
EITHER = "labels label gt groundtruth targets target output outputs"
ROLES = {name: role for role, names in enumerate((INPUTS, MASKS, PICTURES, EITHER)) for name in names.split()}
"""What folders, and ends of names, are called: 0 of inputs, 1 of masks, 2 of pictures to make, 3 of either."""
INPUT, MASK, PICTURE, OPEN = range(4)
ENDS = re.compile(r"(?i)(.+?)[-_. ]+([a-z]+)|([a-z]+)[-_. ]+(.+)")
LOOKED_AT = 2000  # entries of a folder, to see what lies in it
ALIKE = 0.8  # of the pictures of a folder that have one of their name in another, so that both are of pairs
MOST_COLOURS = 64  # that a picture has which is a mask
MOST_SCALE = 8
COLUMNS = {"mask": MASK, "picture": PICTURE}


class Pair(NamedTuple):
    """A picture, what belongs to it, the role of that, and what both are called."""

    picture: str
    partner: str
    role: int
    name: str


def from_pairs(
    path: str | Path, *, target: str | None = None, pattern: str | None = None,
    fields: Mapping[str, Field] | None = None, split: Split | str = "auto", labels: bool = True,
) -> Dataset:  # fmt: skip
    """Pictures and their masks, or pictures and those that are to be made of them, paired by name.

    They lie in folders (`images/` and `masks/`, also imgs, labels, annotations, gt; `blurred/` and `sharp/`), with
    train, valid and test inside or outside, or beside one another (`a.jpg` and `a_mask.png`). Masks are class numbers,
    with a palette or not, or one colour a class; names and colours are read of classes.csv, labelmap.txt or a JSON
    beside them.

    Args:
        target: `mask` or `picture`, where what the partners are called leaves it open.
        pattern: what the files of a pair are called, `{scene}_rgb.png,{scene}_labelIds.png`, where no word says so.
        fields, split: as for `Dataset`.
        labels: False for the pictures alone.

    Raises:
        DataError: there are no pairs.
    """
    root = Path(path)
    if target not in (None, *COLUMNS):
        raise UsageError(f"there is no column '{target}'", where=path, expected="mask or picture")
    walked = walk(root)
    files = [file.replace(os.sep, "/") for file in walked.files if is_picture(file)]
    pairs, alone = paired(files) if pattern is None else _paired_by(pattern, files)
    findings = walked.findings()
    if not pairs:
        raise DataError("no picture has a mask or another picture of its name", where=path,
                        expected=pattern or "images/ and masks/, or a.jpg and a_mask.png")  # fmt: skip
    if alone:
        message = f"{len(alone)} pictures belong to no other and are left out"
        findings.append(Finding("unpaired", Severity.WARNING, message, places=alone, fix="call both of a pair alike"))
    sides = sets_of(root, walked.files, "Segmentation")
    given = [
        sides.get(Path(pair.name).name) if sides else side_in(f"{PurePosixPath(pair.picture).parent}/x")
        for pair in pairs
    ]
    columns: dict[str, Any] = {"image": [str(root / pair.picture) for pair in pairs]}
    partners = [str(root / pair.partner) for pair in pairs]
    role = COLUMNS[target] if target else _role(pairs, partners)
    goal = "mask" if role == MASK else "picture"
    kinds: dict[str, Field] = {"image": Image()}
    if labels and role == MASK:
        classes, colours, file = classes_beside(root, {str(Path(partner).parent) for partner in partners[:1]})
        if file is None:
            classes, file = _categories(root, partners[:4])
        columns[goal], kinds[goal] = partners, Mask(classes=classes, colours=colours)
        if file is not None:
            message = f"the classes{' and their colours' if colours else ''} are those of {file.name}"
            findings.append(Finding("classes", Severity.NOTE, message, places=[str(file)]))
    elif labels:
        columns[goal], kinds[goal] = partners, Picture(scale=_scale(columns["image"], partners))
    names = [pair.name for pair in pairs]
    how = Split.of(split)
    divided = as_files_say(given, names, how)
    source = described("pairs", root, target=target, pattern=pattern, fields=fields, split=how, labels=labels)
    return Dataset(columns, inputs=["image"], target=goal if labels else None, fields={**kinds, **(fields or {})},
                   split=divided, source=source, keys=names, places=lambda row: pairs[row].picture,
                   findings=findings)  # fmt: skip


def paired(files: Sequence[str]) -> tuple[list[Pair], list[str]]:
    """The pairs among picture files, by their paths with `/`, and those that belong to no other: paired by folders, and
    where there are none of such names by the ends of the names."""
    for read in (_by_folder, _by_end):
        inputs: dict[str, str] = {}
        partners: dict[str, tuple[str, int]] = {}
        rest = []
        for file in files:
            name, role = read(file)
            if role == INPUT and name not in inputs:
                inputs[name] = file
            elif role not in (None, INPUT) and name not in partners:
                partners[name] = (file, int(role or 0))
            else:
                rest.append(file)
        both = [name for name in inputs if name in partners]
        if both:
            pairs = [Pair(inputs[name], *partners[name], name) for name in both]
            single = [inputs[name] for name in inputs if name not in partners]
            single += [partners[name][0] for name in partners if name not in inputs]
            return sorted(pairs), sorted([*single, *rest])
    return [], [*files]


def _paired_by(pattern: str, files: Sequence[str]) -> tuple[list[Pair], list[str]]:
    """As `paired`, by a pattern for pictures and one for their partners, of the names alone or of paths with `/`."""
    first, _, second = pattern.partition(",")
    names = [sorted(re.findall(r"{(\w+)}", part)) for part in (first, second)]
    if not names[0] or names[0] != names[1]:
        expected = "names in braces, the same in both: {scene}_rgb.png,{scene}_labelIds.png"
        raise UsageError(f"the pattern '{pattern}' does not say what a pair is called", expected=expected)
    found: list[dict[str, str]] = []
    for part in (first, second):
        regex = regex_of(part)
        matches = [(regex.fullmatch(file if "/" in part else PurePosixPath(file).name), file) for file in files]
        found.append({"/".join(m[name] for name in names[0]): file for m, file in matches if m})
    both = [name for name in found[0] if name in found[1]]
    used = {one[name] for one in found for name in both}
    return [Pair(found[0][name], found[1][name], OPEN, name) for name in sorted(both)], [
        f for f in files if f not in used
    ]


def _by_folder(file: str) -> tuple[str, int | None]:
    """What a picture is called but for the folder that says its role, and that; without an end that says so too."""
    *folders, last = PurePosixPath(file).parts
    roles = [(i, role) for i, folder in enumerate(folders) if (role := _role_of(folder)) is not None]
    if not roles:
        return file, None
    at, role = roles[-1]
    stem, _ = _by_end(last)
    kept = [folder for i, folder in enumerate(folders) if i != at]
    return "/".join([*kept, stem]), role


def _by_end(file: str) -> tuple[str, int | None]:
    """What a picture is called but for the end or the beginning of its name that says its role, and that: an input,
    where it says none."""
    path = PurePosixPath(file)
    found = ENDS.fullmatch(path.stem)
    if found is not None:
        for rest, word in ((found[1], found[2]), (found[4], found[3])):
            if word and (role := _role_of(word)) is not None:
                return (path.parent / rest).as_posix(), role
    return path.with_suffix("").as_posix(), INPUT


def _role_of(name: str) -> int | None:
    return ROLES.get(re.sub(r"[\W_\d]+", "", name.lower()))


def _role(pairs: Sequence[Pair], partners: Sequence[str]) -> int:
    """What the partners are: as they are called, or else by how many colours they have."""
    roles = {pair.role for pair in pairs} - {OPEN}
    if roles:
        return min(roles)
    for partner in partners[:4]:
        try:
            pixels = read_mask(partner, False)
        except DataError:
            return PICTURE
        if len(np.unique(pixels.reshape(-1, *pixels.shape[2:]), axis=0)) > MOST_COLOURS:
            return PICTURE
    return MASK


def _categories(root: Path, masks: Sequence[str]) -> tuple[list[str] | None, Path | None]:
    """The classes that COCO annotations beside masks have for the numbers in these, and the file; None where there are
    no such annotations, or the numbers in the masks are no ids of categories."""
    for file in filter(is_coco, json_files(root)):
        try:
            named = {0: BACKGROUND, **categories(read_json(file)["categories"], file)}
            found = {number for mask in masks for number in np.unique(read_mask(mask, False)).tolist()} - {UNKNOWN}
        except (DataError, KeyError):
            continue
        if found <= {*named} == {*range(len(named))} and found > {0} and read_mask(masks[0], False).ndim == 2:
            return [named[i] for i in range(len(named))], file
    return None, None


def _scale(pictures: Sequence[str], partners: Sequence[str]) -> int:
    """How many times as large the partners are, each side, where the first ones agree; 1 where they do not."""
    sizes = [(size_of(picture), size_of(partner)) for picture, partner in zip(pictures[:8], partners, strict=False)]
    ratios = {(b[0] / a[0], b[1] / a[1]) for a, b in sizes if a is not None and b is not None}
    down, across = next(iter(ratios)) if len(ratios) == 1 else (1.0, 1.0)
    return int(down) if down == across and down.is_integer() and 1 <= down <= MOST_SCALE else 1


@SOURCES.register("pairs")
class PairsSource(Source):
    """A folder of pictures and of what belongs to each."""

    of, sign = "pairs of pictures", "a folder with images/ and masks/"
    read = staticmethod(from_pairs)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        if not path.is_dir():
            return 0.0
        if pattern := options.get("pattern"):
            return 0.97 * ("," in pattern and "{class}" not in pattern)
        sure = 0.97 if options.get("target") in COLUMNS else 0.7
        entries = _entries(path)
        for inside in itertools.chain([entries], (_entries(entry) for entry in entries if entry.is_dir())):
            roles = [(entry, _role_of(entry.name)) for entry in inside if entry.is_dir()]
            inputs = [entry for entry, role in roles if role == INPUT]
            partners = [entry for entry, role in roles if role not in (None, INPUT)]
            if any(itertools.starmap(_alike, itertools.product(inputs, partners))):
                return sure
        names = [entry.name for entry in entries if is_picture(entry.name)]
        pairs, alone = paired(names)
        return sure * (len(pairs) > 2 * len(alone))


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    """Some of what lies in a folder; nothing of one that may not be opened."""
    try:
        with os.scandir(folder) as inside:
            return [entry for entry in itertools.islice(inside, LOOKED_AT) if not is_hidden(entry.name)]
    except OSError:
        return []


def _alike(first: os.DirEntry[str], second: os.DirEntry[str]) -> bool:
    """Whether the pictures of two folders are called alike, and are no two classes."""
    names = [{_by_end(name)[0] for name in _names(folder)} for folder in (first, second)]
    return len(names[0] & names[1]) > ALIKE * min(map(len, names)) > 0


def _names(folder: os.DirEntry[str]) -> list[str]:
    """The names of some pictures in a folder and in its folders."""
    entries = _entries(folder)
    inside = [*entries, *itertools.chain(*(_entries(entry) for entry in entries[:8] if entry.is_dir()))]
    return [entry.name for entry in inside if is_picture(entry.name)]
