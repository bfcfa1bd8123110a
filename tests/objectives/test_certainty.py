"""A classifier is made as sure as it is right, and its answers stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import sklearn.datasets
import torch

import flambeau as fb
from flambeau.core.files import read_json, write_json
from flambeau.data.batch import Batch
from flambeau.fields import Category
from flambeau.objectives import Supervised
from flambeau.objectives.certainty import LEAST, temperature
from flambeau.run import Run


def drawn(by: float, count: int = 20_000, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and classes as often as their softmax says once they are divided."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes, generator=draw) * 3
    return logits, torch.multinomial((logits / by).softmax(1), 1, generator=draw)[:, 0]


@pytest.mark.parametrize("by", [0.4, 1.0, 2.5])
def test_the_temperature_that_classes_were_drawn_by_is_found(by: float):
    logits, target = drawn(by)
    assert temperature(logits, target) == pytest.approx(by, rel=0.04)
    assert temperature(logits + 100 * torch.randn(len(logits), 1), target) == pytest.approx(by, rel=0.04)
    assert temperature(logits[: LEAST - 1], target[: LEAST - 1]) == 1.0


def test_it_stays_within_bounds_and_takes_nothing_for_1():
    target = torch.arange(300) % 3
    right = torch.nn.functional.one_hot(target, 3) * 20.0
    assert temperature(right / 100, target) == pytest.approx(0.1, rel=1e-3)
    assert temperature(right, (target + 1) % 3) == pytest.approx(10, rel=1e-3)
    assert temperature(torch.zeros(300, 3), target) == 1.0
    assert temperature(torch.full((300, 3), float("nan")), target) == 1.0


@pytest.mark.parametrize("margin", [2.0, 6.0, 30.0])
def test_answers_that_are_all_right_are_not_certain(margin: float):
    target = torch.arange(300) % 3
    logits = torch.nn.functional.one_hot(target, 3) * margin
    probabilities = (logits / temperature(logits, target)).softmax(1)
    assert probabilities.amax(1).mean() == pytest.approx(301 / 302, abs=1e-4)


def test_confidence_becomes_what_is_right_so_often():
    logits, target = drawn(2.5)
    field = Category([str(i) for i in range(4)])
    objective = Supervised(torch.nn.Identity(), field)
    rows = torch.arange(len(logits))
    batches = [Batch(*parts) for parts in zip(logits.split(500), target.split(500), rows.split(500), strict=True)]

    def error() -> float:
        objective.start_evaluation(detail=True)
        for batch in batches:
            objective.evaluate(batch)
        return objective.detail()["calibration"]["error"]

    before, answers = error(), objective.predict(batches[0]).argmax(1)
    said = objective.calibrate(iter(batches))
    assert said is not None and "logits / 2." in said
    assert before > 0.15 and error() < 0.02
    assert torch.equal(objective.predict(batches[0]).argmax(1), answers)


def test_of_many_classes_a_share_of_each_batch_is_enough(monkeypatch: pytest.MonkeyPatch):
    kept: list[int] = []
    monkeypatch.setattr("flambeau.objectives.tasks.classes.temperature", lambda x, y: kept.append(x.numel()) or 1.0)
    objective = Supervised(torch.nn.Identity(), Category([str(i) for i in range(500)]))
    batch = Batch(torch.randn(100, 500), torch.arange(100), torch.arange(100))
    objective.calibrate(iter([batch] * 7))
    assert kept == [7 * 20 * 500]


def test_outputs_that_are_no_logits_of_the_classes_are_left_alone():
    objective = Supervised(torch.nn.Identity(), Category(["a", "b", "c"]), loss=lambda output, target: output.sum())
    batch = Batch(torch.randn(300, 5), torch.zeros(300, dtype=torch.int64), torch.arange(300))
    assert objective.calibrate(iter([batch])) is None


def test_a_run_keeps_it_and_the_store_does_not_depend_on_it(tmp_path: Path):
    digits = sklearn.datasets.load_digits()
    data = fb.Dataset.from_arrays(digits.images / 16, digits.target)
    run = tmp_path / "run"
    learner = fb.Learner(data, model="mlp", run=run, quiet=True, cache=tmp_path / "store", techniques=["mixup"])
    learner.fit(epochs=4)
    by = learner.objective.calibration["temperature"]
    assert by < 0.9, "mixup makes a model too modest"
    assert "temperature" not in learner.data.fields["y"].to_dict()
    again = fb.load(run).predict(list(digits.images[:20] / 16))
    assert [p.confidence for p in again] == [p.confidence for p in learner.predict(list(digits.images[:20] / 16))]
    told = json.loads((run / "evaluation.json").read_text())["detail"]["calibration"]
    assert told["temperature"] == by

    # the same run as versions before wrote it
    (run / "model.safetensors").unlink()
    Run(run).save_model(learner.objective.model)
    assert Run(run).calibration == {} and fb.load(run).predict(digits.images[0] / 16).confidence != again[0].confidence
    state = read_json(run / "fields.json")
    state["fields"]["y"]["temperature"] = by
    write_json(run / "fields.json", state, sealed=True)
    before = fb.load(run).predict(list(digits.images[:20] / 16))
    assert [p.confidence for p in before] == [p.confidence for p in again]

    tuned = fb.Learner(data, model="mlp", pretrained=str(run / "model.safetensors"), run=False, quiet=True)
    assert tuned.build().objective.calibration == {}, "other weights are as sure as they are"
