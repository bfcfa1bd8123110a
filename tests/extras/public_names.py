"""Each public name as a user's program has it, checked by pyright in its strict mode: nothing of them is unknown."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

import flambeau as fb


class Doubled(fb.Objective):
    """A way of training of the user's own."""


class Nothing(fb.Technique):
    """A trick of the user's own."""


def train(folder: Path) -> fb.Run | None:
    """From data to a run."""
    data = fb.Dataset.from_folder(folder, split=fb.Split("stratified", valid=0.2))
    data = fb.Dataset.from_table(folder / "rows.csv", target="kind")
    data = fb.Dataset({"x": [1.0, 2.0], "y": ["a", "b"]}, target="y", fields={"x": fb.fields.Number()})
    print(len(data), data.rows("train"), data.describe(), [finding.message for finding in data.check()])
    learner = fb.Learner(data, model="mlp", techniques=["ema"], run=folder / "run", epochs=3, batch_size=8, seed=1)
    for decision in learner.plan().decisions:
        print(decision.name, decision.why)
    metrics: dict[str, float] = learner.fit(epochs=1)
    print(metrics, learner.evaluate("valid"), learner.predict([1.0]))
    fb.cross_validate(learner, 3)
    fb.tournament(learner, budget="5m")
    return learner.run


def use(run: fb.Run, recipe: fb.Recipe) -> None:
    """From a run to answers."""
    predictor: fb.Predictor = fb.load(run, device="cpu")
    prediction: fb.Prediction = predictor.predict(3.0)
    print(prediction.label, prediction.confidence, prediction.top(3), prediction.to_dict())
    print(run.finished, run.metrics, run.evaluation, run.findings, recipe.with_settings({"epochs": 2}).to_yaml())
    print(fb.export(run, format="onnx"), fb.attack(run, epsilon=[0.1]), fb.stress(run), fb.compare([run, run]))
    fb.ensemble([run, run])
    print(fb.deploy(run, "docker", "image").out)
    fb.tune(fb.Dataset({"x": [1.0], "y": [1.0]}, target="y"), {"learning_rate": "1e-4..1e-2:log"}, trials=2)


def look(model: nn.Module, loss: nn.Module, batch: tuple[Tensor, Tensor]) -> None:
    """At a loop of one's own."""
    for finding in fb.doctor(model, loss, [batch], torch.optim.SGD(model.parameters(), lr=0.1)):
        print(finding.check, finding.severity, finding.message, finding.places, finding.fix)
    with fb.watch(model, "*") as seen:
        model(batch[0])
        print(seen)
    fb.testing.check_model("mlp")
    print(fb.sklearn.FlambeauClassifier(epochs=3), fb.__version__)
    try:
        fb.load("nowhere")
    except fb.FlambeauError as error:
        print(error.found, error.where, error.expected, error.fix)
