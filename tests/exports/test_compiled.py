"""Machine code of layers that read step by step answers as the run does, whatever was exported before."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from kinds import KINDS

import flambeau as fb
from flambeau.cli.main import run as command


@pytest.mark.slow
def test_layers_that_read_step_by_step_are_compiled(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        given = KINDS["tags"](tmp_path)
        assert command(["train", *given, "--epochs", "1", "--no-baseline", "--no-check", "--run", "run"]) == 0
        fb.export("run", format="onnx")  # which stands one operation for each such layer
        run, compiled = fb.load("run", device="cpu"), fb.load(fb.export("run", format="compiled").path)
        for texts in (["The dog runs fast today"], ["He ran", "The old dog did not see the cat", "Go"]):
            encoded = [run.encode(text.split()) for text in texts]
            np.testing.assert_allclose(compiled.outputs(encoded), run.outputs(encoded), atol=1e-5)
