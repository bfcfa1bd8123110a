"""Folders as sources: a folder for each class, or labels in the names of files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError, UsageError, nearest
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.split import ALIASES, TRAIN, Split, with_validation
from flambeau.fields import FIELDS, Field, Image, chosen
from flambeau.fields.charsets import read_texts


def from_folder(
    path: str | Path,
    *,
    pattern: str | None = None,
    split: Split | str = "auto",
    fields: Mapping[str, Field] | None = None,
    encoding: str | None = None,
) -> Dataset:
    """A folder of class folders, with or without `train/ valid/ test/` above them; or a flat one with a pattern.

    Args:
        path: the folder. What lies deeper under a class folder belongs to the class.
        pattern: for labels in file names: names in braces around what stands between, `class` among them, such as
            `{fold}-{clip}-{take}-{class}.wav` for ESC-50. All names become columns, to split by for instance.
        split: see `Split`. `auto` uses the folders `train`, `valid`, `test` where they are there.
        fields: kinds set by hand: the input column is called `image` for pictures, the target `label`.
        encoding: of texts; found out if not given.

    Raises:
        DataError: there is no such folder, or nothing in it that Flambeau can read.
    """
    root = Path(path)
    if not root.exists():
        parent = root.parent if root.parent.is_dir() else Path()
        raise DataError(
            "there is no such folder", where=path, fix=nearest(root.name, [p.name for p in parent.iterdir()])
        )
    if not root.is_dir():
        raise DataError("this is a file", where=path,
                        expected="a folder, an archive of one, or a table (.csv, .tsv, .parquet, .jsonl)")  # fmt: skip
    files, kind, findings = _files_of_one_kind(root)
    if not files:
        raise DataError(
            "the folder holds no files that Flambeau can read", where=path,
            fix="put one folder per class into it, each with its files",
        )  # fmt: skip
    how = Split(split) if isinstance(split, str) else split
    if encoding is not None and not kind.holds_content:
        raise UsageError("encoding is for texts and tables", where=path)
    input_name = kind.kind
    source = {"kind": "folder", "path": str(root.resolve()), "pattern": pattern, "split": vars(how).copy(),
              "fields": chosen(fields), "encoding": encoding}  # fmt: skip
    columns: dict[str, Sequence[Any]] = {input_name: [str(root / f) for f in files]}
    sides: list[int] | None = None
    if pattern is not None:
        columns |= _names_by_pattern(files, pattern)
    else:
        parts = [f.split(os.sep) for f in files]
        sides = [ALIASES.get(p[0].lower(), -1) for p in parts]
        given = any(s == TRAIN for s in sides) and how.method in ("auto", "given") and how.folds is None
        if how.method == "none" and min(sides) >= 0 and min(map(len, parts)) > 2:
            parts = [p[1:] for p in parts]  # all of them are asked for; what the folders above are called is no class
        if given:
            outside = [f for f, s in zip(files, sides, strict=True) if s < 0]
            if outside:
                findings.append(_outside(outside))
            kept = [i for i, s in enumerate(sides) if s >= 0]
            files = [files[i] for i in kept]
            parts = [parts[i][1:] for i in kept]
            sides = [sides[i] for i in kept]
            columns[input_name] = [str(root / f) for f in files]
        else:
            sides = None
        loose = [f for f, p in zip(files, parts, strict=True) if len(p) < 2]
        if len(loose) == len(files):
            raise DataError(
                f"the {len(files)} files lie flat in the folder, so their classes are not known", where=path,
                fix="put them into one folder per class, or give a pattern such as '{class}_{number}.jpg'",
            )  # fmt: skip
        if loose:
            findings.append(_outside(loose))
            kept = [i for i, p in enumerate(parts) if len(p) >= 2]
            files, parts = [files[i] for i in kept], [parts[i] for i in kept]
            sides = [sides[i] for i in kept] if sides else None
            columns[input_name] = [str(root / f) for f in files]
        columns["label"] = [p[0] for p in parts]
        findings += _empty_classes(root, set(columns["label"]), bool(sides))
    target = "label"
    if kind.holds_content:
        columns[input_name], told = read_texts(columns[input_name], encoding)
        findings += told
    else:
        columns[input_name] = [kind.read(str(file)) for file in columns[input_name]]
    dataset = Dataset(
        columns, inputs=[input_name], target=target, fields=fields, source=source, keys=files, findings=findings,
        places=files.__getitem__, split=with_validation(sides, columns[target], files, how) if sides else how,
    )  # fmt: skip
    return dataset


def _files_of_one_kind(root: Path) -> tuple[list[str], type[Field], list[Finding]]:
    """Files under root (relative, sorted) of the kind of data that most of them are."""
    of_kind: dict[str, list[str]] = {}
    suffix_of: dict[str, str] = {}
    for name, field_class in FIELDS.items():
        for suffix in field_class.suffixes:
            suffix_of[suffix] = name
    unknown: list[str] = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        inside = os.path.relpath(folder, root)
        prefix = "" if inside == "." else inside + os.sep
        for name in names:
            if name.startswith("."):
                continue
            kind = suffix_of.get(os.path.splitext(name)[1].lower())
            (of_kind.setdefault(kind, []) if kind else unknown).append(prefix + name)
    if not of_kind:
        return [], Image, []
    most = max(of_kind, key=lambda k: len(of_kind[k]))
    others = unknown + [f for k, files in of_kind.items() if k != most for f in files]
    findings = []
    if others:
        findings.append(
            Finding("other-files", Severity.NOTE, f"{len(others)} files are not of the kind {most} and are left out",
                    places=sorted(others))
        )  # fmt: skip
    return sorted(of_kind[most]), FIELDS[most], findings


def _names_by_pattern(files: Sequence[str], pattern: str) -> dict[str, list[str]]:
    names = re.findall(r"{(\w+)}", pattern)
    if "class" not in names:
        raise UsageError(f"the pattern '{pattern}' does not say where the class is", fix="write {class} in it")
    pieces = re.split(r"{(\w+)}", pattern)
    # what stands between names is literal; a name takes as little as it can, the class as much
    regex = "".join(
        re.escape(piece) if i % 2 == 0 else f"(?P<{piece}>.+{'' if piece == 'class' else '?'})"
        for i, piece in enumerate(pieces)
    )
    if not os.path.splitext(pattern)[1]:
        regex += r"\.\w+"
    matches = [re.fullmatch(regex, os.path.basename(f)) for f in files]
    wrong = [f for f, m in zip(files, matches, strict=True) if m is None]
    if wrong:
        raise DataError(
            f"{len(wrong)} of {len(files)} file names do not fit the pattern '{pattern}'", where=wrong[0],
            fix="mend the pattern, or move these files elsewhere",
        )  # fmt: skip
    found = [m.groupdict() for m in matches if m]
    return {("label" if n == "class" else n): [f[n] for f in found] for n in names}


def _outside(files: Sequence[str]) -> Finding:
    return Finding(
        "outside", Severity.WARNING, f"{len(files)} files lie outside the class folders and are left out",
        places=list(files), fix="move them into a class folder",
    )  # fmt: skip


def _empty_classes(root: Path, used: set[str], with_sides: bool) -> list[Finding]:
    folders = [root]
    if with_sides:
        folders = [f for f in root.iterdir() if f.is_dir() and f.name.lower() in ALIASES]
    empty = sorted(
        {c.name for f in folders for c in f.iterdir() if c.is_dir() and not c.name.startswith((".", "__MACOSX"))} - used
    )
    if not empty:
        return []
    return [
        Finding("empty-class", Severity.WARNING, f"{len(empty)} class folders hold no file that can be used",
                places=empty, fix="fill them or remove them")
    ]  # fmt: skip
