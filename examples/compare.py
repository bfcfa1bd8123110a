"""Is the one better than the other, or was it chance? Two runs on the same rows, and what each input brings.

    python examples/compare.py

Breast tumours (scikit-learn's copy of the Wisconsin data) by their measurements.
"""

from __future__ import annotations

from pathlib import Path

from sklearn.datasets import load_breast_cancer

import flambeau as fb
from flambeau.studies import ablate

frame = load_breast_cancer(as_frame=True).frame
names = ["mean texture", "mean smoothness", "worst radius", "worst concave points"]
columns = {name: frame[name].tolist() for name in names}
columns["kind"] = ["benign" if target else "malignant" for target in frame["target"]]
split = fb.Split("stratified", valid=0.2, test=0.4)
data = fb.Dataset(columns, target="kind", split=split)

runs = []
for inputs in (names[:2], names):
    run = fb.Run.free(f"tumours by {len(inputs)}", Path("runs/examples"))
    of_inputs = fb.Dataset(columns, target="kind", inputs=inputs, split=split)
    fb.Learner(of_inputs, "linear", run=run.path, epochs=15, learning_rate=0.02, baseline=False).fit(check=False)
    runs.append(run)
comparison = fb.compare(runs, data)
comparison.write("runs/examples/tumours.html")
print("\n".join(comparison.lines()))
difference = comparison.facts["differences"][0]  # of two inputs from four, which is the second
assert difference["value"] < 0 and difference["high"] < 0 and difference["p"] < 0.01, difference

learner = fb.Learner(data, "linear", epochs=15, learning_rate=0.02, baseline=False, quiet=True)
_, parts = ablate(learner, seeds=3, check=False)
print("\n".join(parts.lines()))
brings = {one["second"]: one for one in parts.facts["differences"]}
assert brings["without worst radius"]["value"] > 0, brings
