"""Folders of JSON files, each of which holds one record.

flambeau train notes/ --plugin examples/plugins/records.py --target label
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from flambeau.core.errors import DataError
from flambeau.data.sources.base import SOURCES
from flambeau.data.sources.tables import Table
from flambeau.data.sources.tabular import RowsSource


@SOURCES.register("records")
class Records(RowsSource):
    of, sign = "records", "a folder of .json files"

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        files = [*path.iterdir()] if path.is_dir() else []
        return 0.6 * (bool(files) and all(file.suffix == ".json" for file in files))

    @staticmethod
    def table(path: Path, **layout: Any) -> Table:
        rows = []
        for file in sorted(path.iterdir()):
            try:
                rows.append({**json.loads(file.read_bytes())})
            except (ValueError, TypeError) as error:
                raise DataError(f"the file holds no record ({error})", where=file, expected="a JSON object") from None
        return Table(pl.DataFrame(rows, infer_schema_length=None))
