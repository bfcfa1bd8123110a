"""How little has to change until a model errs, and what adversarial training gains: FGSM and PGD on real digits.

    python examples/attack.py

Scikit-learn's digits, 8 x 8 pixels.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

import flambeau as fb
from flambeau.studies.attacks import certified

digits = load_digits()
pictures, names = (digits.images * 255 / 16).astype(np.uint8), [str(target) for target in digits.target]
held_out = fb.Dataset.from_arrays(pictures[1400:], names[1400:], split="none")
EPSILON = 0.15

right = {}
for name, techniques in {"plain": [], "hardened": [f"adversarial epsilon={EPSILON} steps=3"]}.items():
    data = fb.Dataset.from_arrays(pictures[:1400], names[:1400])
    run = fb.Run.free(name, "runs/examples")
    fb.Learner(data, "lenet", run=run.path, epochs=8, techniques=techniques, baseline=False).fit(check=False)
    found = fb.attack(run, held_out, method="pgd", epsilon=[EPSILON], samples=100)
    right[name] = [point["metrics"]["accuracy"] for point in found["curve"]]
    print(f"{name}: accuracy {right[name][0]:.2f}, under PGD at {EPSILON} {right[name][1]:.2f}")
    filtered = fb.attack(run, held_out, epsilon=[EPSILON], samples=100, tta="bits")["curve"][1]["metrics"]["accuracy"]
    print(f"  behind a filter that leaves 4 bits: {filtered:.2f}")
sure = certified(run, held_out, sigma=0.1, copies=200, samples=20)
print(f"  certain for {sure['curve'][0]['accuracy']:.0%} of the pictures, within {sure['mean_radius']:.2f} in the mean")

assert right["plain"][0] > 0.9 and right["plain"][1] < 0.5
assert right["hardened"][1] > right["plain"][1] + 0.2
assert sure["mean_radius"] > 0
