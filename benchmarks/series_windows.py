"""Windows a second out of a series, beside a Dataset of Python slices with a DataLoader, as tutorials have it.

    python benchmarks/series_windows.py

The series is a year of half-hours of Victoria's electricity demand with its temperature and what the time tells; a
window is a week of the past and a day ahead. Ours are batches as a training gets them, shuffled, gathered out of one
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

from _timing import compare, interleave, parser, run_child, speaker, summary, table, verdict

LENGTH, HORIZON, BATCH, PROMISED = 336, 48, 256, 20.0


def make_data() -> Any:
    import flambeau as fb
    from flambeau.data.realdata.tables import write_r_frame

    frame = Path("elecdemand.csv")
    write_r_frame("elecdemand", frame)
    return fb.Dataset.from_series(
        frame, time="Time", target="Demand", inputs=["Temperature"], length=LENGTH, horizon=HORIZON, split="none"
    )


def measure_ours() -> float:
    import torch

    from flambeau.data.batches import Batches
    from flambeau.data.encode import encode
    from flambeau.data.prepare import Preparer

    data = make_data()
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


def measure_loader() -> float:
    import torch
    from torch.utils.data import DataLoader, Dataset

    data = make_data()
    data.fit()
    values = torch.from_numpy(data.fields["history"].encode_flat(data.columns["history"]))
    target = torch.from_numpy(data.fields["Demand"].encode_flat(data.columns["Demand"]))

    class Slices(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(values) - LENGTH - HORIZON + 1

        def __getitem__(self, start: int) -> Any:
            now = start + LENGTH
            return values[start:now], values[now : now + HORIZON, 2:], target[now : now + HORIZON]

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
    arguments.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.variant:
        import torch

        torch.set_num_threads(1)
        rate = measure_ours() if options.variant == "ours" else measure_loader()
        options.out.write_text(json.dumps({"windows_per_second": rate}))
        return 0
    command = [str(Path(__file__).resolve())]
    competitors = {
        name: (lambda name=name: float(run_child([*command, "--variant", name], threads=1)["windows_per_second"]))
        for name in ("ours", "loader")
    }
    figures = interleave(competitors, options.rounds, speaker(options.quiet))
    ratio = compare(figures["ours"], figures["loader"])
    if options.json:
        print(json.dumps({"unit": "windows/s", **{name: summary(values) for name, values in figures.items()}}))
    else:
        print(table([["", "windows/s"], *([n, f"{median(v):,.0f}"] for n, v in figures.items())]))
        print(f"ours / loader: {ratio}")
        print(verdict(ratio.of_medians >= PROMISED, f"at least {PROMISED:.0f} times the windows of Python slices"))
    return 0 if ratio.of_medians >= PROMISED else 1


if __name__ == "__main__":
    sys.exit(main())
