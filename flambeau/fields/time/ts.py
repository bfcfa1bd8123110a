"""How whole series are written in files: `.ts`, as the UCR and UEA archives have them, or lines of numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError
from flambeau.core.files import read_bytes

TS_SUFFIX = ".ts"


def read_series(file: Path) -> list[np.ndarray]:
    """The series of a file, without labels: a `.ts` file, or one whose lines are numbers with commas between.

    Raises:
        DataError: the file is not there, or a line cannot be read.
    """
    if not file.exists():
        raise DataError("there is no such file", where=file, code="not-found")
    if file.suffix.lower() == TS_SUFFIX:
        return read_ts(file, labels=False)[0]
    rows = []
    for number, line in enumerate(read_bytes(file).decode("utf-8", "replace").splitlines(), 1):
        try:
            rows.append(np.asarray([float(v) for v in line.split(",")])[None])
        except ValueError as error:
            raise DataError(f"the line cannot be read ({error})", where=f"{file.name}, line {number}",
                            expected="numbers, with commas between") from None  # fmt: skip
    return rows


def read_ts(file: Path, labels: bool = True) -> tuple[list[np.ndarray], list[Any], bool]:
    """Series (C, T), their labels, and whether these are numbers.

    Args:
        labels: whether they are read; if not, the file need not have any, and there are none.

    The format: https://www.aeon-toolkit.org/en/stable/api_reference/file_specifications/ts.html
    """
    rows: list[np.ndarray] = []
    targets: list[Any] = []
    numeric, in_data, labelled = False, False, True
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
                if labels:
                    raise DataError("the series have no labels", where=file, expected="@classLabel true …",
                                    fix="train without, such as by --objective autoencoder")  # fmt: skip
                labelled = False
            in_data = words[0] == "@data"
            continue
        *channels, label = text.split(":") if labelled else [*text.split(":"), ""]
        if not channels:
            raise DataError("the line has no label", where=f"{file.name}, line {number}", expected="values:label")
        try:
            parsed = [np.asarray([np.nan if v.strip() in ("?", "NaN", "") else float(v) for v in c.split(",")])
                      for c in channels]  # fmt: skip
            if labels:
                targets.append(float(label) if numeric else label.strip())
        except ValueError as error:
            raise DataError(f"the line cannot be read ({error})", where=f"{file.name}, line {number}",
                            expected="numbers, with commas between") from None  # fmt: skip
        longest = max(map(len, parsed))
        rows.append(np.stack([np.r_[c, np.full(longest - len(c), np.nan)] for c in parsed]))
    if not rows:
        raise DataError("the file holds no series", where=file, expected="@data and a line for each")
    return rows, targets, numeric
