"""Segmentation: what each pixel of a picture shows. Here coloured discs before bars, drawn on the spot; your own are a
column of pictures and a column of masks.

    python examples/segment.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import flambeau as fb

CLASSES = ["ground", "disc", "bar"]
COLOURS = np.array([[110, 110, 110], [170, 70, 60], [150, 90, 60]])  # a disc and a bar are hardly told by their colours


def scene(generator: np.random.Generator, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 (H, W, 3) and its mask uint8 (H, W): a disc before an upright bar."""
    down, across = np.mgrid[:side, :side]
    mask = np.zeros((side, side), np.uint8)
    left = generator.integers(0, side - 8)
    mask[:, left : left + 8] = 2
    middle, radius = generator.uniform(0.2, 0.8, 2) * side, generator.uniform(5, 10)
    mask[np.hypot(down - middle[0], across - middle[1]) < radius] = 1
    return (COLOURS[mask] + generator.normal(0, 25, (side, side, 3))).clip(0, 255).astype(np.uint8), mask


def main() -> None:
    generator = np.random.default_rng(0)
    pictures, masks = zip(*(scene(generator) for _ in range(160)), strict=True)
    columns = {"photo": list(pictures), "mask": list(masks)}
    data = fb.Dataset(columns, target="mask", fields={"mask": fb.fields.Mask(CLASSES)})
    print(data.describe())
    print(*data.check(), sep="\n")

    learner = fb.Learner(data, run=Path("runs/segment"), quiet=True)
    learner.fit(epochs=8, batch_size=8)
    found = learner.run.evaluation
    reached = {rival["name"]: rival["metrics"]["mean_iou"] for rival in found["baselines"]}
    print(f"mean IoU {found['metrics']['mean_iou']:.3f}, beside {reached}")
    for one in found["detail"]["per_class"]:
        print(f"{one['class']}: IoU {one['iou']:.3f}")
    assert found["metrics"]["mean_iou"] > 0.85 > max(reached.values())

    picture, truth = scene(generator, side=96)  # a picture of another size is answered in its own pixels
    answer = learner.predict([picture])[0].label
    assert answer.shape == truth.shape
    Image.fromarray(answer * 100).save(learner.run.path / "answer.png")


if __name__ == "__main__":
    main()
