"""Ensembles: several runs made into one, which is a run like any other."""

from __future__ import annotations

import json
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from forkserver import Forkserver
from PIL import Image as PILImage

import flambeau as fb
from flambeau.core.errors import FlambeauError
from flambeau.data.store.encode import EncodeOptions
from flambeau.ensembles import ensemble
from flambeau.evaluation import evaluate_run
from flambeau.objectives.averaged import LEVELS, Combination
from flambeau.serve import background_server


def trained(data: Any, run: Path, model: str = "mlp", **options: Any) -> Path:
    options = {"epochs": 2, "quiet": True, "baseline": False, "precision": "float32", **options}
    fb.Learner(data, model, run=run, cache=run.parent / "cache", **options).fit(check=False)
    return run


def pictures(folder: Path, seed: int = 0) -> fb.Dataset:
    return fb.Dataset.from_folder(folder, split=fb.Split("stratified", valid=0.4, test=0.2, seed=seed))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ensembles")


@pytest.fixture(scope="module")
def runs(digits_folder: Path, root: Path) -> list[Path]:
    """Of one data set: in RGB, in HSV, and of another size by another model."""
    return [
        trained(pictures(digits_folder), root / "rgb", colour="rgb"),
        trained(pictures(digits_folder), root / "hsv", colour="hsv", seed=1),
        trained(pictures(digits_folder), root / "large", "lenet", size=16, seed=2),
    ]


@pytest.fixture(scope="module")
def options(root: Path) -> EncodeOptions:
    return EncodeOptions(root / "cache")


def probabilities(run: Path, files: list[Path]) -> np.ndarray:
    predictor = fb.load(run)
    answers = predictor.predict(files)
    return np.array([[answer.probabilities[name] for name in predictor.classes] for answer in answers])


def test_the_mean_is_that_of_the_members_and_no_pickle_lies_in_it(
    runs: list[Path], options: EncodeOptions, digits_folder: Path, tmp_path: Path
) -> None:
    run = fb.ensemble(runs, tmp_path / "joint", options=options)
    files = sorted((digits_folder / "7").iterdir())[:6]
    moved = shutil.move(run.path, tmp_path / "sent")  # to a colleague
    joint, mean = probabilities(Path(moved), files), np.mean([probabilities(one, files) for one in runs], axis=0)
    temperature = fb.load(moved).objective.calibration["temperature"]
    raw = np.log(mean) / temperature
    np.testing.assert_allclose(joint, np.exp(raw) / np.exp(raw).sum(1, keepdims=True), atol=1e-5)
    kinds = {file.suffix for file in Path(moved).rglob("[!.]*") if file.is_file()}
    assert kinds == {".yaml", ".json", ".safetensors", ".html"}


def test_it_is_measured_reported_and_served_like_any_run(
    runs: list[Path], options: EncodeOptions, digits_folder: Path, tmp_path: Path
) -> None:
    run = fb.ensemble(runs, tmp_path / "joint", options=options)
    assert run.status == "finished" and "ensemble" in (run.path / "report.html").read_text(encoding="utf-8")
    again = evaluate_run(run, options=options)
    assert again["split"] == "test" and again["metrics"] == pytest.approx(run.evaluation["metrics"])
    assert [member["run"] for member in run.evaluation["members"]] == ["rgb", "hsv", "large"]
    assert evaluate_run(run, options=options, tta="flip")["tta"]["views"] == 2
    file = next((digits_folder / "3").iterdir())
    with background_server(run) as address:
        request = urllib.request.Request(f"{address}/predict", file.read_bytes(), {"Content-Type": "image/png"})
        with urllib.request.urlopen(request) as response:
            served = json.load(response)
    assert served["predictions"][0]["label"] == fb.load(run).predict(file).label


