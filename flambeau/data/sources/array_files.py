"""Arrays in .npz and .mat files, as Datasets."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from flambeau.core.errors import DataError, nearest
from flambeau.core.files import check_regular
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.split import ALIASES, NAMES, TEST, TRAIN, VALID, Split
from flambeau.fields import Field, chosen

SUFFIXES = (".npz", ".mat")


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
        raise DataError("there is no such file", where=path)
    from flambeau.data.sources.opening import TARGET_NAMES, from_arrays

    parts, how = read_arrays(file), Split(split) if isinstance(split, str) else split
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
    dataset.source = {
        "kind": "arrays", "path": str(file.resolve()), "target": target, "inputs": list(inputs) if inputs else None,
        "split": vars(how).copy(), "fields": chosen(fields),
    }  # fmt: skip
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
        raise DataError(f"the arrays cannot be read ({str(error).splitlines()[0]})", where=path) from None
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
