"""Whole series as sources, each with a class or a number: `.ts` files, as the UCR and UEA archives have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.files import read_bytes
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.split import TEST, TRAIN, Split, with_validation
from flambeau.fields import Field, Series, chosen

TS_SUFFIX = ".ts"
FEW = 100  # training series below which none is held out where the file gives no validation


def from_ts(path: str | Path, *, split: Split | str = "auto", fields: Mapping[str, Field] | None = None) -> Dataset:
    """Whole series with a class or a number each, as the UCR and UEA archives have them: a `.ts` file, or a folder with
    `NAME_TRAIN.ts` and `NAME_TEST.ts`. Given the first of these, the second is the test where it lies beside it, which
    a Finding says; of any other file, and with `split="none"`, nothing is read but what is named.

    Of 100 training series or more a part validates; of fewer none does, and the last epoch's weights are kept.

    Raises:
        DataError: a line cannot be read; it names which.
    """
    root = Path(path)
    how = Split(split) if isinstance(split, str) else split
    files = _ts_files(root, beside=how.method in ("auto", "given") and how.folds is None)
    if not files:
        raise DataError("there is no such file" if not root.exists() else "the folder holds no .ts files", where=path)
    values: list[np.ndarray] = []
    labels: list[Any] = []
    sides: list[int] = []
    places: list[str] = []
    numeric = False
    for file in files:
        rows, classes, numeric = _read_ts(file)
        values += rows
        labels += classes
        sides += [TEST if file.stem.upper().endswith("_TEST") else TRAIN] * len(rows)
        places += [f"{file.name}, series {i + 1}" for i in range(len(rows))]
    given: Any = how
    if TEST in sides and TRAIN in sides and how.method in ("auto", "given") and how.folds is None:
        few = how.valid is None and sides.count(TRAIN) < FEW
        given = sides if few else with_validation(sides, None if numeric else labels, places, how)
    findings = [
        Finding("read-beside", Severity.NOTE, f"the series of {file.name}, which lies beside, are the test",
                places=[str(file)]) for file in files if root.is_file() and file.name != root.name
    ]  # fmt: skip
    source = {"kind": "ts", "path": str(root.resolve()), "split": vars(how).copy(), "fields": chosen(fields)}
    return Dataset({"series": values, "label": labels}, target="label", inputs=["series"],
                   fields={"series": Series(), **(fields or {})}, split=given, source=source, keys=places,
                   places=places.__getitem__, findings=findings)  # fmt: skip


def _ts_files(path: Path, beside: bool) -> list[Path]:
    """The files that a path stands for: TRAIN before TEST."""
    if path.is_dir():
        return sorted(path.glob(f"*{TS_SUFFIX}"), key=lambda f: (not f.stem.upper().endswith("_TRAIN"), f.name))
    match = re.fullmatch(r"(.*)_(TRAIN)", path.stem, re.IGNORECASE)
    tests = [path.with_name(f"{match[1]}_TEST{path.suffix}")] if match and beside else []
    return [file for file in (path, *tests) if file.exists()] if path.exists() else []


def is_ts(path: Path) -> bool:
    """Whether a path is a .ts file of series, or a folder of such."""
    if path.is_dir():
        return any(path.glob(f"*_TRAIN{TS_SUFFIX}"))
    return path.suffix.lower() == TS_SUFFIX


def read_series(file: Path) -> list[np.ndarray]:
    """The series of a file, without labels: a `.ts` file, or one whose lines are numbers with commas between.

    Raises:
        DataError: the file is not there, or a line cannot be read.
    """
    if not file.exists():
        raise DataError("there is no such file", where=file)
    if file.suffix.lower() == TS_SUFFIX:
        return _read_ts(file)[0]
    rows = []
    for number, line in enumerate(read_bytes(file).decode("utf-8", "replace").splitlines(), 1):
        try:
            rows.append(np.asarray([float(v) for v in line.split(",")])[None])
        except ValueError as error:
            raise DataError(f"the line cannot be read ({error})", where=f"{file.name}, line {number}",
                            expected="numbers, with commas between") from None  # fmt: skip
    return rows


def _read_ts(file: Path) -> tuple[list[np.ndarray], list[Any], bool]:
    """Series (C, T), their labels, and whether these are numbers.

    The format: https://www.aeon-toolkit.org/en/stable/api_reference/file_specifications/ts.html
    """
    rows: list[np.ndarray] = []
    labels: list[Any] = []
    numeric, in_data = False, False
    for number, line in enumerate(read_bytes(file).decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(("#", "%")):
            continue
        if not in_data:
            words = text.lower().split()
            if words[0] == "@timestamps" and words[1:2] == ["true"]:
                raise DataError("series with time stamps cannot be read", where=file, fix="give them as a table")
            if words[0] == "@targetlabel":
                numeric = words[1:2] == ["true"]
            if words[0] in ("@classlabel", "@targetlabel") and words[1:2] == ["false"] and not numeric:
                raise DataError("the series have no labels", where=file, expected="@classLabel true …")
            in_data = words[0] == "@data"
            continue
        *channels, label = text.split(":")
        if not channels:
            raise DataError("the line has no label", where=f"{file.name}, line {number}", expected="values:label")
        try:
            parsed = [np.asarray([np.nan if v.strip() in ("?", "NaN", "") else float(v) for v in c.split(",")])
                      for c in channels]  # fmt: skip
            labels.append(float(label) if numeric else label.strip())
        except ValueError as error:
            raise DataError(f"the line cannot be read ({error})", where=f"{file.name}, line {number}",
                            expected="numbers, with commas between") from None  # fmt: skip
        longest = max(map(len, parsed))
        rows.append(np.stack([np.r_[c, np.full(longest - len(c), np.nan)] for c in parsed]))
    if not rows:
        raise DataError("the file holds no series", where=file, expected="@data and a line for each")
    return rows, labels, numeric
