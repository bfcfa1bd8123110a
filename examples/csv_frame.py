"""Pictures named in a CSV file, with their labels and their split; and the same as a data frame.

    python examples/csv_frame.py

Paths are relative to the table. A column `split` says which rows train, validate and test.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
from realdata.pictures import write_digits

import flambeau as fb

photos = write_digits("runs/examples/photos")
files = sorted(photos.rglob("*.png"), key=lambda file: file.name)  # as they were recorded: writer after writer
frame = pl.DataFrame({
    "picture": [str(file.relative_to(photos.parent)) for file in files],
    "label": [file.parent.name for file in files],
    # the first writers train, the next validate, the last test: nobody is on two sides
    "split": ["train" if i < 1200 else "valid" if i < 1500 else "test" for i in range(len(files))],
})  # fmt: skip
table = Path("runs/examples/digits.csv")
frame.write_csv(table)

data = fb.Dataset.from_csv(table, target="label")
print(data.describe())
assert [len(data.rows(side)) for side in ("train", "valid", "test")] == [1200, 300, 297]

learner = fb.Learner(data, model="lenet", epochs=5, run=False)
metrics = learner.fit()
print(metrics)  # on the test rows, for there are some
assert metrics["accuracy"] >= 0.92, metrics

same = fb.Dataset.from_frame(frame, target="label", root=table.parent)
assert same.columns["picture"] == data.columns["picture"]
assert same.describe() == data.describe()
