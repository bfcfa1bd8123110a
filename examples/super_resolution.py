"""Photos with twice the pixels, learned from sharp photos alone: small ones are made of them; beside bicubic.

    python examples/super_resolution.py

A minute on a processor; `benchmarks/super_resolution.py` has the long training, and ESRGAN.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

import flambeau as fb

folder = Path("runs/examples/sharp")
folder.mkdir(parents=True, exist_ok=True)
for i, photo in enumerate(load_sample_images().images):
    for part in range(8):
        top, left = divmod(part, 4)
        piece = photo[200 * top : 200 * top + 160, 160 * left : 160 * left + 160]
        Image.fromarray(piece).save(folder / f"{i}-{part}.png")

data = fb.Dataset.from_sharp(folder, task="super-resolution")
print(data.describe())
options = {"width": 16, "blocks": 2}
learner = fb.Learner(data, model="edsr", options=options, epochs=30, learning_rate=1e-2,
                     run=fb.Run.free("super-resolution", Path("runs/examples")).path)  # fmt: skip
metrics = learner.fit(check=False)
assert learner.run is not None
(bicubic,) = json.loads((learner.run.path / "evaluation.json").read_text())["baselines"]
print(f"PSNR {metrics['psnr']:.2f} dB, bicubic {bicubic['metrics']['psnr']:.2f} dB")
assert metrics["psnr"] > bicubic["metrics"]["psnr"], metrics

picture = load_sample_images().images[1][:90, :120]
enlarged = fb.load(learner.run.path).predict(picture).label
assert np.asarray(enlarged).shape == (180, 240, 3), "at its own size, of any size"
