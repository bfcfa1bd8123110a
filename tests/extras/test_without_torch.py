"""The predictor without torch, installed by itself: small, and it answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flambeau as fb

ROOT = Path(__file__).parents[2]
MOST = 350 * 2**20  # bytes of site-packages
pytestmark = pytest.mark.extras


def test_it_is_small_and_answers_in_an_environment_without_torch(tmp_path: Path) -> None:
    columns = {"size": [float(i % 10) for i in range(60)], "kind": [("low", "high")[i % 10 > 4] for i in range(60)]}
    run = tmp_path / "run"
    fb.Learner(fb.Dataset(columns, target="kind"), run=run, epochs=1, baseline=False).fit()
    fb.export(run, format="onnx", out=tmp_path / "export")
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    what = [f"{ROOT / 'flambeau_onnx'}[pictures,text]", "-c", str(ROOT / "constraints.txt")]
    subprocess.run([environment / "bin" / "pip", "install", "--quiet", *what], check=True)
    (site,) = (environment / "lib").glob("*/site-packages")
    assert not (site / "torch").exists() and sum(f.stat().st_size for f in site.rglob("*") if f.is_file()) <= MOST
    rows = tmp_path / "rows.csv"
    rows.write_text("size\n1\n8\n")
    command = [environment / "bin" / "python", "-m", "flambeau_onnx", tmp_path / "export", rows]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env={})
    answers = [line.split(": ")[1].split()[0] for line in done.stdout.splitlines()]
    assert answers == [prediction.label for prediction in fb.load(run).predict([1.0, 8.0])]
