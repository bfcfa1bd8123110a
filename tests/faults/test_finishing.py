"""Killed wherever it puts a file into place, a training is finished by `resume`: the same files are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from forkserver import Forkserver

from flambeau.core.files import read_json
from flambeau.run import Run

TRAIN = ("train", "../flowers.csv", "--run", "run", "--model", "linear", "--epochs", "2", "--set", "batch_size=16")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    from sklearn.datasets import load_iris

    iris = load_iris()
    rows = [",".join(map(str, x)) + f",{iris.target_names[y]}" for x, y in zip(iris.data, iris.target, strict=True)]
    (tmp_path / "flowers.csv").write_text("a,b,c,d,label\n" + "\n".join(rows) + "\n")
    return tmp_path


def left(run: Path) -> dict[str, Any]:
    """What a training has left, but for times and machines."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in run.rglob("*") if p.is_file() and "tensorboard" not in p.parts):
        name = str(path.relative_to(run))
        found[name] = path.read_bytes()
    measured = read_json(run / "evaluation.json")
    found["evaluation.json"] = {**measured, "baselines": [{**b, "seconds": 0} for b in measured.get("baselines", [])]}
    lines = [json.loads(line) for line in found["metrics.jsonl"].splitlines()]
    found["metrics.jsonl"] = [{k: v for k, v in x.items() if "speed" not in k and "second" not in k} for x in lines]
    found["environment.json"] = found["report.html"] = None
    return found


def resumed(flambeau: Forkserver, folder: Path) -> Any:
    """Begins again, or goes on where there is a run."""
    again = ("resume", "run") if (folder / "run" / "recipe.yaml").exists() else TRAIN
    return flambeau(*again, cwd=folder)


def test_killed_at_any_file_it_is_finished_by_a_resume(flambeau: Forkserver, table: Path) -> None:
    (table / "whole").mkdir()
    command = flambeau(*TRAIN, cwd=table / "whole")
    assert command.status == 0, command.err
    whole = left(table / "whole" / "run")
    assert {"report.html", "evaluation.json", "model.safetensors", "recipe.yaml", "fields.json"} <= whole.keys()
    assert whole["evaluation.json"]["baselines"] and whole["evaluation.json"]["shuffled"]
    statuses = []
    for number in range(1, 40):
        folder = table / str(number)
        folder.mkdir()
        command = flambeau(*TRAIN, cwd=folder, dies=number)
        if command.status == 0:
            break
        assert command.status == -9, command.err
        statuses += [Run(folder / "run").status]
        command = resumed(flambeau, folder)
        assert command.status == 0, command.err
        assert left(folder / "run") == whole, f"killed at file {number}"
    again = resumed(flambeau, folder)
    assert again.status == 2 and "the run is finished" in again.told
    assert [s for i, s in enumerate(statuses) if s not in statuses[:i]] == ["killed", "unmeasured", "unreported"]
    assert number > 10
    environment = read_json(table / str(number - 1) / "run" / "environment.json")
    assert environment["command"] == "flambeau " + " ".join(TRAIN)


def test_it_may_die_again_while_it_is_finished(flambeau: Forkserver, table: Path) -> None:
    folder = table / "work"
    folder.mkdir()
    assert flambeau(*TRAIN, cwd=folder, dies=14).status == -9
    for number in (2, 3):
        assert flambeau("resume", "run", cwd=folder, dies=number).status == -9
    command = resumed(flambeau, folder)
    assert command.status == 0, command.err
    reasons = Run(folder / "run").recipe.reasons
    assert all(any(r.startswith(name) for r in reasons) for name in ("learning_rate", "device", "precision")), reasons
    environment = read_json(folder / "run" / "environment.json")
    assert environment["command"] == "flambeau " + " ".join(TRAIN)
    assert [e["command"] for e in environment["resumed"]] == ["flambeau resume run"] * 3
