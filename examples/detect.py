"""Detection: where things are in a picture, and what each of them is. Here coloured shapes on noise, drawn on the spot;
your own are a column of pictures and a column of boxes.

    python examples/detect.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import flambeau as fb

SHAPES = {"disc": ("ellipse", "firebrick"), "square": ("rectangle", "steelblue")}


def scene(generator: np.random.Generator, side: int = 64) -> tuple[Image.Image, list[dict[str, Any]]]:
    """A picture with one to three shapes that do not touch, and their boxes in its pixels."""
    picture = Image.fromarray(generator.normal(110, 25, (side, side, 3)).clip(0, 255).astype(np.uint8))
    boxes: list[dict[str, Any]] = []
    for corner in generator.permutation([(0, 0), (32, 0), (0, 32), (32, 32)])[: generator.integers(1, 4)]:
        size = int(generator.integers(14, 26))
        x, y = (int(edge + generator.integers(1, 31 - size)) for edge in corner)
        label = list(SHAPES)[generator.integers(2)]
        shape, colour = SHAPES[label]
        getattr(ImageDraw.Draw(picture), shape)((x, y, x + size - 1, y + size - 1), fill=colour)
        boxes.append({"x1": x, "y1": y, "x2": x + size, "y2": y + size, "label": label})
    return picture, boxes


def main() -> None:
    generator = np.random.default_rng(0)
    pictures, boxes = zip(*(scene(generator) for _ in range(240)), strict=True)
    data = fb.Dataset.from_arrays(list(pictures), list(boxes))
    print(data.describe())
    print(*data.check(), sep="\n")

    learner = fb.Learner(data, run=Path("runs/detect"), augment={"horizontal_flip": 0.5}, quiet=True)
    learner.fit(epochs=6, batch_size=8, learning_rate=0.003)
    found = learner.run.evaluation
    print(f"mAP50 {found['metrics']['map50']:.3f}, the best rival {found['baselines'][0]['metrics']['map50']:.3f}")
    assert found["metrics"]["map50"] > 0.8 > found["baselines"][0]["metrics"]["map50"]

    picture, truth = scene(generator)
    answer = learner.predict([picture])[0].label  # the surest first, in the picture's own pixels
    print(f"{truth} is seen as {answer}")
    middles = [((box["x1"] + box["x2"]) / 2, (box["y1"] + box["y2"]) / 2) for box in truth]
    assert all(any(b["x1"] < x < b["x2"] and b["y1"] < y < b["y2"] for b in answer) for x, y in middles)


if __name__ == "__main__":
    main()
