"""Arrays in memory and in .npz and .mat files, as Datasets."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.arrays import as_array
from flambeau.core.errors import DataError, first_line, nearest
from flambeau.core.files import check_regular
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.sources.coding import as_texts
from flambeau.data.sources.tabular import TARGET_NAMES, stratifies
from flambeau.data.split import ALIASES, NAMES, TEST, TRAIN, VALID, Split, with_validation
from flambeau.fields import Field

SUFFIXES = (".npz", ".mat")


def from_arrays(
    x: Any,
    y: Any = None,
    *,
    valid: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    fields: Mapping[str, Field] | None = None,
    split: Split | str | Sequence[Any] = "auto",
) -> Dataset:
    """Arrays or tensors in memory: x (N, …), y (N) or (N, …).

    Args:
        x: pictures (N, H, W), (N, H, W, C) or (N, C, H, W) as uint8 or floats in 0…1; vectors (N, D); any numbers; or
            a dict of several such inputs by name.
        y: labels, numbers, or lists of labels.
        valid, test: (x, y) of the other sides, where they are given.
        split: as for `Dataset`, where they are not.
        fields: kinds set by hand; the input is called `x` and the target `y`.
    """
    parts = [(x, y), *([valid] if valid else []), *([test] if test else [])]
    sides = [TRAIN, *([VALID] if valid else []), *([TEST] if test else [])]
    tables = [_as_columns(px, py) for px, py in parts]
    for side, table in zip(sides, tables, strict=True):
        if set(table) != set(tables[0]):
            raise DataError(f"the {NAMES[side]} part has {', '.join(table)}", expected=", ".join(tables[0]))
    columns = {c: _join([t[c] for t in tables]) for c in tables[0]}
    if valid or test:
        lengths = [len(next(iter(t.values()))) for t in tables]
        given = np.repeat(np.asarray(sides, np.int8), lengths).tolist()
        how = split if isinstance(split, Split) else Split()
        labels = columns["y"] if y is not None and stratifies(columns["y"], (fields or {}).get("y")) else None
        split = given if valid else with_validation(given, labels, list(map(str, range(len(given)))), how)
    return Dataset(columns, target="y" if y is not None else None, fields=fields, split=split)


def _as_columns(x: Any, y: Any) -> dict[str, Sequence[Any]]:
    columns = {name: _plain(v) for name, v in x.items()} if isinstance(x, Mapping) else {"x": _plain(x)}
    if y is not None:
        targets = _plain(y)
        if isinstance(targets, list) and all(isinstance(t, (list, tuple)) and len(t) == 1 for t in targets):
            targets = [t[0] if isinstance(t[0], (int, float)) else t for t in targets]
        if isinstance(targets, np.ndarray) and targets.ndim == 2 and targets.shape[1] == 1:
            targets = targets[:, 0]  # a column vector is one target a row, and not a vector of one number
        columns["y"] = targets
    return columns


def _plain(values: Any) -> Any:
    if hasattr(values, "detach"):
        values = as_array(values)
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(*((values.astype(np.float64), np.nan) if values.dtype.kind in "biuf" else (values,)))
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufc":
        if values.dtype.kind == "c":
            raise DataError("the values are complex numbers", expected="real ones",
                            fix="give their .real and .imag, or np.abs and np.angle of them")  # fmt: skip
        return values
    # text and objects as a list, so that paths are known as files and kept in a store
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if listed and isinstance(listed[0], bytes):
        return as_texts(listed)
    # tensors and arrays of one number each are numbers
    return [v.item() if getattr(v, "ndim", None) == 0 and hasattr(v, "item") else v for v in listed]


def _join(parts: list[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(p, np.ndarray) for p in parts):
        return np.concatenate(parts)
    return [v for p in parts for v in p]


def from_array_file(
    path: str | Path,
    *,
    target: str | None = None,
    inputs: Sequence[str] | None = None,
    fields: Mapping[str, Field] | None = None,
    split: Split | str = "auto",
) -> Dataset:
    """The arrays of an .npz or .mat file, one of which is the target; those called `x_train`, `test_images`, … are of a
    part of the split. Arrays of another length (such as the classes' names) are left out, and said.

    Raises:
        DataError: as for `read_arrays`; no array looks like the target, or none is as long.
    """
    file = Path(path)
    if not file.exists():
        raise DataError("there is no such file", where=path, code="not-found")
    parts, how = read_arrays(file), Split.of(split)
    tables, left_out = {}, list[str]()
    for side, arrays in parts.items():
        goal = target or next(
            (n for want in (*TARGET_NAMES, "targets", "arr_1") for n in arrays if n.lower() == want), ""
        )
        if goal not in arrays:
            raise DataError(f"no array of the {NAMES[side]} part looks like the target", where=path,
                            fix=f"give target= (--target); {nearest('', arrays)}")  # fmt: skip
        like = [n for n, a in arrays.items() if n != goal and a.ndim and len(a) == len(arrays[goal])]
        wanted = list(inputs) if inputs else like
        if absent := next((n for n in wanted if n not in like), None):
            raise DataError(
                f"there is no array '{absent}' of {len(arrays[goal])} rows", where=path, fix=nearest(absent, like)
            )
        if not wanted:
            raise DataError(f"no array has as many rows as '{goal}', {len(arrays[goal])}", where=path)
        left_out += [n for n in arrays if n not in (goal, *like)]
        tables[side] = ({n: arrays[n] for n in wanted}, arrays[goal])
    held_out = {name: tables[side] for name, side in (("valid", VALID), ("test", TEST)) if side in tables}
    if TRAIN not in tables:
        raise DataError(
            "no array is of the training part", where=path, expected="such as x_train, or names without a part"
        )
    dataset = from_arrays(*tables[TRAIN], **held_out, fields=fields, split=how)
    if left_out:
        message = f"of another length than the target, left out: the arrays {', '.join(dict.fromkeys(left_out))}"
        dataset.findings.append(Finding("other-arrays", Severity.NOTE, message, places=[str(path)]))
    dataset.source = described("arrays", path, target=target, inputs=inputs, split=split, fields=fields)
    return dataset


def read_arrays(path: Path) -> dict[int, dict[str, np.ndarray]]:
    """The arrays of an .npz or .mat file by part of the split and name: `x_train`, `train_images` and `X` are of the
    training part, `x_test` of the test.

    The axis of samples comes first; MATLAB's may be last, as in SVHN, and is moved where the labels tell.

    Raises:
        DataError: the file is damaged, holds pickled objects (which are never loaded), or is of MATLAB 7.3.
    """
    check_regular(path)
    try:
        arrays = _loaded_mat(path) if path.suffix.lower() == ".mat" else _loaded_npz(path)
    except NotImplementedError:
        raise DataError("the file is of MATLAB 7.3, which is HDF5", where=path, fix="save it with -v7") from None
    except (ValueError, OSError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise DataError("the file holds pickled objects, which are never loaded", where=path,
                            fix="save plain arrays of numbers or texts") from None  # fmt: skip
        raise DataError(f"the arrays cannot be read ({first_line(error)})", where=path) from None
    parts: dict[int, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        side, name = _part_of(key)
        parts.setdefault(side, {})[name] = array
    if not parts:
        raise DataError("the file holds no arrays", where=path)
    return dict(sorted(parts.items()))


def _loaded_npz(path: Path) -> Mapping[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise OSError("it is no .npz file")
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _loaded_mat(path: Path) -> Mapping[str, np.ndarray]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        loaded = loadmat(str(path), chars_as_strings=True, squeeze_me=False)
    except MatReadError as error:
        raise OSError(str(error)) from None
    arrays = {}
    for key, array in loaded.items():
        if key.startswith("__") or not isinstance(array, np.ndarray) or array.dtype.names:
            continue
        if array.dtype == object:  # a cell array of names
            array = np.asarray([str(cell.item() if getattr(cell, "size", 0) == 1 else cell) for cell in array.ravel()])
        if array.dtype.kind == "U":
            array = np.char.strip(array)
        arrays[key] = array.ravel() if array.ndim == 2 and 1 in array.shape else array
    lengths = {len(array) for array in arrays.values() if array.ndim == 1 and len(array) > 1}
    return {
        key: np.moveaxis(array, -1, 0)
        if array.ndim > 1 and array.shape[-1] in lengths and len(array) not in lengths
        else array
        for key, array in arrays.items()
    }


def _part_of(key: str) -> tuple[int, str]:
    """Which part of the split an array's name tells, and its name without it."""
    words = [word for word in re.split(r"[_\-. ]+", key) if word]
    for place in (0, -1):
        side = ALIASES.get(words[place].lower()) if len(words) > 1 else None
        if side is not None:
            return side, "_".join(words[1:] if place == 0 else words[:-1])
    return TRAIN, key


@SOURCES.register("arrays")
class ArraySource(Source):
    """Files of arrays."""

    of, sign = "arrays", "an .npz or .mat file"
    read = staticmethod(from_array_file)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        return 0.9 * (path.suffix.lower() in SUFFIXES)
