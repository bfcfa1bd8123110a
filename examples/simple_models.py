"""Models that are fitted at once: trees and a linear model, saved without pickle, joined, and as good as a network.

    python examples/simple_models.py

Breast tumours (scikit-learn's copy of the Wisconsin data) by their measurements.
"""

from __future__ import annotations

from pathlib import Path

from sklearn.datasets import load_breast_cancer

import flambeau as fb

frame = load_breast_cancer(as_frame=True).frame
columns = {name: frame[name].tolist() for name in frame.columns if name != "target"}
columns["kind"] = ["benign" if target else "malignant" for target in frame["target"]]
data = fb.Dataset(columns, target="kind", split=fb.Split("stratified", valid=0.2, test=0.3))

reached, runs = {}, []
for name in ("boosted-trees", "ridge"):
    run = fb.Run.free(name, Path("runs/examples"))
    reached[name] = fb.Learner(data, name, run=run.path, baseline=False).fit(check=False)["accuracy"]
    runs.append(run)
assert min(reached.values()) > 0.92, reached

joint = fb.ensemble(runs, fb.Run.free("both", Path("runs/examples")).path, how="weighted", data=data)
print(reached, joint.evaluation["metrics"])
assert joint.evaluation["metrics"]["accuracy"] >= max(reached.values()) - 0.02

answer = fb.load(joint.path).predict({name: values[0] for name, values in columns.items() if name != "kind"})
assert answer.label == columns["kind"][0], answer
