"""Windows a second out of a series, beside a Dataset of Python slices with a DataLoader, as tutorials have it.

    python benchmarks/series_windows.py

Two series: `prices`, 16,607 daily closes of the S&P 500, as tutorials forecast them, 60 days of the past and the next;
and `demand`, a year of half-hours of Victoria's electricity demand with its temperature and what the time tells (13
numbers a step), a week of the past and a day ahead. The promise is about the first; of the second, whose windows are 80
times as large, both sides mostly copy memory. Ours are batches as a training gets them, shuffled, gathered out of one
array and prepared; theirs are slices of one tensor, collated, shuffled, without worker processes (with them it is
slower, for a window is little work). Each figure is an epoch in a process of its own, after a first one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import _data  # noqa: F401
from _timing import compare, interleave, parser, run_child, speaker, summary, table, verdict

BATCH, PROMISED = 256, 20.0
CASES = {"prices": (60, 1), "demand": (336, 48)}
"""Steps of the past and ahead."""


def make_data(case: str) -> Any:
    import polars as pl
    from realdata.tables import write_r_frame

    import flambeau as fb

    length, horizon = CASES[case]
    options: dict[str, Any] = {"length": length, "horizon": horizon, "split": "none", "season": []}
    if case == "demand":
        write_r_frame("elecdemand", "demand.csv")
        return fb.Dataset.from_series("demand.csv", time="Time", target="Demand", inputs=["Temperature"], **options)
    write_r_frame("sp500", "prices.csv")
    frame = pl.read_csv("prices.csv").sort("date").select("close").with_row_index("day")
    return fb.Dataset.from_series(frame, time="day", target="close", **options)


def measure_ours(case: str) -> float:
    import torch

    from flambeau.data.batches import Batches
    from flambeau.data.prepare import Preparer
    from flambeau.data.store.encode import encode

    data = make_data(case)
    data.fit()
    store = encode(data)
    batches = Batches(store, store.good, BATCH, seed=0)
    prepare = Preparer(data.fields, data.inputs, data.target, torch.device("cpu"))

    def epoch(number: int) -> float:
        began, seen = time.perf_counter(), 0.0
        for rows, gathered in batches.epoch(number):
            batch = prepare(rows, gathered, True, None)
            seen += float(batch.input.past[0, 0, 0] + batch.target[0, 0])
        return len(data) / (time.perf_counter() - began)

    epoch(0)
    return median(epoch(number) for number in range(1, 6))


def measure_loader(case: str) -> float:
    import torch
    from torch.utils.data import DataLoader, Dataset

    data = make_data(case)
    data.fit()
    length, horizon = CASES[case]
    field = data.fields["history"]
    values = torch.from_numpy(field.encode_flat(data.columns["history"]))
    target = torch.from_numpy(data.fields[data.target].encode_flat(data.columns[data.target]))
    known = field.channels - field.plan.num_known

    class Slices(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(values) - length - horizon + 1

        def __getitem__(self, start: int) -> Any:
            now = start + length
            return values[start:now], values[now : now + horizon, known:], target[now : now + horizon]

    loader = DataLoader(Slices(), batch_size=BATCH, shuffle=True)

    def epoch() -> float:
        began, seen = time.perf_counter(), 0.0
        for past, _, ahead in loader:
            seen += float(past[0, 0, 0] + ahead[0, 0])
        return len(loader.dataset) / (time.perf_counter() - began)  # type: ignore[arg-type]

    epoch()
    return epoch()


def main() -> int:
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--variant", choices=("ours", "loader"), help=argparse.SUPPRESS)
    arguments.add_argument("--case", choices=tuple(CASES), help=argparse.SUPPRESS)
    arguments.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.variant:
        import torch

        torch.set_num_threads(1)
        rate = (measure_ours if options.variant == "ours" else measure_loader)(options.case)
        options.out.write_text(json.dumps({"windows_per_second": rate}))
        return 0
    command = [str(Path(__file__).resolve())]
    sides = {
        f"{case}, {name}": (lambda c=case, n=name: float(
            run_child([*command, "--variant", n, "--case", c], threads=1)["windows_per_second"]
        ))
        for case in CASES for name in ("ours", "loader")
    }  # fmt: skip
    figures = interleave(sides, options.rounds, speaker(options.quiet))
    ratios = {case: compare(figures[f"{case}, ours"], figures[f"{case}, loader"]) for case in CASES}
    kept = ratios["prices"].of_medians >= PROMISED
    if options.json:
        print(json.dumps({"unit": "windows/s", **{name: summary(values) for name, values in figures.items()}}))
    else:
        print(table([["", "windows/s"], *([n, f"{median(v):,.0f}"] for n, v in figures.items())]))
        for case, ratio in ratios.items():
            print(f"{case}: ours / loader: {ratio}")
        print(verdict(kept, f"prices: at least {PROMISED:.0f} times the windows of Python slices"))
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
