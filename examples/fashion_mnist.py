"""Fashion-MNIST with nothing chosen by hand.

    python examples/fashion_mnist.py

Downloads the 70,000 pictures, pinned and checksummed. Model, epochs, batch size, learning rate and augmentation are
those that Flambeau chooses. Some ten minutes on two processor cores.
"""

from __future__ import annotations

from pathlib import Path

from realdata.pictures import fashion_mnist

import flambeau as fb

pictures = fashion_mnist()
names = [pictures.classes[y] for y in pictures.train_y], [pictures.classes[y] for y in pictures.test_y]
data = fb.Dataset.from_arrays(pictures.train_x, names[0], test=(pictures.test_x, names[1]))
print(data.describe())
metrics = fb.Learner(data, run=fb.Run.free("fashion", Path("runs/examples")).path).fit()
print(metrics)
assert metrics["accuracy"] >= 0.93, metrics  # on the 10,000 test pictures, which choose nothing
