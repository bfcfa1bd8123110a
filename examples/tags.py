"""Parts of speech: sentences as `word/tag` in, a tagger out, that tags a sentence as it is typed.

    python examples/tags.py

The press of the Brown corpus (1961), 4,600 sentences. Under a minute on a processor.
"""

from __future__ import annotations

from pathlib import Path

from realdata.texts import write_brown

import flambeau as fb

folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
data = fb.Dataset.from_tagged(write_brown(folder / "press.pos", sections="a"))
print(data.describe())

learner = fb.Learner(data, epochs=6, run=fb.Run.free("tags", folder).path)
metrics = learner.fit(check=False)
print(metrics)
assert metrics["accuracy"] >= 0.90, metrics

assert learner.run is not None
tagged = fb.load(learner.run.path).predict("The mayor said that the new law was passed by the committee.")
print(" ".join(f"{word}/{tag}" for word, tag in zip(tagged.tokens, tagged.label, strict=True)))
assert tagged.label[:3] == ["at", "nn", "vbd"] and tagged.label[-1] == "."
