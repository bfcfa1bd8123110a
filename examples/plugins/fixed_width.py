"""Tables whose columns are as wide as their names and the spaces behind them, as old programs print them.

flambeau train rows.fwf --plugin examples/plugins/fixed_width.py --target label
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from flambeau.data.sources.formats import READERS, Read


@READERS.register(".fwf")
def read_fixed_width(path: Path) -> Read:
    """A table of texts; what each column holds is found out as of any table."""
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    places = [match.span() for match in re.finditer(r"\S+\s*", header)]
    places[-1] = (places[-1][0], max(map(len, (header, *lines))))
    columns = {header[a:b].strip(): [line[a:b].strip() or None for line in lines if line.strip()] for a, b in places}
    return Read(pl.DataFrame(columns), [])
