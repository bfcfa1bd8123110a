"""Spoken names to the language that they are spoken in: checked, trained, and asked about a new one.

    python examples/sounds.py

Downloads 160 MB once (Tux Paint's stamps). A minute on a processor.
"""

from __future__ import annotations

from pathlib import Path

from realdata.sounds import write_stamps_speech

import flambeau as fb

folder = write_stamps_speech(Path("runs/examples/speech"), languages=("bg", "es", "fr", "ro"), each=100)
# the same things are named in all languages: a thing is on one side of the split, in whatever language
data = fb.Dataset.from_folder(folder, pattern="{class}-{stamp}", split=fb.Split("grouped", by="stamp"))
print(data.describe())
for finding in data.check():
    print(finding)

learner = fb.Learner(data, epochs=8, run=fb.Run.free("sounds", Path("runs/examples")).path)
metrics = learner.fit(check=False)
print(metrics)
assert metrics["accuracy"] >= 0.95, metrics

assert learner.run is not None
predictor = fb.load(learner.run.path)
file = Path(data.columns["audio"][int(data.rows("test")[0])])
prediction = predictor.predict(file)
print(file.name, prediction.label, prediction.confidence)
assert predictor.predict(file.read_bytes()).label == prediction.label
