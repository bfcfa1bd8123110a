"""Pictures of the class that is asked for: a conditional GAN of the built-in ones, on 8×8 digits.

    python examples/generate_pictures.py

From the command line: flambeau train photos/ --objective cgan, and flambeau generate runs/photos --class 3 --grid 3.png
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import flambeau as fb

digits = load_digits()
data = fb.Dataset.from_arrays(digits.images / 16, digits.target, split="random")
# the generator learns at twice the discriminator's rate, and by a schedule of its own
phases = {"generator": {"learning_rate": 2e-3, "schedule": "linear"}}
cgan = {"name": "cgan", "width": 32, "noise": 32, "diffaugment": False}
learner = fb.Learner(
    data, objective=cgan, epochs=90, batch_size=64, learning_rate=1e-3, phases=phases, run=False, quiet=True
)
print(learner.fit())

asked = torch.arange(10).repeat_interleave(20)
pictures = learner.objective.generate(len(asked), torch.Generator().manual_seed(0), asked)
made = np.stack(learner.predictor.fields["x"].restore(pictures))[..., 0] / 255
for rows in zip(*made[::40], strict=True):  # a 0, a 2, a 4, …
    print("   ".join("".join(" .:-=+*#%@"[int(9 * v)] * 2 for v in row) for row in rows))

# which digit each is, by a classifier that has never seen a generated one
judge = LogisticRegression(max_iter=2000).fit(digits.images.reshape(-1, 64) / 16, digits.target)
right = judge.predict(made.reshape(-1, 64)) == asked.numpy()
print(f"{right.mean():.0%} of the generated digits are of the class asked for")
assert right.mean() > 0.85
# and no two of a class are the same
apart = np.mean([np.linalg.norm(made[asked == k] - made[asked == k].mean(0), axis=(1, 2)).mean() for k in range(10)])
real = [digits.images[digits.target == k] / 16 for k in range(10)]
natural = np.mean([np.linalg.norm(of - of.mean(0), axis=(1, 2)).mean() for of in real])
print(f"from the mean of their class they are {apart:.2f} away, real ones {natural:.2f}")
assert apart > natural / 3
