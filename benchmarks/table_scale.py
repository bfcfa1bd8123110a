"""Time and memory of an epoch on tables of 10³ to 10⁷ rows: linear, and bounded by the table.

    python benchmarks/table_scale.py
    python benchmarks/table_scale.py --sizes 1000,10000,100000

The rows are flights (the date, the distance, origin and destination, to the delay) of a Parquet file of three
millions, repeated beyond. Each size is a process of its own: fit, encode, and one epoch of `linear` with batches of
4,096, after a training of 1,000 rows that imports what is imported once. What is promised: from 10⁵ rows on, ten times
the rows take at most 12 times as long, and a row more takes at most 300 bytes more.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from _data import cache
from _timing import parser, run_child, table, verdict

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
TIMES, BYTES = 12.0, 300


def flights() -> Path:
    """The Parquet file, in the cache."""
    from realdata.tables import vega_file

    from flambeau.core.files import write_atomic

    path = cache() / "flights-3m.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, vega_file("flights-3m.parquet"))
    return path


def train(frame: Any) -> float:
    """Trains on the rows; gives the time at which they were encoded."""
    import flambeau as fb

    data = fb.Dataset.from_frame(frame, target="delay", fields={"delay": fb.fields.Number()}, split="random")
    learner = fb.Learner(data, model="linear", run=False, quiet=True, epochs=1, batch_size=min(4096, len(frame) // 4))
    learner.build()
    built = time.perf_counter()
    learner.fit(check=False)
    return built


def measure(rows: int) -> dict[str, float]:
    import polars as pl

    frame = pl.read_parquet(flights()).drop_nulls("delay")
    train(frame[:1000])
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    built = train(pl.concat([frame] * -(-rows // len(frame)))[:rows])
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"prepare": built - began, "epoch": ended - built, "memory": (peak - base) * 1024}


def main() -> int:
    arguments = parser(__doc__, rounds=1)
    arguments.add_argument("--sizes", default=",".join(map(str, SIZES)), help="rows, with commas between")
    arguments.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.rows:
        options.out.write_text(json.dumps(measure(options.rows)))
        return 0
    flights()
    sizes = [int(size) for size in options.sizes.split(",")]
    found = {}
    for size in sizes:
        command = [str(Path(__file__).resolve()), f"--rows={size}"]
        found[size] = run_child(command, threads=1, timeout=3600)
        print(f"{size:,} rows: {found[size]}", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps(found))
    else:
        rows = [["rows", "prepare s", "epoch s", "MB more", "bytes a row"]]
        rows += [[f"{n:,}", f"{f['prepare']:.2f}", f"{f['epoch']:.2f}", f"{f['memory'] / 1e6:,.0f}",
                  f"{f['memory'] / n:,.0f}"] for n, f in found.items()]  # fmt: skip
        print(table(rows))
    holds = True
    for small, large in itertools.pairwise(sizes):
        if small < 100_000:
            continue
        times = sum(found[large][k] for k in ("prepare", "epoch")) / sum(found[small][k] for k in ("prepare", "epoch"))
        more = (found[large]["memory"] - found[small]["memory"]) / (large - small)
        linear, bounded = times <= TIMES * large / small / 10, more <= BYTES
        print(verdict(linear, f"{large / small:.0f} times the rows in {times:.1f} times the time"))
        print(verdict(bounded, f"{more:.0f} bytes for each row more"))
        holds = holds and linear and bounded
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
