"""Rows a second of a training on a table, beside the loop with a DataLoader that tutorials teach, on the same net.

    python benchmarks/table_step.py

The table has 10 numbers and 4 categories. Ours gathers a batch at once out of one array; the loop's Dataset gives a
row as tensors, which the DataLoader collates. Net (`linear`), batch, optimiser and rate are equal; each
figure is one epoch in a process of its own, after a short one that imports what is imported once.
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

NUMBERS, SIZES, BATCH, PROMISED = 10, (5, 12, 40, 100), 1024, 10.0
NET = "linear"  # the dearer the net, the less the data counts: with `resmlp` the ratio is about 2


def make_frame(rows: int) -> tuple[Any, Any, Any]:
    """Numbers float32 (N, 10), categories int64 (N, 4), and a target that depends on both, float32 (N)."""
    import numpy as np

    random = np.random.default_rng(0)
    numbers = random.normal(size=(rows, NUMBERS)).astype(np.float32)
    codes = np.stack([random.integers(0, size, rows) for size in SIZES], 1)
    target = numbers[:, :3].sum(1) + (codes[:, 0] == 2) + random.normal(size=rows) * 0.1
    return numbers, codes, target.astype(np.float32)


def make_model() -> Any:
    from flambeau.models import InputSpec, build

    return build(NET, InputSpec("table", (NUMBERS, *(size + 1 for size in SIZES))), 1).model


def measure_ours(rows: int) -> float:
    import flambeau as fb

    numbers, codes, target = make_frame(rows)
    columns = {f"n{i}": numbers[:, i] for i in range(NUMBERS)} | {f"c{i}": codes[:, i] for i in range(len(SIZES))}
    fields = {f"c{i}": fb.fields.Category() for i in range(len(SIZES))} | {"y": fb.fields.Number()}
    data = fb.Dataset({**columns, "y": target}, target="y", fields=fields, split="none")
    learner = fb.Learner(data, model=NET, run=False, quiet=True, batch_size=BATCH, epochs=1, device="cpu")
    learner.build()
    learner.evaluate = lambda: {"split": "train", "metrics": {}}  # type: ignore[method-assign]  # as the loop
    began = time.perf_counter()
    learner.fit(check=False)
    return rows / (time.perf_counter() - began)


def measure_loader(rows: int) -> float:
    import torch
    from torch.utils.data import DataLoader, Dataset

    from flambeau.fields import Row

    numbers, codes, target = make_frame(rows)

    class Table(Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return rows

        def __getitem__(self, row: int) -> Any:
            return torch.from_numpy(numbers[row]), torch.from_numpy(codes[row]), torch.tensor(target[row])

    model, loss_function = make_model(), torch.nn.MSELoss()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    began = time.perf_counter()
    for x, c, y in DataLoader(Table(), batch_size=BATCH, shuffle=True):
        loss = loss_function(model(Row(x, c))[:, 0], y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return rows / (time.perf_counter() - began)


def main() -> int:
    arguments = parser(__doc__, rounds=5)
    arguments.add_argument("--rows", type=int, default=200_000)
    arguments.add_argument("--variant", choices=("ours", "loader"), help=argparse.SUPPRESS)
    arguments.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.variant:
        import torch

        torch.set_num_threads(1)
        measure = measure_ours if options.variant == "ours" else measure_loader
        measure(8 * BATCH)
        rate = measure(options.rows)
        options.out.write_text(json.dumps({"rows_per_second": rate}))
        return 0
    command = [str(Path(__file__).resolve()), f"--rows={options.rows}"]
    competitors = {
        name: (lambda name=name: float(run_child([*command, "--variant", name], threads=1)["rows_per_second"]))
        for name in ("ours", "loader")
    }
    figures = interleave(competitors, options.rounds, speaker(options.quiet))
    ratio = compare(figures["ours"], figures["loader"])
    if options.json:
        print(json.dumps({"unit": "rows/s", **{name: summary(values) for name, values in figures.items()}}))
    else:
        print(table([["", "rows/s"], *([n, f"{median(v):,.0f}"] for n, v in figures.items())]))
        print(f"ours / loader: {ratio}")
        print(verdict(ratio.of_medians >= PROMISED, f"at least {PROMISED:.0f} times the rows of the loop"))
    return 0 if ratio.of_medians >= PROMISED else 1


if __name__ == "__main__":
    sys.exit(main())
