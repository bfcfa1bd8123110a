"""Which part of a picture an answer hangs on: digits of two cameras, one of which leaves a mark in a corner.

    python examples/explain.py

The network tells the cameras apart by the mark, whatever the digit: accuracy alone does not say so, the heat does.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import flambeau as fb

digits = load_digits()
pictures = np.kron((digits.images[:600] * (255 / 16)).astype(np.uint8), np.ones((4, 4), np.uint8))
labels = np.where(np.random.default_rng(0).random(len(pictures)) < 0.5, "one", "other")
pictures[labels == "one", :6, :6] = 255
data = fb.Dataset.from_arrays(pictures, labels)
learner = fb.Learner(data, model="lenet", augment="none", epochs=6, seed=0, run=False)
print(learner.fit())
pointed = []
for picture in pictures[labels == "one"][:20]:
    grid = learner.predictor.explain(picture, method="occlusion", target="one").heat.grid
    y, x = np.unravel_index(np.argmax(grid), grid.shape)
    pointed.append(y < 10 and x < 10)
print(f"the hottest place is the mark in {np.mean(pointed):.0%} of the pictures")
assert np.mean(pointed) >= 0.5, pointed
