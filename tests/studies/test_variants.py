"""Variants trained as a study, and parts left out, as a user asks for them."""

import json
import re

import numpy as np
import polars as pl
import pytest
import scipy.stats
import sklearn.datasets

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.studies import ablate, compare_settings

SMALL = ("--target", "kind", "--epochs", 2, "--model", "linear", "--no-check")


@pytest.fixture
def wine(tmp_path):
    frame = sklearn.datasets.load_wine(as_frame=True).frame
    pl.DataFrame({"ash": frame["ash"].tolist(), "hue": frame["hue"].tolist(),
                  "kind": [f"kind {t}" for t in frame["target"]]}).write_csv(tmp_path / "wine.csv")  # fmt: skip
    return tmp_path


def test_a_grid_that_was_killed_goes_on_and_ends_as_one_that_was_not(wine, flambeau):
    asked = ("compare", "wine.csv", "--over", "optimizer=sgd,adamw", "--seeds", 2, *SMALL, "--json")
    whole = json.loads(flambeau(*asked, "--study", "whole", cwd=wine).out)
    first, second = (wine / "again" / f"optimizer=sgd-{seed}" for seed in (0, 1))

    killed = flambeau.start(*asked, "--study", "again", cwd=wine)
    assert killed.until(lambda: any((second / "checkpoints").glob("step-*/manifest.json"))), killed.err
    killed.kill()
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    again = flambeau(*asked, "--study", "again", cwd=wine)

    assert again.status == 0, again.err
    assert (first / "model.safetensors").stat().st_mtime_ns == stamp
    found = json.loads(again.out)
    for one, other in zip(whole["entries"], found["entries"], strict=True):
        assert (one["name"], one["by_run"]) == (other["name"], other["by_run"])
    assert found["differences"] == whole["differences"] and (wine / "again" / "comparison.html").exists()
    one = found["differences"][0]
    values = [entry["by_run"] for entry in found["entries"]]
    assert one["value"] == pytest.approx(np.mean(values[0]) - np.mean(values[1]))
    if np.ptp(np.subtract(*values)):
        assert one["p"] == pytest.approx(scipy.stats.ttest_rel(*values).pvalue)
    assert found["seeds"] == 2 and found["recipes"]["training.optimizer"] == ["sgd", "adamw"]
    runs = [fb.Run(wine / path) for entry in found["entries"] for path in entry["runs"]]
    assert len({run.recipe.data["fingerprint"] for run in runs}) == 1  # all have read one store


def test_what_an_input_brings_is_told_and_a_useless_part_brings_nothing(tmp_path):
    random = np.random.default_rng(0)
    signal, noise = random.normal(size=400), random.normal(size=400)
    columns = {"signal": signal.tolist(), "noise": noise.tolist(), "kind": np.where(signal > 0, "up", "down").tolist()}
    data = fb.Dataset(columns, target="kind", split=fb.Split("random", valid=0.2, test=0.3))
    learner = fb.Learner(data, model="linear", techniques=["label_smoothing"], epochs=6, learning_rate=0.05, quiet=True,
                         baseline=False, cache=tmp_path / "cache")  # fmt: skip
    study, comparison = ablate(learner, seeds=2, study=tmp_path / "study")
    facts = comparison.facts
    names = [entry["name"] for entry in facts["entries"]]
    assert names == ["all", "without label_smoothing", "without signal", "without noise"]
    brings = {one["second"]: one for one in facts["differences"]}
    assert facts["reference"] == "all" and {one["first"] for one in facts["differences"]} == {"all"}
    assert brings["without signal"]["value"] > 0.3 and brings["without signal"]["low"] > 0
    assert abs(brings["without noise"]["value"]) < 0.1
    assert study.run("without_signal-0").fields()[1] != study.run("all-0").fields()[1]
    assert study.run("without_label_smoothing-1").recipe.techniques == {}
    decided = {study.run(f"{name}-0").recipe.training.batch_size for name in ("all", "without_signal")}
    assert len(decided) == 1  # what was decided for the whole holds for its parts
    page = (tmp_path / "study" / "comparison.html").read_text()
    assert "ablation" in page and "brings" in page and re.search(r"\+\d\d ± ", page)
    assert learner.recipe.techniques == {"label_smoothing": {}} and data.inputs == ["signal", "noise"]


def test_augmentations_are_left_out_one_by_one_and_together(tmp_path):
    digits = sklearn.datasets.load_digits()
    data = fb.Dataset.from_arrays((digits.images[:200] * 16).clip(0, 255).astype(np.uint8), digits.target[:200])
    augment = {"rotation": 10, "brightness": 0.2}
    learner = fb.Learner(data, model="mlp", augment=augment, epochs=1, quiet=True, baseline=False, cache=tmp_path / "c")
    study, comparison = ablate(learner, seeds=1, parts=["augmentation"], study=tmp_path / "study")
    names = [entry["name"] for entry in comparison.facts["entries"]]
    assert names[:2] == ["all", "without augmentation"]
    assert {*names[2:]} == {"without rotation", "without brightness"}
    on = {
        name: study.run(f"{name.replace(' ', '_')}-0").fields()[0][data.inputs[0]].to_dict()["augment"]
        for name in names
    }
    assert {*on["all"]} == {"rotation", "brightness"} and not on["without augmentation"]
    assert {*on["without rotation"]} == {"brightness"} and {*on["without brightness"]} == {"rotation"}
    assert comparison.facts["differences"][0]["test"] == "McNemar"  # one seed: paired by row


def test_what_does_not_fit_is_told_before_the_first_training(tmp_path):
    data = fb.Dataset({"x": [0.0, 1.0] * 20, "y": ["a", "b"] * 20}, target="y")
    learner = fb.Learner(data, model="linear", epochs=1, quiet=True, cache=tmp_path / "cache")
    for over, said in (
        ({"optimiser": ["sgd", "adamw"]}, "optimizer"),
        ({"optimizer": ["sgd", "adamww"]}, "adamw"),
        ({"learning_rate": ["1e-4..1e-2:log"]}, "choose"),
        (["learning_rate=1e-4..1e-2:log"], "without number"),
    ):
        with pytest.raises(UsageError, match=said):
            compare_settings(learner, over, study=tmp_path / "study")
    assert not (tmp_path / "study").exists()
    for parts in (["techniques"], ["techniques", "inputs", "augmentation"]):
        with pytest.raises(UsageError, match="nothing to leave out"):
            ablate(learner, seeds=1, parts=parts, study=tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_the_verbs_refuse_in_one_line(wine, flambeau):
    for arguments, said in (
        (["compare", "wine.csv"], "--over"),
        (["compare", "wine.csv", "wine.csv", "--over", "epochs=1,2"], "one run"),
        (["compare", "wine.csv", "--target", "kind", "--over", "epochs"], "epochs"),
        (["compare", "nothing.csv", "--target", "kind", "--over", "epochs=1,2"], "nothing.csv"),
        (["ablate", "wine.csv", "--target", "kind", "--part", "everything"], "techniques, augmentation, inputs"),
        (["ablate", "nothing"], "nothing"),
    ):
        done = flambeau(*arguments, cwd=wine)
        assert done.status == 2 and said in done.err.splitlines()[-1], (arguments, done.err)
