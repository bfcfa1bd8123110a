"""What the layers of a model do, what it sees alike, and where a step's memory goes.

    python examples/look_inside.py

Handwritten digits, scikit-learn's. A layer that was made dead on purpose shows; the nearest neighbours of held-out
digits, by what goes into the last layer, are digits of the same class.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import flambeau as fb
from flambeau.diagnosis.memory import step_memory

digits = load_digits()
images = (digits.images / 16).astype(np.float32)
data = fb.Dataset.from_arrays(images[:1200], digits.target[:1200])
learner = fb.Learner(data, model="mlp", epochs=8, run="runs/examples/look-inside", baseline=False)
learner.fit(check=False)

vectors = fb.load("runs/examples/look-inside").embed([*images[1200:]])
distances = np.linalg.norm(vectors[:, None] - vectors, axis=2) + np.diag(np.full(len(vectors), np.inf))
truth = digits.target[1200:]
alike = float((truth[distances.argmin(1)] == truth).mean())
print(f"the nearest neighbour is of the same class for {alike:.1%} of {len(truth)} digits that it has not seen")
assert alike > 0.9, alike

net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
with torch.no_grad():
    net[1].bias.fill_(-100)  # so that no unit of it ever fires
x, y = torch.from_numpy(images[:64]), torch.from_numpy(digits.target[:64]).long()
with fb.watch(net, "Linear", "ReLU") as seen:
    nn.functional.cross_entropy(net(x), y).backward()
print(seen)
assert seen["2"].outputs.to_dict()["zeros"] == 1 and seen["1"].gradients.to_dict()["norm"] == 0

memory = step_memory(net, lambda: nn.functional.cross_entropy(net(x), y), [torch.optim.Adam(net.parameters())])
print(f"a step takes {memory.peak / 2**10:.0f} KiB at its peak, activations {memory.activations / 2**10:.0f} KiB of it")
assert memory.sum("parameters") == memory.sum("gradients") == 4 * (64 * 32 + 32 + 32 * 10 + 10)
