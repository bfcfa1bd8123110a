"""A stress test of real digits: what harms is named, and the augmentation that is named with it hardens against it.

    python examples/stress.py

Half a minute on two processors.
"""

from __future__ import annotations

import sklearn.datasets

import flambeau as fb
from flambeau.studies.corrupted import lines

digits = sklearn.datasets.load_digits()
data = fb.Dataset.from_arrays(digits.images[:1200] / 16, digits.target[:1200])
held_out = fb.Dataset.from_arrays(digits.images[1200:] / 16, digits.target[1200:], split="none")
fall = {}
for name, augment in (("plain", "none"), ("hardened", {"rotation": 30})):
    run = f"runs/examples/{name}"
    fb.Learner(data, model="lenet", augment=augment, epochs=8, run=run, quiet=True).fit(check=False)
    result = fb.stress(run, held_out, samples=300)
    print(f"{name}:", *lines(result), sep="\n  ")
    fall[name] = {one["name"]: result["clean"] - one["values"][-1] for one in result["corruptions"]}
    assert result["clean"] > 0.9 and result["worst"]

print(f"turned by 45°, accuracy falls by {fall['plain']['rotation']:.2f}, hardened {fall['hardened']['rotation']:.2f}")
assert fall["plain"]["rotation"] > 0.2
assert fall["hardened"]["rotation"] < fall["plain"]["rotation"] / 1.5
