"""Three runs in three colour spaces, joined; and one run that looks at several views.

    python examples/ensemble.py

Patches of two photos, a class for each quarter of a photo: what tells them apart is colour and grain.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_sample_image

import flambeau as fb

random = np.random.default_rng(0)
pictures, names = [], []
for photo in ("china", "flower"):
    image = load_sample_image(f"{photo}.jpg")
    for _ in range(600):
        top, left = random.integers(0, [image.shape[0] - 16, image.shape[1] - 16])
        pictures.append(image[top : top + 16, left : left + 16].copy())
        names.append(f"{photo} {'lower' if top > image.shape[0] // 2 else 'upper'}")
data = fb.Dataset.from_arrays(np.stack(pictures), names, split=fb.Split("stratified", valid=0.2, test=0.3))

members = []
for colour in ("rgb", "hsv", "lab"):
    run = fb.Run.free(f"patches in {colour}", Path("runs/examples"))
    learner = fb.Learner(
        data, "lenet", colour=colour, run=run.path, epochs=8, augment={"horizontal_flip": 0.5}, baseline=False
    )
    learner.fit(check=False)
    members.append(run)
views = learner.evaluate(tta="flip")
joint = fb.ensemble(members, fb.Run.free("patches, joined", Path("runs/examples")).path, how="weighted", data=data)
losses = [run.evaluation["metrics"]["loss"] for run in members]
together = joint.evaluation["metrics"]
print("alone", losses, "together", together, "mirrored too", views["tta"]["metrics"])
# that of a mean is no higher than the mean of theirs: log-loss is convex
assert together["loss"] < np.mean(losses), (together, losses)
