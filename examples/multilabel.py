"""A picture to several labels at once.

    python examples/multilabel.py

Real digits, each with the labels that hold for it: a list of names is all that it takes.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import flambeau as fb

HOLDS = {"even": (0, 2, 4, 6, 8), "prime": (2, 3, 5, 7), "has a loop": (0, 6, 8, 9)}
digits = load_digits()
labels = [[name for name, members in HOLDS.items() if digit in members] for digit in digits.target]
pictures = (digits.images * (255 / 16)).astype(np.uint8)

data = fb.Dataset.from_arrays(pictures, labels)
print(data.describe())
learner = fb.Learner(data, model="lenet", epochs=10, run=False)
metrics = learner.fit()
print(metrics)

# a digit counts only if all of its labels are found and no other
rows = data.rows("test")
predictions = learner.predict(list(pictures[rows]))
right = np.mean([sorted(p.label) == sorted(labels[row]) for p, row in zip(predictions, rows, strict=True)])
print(
    f"{right:.1%} of {len(rows)} have exactly their labels; a {digits.target[rows[0]]}: {predictions[0].probabilities}"
)
assert right >= 0.96
