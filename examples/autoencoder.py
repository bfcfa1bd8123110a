"""The odd ones out: an autoencoder that never saw one digit makes it again worse than the others.

    python examples/autoencoder.py

What is compared is the area under the ROC curve: how often a picture of the digit that was left out is told to be odder
than one of the others that was held out too; 0.5 is chance. The rivals see the pixels.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

import flambeau as fb

LEFT_OUT = 6
digits = load_digits()
images, known = digits.images / 16, digits.target != LEFT_OUT
usual = images[known]
train, held_out = usual[::2], usual[1::2]
asked = np.concatenate([held_out, images[~known]])
odd = np.arange(len(asked)) >= len(held_out)

learner = fb.Learner(
    fb.Dataset.from_arrays(train, split="random"), objective={"name": "autoencoder", "code": 8}, epochs=40,
    batch_size=32, run=False, quiet=True,
)  # fmt: skip
print(learner.fit())
scores = [prediction.label for prediction in learner.predictor.predict([*asked])]

pixels = {"train": train.reshape(len(train), -1), "asked": asked.reshape(len(asked), -1)}
forest = -IsolationForest(random_state=0).fit(pixels["train"]).score_samples(pixels["asked"])
neighbours = NearestNeighbors(n_neighbors=5).fit(pixels["train"]).kneighbors(pixels["asked"])[0].mean(1)
found = {
    name: roc_auc_score(odd, of)
    for name, of in (("autoencoder", scores), ("isolation forest", forest), ("nearest neighbours", neighbours))
}
print(f"digit {LEFT_OUT} left out: " + ", ".join(f"{name} {area:.3f}" for name, area in found.items()))
assert found["autoencoder"] > 0.8
assert found["autoencoder"] > found["isolation forest"]