def test_weights_are_those_of_the_least_log_loss_on_validation_rows(
    runs: list[Path], options: EncodeOptions, digits_folder: Path, tmp_path: Path
) -> None:
    run = fb.ensemble(runs, tmp_path / "joint", how="weighted", options=options)
    weights = fb.load(run).objective.model.weights.numpy()
    assert weights.sum() == pytest.approx(1, abs=1e-6)
    data = pictures(digits_folder)
    rows = data.rows("valid")
    files, labels = ([data.columns[name][row] for row in rows] for name in (data.inputs[0], data.target or ""))
    answers = np.stack([probabilities(one, files) for one in runs])
    classes = fb.load(run).classes
    true = [classes.index(label) for label in labels]

    def loss(shares: np.ndarray) -> float:
        return float(-np.log(np.einsum("m,mnk->nk", shares, answers)[np.arange(len(true)), true]).mean())

    nearby = [np.roll(np.array([0.02, -0.01, -0.01]), i) + weights for i in range(3)]
    nearby += [np.full(3, 1 / 3), *np.eye(3)]
    shares = [np.clip(other, 0, None) / np.clip(other, 0, None).sum() for other in nearby]
    assert all(loss(weights) <= loss(other) + 1e-6 for other in shares)
    assert any("least log-loss on" in reason for reason in run.recipe.reasons)


def test_ranks_do_not_hear_who_speaks_louder() -> None:
    values = torch.linspace(0.01, 0.99, 401)[:, None]
    combination = Combination("rank", 2, 1)
    answers = [values, values**4]  # the same order, much less sure
    combination.fit(answers, lambda joint: joint.sum())
    joint = combination(answers)
    assert torch.equal(joint[:, 0].argsort(), torch.arange(401))
    torch.testing.assert_close(joint, (values + values**4) / 2, atol=2 / LEVELS, rtol=0)


def test_text_and_picture_of_the_same_rows(digits_folder: Path, tmp_path: Path) -> None:
    rows = []
    for name in "012":
        for i, file in enumerate(sorted((digits_folder / name).iterdir())[:80]):
            PILImage.open(file).save(tmp_path / f"{name}-{i}.png")
            rows.append(
                (
                    f"{name}-{i}.png",
                    f"{['none at all', 'one of them', 'two of these'][int(name)]}, the {i}th",
                    f"c{name}",
                )
            )
    pl.DataFrame(rows, schema=["picture", "text", "kind"], orient="row").write_csv(tmp_path / "rows.csv")
    members = []
    for column in ("picture", "text"):
        data = fb.Dataset.from_table(tmp_path / "rows.csv", target="kind", inputs=[column])
        members.append(trained(data, tmp_path / f"of {column}", "auto"))
    joint = ensemble(members, tmp_path / "joint", options=EncodeOptions(tmp_path / "cache"))
    assert joint.evaluation["metrics"]["accuracy"] > 0.9
    predictor = fb.load(joint)
    row = {"picture": tmp_path / "1-0.png", "text": "one of them, the first"}
    assert predictor.inputs == ["picture", "text"] and predictor.predict(row).label == "c1"


