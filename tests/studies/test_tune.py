"""Searches: any setting, pruned by validation, gone on after kill -9, shared by workers; no trial is lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import polars as pl
import postgres
import pytest
import sklearn.datasets

import flambeau as fb
from flambeau.core.errors import MissingExtra, RunError, TrainingError, UsageError
from flambeau.report import search as page
from flambeau.studies.space import space_of
from flambeau.studies.trials import Search
from flambeau.training.interrupts import Interrupted

ROWS = 500  # of which a test keeps some


@pytest.fixture(scope="module")
def data() -> fb.Dataset:
    digits = sklearn.datasets.load_digits()
    return fb.Dataset.from_arrays(digits.images[:ROWS] / 16, digits.target[:ROWS])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wine = sklearn.datasets.load_wine()
    path = tmp_path_factory.mktemp("wine") / "wine.csv"
    columns = {name: wine.data[:, i] for i, name in enumerate(wine.feature_names)}
    pl.DataFrame({**columns, "kind": [wine.target_names[k] for k in wine.target]}).write_csv(path)
    return path


def tuned(data: fb.Dataset, space: object, folder: Path, **options: object):
    return fb.tune(data, space, folder=folder, model="mlp", quiet=True, check=False, **{"name": "s", **options})


def test_the_best_of_validation_is_kept_and_alone_measured_on_the_test_rows(data, tmp_path):
    space = {"learning_rate": "1e-4..1e-1:log", "techniques.mixup.alpha": "0.1..0.4", "optimizer": ["sgd", "adamw"]}
    study = tuned(data, space, tmp_path, trials=5, epochs=2)

    result, trials = study.result, study.result["trials"]
    runs = [fb.Run(trial["run"]) for trial in trials if trial["state"] == "complete"]
    assert len(trials) == 5 and {run.evaluation["split"] for run in runs} == {"valid"}
    best = max(run.evaluation["metrics"]["accuracy"] for run in runs)
    assert result["best"]["value"] == best and set(result["best"]["settings"]) == set(space)
    assert set(result["importance"]) <= set(space) and len(result["importance"]) > 0
    recipe = fb.Recipe.load(study.path / "best.yaml")
    assert recipe.techniques["mixup"]["alpha"] == result["best"]["settings"]["techniques.mixup.alpha"]
    again = fb.Learner(data, recipe=recipe, run=tmp_path / "again", quiet=True)
    assert again.fit(check=False) == pytest.approx(result["test"])
    weights = fb.Run(result["best"]["run"]).path / "model.safetensors"
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == weights.read_bytes()
    shown = (study.path / "report.html").read_text()
    assert "techniques.mixup.alpha" in shown and "超参数搜索" in page.build("s", result, "zh-CN")


@pytest.mark.parametrize("method", ["random", "gp"])
def test_other_methods_draw_what_they_did_for_the_same_seed(method, data, tmp_path):
    drawn = [
        [t["settings"] for t in tuned(data, {"learning_rate": "1e-3..1e-1:log", "warmup": "0.1..0.5"}, tmp_path / name,
                                      trials=2, epochs=1, method=method, seed=seed).result["trials"]]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]  # fmt: skip
    assert drawn[0] == drawn[1] != drawn[2] and drawn[0][0] != drawn[0][1]


def test_a_grid_is_gone_through_and_who_falls_behind_is_ended(data, tmp_path):
    (tmp_path / "space.yaml").write_text("learning_rate: [3e-3, 4e-3, 5e-3, 6e-3, 1e-9]\n")
    study = tuned(data, tmp_path / "space.yaml", tmp_path, method="grid", epochs=3)
    rates = [trial["settings"]["learning_rate"] for trial in study.result["trials"]]
    assert rates == [3e-3, 4e-3, 5e-3, 6e-3, 1e-9]
    assert [trial["state"] for trial in study.result["trials"]] == ["complete"] * 4 + ["pruned"]
    assert study.result["trials"][-1]["epochs"] < 3 and not fb.Run(study.result["trials"][-1]["run"]).finished


def test_trials_that_cannot_be_trained_are_told_and_the_search_goes_on(data, tmp_path):
    study = tuned(data, {"learning_rate": [1e-2, 1e30]}, tmp_path, method="grid", epochs=1, optimizer="sgd")
    assert [trial["state"] for trial in study.result["trials"]] == ["complete", "failed"]
    assert "the loss became" in study.result["trials"][1]["error"]
    with pytest.raises(TrainingError, match=r"no trial came to its end .*loss became"):
        tuned(data, {"learning_rate": [1e29, 1e30]}, tmp_path, method="grid", epochs=1, optimizer="sgd", name="worse")


def test_more_trials_go_on_where_fewer_ended_and_another_search_is_kept_out(data, tmp_path):
    space = {"learning_rate": "1e-3..1e-1:log"}
    few = tuned(data, space, tmp_path, trials=2, epochs=1).result["trials"]
    more = tuned(data, space, tmp_path, trials=3, epochs=1).result["trials"]
    whole = tuned(data, space, tmp_path, trials=3, epochs=1, name="whole").result["trials"]
    assert [t["settings"] for t in more] == [t["settings"] for t in whole] and few == more[:2]
    with pytest.raises(RunError, match="another study"):
        tuned(data, {"learning_rate": "1e-3..1e-2:log"}, tmp_path, trials=2)


def test_a_killed_search_goes_on_inside_the_trial_and_ends_as_if_never_killed(flambeau, table, tmp_path):
    asked = ["tune", table, "--target", "kind", "--tune", "learning_rate=1e-3..1e-1:log", "--trials", 3, "--epochs",
             6, "--no-prune", "--no-check", "--json"]  # fmt: skip
    whole = flambeau(*asked, "--name", "whole", cwd=tmp_path)
    assert whole.status == 0, whole.err
    killed = flambeau.start(*asked, "--name", "s", cwd=tmp_path)
    second = tmp_path / "runs/s/trial-2"
    assert killed.until(lambda: any((second / "checkpoints").glob("step-*/manifest.json"))), killed.err
    assert killed.kill() == -9 and not fb.Run(second).finished

    again = flambeau(*asked, "--name", "s", cwd=tmp_path)

    assert again.status == 0, again.err
    assert again.json["lost"] == 1
    told = [[(t["settings"], t["value"]) for t in one.json["trials"]] for one in (again, whole)]
    assert told[0] == told[1]
    assert json.loads((second / "environment.json").read_bytes())["resumed"]  # gone on with, not begun again


@pytest.mark.postgres
@pytest.mark.skipif(postgres.program("postgres") is None, reason="PostgreSQL is not installed")
def test_two_workers_share_a_search_and_one_that_is_killed_loses_no_trial(flambeau, table, tmp_path):
    with postgres.server() as url:
        (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()  # two machines: nothing is shared but the database
        rates = [round(1e-3 * 1.5**i, 6) for i in range(5)]
        asked = ["tune", table, "--target", "kind", "--tune", f"learning_rate={','.join(map(str, rates))}", "--method",
                 "grid", "--epochs", 6, "--no-prune", "--no-check", "--storage", url, "--name", "s", "--lost-after",
                 3, "--json"]  # fmt: skip
        first, second = (flambeau.start(*asked, cwd=tmp_path / name) for name in "ab")
        assert first.until(lambda: any((tmp_path / "a").glob("runs/s/trial-*/checkpoints/step-*"))), first.err
        assert second.until(lambda: any((tmp_path / "b").glob("runs/s/trial-*/checkpoints/step-*"))), second.err
        trials = (tmp_path / "a" / "runs" / "s").glob
        assert first.until(
            lambda: any(not fb.Run(one.parent.parent).finished for one in trials("*/checkpoints/step-*"))
        )
        assert first.kill() == -9

        assert second.wait() == 0, second.err

        trials = second.json["trials"]
        assert sorted(trial["settings"]["learning_rate"] for trial in trials) == rates
        assert {trial["state"] for trial in trials} == {"complete"} and second.json["lost"] == 1
        joined = flambeau(*asked, cwd=tmp_path / "b")  # all is done: says what came out
        assert joined.status == 0 and joined.json["best"] == second.json["best"], joined.err
        other = flambeau(*asked[:-1], "--set", "warmup=0.3", cwd=tmp_path / "a")
        assert other.status == 2 and "another" in other.told


def test_a_stopped_search_leaves_its_trial_to_be_taken_up(data, tmp_path, monkeypatch):
    space, calls = {"learning_rate": "1e-3..1e-1:log"}, []
    variant = Search._variant

    def stopped(self, settings, run):
        learner = variant(self, settings, run)
        calls.append(run)
        if len(calls) == 3:  # the build of the study, a trial, and this one
            raise Interrupted("stopped by SIGINT", 2)
        return learner

    with monkeypatch.context() as patched:
        patched.setattr(Search, "_variant", stopped)
        with pytest.raises(Interrupted):
            tuned(data, space, tmp_path, trials=2, epochs=1)
    study = tuned(data, space, tmp_path, trials=2, epochs=1)
    whole = tuned(data, space, tmp_path, trials=2, epochs=1, name="whole")
    assert [t["settings"] for t in study.result["trials"]] == [t["settings"] for t in whole.result["trials"]]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"learning_rat": "1..2"}, "learning_rate"),
        ({"optimizer": "sgd"}, "leaves nothing to choose"),
        ({"optimizer": "sgd,adamm"}, "adam"),
        ({"learning_rate": "1e-1..1e-3"}, "lower end first"),
        ({"epochs": {"from": 3}}, "nothing to search over"),
        ({"epochs": "0..3"}, "1 or more"),
        ({"metric": "accuracy,f1"}, "compared by"),
        ({}, "nothing to search over"),
        (["epochs"], "KEY=RANGE"),
        ("missing.yaml", "no such space"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(asked, told, data, tmp_path):
    with pytest.raises(UsageError, match=told):
        tuned(data, asked, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_settings_that_make_no_search_are_told(data, tmp_path):
    space = {"learning_rate": "1e-3..1e-1:log"}
    with pytest.raises(UsageError, match="list them"):
        tuned(data, space, tmp_path, method="grid")
    with pytest.raises(UsageError, match="random"):
        tuned(data, space, tmp_path, method="randomm")
    with pytest.raises(RunError, match=r"the storage cannot be used.*"):
        tuned(data, space, tmp_path, storage="postgresql://nobody:secret@127.0.0.1:1/none")
    whole = fb.Dataset({"x": [0.0, 1.0] * 20, "y": ["a", "b"] * 20}, target="y", split="none")
    with pytest.raises(UsageError, match="no validation rows"):
        tuned(whole, space, tmp_path)


def test_ranges_and_lists_are_read_as_they_are_typed():
    space = space_of(["a=1..9:2", "b=0..0.5:0.1", "c=1e-4,1e-3", "d=yes,no"])
    assert space["a"].listed == [1, 3, 5, 7, 9] and space["b"].listed == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert space["c"].listed == [1e-4, 1e-3] and space["d"].listed == [True, False]


def test_where_optuna_is_not_installed_the_extra_is_named(data, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "flambeau.studies.trials")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"a search needs the package optuna; pip install 'flambeau\[tune\]'"):
        tuned(data, {"epochs": "1..2"}, tmp_path)
    assert list(tmp_path.iterdir()) == []
