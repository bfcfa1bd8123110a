"""Sentences to positive or negative, from scratch, out of a CSV; checked, trained, and asked about new ones.

    python examples/sentences.py

The 3,000 sentences come with Flambeau. Half a minute on a processor.
"""

from __future__ import annotations

from pathlib import Path

from realdata.texts import write_sentences

import flambeau as fb

table = Path("runs/examples/sentences.csv")
table.parent.mkdir(parents=True, exist_ok=True)
data = fb.Dataset.from_csv(write_sentences(table), inputs=["text"])
print(data.describe())
for finding in data.check():
    print(finding)

learner = fb.Learner(data, epochs=8, run=fb.Run.free("sentences", Path("runs/examples")).path)
metrics = learner.fit(check=False)
print(metrics)
assert metrics["accuracy"] >= 0.77, metrics  # TF-IDF and logistic regression: 0.82

assert learner.run is not None
predictor = fb.load(learner.run.path)
love, hate = predictor.predict(
    ["What a wonderful film, I loved it.", "Terrible. It broke and it was a waste of money."]
)
print(love.label, love.confidence, hate.label, hate.confidence)
assert love.label == "positive" and hate.label == "negative"
