"""The rows that a run keeps to be tried out with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau.data.examples import MOST_BYTES, examples
from flambeau.serve import Limits
from flambeau.serve.service import Service


def test_they_are_a_few_training_rows_and_small() -> None:
    texts = [f"row {i}" for i in range(50)] + ["x" * MOST_BYTES] * 50
    data = fb.Dataset({"text": texts, "label": ["a", "b"] * 50}, target="label", fields={"text": fb.fields.Text()})
    kept = examples(data)
    assert 1 <= len(kept) <= 3
    training = {texts[row] for row in data.rows("train")}
    assert all(example["text"] in training for example in kept)
    assert len(json.dumps(kept)) <= 3 * MOST_BYTES


def test_rows_that_cannot_be_read_are_none(digits_folder: Path) -> None:
    files = sorted(digits_folder.rglob("*.png"))[:20]
    data = fb.Dataset.from_arrays([*map(str, files)], ["a", "b"] * 10, fields={"x": fb.fields.Image()})
    (column,) = data.inputs
    assert len(examples(data)) == 3
    data.columns[column] = ["nowhere.png"] * 20
    assert examples(data) == []


@pytest.mark.parametrize("kind", ["table", "text", "array", "series"])
def test_what_a_run_keeps_is_what_its_server_takes(kind: str, tmp_path: Path) -> None:
    numbers = np.arange(60)
    label = np.where(numbers % 20 < 10, "low", "high").tolist()
    if kind == "series":
        days = [f"2024-{1 + d // 28:02}-{1 + d % 28:02},{d % 7}\n" for d in range(28 * 7)]
        (tmp_path / "series.csv").write_text("day,sold\n" + "".join(days))
        data = fb.Dataset.from_series(tmp_path / "series.csv", time="day", target="sold", horizon=3, length=7)
    else:
        values = {
            "table": {"n": numbers / 4, "c": ["x", "y"] * 30},
            "text": {"t": [f"this is {name} number {i}" for i, name in enumerate(label)]},
            "array": {"v": np.stack([numbers, -numbers], 1).astype(np.float32)},
        }[kind]
        data = fb.Dataset({**values, "label": label}, target="label")
    fb.Learner(data, run=tmp_path / "run", quiet=True, epochs=1).fit(check=False)
    predictor = fb.load(tmp_path / "run")
    assert len(predictor.examples) == 3
    service = Service(predictor, Limits(), "x")
    described = service.describe()
    for example in described.examples:
        service._encode(example)
    assert json.loads(described.model_dump_json())["examples"] == described.examples
    names = {"table": ["n", "c"], "text": ["t"], "array": ["v"], "series": ["day", "sold"]}[kind]
    assert [column.name for column in described.columns] == names
    (tmp_path / "run" / "examples.json").unlink()  # whoever passes a run on may take them away
    service = Service(fb.load(tmp_path / "run"), Limits(), "x")
    for example in service.describe().examples:
        service._encode(example)
