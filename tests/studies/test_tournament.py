"""A tournament: what simple models and a network become together is one run, as any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import kinds
import numpy as np
import polars as pl
import pytest
import torch
from forkserver import Forkserver

import flambeau as fb
from flambeau.core.errors import FlambeauError
from flambeau.evaluation import evaluate_run
from flambeau.exports import export
from flambeau.learner import verdicts
from flambeau.run import Run
from flambeau.studies.entrants import entrants, is_usual
from flambeau.studies.tournament import planned

SIMPLE = {
    "table": ["nearest", "ridge", "boosted-trees"], "text": ["tfidf-linear"], "sound": ["mel-linear"],
    "pictures": ["hog-linear"], "series": ["nearest", "rocket"], "forecast": ["seasonal-naive", "ridge-lags"],
}  # fmt: skip


def mixed(rows: int = 240) -> pl.DataFrame:
    """A number that is half linear, which trees grow slowly, and half a step up and down, which no line has."""
    x = np.random.default_rng(0).normal(size=(rows, 6))
    y = x @ [1, 1, -1, 1, -1, 0] + 3 * (np.abs(x[:, 5]) > 0.7) + np.random.default_rng(1).normal(size=rows) / 4
    return pl.DataFrame({**{f"x{i}": x[:, i] for i in range(6)}, "y": y})


def many(folder: Path) -> fb.Dataset:
    """More rows than are dealt into folds, in two classes."""
    mixed(1000).with_columns(pl.when(pl.col("y") > 1).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("y")).write_csv(
        folder / "many.csv"
    )
    return fb.Dataset.from_table(folder / "many.csv", target="y", split=fb.Split("stratified", 0.2, 0.2))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mixed") / "mixed.csv"
    mixed().write_csv(path)
    return path


LONG = ("pictures", "series")
HALVED = ("table", "text", "sound", "forecast", "series")
"""Of which kinds there are two networks."""


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.long] * (k in LONG)) for k in SIMPLE])
def test_of_each_kind_it_leaves_one_run(kind: str, tmp_path: Path) -> None:
    data, settings = kinds.dataset(kind, tmp_path, 60, 40)
    settings = {name: value for name, value in settings.items() if name.startswith("fields.")}
    learner = fb.Learner(data, epochs=1, run=tmp_path / "run", cache=tmp_path / "cache", quiet=True, **settings)
    run = fb.tournament(learner, check=False)
    held = run.evaluation["tournament"]
    *simple, network = [one for one in held["candidates"] if "value" in one]
    assert [one["name"] for one in simple] == SIMPLE[kind] and network["name"] not in SIMPLE[kind]
    assert ["and no further" in one["note"] for one in held["candidates"] if "note" in one] == [True] * (kind in HALVED)
    assert (
        verdicts.chosen(run) == "the model"
        and verdicts.chosen(Run(run.path / "candidates" / simple[0]["name"])) == "its settings"
    )
    assert run.status == "finished" and sum(one["weight"] for one in held["candidates"]) == pytest.approx(1)
    folds = 0 if kind == "forecast" else 4  # of windows, which overlap, there are none
    judged = np.isin(data.split, [0, 1] if folds else [1]).sum()
    assert (held["rows"], held["folds"]) == (judged, folds) and not (run.path / "folds").exists()

    taken = [one["name"] for one in held["candidates"] if one["weight"]]
    assert len(taken) == 1 or [m.recipe.model.name for m in run.members] == taken
    predictor, first = fb.load(run), data.inputs[0]
    value = {name: data.columns[name][int(data.rows("valid")[0])] for name in data.inputs}
    said = predictor.predict(value if len(value) > 1 else value[first])
    if len(taken) == 1:
        of_candidate = run.path / "candidates" / next(o["folder"] for o in held["candidates"] if o["weight"])
        alone = fb.load(of_candidate).predict(value if len(value) > 1 else value[first])
        assert np.array_equal(said.label, alone.label)
    rivals = {rival["name"] for rival in run.evaluation["baselines"]}
    assert rivals >= {*SIMPLE[kind]} - ({*taken} if len(taken) == 1 else set())
    page = (run.path / "report.html").read_text("utf-8")
    assert "What was tried" in page and all(one["name"] in page for one in held["candidates"])


def test_a_blend_is_a_run_that_is_measured_answered_and_exported(table: Path, tmp_path: Path) -> None:
    data = fb.Dataset.from_table(table, target="y", split=fb.Split("random", 0.25, 0.25))
    learner = fb.Learner(data, epochs=1, run=tmp_path / "run", cache=tmp_path / "cache", quiet=True)
    run = fb.tournament(learner)
    weights = {one["name"]: one["weight"] for one in run.evaluation["tournament"]["candidates"]}
    taken = [name for name, weight in weights.items() if weight]
    assert {"ridge", "boosted-trees"} <= {*taken} and not (run.path / "blend").exists()
    assert run.recipe.model.name == "ensemble" and run.checked and any("tried:" in r for r in run.recipe.reasons)

    row = mixed().drop("y").row(3, named=True)
    at = {
        c["name"]: run.path / "candidates" / c["folder"]
        for c in run.evaluation["tournament"]["candidates"]
        if c["weight"]
    }
    of = {name: fb.load(path).predict(row).label for name, path in at.items()}
    joint = fb.load(run).predict(row).label
    assert joint == pytest.approx(sum(weights[name] * of[name] for name in taken), rel=1e-5)
    evaluation = run.evaluation
    for rival in evaluation["baselines"]:
        value, low, high = rival["differences"]["rmse"]
        assert low <= value <= high
        assert value == pytest.approx(evaluation["metrics"]["rmse"] - rival["metrics"]["rmse"], abs=1e-4)
    assert min(rival["metrics"]["rmse"] for rival in evaluation["baselines"]) > evaluation["metrics"]["rmse"]
    export(run.path, out=tmp_path / "export", format="onnx")
    assert fb.load(tmp_path / "export").predict(row).label == pytest.approx(joint, rel=1e-4)


def test_killed_it_goes_on_to_the_same_run(tmp_path: Path, flambeau: Forkserver) -> None:
    name, *options = kinds.text(tmp_path)
    asked = ["train", name, *options, "--model", "tournament", "--epochs", "2", "--run"]
    command = [sys.executable, "-m", "flambeau", *asked, "killed"]
    killed = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert killed.stderr is not None
    for line in killed.stderr:
        if "no further" in line:
            os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert Run(tmp_path / "killed").status == "killed"
    kept = tmp_path / "killed" / "candidates" / "tfidf-linear" / "model.safetensors"
    stamp = kept.stat().st_mtime_ns
    refused = flambeau(*asked, "killed", cwd=tmp_path)
    assert refused.status == 2 and "flambeau resume killed" in refused.told
    resumed = flambeau("resume", "killed", "--json", cwd=tmp_path)
    assert resumed.status == 0 and kept.stat().st_mtime_ns == stamp, resumed.err
    whole = flambeau(*asked, "whole", "--json", cwd=tmp_path)
    assert Run(tmp_path / "killed").version == Run(tmp_path / "whole").version
    assert resumed.json["metrics"] == whole.json["metrics"]
    again = flambeau("resume", "whole", cwd=tmp_path)
    assert again.status == 2 and "finished" in again.told


def test_of_networks_the_better_half_goes_on_to_the_bits_of_a_training_alone(tmp_path: Path) -> None:
    """Two of a table: a quarter of the epochs, then the one of them to its end; of the other it is said why."""
    data = many(tmp_path)
    run = fb.tournament(fb.Learner(data, epochs=8, run=tmp_path / "run", quiet=True), check=False)
    (left,) = [one for one in run.evaluation["tournament"]["candidates"] if "note" in one]
    (taken,) = {"tabm", "resmlp"} - {left["name"]}
    for name, folder in ((left["name"], 2), (taken, 8)):
        there = next(r for p in (run.path / "candidates").iterdir() if (r := Run(p)).recipe.model.name == name)
        assert [line["epoch"] for line in there.lines if "valid" in line] == [*range(1, folder + 1)]
        assert there.measured == (name == taken)
        if name == taken:
            learner = fb.Learner(data, epochs=8, model=taken, run=tmp_path / "alone", baseline=False, quiet=True)
            learner.fit(check=False)
            assert there.version == learner.run.version  # type: ignore[union-attr]
    figures = {}
    for path in (run.path / "candidates").iterdir():
        said = {line["epoch"]: line["valid"] for line in Run(path).lines if "valid" in line}
        figures[Run(path).recipe.model.name] = said.get(2)
    metric = run.evaluation["metric"]
    assert f"{figures[left['name']][metric]:.4g} after 2 of 8" in left["note"]
    assert f"{taken} has {metric} {figures[taken][metric]:.4g}" in left["note"]


def test_beside_a_pretrained_network_of_pictures_it_is_tried_frozen(tmp_path: Path) -> None:
    data, _ = kinds.dataset("pictures", tmp_path)
    learner = fb.Learner(data, pretrained=tmp_path / "w.safetensors", techniques="label_smoothing", run=False)
    usual, frozen = entrants(learner).networks.values()
    assert usual == {} and [*frozen["techniques"]] == ["label_smoothing", "freeze"]
    asked = fb.Learner(data, pretrained=tmp_path / "w.safetensors", techniques="freeze", run=False)
    assert len(entrants(asked).networks) == 1


def test_the_losses_of_candidates_are_those_of_what_they_answer(tmp_path: Path) -> None:
    """Each is as sure as its own calibration has it, whoever is the first."""
    data = many(tmp_path)
    run = fb.tournament(fb.Learner(data, epochs=1, run=tmp_path / "run", quiet=True), check=False)
    rows = data.rows("valid")
    values = [{name: data.columns[name][row] for name in data.inputs} for row in rows]
    judged = [one for one in run.evaluation["tournament"]["candidates"] if "value" in one]
    for one in judged:
        said = fb.load(run.path / "candidates" / one["folder"]).predict(values)
        sure = [answer.probabilities[data.columns["y"][row]] for answer, row in zip(said, rows, strict=True)]
        assert one["loss"] == pytest.approx(-np.mean(np.log(sure)), rel=1e-3)
    assert len(judged) == 4


def test_of_many_rows_simple_models_are_fitted_to_a_share_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["flambeau.studies.tournament"], "MANY_ROWS", 500)
    data = many(tmp_path)
    run = fb.tournament(fb.Learner(data, epochs=1, run=tmp_path / "run", quiet=True), check=False)
    held = run.evaluation["tournament"]["candidates"]
    (left,) = [one for one in held if "fitted to 150 of 600 rows, and no further" in one.get("note", "")]
    simple = [one["name"] for one in held if "value" in one][:2]
    assert {left["name"], *simple} == {*SIMPLE["table"]}
    assert not (run.path / "candidates" / left["name"]).exists()


def test_what_it_cannot_be_of_is_told_in_one_line(table: Path, tmp_path: Path, flambeau: Forkserver) -> None:
    data = fb.Dataset.from_table(table, target="y")
    many = fb.Dataset({"x": [*range(1000)], "y": [*range(1000)]}, target="y", split="none")
    run = tmp_path / "run"
    refused = [
        (fb.Learner(data, model="mlp", run=run), "mlp is named"),
        (fb.Learner(data, model=torch.nn.Linear(6, 1), run=run), "without parts of your own"),
        (fb.Learner(many, run=run), "no validation rows"),
        (fb.Learner(kinds.dataset("tags", tmp_path)[0], run=run), "no simple model takes such an input"),
    ]
    for learner, said in refused:
        assert entrants(learner).simple == {}
        with pytest.raises(FlambeauError, match=said):
            fb.tournament(learner)
    with pytest.raises(FlambeauError, match="leaves a run"):
        fb.tournament(fb.Learner(data, run=False))
    assert not run.exists()
    told = flambeau("train", table, "--target", "y", "--model", "tournament", "--processes", "2", cwd=tmp_path)
    assert told.status == 2 and "one process" in told.told
    plan = planned(fb.Learner(data, run=False))
    assert plan.decisions[0].value == ["nearest", "ridge", "boosted-trees", plan.recipe.model.name, "resmlp"]


@pytest.mark.parametrize(
    ("settings", "usual"),
    [({"seed": 3}, True), ({"epochs": 3}, False), ({"model": "ridge"}, False), ({"techniques": "mixup"}, False),
     ({"techniques": "class_weights"}, True), ({"baseline": False}, False)],
)  # fmt: skip
def test_it_is_usual_where_nothing_of_steps_is_asked(settings: dict[str, Any], usual: bool, tmp_path: Path) -> None:
    data, _ = kinds.dataset("table", tmp_path)
    assert is_usual(fb.Learner(data, run=False, **settings)) is usual


def test_the_command_holds_one_unless_a_network_is_asked_for(tmp_path: Path, flambeau: Forkserver) -> None:
    name, *options = kinds.table(tmp_path)
    said = [flambeau("train", name, *options, *more, "--dry-run", cwd=tmp_path).out
            for more in ([], ["--epochs", "2"], ["--no-baseline"], ["--processes", "2"])]  # fmt: skip
    assert ["boosted-trees" in one for one in said] == [True, False, False, False]


def test_of_several_inputs_simple_models_read_one_each_and_answer_together(tmp_path: Path) -> None:
    """What a number says and what a text says is known to one model each, and to the network."""
    random = np.random.default_rng(0)
    size, good = random.normal(size=400), random.random(400) > 0.5
    text = [f"{'fine' if g else 'poor'} {('chair', 'table', 'lamp')[i % 3]}" for i, g in enumerate(good)]
    label = np.where(size + 2 * good + random.normal(size=400) / 3 > 1, "yes", "no")
    columns = {"size": size.tolist(), "width": random.normal(size=400).tolist(), "text": text, "label": label.tolist()}
    fields = {"text": fb.fields.Text()}
    split = fb.Split("stratified", valid=0.3, test=0.2)
    pl.DataFrame(columns).write_csv(tmp_path / "things.csv")
    data = fb.Dataset.from_table(tmp_path / "things.csv", target="label", fields=fields, split=split)
    learner = fb.Learner(data, epochs=1, run=tmp_path / "run", cache=tmp_path / "cache", quiet=True)
    assert is_usual(fb.Learner(data, run=False))
    run = fb.tournament(learner, check=False)
    *simple, _ = run.evaluation["tournament"]["candidates"]
    assert [one["name"] for one in simple] == [
        "nearest of 2 columns", "ridge of 2 columns", "boosted-trees of 2 columns", "tfidf-linear of text"
    ]  # fmt: skip
    assert run.evaluation["tournament"]["value"] > max(one["value"] for one in simple), "together they know more"
    rows = data.columns
    answered = fb.load(run).predict([{name: rows[name][i] for name in ("size", "width", "text")} for i in range(5)])
    assert {one.label for one in answered} <= {"no", "yes"} and len(answered) == 5
    assert evaluate_run(run)["metrics"] == pytest.approx(run.evaluation["metrics"], rel=0.01)


def test_a_budget_is_what_all_of_it_may_take(tmp_path: Path, flambeau: Forkserver) -> None:
    """Of one that is too small for any epoch the network is left out, and that is said."""
    name, *options = kinds.text(tmp_path)
    asked = ("train", name, *options, "--model", "tournament", "--run", "r", "--budget", "0.1s", "--json")
    told = flambeau(*asked, cwd=tmp_path)
    assert told.status == 0 and "a network is trying to beat it for at most" in told.err, told.err
    failed = {one["name"]: one["note"] for one in told.json["tournament"]["candidates"] if "note" in one}
    assert "network" in failed and all("fit into" in note for note in failed.values())
    assert "fit into" in (tmp_path / "r" / "report.html").read_text("utf-8")
    assert json.loads(flambeau("evaluate", "r", "--json", cwd=tmp_path).out)["metrics"]
