"""Folders of JSON files, each of which holds one record.

flambeau train notes/ --plugin examples/plugins/records.py --target label
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from flambeau.core.errors import DataError
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source
from flambeau.data.sources.tabular import from_frame
from flambeau.data.split import Split
from flambeau.fields import Field


@SOURCES.register("records")
class Records(Source):
    of, sign, columns = "records", "a folder of .json files", True

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        files = [*path.iterdir()] if path.is_dir() else []
        return 0.6 * (bool(files) and all(file.suffix == ".json" for file in files))

    @staticmethod
    def read(
        path: str | Path, *, target: str | None = None, inputs: Sequence[str] | None = None,
        fields: Mapping[str, Field] | None = None, split: Split | str = "auto",
    ) -> Dataset:  # fmt: skip
        rows = []
        for file in sorted(Path(path).iterdir()):
            try:
                rows.append({**json.loads(file.read_bytes())})
            except (ValueError, TypeError) as error:
                raise DataError(f"the file holds no record ({error})", where=file, expected="a JSON object") from None
        frame = pl.DataFrame(rows, infer_schema_length=None)
        return from_frame(frame, target=target, inputs=inputs, fields=fields, split=split, name=str(path))
