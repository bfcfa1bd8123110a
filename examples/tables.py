"""A table of mixed columns to a class: who survived the Titanic, beside gradient-boosted trees.

    python examples/tables.py

The table (1,309 passengers, a fifth of the ages missing) is downloaded once. Half a minute on a processor.
"""

from __future__ import annotations

from pathlib import Path

from realdata.tables import write_r_frame

import flambeau as fb

folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
table = write_r_frame("titanic", folder / "titanic.csv")
data = fb.Dataset.from_csv(table, target="survived", inputs=["sex", "age", "passengerClass"])
print(data.describe())
for finding in data.check():
    print(finding)

learner = fb.Learner(data, epochs=15, run=fb.Run.free("titanic", folder).path)
metrics = learner.fit(check=False)
assert learner.run is not None
rivals = {rival["name"]: rival["metrics"]["accuracy"] for rival in learner.run.evaluation["baselines"]}
print(metrics["accuracy"], rivals)
assert metrics["accuracy"] >= rivals["gradient-boosted trees"] - 0.06 > rivals["most frequent class"], rivals

predictor = fb.load(learner.run.path)
lady, man = predictor.predict(
    [{"sex": "female", "age": None, "passengerClass": "1st"}, {"sex": "male", "age": 30, "passengerClass": "3rd"}]
)
print(lady, man)
assert (lady.label, man.label) == ("yes", "no")