def test_numbers_are_averaged(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame({"a": random.normal(size=300), "b": random.normal(size=300)})
    frame.with_columns(y=3 * frame["a"] + frame["b"]).write_csv(tmp_path / "rows.csv")
    members = [
        trained(fb.Dataset.from_table(tmp_path / "rows.csv", target="y", inputs=[c]), tmp_path / c, "auto", epochs=4)
        for c in "ab"
    ]
    joint = {how: fb.ensemble(members, tmp_path / how, how=how) for how in ("mean", "weighted")}
    weights = fb.load(joint["weighted"]).objective.model.weights
    assert weights[0] > weights[1]  # of which most follows
    row = {"a": 0.3, "b": -0.2}
    alone = [fb.load(run).predict({c: row[c]}).label for run, c in zip(members, "ab", strict=True)]
    assert fb.load(joint["mean"]).predict(row).label == pytest.approx(np.mean(alone), abs=1e-4)


def test_what_does_not_go_together_is_refused_in_a_line(
    runs: list[Path], options: EncodeOptions, digits_folder: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    for name in "01":
        shutil.copytree(digits_folder / name, few / name)
    other = trained(fb.Dataset.from_folder(few), tmp_path / "other", epochs=1)
    elsewhere = trained(pictures(digits_folder, seed=5), tmp_path / "elsewhere", epochs=1)
    joint = fb.ensemble(runs[:2], tmp_path / "joint", options=options)
    refused: list[tuple[list[Path], dict[str, Any], str]] = [
        ([runs[0]], {}, "1 run is no ensemble"),
        ([runs[0], other], {}, "have other classes, such as '2'"),
        ([runs[0], elsewhere], {}, "was trained on .* of the rows that .* was measured on.*--split-seed"),
        ([runs[0], joint.path], {}, "an ensemble cannot be a member of another"),
        (runs, {"how": "median"}, "no way to join models is called 'median'"),
        (runs, {"out": joint.path}, "the folder is not empty"),
        (runs[:2], {"weights": [0.5, 0.5]}, "how='weighted'"),
        (runs[:2], {"how": "weighted", "weights": [0.9, 0.9]}, "a sum of 1"),
        (runs, {"how": "weighted", "weights": [0.5, 0.5]}, "3 of them"),
        ([runs[0], tmp_path / "nowhere"], {}, "there is no such run"),
    ]
    for members, more, said in refused:
        with pytest.raises(FlambeauError, match=said) as caught:
            fb.ensemble(members, **{"out": tmp_path / "refused", "options": options, **more})
        assert "\n" not in str(caught.value) and not (tmp_path / "refused").exists()


def test_the_command_leaves_a_run(runs: list[Path], flambeau: Forkserver, tmp_path: Path) -> None:
    told = flambeau("ensemble", *runs, "--how", "rank", "--out", "runs/joint", cwd=tmp_path)
    assert told.status == 0 and "next: flambeau predict runs/joint FILE" in told.err, told.err
    document = json.loads(flambeau("evaluate", "runs/joint", "--json", cwd=tmp_path).out)
    assert document["metrics"] == pytest.approx(fb.Run(tmp_path / "runs/joint").evaluation["metrics"])
    assert "ensemble on" in flambeau("runs", cwd=tmp_path).out


def test_the_snapshots_of_one_run_are_an_ensemble(flambeau: Forkserver, digits_folder: Path, tmp_path: Path) -> None:
    """Its members are the weights of each epoch, each of which lies there once; with none kept it is refused."""
    plain = trained(pictures(digits_folder), tmp_path / "plain", epochs=1)
    run = trained(pictures(digits_folder), tmp_path / "run", epochs=3, techniques=[{"snapshots": {"every": 1}}])
    made = flambeau("ensemble", run, "--snapshots", "--out", "joint", "--json", cwd=tmp_path)
    assert made.status == 0 and made.json["metrics"]["accuracy"] > 0, made.err
    kept = sorted((run / "snapshots").iterdir())
    members = sorted((tmp_path / "joint" / "members").iterdir())
    copies = [(member / "model.safetensors") for member in members]
    assert [copy.read_bytes() for copy in copies] == [file.read_bytes() for file in kept] and len(kept) == 3
    assert not any(copy.is_symlink() for copy in copies)
    files = sorted(digits_folder.glob("3/*"))[:5]
    together = np.mean([probabilities(member, files) for member in members], 0)
    joint = probabilities(tmp_path / "joint", files)  # whose temperature is its own, which changes no order
    np.testing.assert_array_equal(joint.argsort(1), together.argsort(1))
    for given, message in (([plain], "has kept no snapshots"), ([run, plain], "2 runs are given with --snapshots")):
        refused = flambeau("ensemble", *given, "--snapshots", cwd=tmp_path)
        assert refused.status == 2 and message in refused.told
