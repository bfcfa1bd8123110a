"""A picture and a number of the same row together, where some rows have no picture.

    python examples/several_inputs.py

The top of a digit's picture alone leaves some digits alike; how much ink its lower rows have tells a part of the rest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import flambeau as fb

digits = load_digits()
upper = [None if i % 10 == 0 else d[:3].astype(np.uint8) * 15 for i, d in enumerate(digits.images)]
ink = {f"ink {row} {side}": digits.images[:, row, 4 * side : 4 * side + 4].sum(1) for row in (5, 7) for side in (0, 1)}
fields = {"picture": fb.fields.Image()}


def accuracy(**columns: object) -> float:
    rows = {name: list(values) for name, values in columns.items()}  # type: ignore[call-overload]
    data = fb.Dataset(
        {**rows, "digit": digits.target}, target="digit", fields={n: f for n, f in fields.items() if n in rows}
    )
    name = " and ".join(c.split()[0] for c in list(rows)[:2])
    run = fb.Run.free(f"digits by {name}", Path("runs/examples"))
    learner = fb.Learner(data, epochs=12, run=run.path, baseline=False)
    metrics = learner.fit(check=False)
    print(name, metrics["accuracy"], run.evaluation["shuffled"])
    return metrics["accuracy"]


together = accuracy(picture=upper, **ink)
picture = accuracy(picture=upper)
numbers = accuracy(**ink)
assert together > picture + 0.02 and together > numbers + 0.02, (together, picture, numbers)
