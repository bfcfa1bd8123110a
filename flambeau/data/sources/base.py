"""Sources: where data come from. Each form in which data lie on a disk is a Source, which says itself whether a path is
of its form, and makes a Dataset of it."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from flambeau.core.registry import Registry
from flambeau.data.dataset import Dataset
from flambeau.data.sources.tables import Table, read_table
from flambeau.data.split import Split
from flambeau.fields import chosen

SOURCES: Registry[type[Source]] = Registry("source")
"""By the name that a recipe has for it (`data.kind`)."""

AFTERWARDS = inspect.Parameter("split", inspect.Parameter.KEYWORD_ONLY, default="auto")
"""How rows are split that a source has read without asking."""


class Source(ABC):
    """One form of data on a disk: a folder, a table, an archive.

    >>> from flambeau.data.sources.opening import source_of
    >>> source_of(Path("rows.csv"), {}).of, source_of(Path("rows.csv"), {"time": "day"}).of
    ('tables', 'series')
    """

    of: ClassVar[str]
    """What its data are called in messages, in the plural."""
    sign: ClassVar[str] = ""
    """What to give so that it is taken, for who gives an option that is for it."""
    columns: ClassVar[bool] = False
    """Whether the data are rows with columns by name, which a run's `target`, `inputs` and `fields` are then of."""

    @staticmethod
    @abstractmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        """How sure it is that a path is of this form, from 0 to 1: 0.9 by its ending, 0.5 by what lies in a folder; 0
        if it is not. The surest source is taken, of several the one that was registered last. Never raises.

        Args:
            path: a file or a folder, which need not be there.
            options: what was given with it, such as `time` for series.
        """

    @staticmethod
    @abstractmethod
    def read(*path: Any, **options: Any) -> Dataset:
        """The data of a path. Its keyword arguments are the options that a person may give, and a recipe's `data`.
        Without a `split` among them the rows are split afterwards.

        Raises:
            DataError: what is wrong, and where.
        """

    @classmethod
    def opened(cls, path: str | Path, options: Mapping[str, Any]) -> Dataset:
        """What `read` gives, split as the options say where it takes no `split` itself."""
        rest = dict(options)
        how = rest.pop("split", "auto") if cls.options()["split"] is AFTERWARDS else None
        data = cls.read(path, **rest)
        if how is not None:
            data.divide(Split.of(how))
        return data

    @staticmethod
    def table(path: Path, **layout: Any) -> Table:
        """The rows of a path, where there are `columns`: for a prediction too.

        Args:
            layout: what was given of `encoding`, `header` and `columns`, as for `read_table`.
        """
        return read_table(path, **layout)

    @classmethod
    def options(cls) -> dict[str, inspect.Parameter]:
        """What `read` takes beside the path, by name, and `split`."""
        parameters = inspect.signature(cls.read).parameters.values()
        return {"split": AFTERWARDS, **{p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}}


def described(kind: str, path: str | Path | None, **options: Any) -> dict[str, Any]:
    """What a recipe says of data: the source and the options that it was read with, as plain JSON."""
    found: dict[str, Any] = {"kind": kind, "path": str(Path(path).resolve()) if path is not None else None}
    for name, value in options.items():
        if name == "labels" and value:
            continue
        value = vars(Split.of(value)).copy() if name == "split" else value
        value = chosen(value) if name == "fields" else str(Path(value).resolve()) if isinstance(value, Path) else value
        found[name] = dict(value) if isinstance(value, Mapping) else [*value] if isinstance(value, tuple) else value
    return found
