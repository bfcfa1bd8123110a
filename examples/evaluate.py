"""Where does it fail, and which threshold has the recall that is wanted? Slices and a threshold, kept with the run.

    python examples/evaluate.py

Breast tumours (scikit-learn's copy of the Wisconsin data) by their measurements.
"""

from __future__ import annotations

from pathlib import Path

from sklearn.datasets import load_breast_cancer

import flambeau as fb
from flambeau.evaluation import evaluate_run
from flambeau.objectives.decisions import Wish
from flambeau.objectives.slices import answer

folder = Path("runs/examples")
folder.mkdir(parents=True, exist_ok=True)
frame = load_breast_cancer(as_frame=True).frame
names = ["mean texture", "mean smoothness", "mean radius"]
frame = frame[names].assign(
    diagnosis=["benign" if kind else "malignant" for kind in frame["target"]],
    grown=["large" if area > 600 else "small" for area in frame["mean area"]],  # which the model does not see
)
frame.to_csv(folder / "tumours.csv", index=False)
data = fb.Dataset.from_csv(folder / "tumours.csv", target="diagnosis", inputs=names[:2],
                           split=fb.Split("stratified", valid=0.3, test=0.4))  # fmt: skip
run = fb.Run.free("tumours", folder)
fb.Learner(data, "linear", run=run.path, epochs=15, learning_rate=0.02).fit(check=False)

result = evaluate_run(run, slices=["grown"], wish=Wish(recall=0.95), positive="malignant", apply=True)
slices = result["detail"]["slices"]
print("where does it fail?", answer(slices))
assert [(one["slice"], one["value"]) for one in slices["worst"]] == [("grown", "large")]

(chosen,) = result["decision"]["labels"]
print(f"malignant from {chosen['threshold']:.3f} on:", chosen["with"])
assert chosen["with"]["recall"] > 0.85 > chosen["without"]["recall"]
kept = fb.load(run.path).predict({"mean texture": 20.0, "mean smoothness": 0.1})
print(kept)
assert (kept.label == "malignant") == (kept.probabilities["malignant"] >= chosen["threshold"])
