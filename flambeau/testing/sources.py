"""What every source of data promises."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from flambeau.data.sources.base import SOURCES
from flambeau.data.sources.opening import from_path, from_source, source_of


def check_source(name: str, path: str | Path, **options: Any) -> None:
    """Checks all that a source promises.

    Args:
        name: that it is entered under in SOURCES.
        path: of data of its form.
        options: that it is read with.

    Raises:
        AssertionError: a promise is broken. DataError: the data cannot be read.
    """
    source = SOURCES[name]
    assert source.of and source.sign, "say what its data are called, and what to give so that it is taken"
    assert source_of(path, options) is source, "it claims its own data most"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "bytes.bin").write_bytes(bytes(range(256)))
        for other in (Path(folder), Path(folder) / "bytes.bin", Path(folder) / "absent", Path()):
            assert 0 <= source.claims(other, {}) < 0.5, f"it claims {other}"
    data = from_path(path, **options)
    again = from_source(json.loads(json.dumps(data.source)))
    assert len(again) == len(data) and [*again.columns] == [*data.columns]
    assert {n: f.to_dict() for n, f in again.fields.items()} == {n: f.to_dict() for n, f in data.fields.items()}
    assert (again.split == data.split).all(), "what a recipe says of it brings other splits"
    halves = from_path(path, **{**options, "split": "none"})
    assert not len(halves.rows("valid")), "it does not split as it is told"
