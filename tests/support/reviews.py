"""Made reviews, good and bad ones, and a corpus of the same sentences."""

from __future__ import annotations

import csv
import random
from pathlib import Path

GOOD, BAD = (["lovely", "superb", "charming"], ["awful", "dull", "poor"])


def sentences(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts and their classes."""
    draw = random.Random(seed)
    classes = [draw.choice(("good", "bad")) for _ in range(count)]
    return [(f"The {draw.choice(('film', 'book', 'song'))} {i} is {draw.choice(GOOD if c == 'good' else BAD)}.", c)
            for i, c in enumerate(classes)]  # fmt: skip


def write_reviews(folder: Path, count: int) -> list[str]:
    """`corpus.txt`, and `reviews.csv` of so many rows; the sentences of the corpus."""
    texts = [text for text, _ in sentences(160, 1)]
    (folder / "corpus.txt").write_text("\n\n".join(" ".join(texts[i : i + 2 + i % 7]) for i in range(0, 160, 4)))
    with (folder / "reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *sentences(count, 2)])
    return texts
