"""Runs on a hub: what comes back answers as what went there, and no row of the data goes along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hub import local_hub

import flambeau as fb
from flambeau.core.errors import UsageError

SCRIPT = """
import json, sys
import numpy
import flambeau as fb
from flambeau.cli.main import run as command
from flambeau.cli.serve import _named
run = fb.Run.open(sys.argv[1])
told = {"url": run.push_to_hub("me/wines")}
predictor = fb.load("hf://me/wines")
row = numpy.asarray([0.2, 0.9], "float32")
told["answers"] = [fb.load(run).predict(row).probabilities, predictor.predict(row).probabilities]
for name, act in (("missing", lambda: fb.load("hf://me/nothing")),
                  ("token", lambda: run.push_to_hub("me/x", token="wrong"))):
    try:
        act()
    except fb.FlambeauError as error:
        told[name] = str(error)
told["served"] = [*_named(["hf://me/wines", "other=hf://me/wines"])]
told["page"] = command(["report", "hf://me/wines"]), command(["predict", "hf://me/nothing", "x"])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> fb.Run:
    x = np.random.default_rng(0).random((80, 2)).astype(np.float32)
    data = fb.Dataset.from_arrays(x, ["much" if row.sum() > 1 else "little" for row in x])
    learner = fb.Learner(data, model="mlp", epochs=2, quiet=True, run=tmp_path_factory.mktemp("runs") / "wines")
    learner.fit(check=False)
    assert learner.run is not None
    return learner.run


def test_a_run_goes_to_a_hub_and_answers_from_there(run: fb.Run, tmp_path: Path) -> None:
    recipe = run.recipe
    recipe.data = {**recipe.data, "path": "/home/me/secret/wines.csv"}
    recipe.save(run.path / "recipe.yaml")
    with local_hub() as (address, kept):
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_TOKEN": "right",
                       "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(run.path)], env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
        assert told["answers"][0] == told["answers"][1]
        assert told["served"] == ["wines", "other"] and told["page"] == [0, 2]
        assert told["url"] == f"{address}/me/wines"
        assert "the hub does not have it" in told["missing"] and "the hub does not take it" in told["token"]
        files = kept["me/wines"]
        assert {*files} == {"README.md", "recipe.yaml", "fields.json", "model.safetensors"}  # and no row of the data
        assert b"/home/me" not in b"".join(files.values())
        card = files["README.md"].decode()
        head = yaml.safe_load(card.split("---")[1])
        assert head["library_name"] == "flambeau" and 'fb.load("hf://me/wines")' in card
        assert f"| accuracy | {run.evaluation['metrics']['accuracy']:.4g} |" in card and "little, much" in card


@pytest.mark.parametrize("name", ["wines", "me/wines/more", "../wines", "me/"])
def test_a_name_that_is_none_is_told(run: fb.Run, name: str) -> None:
    with pytest.raises(UsageError, match="ORGANISATION/NAME"):
        run.push_to_hub(name)
    with pytest.raises(UsageError, match="ORGANISATION/NAME"):
        fb.load(f"hf://{name}")
