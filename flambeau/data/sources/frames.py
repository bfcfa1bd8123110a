"""Data frames of pandas as polars frames, without pyarrow."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flambeau.core.errors import DataError, first_line, shown


def as_polars(frame: Any, name: str = "the data frame") -> Any:
    """A polars frame as it is; one of pandas (or a named Series of it) column by column, without its index.

    Missing values become null; categories what they stand for; periods and intervals, which polars has none of, the
    texts that pandas writes for them.

    Raises:
        DataError: two columns have one name, or a column holds values of several kinds.
    """
    import polars as pl

    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if not hasattr(frame, "columns") and hasattr(frame, "to_frame"):
        frame = frame.to_frame()
    if isinstance(frame, pl.DataFrame):
        return frame
    if not hasattr(frame, "columns"):
        raise DataError(f"{shown(frame)} is not a data frame", where=name,
                        expected="one of polars or pandas", fix="make one: pl.DataFrame(rows)")  # fmt: skip
    twice = [str(column) for column, count in Counter(map(str, frame.columns)).items() if count > 1]
    if twice:
        raise DataError(f"two columns are called '{twice[0]}'", where=name, fix="give each a name of its own")
    columns = {}
    for column in frame.columns:
        try:
            columns[str(column)] = _series(frame[column])
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            raise DataError(
                f"the column '{column}' cannot be read ({first_line(error)})",
                where=name,
                fix="make each column of one kind",
            ) from None
    return pl.DataFrame(columns)


def with_index(frame: Any, time: str, target: str) -> Any:
    """A frame or Series of pandas whose index holds the times, with them as a column; anything else as it is."""
    index: Any = getattr(frame, "index", None)
    if not hasattr(index, "names"):
        return frame
    if not hasattr(frame, "columns"):
        frame = frame.to_frame(target if frame.name is None else frame.name)
    if time in frame.columns or (type(index).__name__ == "RangeIndex" and index.name != time):
        return frame
    if len(index.names) == 1:
        frame = frame.rename_axis(time)
    return frame.reset_index()


def _series(column: Any) -> Any:
    import polars as pl

    code, zone = getattr(column.dtype, "kind", "O"), getattr(column.dtype, "tz", None)
    if zone is not None and str(zone) != "UTC" and str(zone).startswith("UTC"):  # an offset, which polars has none of
        return pl.Series([None if time != time else time.isoformat() for time in column.tolist()])
    if zone is not None:
        times = column.dt.tz_convert("UTC").dt.tz_localize(None)
        return _series(times).dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone))
    if code in "mM":
        return pl.Series(column.to_numpy().astype(f"{code}8[us]"))
    if code in "biuf" and hasattr(column.dtype, "itemsize") and not column.isna().any():
        return pl.Series(column.to_numpy())
    values = [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
    if code in "biuf":
        return pl.Series(values, dtype={"b": pl.Boolean, "f": pl.Float64}.get(code, pl.Int64))
    if any(type(value).__name__ in ("Period", "Interval") for value in values):
        values = [None if value is None else str(value) for value in values]
    return pl.Series(values)
