"""Which labels are wrong? Digits of which one in twenty is mislabelled, cross-validated; the corrections trained with.

    python examples/wrong_labels.py

scikit-learn's handwritten digits. The table of corrections is what `flambeau clean DATA --from runs/DATA-cv` writes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import flambeau as fb
from flambeau.data.corrections import corrected
from flambeau.studies.clean import suspects, write

folder = Path("runs/examples")
digits, random = load_digits(), np.random.default_rng(0)
wrong = random.choice(1797, 90, replace=False)
labels = digits.target.copy()
labels[wrong] = (labels[wrong] + random.integers(1, 10, 90)) % 10


def learner(target: np.ndarray) -> fb.Learner:
    """One that trains for a few seconds on the digits, labelled so."""
    return fb.Learner(fb.Dataset.from_arrays(digits.images / 16, target), "mlp", epochs=12, batch_size=64, quiet=True)


found = fb.cross_validate(learner(labels), 5, check=False, study=fb.Run.free("digits-cv", folder).path)
print(f"accuracy on rows not seen: {found.mean['accuracy']:.3f} ± {found.deviation['accuracy']:.3f}")

doubted = suspects(found.study.path)
right = {*wrong.tolist()} & {one.row for one in doubted}
print(f"{len(doubted)} labels may be wrong, {len(right)} of the 90 that are; the surest: {doubted[0]}")
assert len(right) > 0.7 * 90 and len(right) > 0.9 * len(doubted)

write(doubted, folder / "fixes.csv")  # to look through: change `suggested`, or write anything into `keep`
mended = corrected(fb.Dataset.from_arrays(digits.images / 16, labels), folder / "fixes.csv")
same = np.asarray([str(label) for label in mended.columns[str(mended.target)]]) == digits.target.astype(str)
print(f"labels that are right: {1 - 90 / 1797:.1%} before, {same.mean():.1%} with the corrections")
assert same.mean() > 0.98
