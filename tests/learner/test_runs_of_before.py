"""Runs that an earlier version began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from small import Stop, identical, terminated_at, weights

import flambeau as fb
from flambeau.core.errors import RunError
from flambeau.training import Interrupted
from flambeau.version import RUN_FORMAT

NUMBERS = np.random.default_rng(0).normal(size=80)
ROWS = {"x": NUMBERS, "word": ["ab"[i % 2] for i in range(80)], "y": ["up" if x > 0 else "down" for x in NUMBERS]}


def learner(run: Path, stop: Stop) -> fb.Learner:
    options: dict[str, Any] = {"epochs": 3, "quiet": True, "baseline": False, "techniques": [stop]}
    return fb.Learner(fb.Dataset.from_frame(pl.DataFrame(ROWS), target="y"), "linear", run=run, **options)


def test_a_table_goes_on_though_its_fingerprint_was_of_another_form(tmp_path: Path) -> None:
    whole = learner(tmp_path / "whole", Stop())
    whole.fit(check=False)
    with pytest.raises(Interrupted):
        learner(tmp_path / "run", terminated_at(3)).fit(check=False)
    file = tmp_path / "run" / "recipe.yaml"
    written, known = file.read_text(), fb.Run.open(tmp_path / "run").recipe.data["fingerprint"]
    other = written.replace(known, "0" * 64)
    file.write_text(other)
    with pytest.raises(RunError, match="the data has changed"):
        learner(tmp_path / "run", Stop()).fit(resume=True, check=False)
    file.write_text(other.replace(f"format: {RUN_FORMAT}", "format: 1").replace("max_tokens", "tokens"))
    resumed = learner(tmp_path / "run", Stop())
    resumed.fit(resume=True, check=False)
    assert identical(weights(whole.objective.model), weights(resumed.objective.model))
    recipe = fb.Run.open(tmp_path / "run").recipe
    assert (recipe.format, recipe.data["fingerprint"]) == (RUN_FORMAT, known)
