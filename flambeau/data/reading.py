"""The one reader of raw values: the rows of a table or a data frame as fields take them, for a training, an evaluation,
a prediction and a server alike. What a single file or a JSON value holds, its field says: `Field.values_in`,
`Field.from_portable`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.core.errors import DataError, nearest
from flambeau.core.findings import Finding
from flambeau.data.grouping import unseen
from flambeau.data.sources.columns import Columns, from_polars
from flambeau.data.sources.frames import as_polars
from flambeau.data.sources.paths import join_paths, located, unpacked, unread_columns
from flambeau.fields import Field, Rows


class RawTable(NamedTuple):
    """Rows as fields read them.

    Attributes:
        columns: raw values by column, and what was learned of them. A column of files holds paths, or contents.
        frame: the polars frame that they were read from: cells as they are written, paths from `root` on; behind them
            columns that were not asked for.
        written: the columns' values before their files were read.
        files: the columns that name files, or hold their bytes.
        unread: by row, from 0, why its file cannot be read.
        left_out: columns that are not read, and why.
        findings: what a person should know.
    """

    columns: Columns
    frame: Any
    written: dict[str, Sequence[Any]]
    files: list[str]
    unread: dict[int, DataError]
    left_out: dict[str, str]
    findings: list[Finding]

    @property
    def rows(self) -> Rows:
        """The rows as mappings, made when they are asked for."""
        return Rows(self.columns.values)


def read_frame(
    frame: Any,
    fields: Mapping[str, Field] | None = None,
    *,
    target: str | None = None,
    root: str | Path | None = None,
    plain: Sequence[str] = (),
    in_place: Sequence[str] = (),
    name: str = "the data frame",
    decimal: str | None = None,
    as_written: Collection[str] = (),
) -> RawTable:
    """A polars or pandas frame, column by column. Columns of names of files that are not read are left out.

    Args:
        fields: what columns are, where that is known: they are then read so.
        root: the folder that names of files start from; None where no column names files.
        plain: columns that name no files, whatever they look like.
        in_place: columns whose files lie where they say, if they name any.
        name: what messages call the frame.
        decimal, as_written: as for `flambeau.data.sources.columns.from_polars`.

    Raises:
        DataError: a column cannot be read.
    """
    frame = unpacked(as_polars(frame, name))
    findings: list[Finding] = []
    if root is not None:
        frame, findings = located(frame, [*plain, *in_place], Path(root), name)
    left_out = {
        column: f"the column '{column}' names files that are not read ({why})"
        for column, why in unread_columns(frame, [*plain, *(fields or ())]).items()
    }
    frame = frame.drop([*left_out])
    columns = from_polars(frame, target, fields, decimal=decimal, as_written=as_written)
    written = dict(columns.values)
    files, unread = join_paths(columns.values, plain, Path(root or ""))
    return RawTable(columns, frame, written, files, unread, left_out, [*findings, *columns.findings])


def read_rows(
    data: Any,
    fields: Mapping[str, Field],
    *,
    known: Sequence[str] | None = None,
    root: str | Path | None = None,
    plain: Sequence[str] = (),
    encoding: str | None = None,
    header: bool = True,
    columns: Sequence[str] | None = None,
) -> RawTable:
    """The rows of a table for fields that are fitted, read as those that they were fitted to.

    Args:
        data: a path of any source that has columns, or a polars or pandas frame.
        fields: of the columns, as a run has them.
        known: the columns that are read, the others being left out; all of them if not given.
        root, plain: as for `read_frame`; of a file its own folder if not given.
        encoding, header, columns: of a file, as for `read_table`.

    Raises:
        DataError: there is no such file, a column is missing, or there are no rows.
    """
    name, decimal = "the data frame", None
    findings: Sequence[Finding] = ()
    if isinstance(data, (str, Path)):
        from flambeau.data.sources.opening import source_of

        path, given = Path(data), {"encoding": encoding, "header": None if header else False, "columns": columns}
        table = source_of(path, {}).table(path, **{n: value for n, value in given.items() if value is not None})
        name, root = path.name, root or (path if path.is_dir() else path.parent)
        data, decimal, findings = table.frame, table.decimal, table.findings
        data = data.drop([column for column in table.made_of if column not in (known or table.made_of)])
    frame = as_polars(data, name)
    for column in known or ():
        if column not in frame.columns:
            fix, wanted = nearest(column, frame.columns), ", ".join(known or ())
            raise DataError(f"the table has no column '{column}'", expected=wanted, fix=fix)
    if not len(frame):
        raise DataError("the table has no rows")
    others = [column for column in frame.columns if known is not None and column not in known]
    read = read_frame(frame.drop(others), fields, root=root, plain=plain, name=name, decimal=decimal)
    return read._replace(
        frame=read.frame.with_columns(frame[column] for column in others),
        left_out={**read.left_out, **dict.fromkeys(others, "it is none of the model's columns")},
        findings=[*findings, *unseen(read.columns.values, fields)],
    )
