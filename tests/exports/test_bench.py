"""`flambeau bench`: a run and its exports beside one another, and which to take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from words import sentences

import flambeau as fb
from flambeau.cli.main import run as command
from flambeau.core.errors import UsageError
from flambeau.data.sources.opening import from_path
from flambeau.exports.bench import bench, recommendation


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    # its name ends as that of the lengths of a ragged column does
    pl.DataFrame({"wing_lengths": np.arange(60.0), "kind": ["a", "b"] * 30}).write_csv(folder / "rows.csv")
    data = from_path(folder / "rows.csv", target="kind")
    fb.Learner(data, run=folder / "run", model="resmlp", epochs=1, baseline=False).fit()
    return folder / "run"


def test_a_run_is_measured_beside_its_exports_and_its_report_says_so(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "bench", str(run), "--rounds", "2", "--formats", "onnx,torchscript-int8", "--json"
    assert command([*asked]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert [one["name"] for one in result["contenders"]] == ["eager", "eager bf16", "onnx"]
    for one in result["contenders"]:
        assert one["p99"] >= one["p50"] > 0 and one["processor"] > 0 and one["rate"] > 0 and one["size"] > 0
        assert one["memory"] is not None and one["memory"] > 2**20, printed.err
    assert result["contenders"][0]["quicker"] == 1
    (missing,) = result["left_out"]
    assert missing["name"] == "torchscript-int8" and "no precision" in missing["why"]
    page = (run / "report.html").read_text()
    assert "How quickly it answers" in page and result["why"] in page
    other = command(["bench", str(run / "exports" / "onnx"), "--rounds", "1", "--no-memory", "--processor-time"])
    assert other == 0 and "recommended: onnx" in capsys.readouterr().out


def figures(name: str, p50: float, least: float, verified: bool = True) -> dict[str, Any]:
    seen = {"metric": "accuracy", "export": 0.9, "model": 0.91} if verified else {}
    return {"name": name, "p50": p50, "quicker": least, "least": least, "verified": seen}


def test_what_is_slower_or_was_not_compared_is_never_recommended() -> None:
    eager = figures("eager", 1.0, 1.0, verified=False)
    worse, even, unsure = figures("int8", 1.5, 0.66), figures("onnx", 0.99, 1.01), figures("compiled", 0.5, 0.8)
    cast = figures("eager bf16", 0.3, 3.3, verified=False)
    assert recommendation([eager, worse, even, unsure, cast])[0] == "eager"
    name, why = recommendation([eager, worse, figures("onnx", 0.4, 2.5), figures("compiled", 0.5, 2.0)])
    assert name == "onnx" and "2.5 times" in why and "accuracy 0.9000, 0.9100 of the model" in why


def test_what_cannot_be_measured_is_told(run: Path, tmp_path: Path) -> None:
    said, topics = sentences()
    texts = fb.Dataset({"words": said, "topic": topics}, target="topic")
    fb.Learner(texts, run=tmp_path / "texts", model="bag", epochs=1, baseline=False).fit()
    for asked, told in (((), "nothing to measure"), ((run, tmp_path / "texts"), "other inputs")):
        with pytest.raises(UsageError, match=told):
            bench(asked, formats=())
    assert command(["bench", str(tmp_path / "none")]) == 2
    with pytest.raises(UsageError, match="0 rounds"):
        bench([run], rounds=0)
