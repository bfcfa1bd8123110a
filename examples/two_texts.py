"""Two texts to whether they belong together: headlines of news, and first paragraphs of articles.

    python examples/two_texts.py

Downloads BBC News. Neither the headline nor the paragraph tells the answer; half a minute on a processor.
"""

from __future__ import annotations

from pathlib import Path

from realdata.texts import write_headlines

import flambeau as fb

table = Path("runs/examples/headlines.csv")
table.parent.mkdir(parents=True, exist_ok=True)
data = fb.Dataset.from_csv(
    write_headlines(table), target="match", inputs=["headline", "text"], split=fb.Split("grouped", by="group")
)
print(data.describe())

learner = fb.Learner(data, run=fb.Run.free("headlines", Path("runs/examples")).path)
metrics = learner.fit(check=False)
print(metrics)
assert metrics["accuracy"] >= 0.88, metrics  # an encoder for each text, fused: 0.5

assert learner.run is not None
predictor = fb.load(learner.run.path)
paragraph = "The chip maker's profits doubled after it sold more processors for laptops than ever before."
own, other = predictor.predict(
    [{"headline": title, "text": paragraph} for title in ("Laptop chips double profits", "Rain stops play at Lord's")]
)
print(own.label, own.confidence, other.label, other.confidence)
assert own.label == "own" and other.label == "other"
