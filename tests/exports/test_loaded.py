"""An export loads like its run, and answers as it does."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.datasets import load_wine
from torch import nn

import flambeau as fb
from flambeau.core.errors import FlambeauError, ModelError, RunError
from flambeau.core.files import read_json
from flambeau.data.sources.opening import from_path
from flambeau.evaluation import evaluate_run
from flambeau.exports import EXPORTERS, Deployed, Manifest
from flambeau.exports import told as told_of
from flambeau.exports.onnx import OnnxExporter
from flambeau.exports.program import ProgramExporter
from flambeau.objectives.programs import Port


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wine = load_wine()
    kinds = [f"kind {k}" for k in wine.target]
    table = pl.DataFrame({"alcohol (%)": wine.data[:, 0], "ash": wine.data[:, 2], "kind": kinds})
    folder = tmp_path_factory.mktemp("runs")
    table.write_csv(folder / "wine.csv")
    data = from_path(folder / "wine.csv", target="kind")
    fb.Learner(data, run=folder / "wine", model="resmlp", epochs=1, baseline=False).fit()
    return folder / "wine"


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    return fb.export(run).path


ROWS = [{"alcohol (%)": 13.2, "ash": 2.4}, {"alcohol (%)": None, "ash": 2.0}]


def test_it_answers_as_its_run_does_in_batches_of_any_size(run: Path, exported: Path) -> None:
    ours, theirs = fb.load(exported), fb.load(run)
    for count in (1, 2, 70):
        encoded = [theirs.encode(ROWS[i % 2]) for i in range(count)]
        np.testing.assert_allclose(ours.outputs(encoded), theirs.outputs(encoded), atol=1e-6)
    assert ours.predict(ROWS)[1].probabilities == pytest.approx(theirs.predict(ROWS)[1].probabilities, abs=1e-6)
    assert ours.classes == theirs.classes


def test_the_manifest_says_what_goes_in_and_what_comes_out(exported: Path) -> None:
    manifest = Manifest.read(exported)
    (port,) = manifest.programs["predict"]["inputs"]
    assert port == {"name": "table", "dtype": "float32", "shape": ["batch", 2], "column": "table"}
    assert [one["name"] for one in manifest.programs["predict"]["outputs"]] == ["probabilities"]
    assert manifest.target["labels"] == ["kind 0", "kind 1", "kind 2"]


def test_a_program_that_was_changed_is_not_loaded(run: Path, tmp_path: Path) -> None:
    folder = fb.export(run, out=tmp_path / "wine").path
    program = folder / "predict.pt2"
    program.write_bytes(program.read_bytes()[:-1])
    with pytest.raises(RunError, match="not the one that was written"):
        fb.load(folder)


def test_what_cannot_be_exported_is_refused_in_one_line(run: Path, exported: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for asked, match in (
        ({"run": exported}, "this is an export"),
        ({"run": run, "format": "programm"}, "program"),
        ({"run": run, "precision": "int8"}, "has no precision"),
        ({"run": run, "out": tmp_path}, "something else"),
        ({"run": tmp_path}, "not a run"),
    ):
        with pytest.raises(FlambeauError, match=match):
            fb.export(**asked)


def test_it_is_measured_as_its_run_is(run: Path, exported: Path) -> None:
    ours, theirs = (evaluate_run(folder, baseline=False)["metrics"] for folder in (exported, run))
    assert ours == pytest.approx(theirs, abs=1e-5)


def test_it_was_compared_with_its_model_on_rows_that_were_held_out(run: Path, exported: Path) -> None:
    verified = Manifest.read(exported).verified
    assert verified["of"] == "valid rows"
    assert verified["agreement"] == 1
    assert verified["export"] == pytest.approx(fb.Run(run).evaluation["metrics"][verified["metric"]])


@pytest.mark.parametrize("right", [ProgramExporter, OnnxExporter])
def test_an_export_that_answers_otherwise_is_none_and_the_layer_is_named(
    right: type[ProgramExporter] | type[OnnxExporter], run: Path, tmp_path: Path
) -> None:
    class Wrong(right):  # type: ignore[misc, valid-type]
        """Its second linear layer is another."""

        def write(self, deployed: Deployed, path: Path, **options: Any) -> list[Port]:
            wrong = copy.deepcopy(deployed.model)
            linear = [module for module in wrong.modules() if isinstance(module, nn.Linear)][-1]
            with torch.no_grad():
                assert linear.bias is not None
                linear.bias[0] += 1
            own = {name: value.clone() for name, value in deployed.model.state_dict().items()}
            deployed.model.load_state_dict(wrong.state_dict())
            try:
                return super().write(deployed, path, **options)
            finally:
                deployed.model.load_state_dict(own)

    name = f"wrong {right.ending}"
    EXPORTERS.register(name)(Wrong)
    last = [name for name, module in fb.load(run).objective.model.named_modules() if isinstance(module, nn.Linear)][-1]
    with pytest.raises(ModelError, match=rf"layer {last}: the program 'predict' parts from the model by"):
        fb.export(run, format=name, out=tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_the_card_says_what_the_model_is_worth_and_what_it_is_not_known_to_do(run: Path, exported: Path) -> None:
    told = read_json(exported / "card.json")
    assert told["metrics"]["accuracy"]["value"] == fb.Run(run).evaluation["metrics"]["accuracy"]
    assert told["metrics"]["accuracy"]["interval"] == fb.Run(run).evaluation["intervals"]["accuracy"]
    assert "kind 0, kind 1, kind 2" in (page := (exported / "card.md").read_text())
    assert all(line in page for line in told["limits"])
    assert f"target `{told['task']['column']}`" in page and "- Split: auto, seed 0" in page
    assert told["data"]["path"] is None or "/" not in told["data"]["path"]  # a stranger need not know where it lay
    assert "card.md" in Manifest.read(exported).files


def test_torchscript_answers_too_and_is_said_to_be_deprecated(run: Path, tmp_path: Path) -> None:
    folder = fb.export(run, format="torchscript", out=tmp_path / "old").path
    assert fb.load(folder).predict(ROWS[0]).probabilities == pytest.approx(
        fb.load(run).predict(ROWS[0]).probabilities, abs=1e-6
    )
    assert "deprecated" in told_of(folder, Manifest.read(folder))[-1]
