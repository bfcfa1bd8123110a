"""A run as a program of ExecuTorch, where its extra is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import flambeau as fb
from flambeau.core.errors import MissingExtra
from flambeau.exports.executorch import LARGEST

HERE = importlib.util.find_spec("executorch") is not None


@pytest.mark.skipif(not HERE, reason="executorch is not installed")
def test_its_runtime_answers_as_the_run_does_however_many_rows_there_are(tmp_path: Path) -> None:
    data = fb.Dataset({"width": np.arange(80.0), "kind": ["a", "b"] * 40}, target="kind")
    fb.Learner(data, run=tmp_path / "run", model="resmlp", epochs=1, baseline=False).fit()
    run = fb.load(tmp_path / "run", device="cpu")
    exported = fb.load(fb.export(tmp_path / "run", format="executorch").path)
    encoded = [run.encode({"width": float(row)}) for row in range(LARGEST + 6)]
    np.testing.assert_allclose(exported.outputs(encoded), run.outputs(encoded), atol=1e-4)


@pytest.mark.skipif(not HERE, reason="executorch is not installed")
def test_of_pictures_too(photos: Path, tmp_path: Path) -> None:
    exported = fb.load(fb.export(photos, format="executorch", out=tmp_path / "small").path)
    files = sorted((photos.parent / "data").rglob("*.png"))[:20]
    for ours, theirs in zip(exported.predict(files), fb.load(photos, device="cpu").predict(files), strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-4)


@pytest.mark.skipif(HERE, reason="executorch is installed")
def test_without_its_extra_it_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingExtra, match=r"flambeau\[executorch\]"):
        fb.export(photos, format="executorch", out=tmp_path / "small")
    assert not (tmp_path / "small").exists()
