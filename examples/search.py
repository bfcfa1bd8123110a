"""A search for settings over a real data set, and the best recipe trained again; then the same network in scikit-learn.

    python examples/search.py

Needs pip install 'flambeau[tune]'.
"""

from __future__ import annotations

import sklearn.datasets
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import flambeau as fb

digits = sklearn.datasets.load_digits()
data = fb.Dataset.from_arrays(digits.images[:600] / 16, digits.target[:600])
space = {"learning_rate": "1e-5..1e-1:log", "optimizer": ["adamw", "sgd"], "techniques.mixup.alpha": "0.1..0.4"}
study = fb.tune(data, space, trials=8, epochs=4, model="mlp", folder="runs/examples", quiet=True)
best = study.result["best"]
values = [trial["value"] for trial in study.result["trials"] if trial["value"] is not None]
print(f"accuracy {best['value']:.3f} on validation rows with {best['settings']}; test {study.result['test']}")
assert best["value"] == max(values) > min(values)
assert study.result["test"]["accuracy"] > 0.8

again = fb.Learner(data, recipe=fb.Recipe.load(study.path / "best.yaml"), run=False, quiet=True)
assert abs(again.fit(check=False)["accuracy"] - study.result["test"]["accuracy"]) < 1e-6

x, y = sklearn.datasets.load_wine(return_X_y=True)
network = make_pipeline(StandardScaler(), fb.sklearn.FlambeauClassifier(epochs=10, learning_rate=1e-2, random_state=0))
scores = cross_val_score(network, x, y, cv=3)
print(f"wine: accuracy {scores.mean():.3f} over three folds")
assert scores.mean() > 0.9
