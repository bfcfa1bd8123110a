"""What it costs that a split keeps together what looks alike: CPU-seconds of a Dataset of 10,000 pictures (28 px, PNG)
and of 10,000 texts with copies alone and with what is alike, each by itself and with the `check` of a training.

    python benchmarks/split_alike.py [ROWS]
"""

from __future__ import annotations

import io
import sys
import time

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_image

import flambeau as fb
from flambeau.data.split import AUTO, Split


def pictures(count: int) -> list[bytes]:
    """Digits and parts of photos as PNG files."""
    digits, china = load_digits().images, load_sample_image("china.jpg")
    files = []
    for i in range(count):
        y, x = 7 * i % 390, 13 * i % 600
        part = digits[i % len(digits)] * 16 if i % 2 else china[y : y + 28, x : x + 28, i % 3]
        stream = io.BytesIO()
        Image.fromarray(np.minimum(part, 255).astype(np.uint8)).resize((28, 28)).save(stream, "PNG")
        files.append(stream.getvalue())
    return files


def texts(count: int) -> list[str]:
    """Forty words each, drawn from five thousand."""
    words = np.random.default_rng(0).integers(0, 5_000, (count, 40))
    return [" ".join(f"w{word}" for word in row) for row in words]


def seconds(values: list, together: bool | str, check: bool) -> float:
    start = time.process_time()
    data = fb.Dataset({"input": values, "label": ["a", "b"] * (len(values) // 2)}, target="label", inputs=["input"],
                      split=Split(together=together))  # fmt: skip
    if check:
        data.check()
    return time.process_time() - start


if __name__ == "__main__":
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for name, values in (("pictures", pictures(rows)), ("texts", texts(rows))):
        for check in (False, True):
            copies, alike = (min(seconds(values, how, check) for _ in range(2)) for how in (True, AUTO))
            print(f"{rows:,} {name}{', and check' if check else ''}: copies {copies:.2f} s, alike {alike:.2f} s")
