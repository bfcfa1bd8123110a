"""A picture to a number: by how many degrees a digit was turned.

    python examples/regression.py

The target is a column of numbers, and so the field is a Number, the loss a squared error and the answer in degrees.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import flambeau as fb

random = np.random.default_rng(0)
digits = load_digits()
angles = random.uniform(-45, 45, len(digits.target)).round(1)
pictures = np.stack([
    np.asarray(Image.fromarray(d).resize((16, 16), Image.Resampling.BICUBIC).rotate(a, Image.Resampling.BICUBIC))
    for d, a in zip((digits.images * (255 / 16)).astype(np.uint8), angles, strict=True)
])  # fmt: skip

data = fb.Dataset.from_arrays(pictures, angles, fields={"y": fb.fields.Number()})
print(data.describe())
# shifts may be made up, turns may not: they are what is asked for
learner = fb.Learner(data, model="lenet", augment={"shift": 0.05}, epochs=12, run=False)
print(learner.fit())

rows = data.rows("test")
answers = np.array([p.label for p in learner.predict(list(pictures[rows]))])
error = np.abs(answers - angles[rows]).mean()
guess = np.abs(angles[rows] - np.median(angles)).mean()
print(f"off by {error:.1f} degrees on average; who always says the middle is off by {guess:.1f}")
assert error < 3.5
