"""The format `hf`: what transformers loads of its own models, and `fb.load` of the others."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch
from sklearn.datasets import load_wine

import flambeau as fb
from flambeau.cli.main import run as command
from flambeau.data.sources.opening import from_path


def test_a_model_of_ours_is_loaded_by_flambeau(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wine = load_wine()
    table = pl.DataFrame({"ash": wine.data[:, 2], "kind": [f"kind {k}" for k in wine.target]})
    table.write_csv(tmp_path / "wine.csv")
    data = from_path(tmp_path / "wine.csv", target="kind")
    fb.Learner(data, run=tmp_path / "run", model="linear", epochs=1, baseline=False).fit()
    assert command(["export", str(tmp_path / "run"), "--format", "hf", "--out", str(tmp_path / "hub")]) == 0
    config = json.loads((tmp_path / "hub" / "config.json").read_text())
    assert config["id2label"] == {"0": "kind 0", "1": "kind 1", "2": "kind 2"}
    page = (tmp_path / "hub" / "README.md").read_text()
    assert page.startswith("---\nlibrary_name: flambeau\n") and "accuracy" in page
    asked = [{"ash": 2.3}, {"ash": 2.9}]
    ours, theirs = (fb.load(tmp_path / name).predict(asked) for name in ("hub", "run"))
    assert [one.probabilities for one in ours] == [one.probabilities for one in theirs]
    assert command(["export", str(tmp_path / "run"), "--format", "hf", "--out", str(tmp_path / "hub")]) == 2
    assert "something lies there already" in capsys.readouterr().err


def test_a_language_model_of_transformers_is_loaded_by_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from fine_tune import chats, dataset, tiny

    base = tiny(tmp_path / "tiny", width=16)
    learner = fb.Learner(
        dataset(chats("Seven.") + chats("No.")), f"hf:{base}", techniques=["lora rank=2"], run=tmp_path / "run",
        objective="language-model", batch_size=2, device="cpu", baseline=False, quiet=True, epochs=1,
    )  # fmt: skip
    learner.fit(check=False)
    folder = fb.export(tmp_path / "run", format="hf", out=tmp_path / "hub").path
    theirs, run = transformers.AutoModelForCausalLM.from_pretrained(folder).eval(), fb.load(tmp_path / "run")
    tokens = transformers.AutoTokenizer.from_pretrained(folder)("What is it?", return_tensors="pt").input_ids
    with torch.inference_mode():
        torch.testing.assert_close(theirs(input_ids=tokens).logits, run.objective.model(tokens), rtol=1e-4, atol=1e-5)
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: transformers\n")
