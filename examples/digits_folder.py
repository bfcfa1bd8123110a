"""From a folder of pictures to predictions: check, train, evaluate, predict.

    python examples/digits_folder.py

Real handwritten digits (1,797 of 8×8 pixels, scikit-learn's) are written out as `photos/<class>/<number>.png`, the
way one's own pictures lie in folders. Takes a few seconds on a processor.
"""

from __future__ import annotations

from pathlib import Path

from realdata.pictures import write_digits

import flambeau as fb

photos = write_digits("runs/examples/photos")

data = fb.Dataset.from_folder(photos)
print(data.describe())
findings = data.check()
for finding in findings:
    print(finding)
assert not [finding for finding in findings if finding.severity == "error"]

run = fb.Run.free("digits", Path("runs/examples")).path
learner = fb.Learner(data, model="lenet", epochs=10, run=run)
metrics = learner.fit()
print(metrics)
assert metrics["accuracy"] >= 0.98, metrics  # of the test rows: neither trained on nor used to choose the epoch

# what was trained is measured again from its folder alone, and says the same
predictor = fb.load(run)
held_out = [Path(data.columns["image"][row]) for row in data.rows("test")]
predictions = predictor.predict(held_out)
right = sum(p.label == file.parent.name for p, file in zip(predictions, held_out, strict=True)) / len(held_out)
print(f"{right:.1%} of {len(held_out)} files; the first: {held_out[0]} is a {predictions[0].label}")
assert abs(right - metrics["accuracy"]) < 0.01
