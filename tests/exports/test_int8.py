"""Exports in 8 and 16 bits: smaller, and as good as their run, or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
import torch
from kinds import KINDS
from sklearn.datasets import load_wine

import flambeau as fb
from flambeau.cli.main import run as command
from flambeau.core.errors import ModelError
from flambeau.data.sources.opening import from_path
from flambeau.exports import EXPORTERS, Deployed, Manifest, told
from flambeau.exports.onnx import OnnxExporter
from flambeau.objectives.programs import Port
from flambeau.techniques.qat import QuantisationAware, learnt_ranges


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data = KINDS["pictures"](folder)
        tiny = "--model", "resnet9", "--epochs", "4", "--valid", "0.3", "--no-baseline", "--no-check", "--run", "run"
        assert command(["train", *data, *tiny]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wine, folder = load_wine(), tmp_path_factory.mktemp("rows")
    frame = pl.DataFrame({"alcohol": wine.data[:, 0], "ash": wine.data[:, 2], "kind": [f"k{k}" for k in wine.target]})
    frame.write_csv(folder / "wine.csv")
    data = from_path(folder / "wine.csv", target="kind")
    fb.Learner(data, run=folder / "run", model="resmlp", epochs=1, baseline=False).fit()
    return folder / "run"


def graph_of(folder: Path) -> Any:
    return onnx.load(folder / "predict.onnx").graph


def test_convolutions_have_a_scale_a_channel_and_preparation_stays_as_it_was(pictures: Path) -> None:
    folder = fb.export(pictures, format="onnx", precision="int8").path
    graph, manifest = graph_of(folder), Manifest.read(folder)
    sizes = {one.name: tuple(one.dims) for one in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for node in convolutions:
        taken = [made[name] for name in node.input[:2]]
        assert [one.op_type for one in taken] == ["DequantizeLinear"] * 2
        assert sizes[taken[1].input[1]] == sizes[taken[1].input[0]][:1]
    first = next(node for node in graph.node if node.op_type == "QuantizeLinear")
    assert made[made[convolutions[0].input[0]].input[0]] is first  # nothing before the model is rounded
    assert abs(manifest.verified["model"] - manifest.verified["export"]) <= 0.01
    assert manifest.verified["rows"] > 200
    sizes_told = told(folder, manifest)[0]
    assert f"{manifest.weights / 2**20:.1f} MiB" in sizes_told
    assert (folder / "predict.onnx").stat().st_size < manifest.weights / 2


@pytest.mark.parametrize(("format", "precision"), [("onnx", "int8"), ("program", "bf16")])
def test_dense_nets_answer_nearly_as_they_did(rows: Path, format: str, precision: str) -> None:
    folder = fb.export(rows, format=format, precision=precision).path
    ours, theirs = fb.load(folder), fb.load(rows)
    given = [{"alcohol": 13.2, "ash": 2.4}, {"alcohol": 11.9, "ash": 2.1}] * 3
    encoded = [theirs.encode(row) for row in given]
    answers = ours.outputs(encoded)
    np.testing.assert_allclose(answers, theirs.outputs(encoded), atol=0.02)
    assert not np.allclose(answers, theirs.outputs(encoded), atol=1e-6)  # it is in that precision


def test_what_loses_more_than_a_point_is_refused_with_the_figures(pictures: Path, tmp_path: Path) -> None:
    class Dark(OnnxExporter):
        """Its ranges are found on black pictures."""

        def write(self, deployed: Deployed, path: Path, *, calibration: Sequence[dict[str, Any]] = (),
                  **options: Any) -> Sequence[Port]:  # fmt: skip
            dark = [{name: np.zeros_like(array) for name, array in batch.items()} for batch in calibration]
            return super().write(deployed, path, calibration=dark, **options)

    EXPORTERS.register("dark")(Dark)
    with pytest.raises(ModelError, match=r"in int8 the accuracy is 0\.\d+, and 0\.\d+ of the model.*in float32"):
        fb.export(pictures, format="dark", precision="int8", out=tmp_path / "dark")
    assert not (tmp_path / "dark").exists()


def test_without_the_data_there_is_no_int8(tmp_path: Path) -> None:
    data = fb.Dataset({"width": np.arange(40.0), "kind": ["a", "b"] * 20}, target="kind")
    fb.Learner(data, run=tmp_path / "run", model="resmlp", epochs=1, baseline=False).fit()
    with pytest.raises(ModelError, match="the data of the training, which is gone"):
        fb.export(tmp_path / "run", format="onnx", precision="int8")


def test_a_run_trained_for_int8_is_exported_with_the_ranges_that_it_was_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = "--model", "resnet9", "--epochs", "2", "--valid", "0.3", "--no-baseline", "--no-check", "--run", "run"
    assert command(["train", *KINDS["pictures"](tmp_path), *tiny, "--technique", "qat"]) == 0
    ranges = learnt_ranges(tmp_path / "run")
    exported = fb.export("run", format="onnx", precision="int8")
    scales = [float(onnx.numpy_helper.to_array(one)) for one in graph_of(exported.path).initializer if not one.dims
              and one.data_type == onnx.TensorProto.FLOAT]  # fmt: skip
    for low, high in ranges.values():
        assert any(scale == pytest.approx((high - low) / 255, rel=1e-5) for scale in scales)
    run, rounded = fb.load("run", device="cpu"), fb.load("run", device="cpu")
    technique = QuantisationAware()
    technique.load_state_dict({"ranges": {name: torch.tensor(ends) for name, ends in ranges.items()}})
    technique.on_fit_start(rounded.objective)  # it answers as it did while it was trained
    encoded = [run.encode(file) for file in sorted(tmp_path.rglob("*.png"))[:16]]
    ours, theirs, plain = (one.outputs(encoded) for one in (fb.load(exported.path), rounded, run))
    assert not np.allclose(theirs, plain, atol=1e-5)
    np.testing.assert_allclose(ours, theirs, atol=0.02)
