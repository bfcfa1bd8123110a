"""Write one text for another: digits are read out from the last to the first. A table of words knows each word, and not
that they change places.

    python examples/translate.py
"""

from __future__ import annotations

import csv
import random
import tempfile
from pathlib import Path

import flambeau as fb
from flambeau.objectives import Translation
from flambeau.run import Run

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_digits(path: Path, count: int = 1200) -> Path:
    """A CSV with the columns digits and words: `4 0 7` and `seven zero four`."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["digits", "words"])
        for _ in range(count):
            digits = [draw.randrange(10) for _ in range(draw.randint(2, 5))]
            rows.writerow([" ".join(map(str, digits)), " ".join(WORDS[digit] for digit in reversed(digits))])
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, run = write_digits(Path(folder) / "digits.csv"), Path(folder) / "run"
        fields = Translation.fields_of("words", ["digits"])
        data = fb.Dataset.from_table(path, inputs=["digits"], target="words", fields=fields)
        fb.Learner(data, run=run, epochs=6, quiet=True).fit()
        evaluation = Run.open(run).evaluation
        rival, right = evaluation["baselines"][0], evaluation["metrics"]["exact_match"]
        print(f"held out: {right:.0%} exactly right; {rival['name']}: {rival['metrics']['exact_match']:.0%}")
        print(f"4 0 7 → {fb.load(run).predict('4 0 7').label}")
        assert right > 0.8 and rival["metrics"]["exact_match"] < 0.4


if __name__ == "__main__":
    main()
