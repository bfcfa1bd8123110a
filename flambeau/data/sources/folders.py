"""Folders as sources: a folder for each class, or labels in the names of files."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, UsageError, nearest
from flambeau.core.files import read_bytes
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.levels import levels, side_of, wrapper, wraps
from flambeau.data.sources.paths import kinds_by_suffix
from flambeau.data.sources.unread import NEEDED, endings_told
from flambeau.data.sources.walk import composed, is_hidden, walk
from flambeau.data.split import TRAIN, Split, with_validation
from flambeau.fields import FIELDS, Field
from flambeau.fields.language.charsets import read_texts

BESIDE = re.compile("(?i).*(labels?|annotations?|masks?|segmentations?|ground_?truth|boxes|bbox(es)?)")
"""What folders are called that say where things are in pictures."""
OTHER_USES = "; pairs are for --pattern '{name}.jpg,{name}_mask.png', sharp pictures alone for --task super-resolution"
FEW = 0.1  # of the texts of a folder: so few pictures among them are stray ones


def from_folder(
    path: str | Path,
    *,
    pattern: str | None = None,
    split: Split | str = "auto",
    fields: Mapping[str, Field] | None = None,
    encoding: str | None = None,
    labels: bool = True,
) -> Dataset:
    """A folder of class folders, with or without `train/ valid/ test/` above them; or a flat one with a pattern.

    Args:
        path: the folder. What lies deeper under a class folder belongs to the class. Folders called train and test (or
            train_data, Testing, val2017, …) are the split where they hold class folders or lie alone, above the classes
            or in each of them; else they are classes. Hidden folders and those of thumbnails are passed over, links
            followed, and each real folder is read once. Of pictures with a text each the pictures are read.
        pattern: for labels in file names: names in braces around what stands between, `class` among them, such as
            `{fold}-{clip}-{take}-{class}.wav` for ESC-50. All names become columns, to split by for instance. Without
            `{class}` the folders are the classes, and `{kit}_{number}.wav` names what belongs together.
        split: see `Split`. `auto` uses the folders `train`, `valid`, `test` where they are there.
        fields: kinds set by hand: the input column is called `image` for pictures, the target `label`.
        encoding: of texts; found out if not given.
        labels: False for files alone, without a target, whatever folders they lie in.

    Raises:
        DataError: there is no such folder, or nothing in it that Flambeau can read.
    """
    root = Path(path)
    if not root.exists():
        parent = root.parent if root.parent.is_dir() else Path()
        raise DataError(
            f"there is no such {'file' if root.suffix else 'folder'}",
            where=path,
            fix=nearest(root.name, sorted(p.name for p in parent.iterdir())),
            code="not-found",
        )
    if not root.is_dir():
        suffix = root.suffix.lower()
        kind_of = kinds_by_suffix().get(suffix)
        read = kind_of is not None and kind_of.reads_files
        fix = (
            "give the folder that holds it"
            if read
            else f"{suffix or 'no ending'} {NEEDED[suffix]}"
            if suffix in NEEDED
            else "where it is a table of texts, call it .csv or .tsv"
        )
        raise DataError("this is a file", where=path, fix=fix,
                        expected="a folder, an archive of one, or a table (.csv, .tsv, .parquet, .jsonl)")  # fmt: skip
    walked = walk(root)
    files, kind, findings = _of_one_kind(root, walked.files)
    findings = [*walked.findings(), *findings]
    how = Split.of(split)
    if encoding is not None and not kind.holds_content:
        raise UsageError("encoding is for texts and tables", where=path)
    input_name = kind.kind
    source = described("folder", root, pattern=pattern, split=how, fields=fields, encoding=encoding, labels=labels)
    columns: dict[str, Sequence[Any]] = {input_name: []}
    told: list[Finding]
    sides: list[int] | None = None
    around: list[str] = []
    by_pattern = pattern is not None and "{class}" in pattern
    if pattern is not None and by_pattern:
        columns |= _names_by_pattern(files, pattern)
    else:
        paths = [f.split(os.sep) for f in files]
        around = wrapper(paths)
        parts, sides, told = levels([p[len(around) :] for p in paths])
        if around:
            told.insert(0, Finding("folder-levels", Severity.NOTE, f"the classes are those in {Path(*around)}"))
        findings += told
        if sides is not None and not how.keeps_given:
            if how.method != "none":
                findings.append(Finding("folder-levels", Severity.NOTE, "the folders of the split are put together, "
                                        f"for another split was asked for ({how.method})"))  # fmt: skip
            sides = [TRAIN if side >= 0 else side for side in sides]
        outside = [i for i, p in enumerate(parts) if (labels and len(p) < 2) or (sides is not None and sides[i] < 0)]
        names = {p[0] for p in parts if len(p) > 1}
        alone = f"in the folder '{next(iter(names))}' alone" if len(names) == 1 and wraps(*names) else ""
        if labels and pattern is not None and len(outside) == len(files):
            raise UsageError(f"the pattern '{pattern}' does not say where the class is", fix="write {class} in it")
        if labels and (len(outside) == len(files) or alone or _belong_together(parts, names)):
            where = alone or (
                "flat in the folder" if len(outside) == len(files) else f"in {' and '.join(sorted(names))}"
            )
            raise DataError(
                f"the {len(files)} files lie {where}, so their classes are not known{_otherwise(walked.files)}",
                where=path,
                fix="put them into one folder per class, give a pattern such as "
                "'{class}_{number}.jpg', or a table of their names and classes" + OTHER_USES * kind.leads,
            )
        if outside:
            said = f"{len(outside)} files lie outside the class folders and are left out"
            findings.append(Finding("outside", Severity.WARNING, said, places=[files[i] for i in outside],
                                    fix="move them into a class folder"))  # fmt: skip
            lost = {*outside}
            kept = [i for i in range(len(files)) if i not in lost]
            files, parts = [files[i] for i in kept], [parts[i] for i in kept]
            sides = [sides[i] for i in kept] if sides is not None else None
        columns["label"] = composed([p[0] for p in parts])
        if labels and (deeper := sorted({str(Path(*p[:2])) for p in parts if len(p) > 2})):
            said = f"the classes are the outermost folders, with all that lies in the {len(deeper)} folders below them"
            findings.append(Finding("folder-levels", Severity.NOTE, said, places=deeper,
                                    fix="where those are the classes, put them side by side"))  # fmt: skip
    if not labels:
        columns.pop("label")
    elif not by_pattern:
        findings += _empty_classes(root.joinpath(*around), {*columns["label"]}, sides is not None)
    if pattern is not None and not by_pattern:
        columns |= {name: part for name, part in _names_by_pattern(files, pattern).items() if name not in columns}
    given = sides if how.keeps_given else None
    keys = composed([os.sep.join(f.split(os.sep)[len(around) :]) for f in files])  # noqa: PTH118
    if kind.holds_content:
        columns[input_name], told = read_texts([str(root / f) for f in files], encoding)
        findings += told
    else:
        columns[input_name] = [kind.read(str(root / file)) for file in files]
    kinds: Mapping[str, Field] | None = fields
    if any(not os.path.splitext(f)[1] for f in files):
        kinds = {input_name: kind(), **(fields or {})}
    split_as: Any = how if given is None else given
    if given is not None and TRAIN in given:
        split_as = with_validation(given, columns.get("label"), keys, how)
    return Dataset(columns, inputs=[input_name], target="label" if labels else None, fields=kinds,
                   source=source,
                   keys=keys, findings=findings, places=files.__getitem__, split=split_as)  # fmt: skip


def _of_one_kind(root: Path, walked: Sequence[str]) -> tuple[list[str], type[Field], list[Finding]]:
    """Those of a folder's files that are of one kind of data: of that which most of them are.

    Raises:
        DataError: none can be read.
    """
    kinds = kinds_by_suffix()
    of_kind: dict[type[Field], list[str]] = {}
    unknown: list[str] = []
    without: list[str] = []
    for file in walked:
        suffix = os.path.splitext(file)[1].lower()
        kind = kinds.get(suffix) or (None if suffix else _kind_by_content(root / file))
        (of_kind.setdefault(kind, []) if kind else unknown).append(file)
        if kind and not suffix:
            without.append(file)
    if not of_kind:
        raise DataError(
            f"the folder holds no files that Flambeau can read{_endings(unknown)}",
            where=root,
            fix="put one folder per class into it, each with its files",
        )
    most = max(of_kind, key=lambda k: (not (k.holds_content and _beside(of_kind, k)), len(of_kind[k])))
    findings = []
    if without:
        findings.append(Finding("no-ending", Severity.NOTE, f"{len(without)} files without an ending are read by what "
                                "they hold", places=without))  # fmt: skip
    others = sorted(unknown + [f for k, files in of_kind.items() if k is not most for f in files])
    if others:
        findings.append(
            Finding("other-files", Severity.NOTE, f"{len(others)} files are not of the kind {most.kind} and are left "
                    f"out{_endings(others)}", places=others)
        )  # fmt: skip
    return sorted(of_kind[most]), most, findings


def _beside(of_kind: Mapping[type[Field], Sequence[str]], texts: type[Field]) -> bool:
    """Whether texts are said of other files: called as these are, or not many times as many."""
    others = [f for kind, files in of_kind.items() if kind is not texts for f in files]
    stems = {os.path.splitext(os.path.basename(f))[0] for f in of_kind[texts]}
    described = sum(os.path.splitext(os.path.basename(f))[0] in stems for f in others)
    return described > len(others) / 2 or len(others) > FEW * len(of_kind[texts])


def _kind_by_content(path: Path) -> type[Field] | None:
    """The kind of a file without an ending, by how it begins."""
    try:
        head = read_bytes(path, 16)
    except DataError:
        return None
    return next((field for _, field in FIELDS.items() if field.begins_so(head)), None)


def _endings(files: Sequence[str]) -> str:
    """How some files end, as a clause: the commonest endings, and what those need that are known."""
    return f" ({endings_told(Counter(os.path.splitext(f)[1].lower() for f in files))})" if files else ""


def regex_of(pattern: str) -> re.Pattern[str]:
    """What a pattern with names in braces means: what stands between names is literal; a name takes as little as it
    can, the class as much. Without an ending it fits any.

    Raises:
        UsageError: it has a name twice.
    """
    pieces = re.split(r"{(\w+)}", pattern)
    regex = "".join(
        re.escape(piece) if i % 2 == 0 else f"(?P<{piece}>.+{'' if piece == 'class' else '?'})"
        for i, piece in enumerate(pieces)
    )
    try:
        return re.compile(regex + r"\.\w+" * (not os.path.splitext(pattern)[1]))
    except re.error as error:
        raise UsageError(f"the pattern '{pattern}' cannot be used ({error})") from None


def _names_by_pattern(files: Sequence[str], pattern: str) -> dict[str, list[str]]:
    names = re.findall(r"{(\w+)}", pattern)
    if not names:
        raise UsageError(f"the pattern '{pattern}' names nothing", fix="write {class} in it")
    regex = regex_of(pattern)
    matches = [regex.fullmatch(os.path.basename(f)) for f in files]
    wrong = [f for f, m in zip(files, matches, strict=True) if m is None]
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(files)} file names do not fit the pattern '{pattern}'",
            where=wrong[0],
            fix="mend the pattern, or move these files elsewhere",
        )
    found = [m.groupdict() for m in matches if m]
    return {("label" if n == "class" else n): [f[n] for f in found] for n in names}


def _belong_together(parts: Sequence[Sequence[str]], names: set[str]) -> bool:
    """Whether two folders hold pictures and what belongs to each, such as masks, under the same names."""
    if len(names) != 2 or not any(map(wraps, names)) or not any(map(BESIDE.fullmatch, names)):
        return False
    stems = [{os.path.splitext(p[-1])[0] for p in parts if p[0] == name} for name in names]
    return stems[0] == stems[1]


def _otherwise(files: Sequence[str]) -> str:
    """How files are labelled where no folder says their class, as a clause."""
    if any(file.endswith(".cls") for file in files):
        return "; .cls files of WebDataset are not read"
    beside = sorted({part for file in files for part in file.split(os.sep)[:-1] if BESIDE.fullmatch(part)})
    return f"; what lies in '{beside[0]}' belongs to no picture by its name" if beside else ""


def _empty_classes(root: Path, used: set[str], with_sides: bool) -> list[Finding]:
    folders = [f for f in root.iterdir() if f.is_dir() and not is_hidden(f.name)]
    if with_sides:
        folders = [c for f in folders if side_of(f.name) is not None for c in f.iterdir() if c.is_dir()]
    empty = sorted({*composed([f.name for f in folders if not is_hidden(f.name)])} - used)
    if not empty:
        return []
    return [
        Finding("empty-class", Severity.WARNING, f"{len(empty)} class folders hold no file that can be used",
                places=empty, fix="fill them or remove them")
    ]  # fmt: skip


@SOURCES.register("folder")
class FolderSource(Source):
    """Whatever no other source claims: it says what a path lacks."""

    of, sign = "folders", "a folder"
    read = staticmethod(from_folder)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 0.1
