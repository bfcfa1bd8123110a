"""A run measured on its own held-out rows, or on other data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest

import flambeau as fb
from flambeau.cli.main import run as command
from flambeau.core.errors import DataError, FlambeauError, UsageError
from flambeau.core.reporter import Reporter
from flambeau.data.sources.whole_series import from_ts
from flambeau.data.store.encode import EncodeOptions
from flambeau.evaluation import evaluate_run
from flambeau.learner.verdicts import headline, measured_on
from flambeau.serve import background_server


@pytest.fixture(scope="module")
def folder(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("evaluation")
    for name in "012":
        for part, rows in (("photos", slice(0, 60)), ("others", slice(60, 90))):
            (root / part / name).mkdir(parents=True)
            for file in sorted((digits_folder / name).iterdir())[rows]:
                shutil.copyfile(file, root / part / name / file.name)
    return root


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[Path, dict[str, float]]:
    data = fb.Dataset.from_folder(folder / "photos", split=fb.Split("stratified", valid=0.2, test=0.2))
    learner = fb.Learner(
        data, "mlp", run=folder / "run", quiet=True, epochs=4, batch_size=16, learning_rate=0.01, 
        cache=folder / "cache",
        precision="float32",
    )  # fmt: skip
    return folder / "run", learner.fit(check=False)


def measured(run: Path, data: Any = None, **options: Any) -> dict[str, Any]:
    return evaluate_run(run, data, options=EncodeOptions(run.parent / "cache"), **options)


def test_on_its_own_test_rows_it_measures_what_the_training_ended_with(trained: tuple[Path, dict[str, float]]) -> None:
    run, metrics = trained
    result = measured(run)
    assert result["split"] == "test" and result["samples"] == 36
    assert result["metrics"] == pytest.approx(metrics, rel=1e-5)
    assert result["metrics"] == pytest.approx(fb.Run.open(run).evaluation["metrics"], rel=1e-5)
    places = {m["place"] for m in result["detail"]["worst"]}
    assert all((run.parent / "photos" / p).exists() for p in places)
    assert all("<img" in m["html"] for m in result["detail"]["worst"])


def test_other_pictures_are_all_measured(trained: tuple[Path, dict[str, float]]) -> None:
    run, _ = trained
    result = measured(run, run.parent / "others")
    assert result["split"] == "all" and result["samples"] == 90 and result["left_out"] == []
    assert result["metrics"]["accuracy"] > 0.8
    assert sum(map(sum, result["detail"]["confusion"])) == 90


def test_classes_that_the_run_does_not_know_are_left_out_and_told(
    trained: tuple[Path, dict[str, float]], digits_folder: Path, tmp_path: Path
) -> None:
    run, _ = trained
    shutil.copytree(run.parent / "others", tmp_path / "more")
    (tmp_path / "more" / "7").mkdir()
    for file in sorted((digits_folder / "7").iterdir())[:5]:
        shutil.copyfile(file, tmp_path / "more" / "7" / file.name)
    result = measured(run, tmp_path / "more")
    assert result["samples"] == 90
    (finding,) = result["left_out"]
    assert "'7' is not among the 3 classes" in finding["message"] and len(finding["places"]) == 5


def test_data_without_the_runs_columns_or_classes_is_told(
    trained: tuple[Path, dict[str, float]], digits_folder: Path, tmp_path: Path
) -> None:
    run, _ = trained
    with pytest.raises(DataError, match=r"the data has no column 'image'; expected image, label"):
        measured(run, fb.Dataset({"x": [0.5] * 4, "label": list("0101")}, target="label"))
    (tmp_path / "sevens" / "7").mkdir(parents=True)
    shutil.copyfile(next((digits_folder / "7").iterdir()), tmp_path / "sevens" / "7" / "a.png")
    with pytest.raises(FlambeauError, match="'7' is not among the 3 classes"):
        measured(run, tmp_path / "sevens")


def test_held_out_rows_that_have_all_gone_bad_are_told(folder: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        shutil.copytree(folder / "photos", tmp_path / "data" / split)
    learner = fb.Learner(fb.Dataset.from_folder(tmp_path / "data"), "mlp", run=tmp_path / "run", quiet=True, epochs=1)
    learner.fit(check=False)
    for file in (tmp_path / "data" / "test").rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(DataError, match="no row is left to measure on"):
        measured(tmp_path / "run")


def test_a_table_is_read_as_the_trainings_was_and_its_truth_may_have_another_name(tmp_path: Path) -> None:
    lines = [f"words of text {i} {'good' if i % 2 else 'bad'},{'ab'[i % 2]}" for i in range(80)]
    (tmp_path / "plain.csv").write_text("\n".join(lines))
    data = fb.Dataset.from_table(tmp_path / "plain.csv", header=False, target="column_2", inputs=["column_1"])
    fb.Learner(data, "bag", run=tmp_path / "run", quiet=True, epochs=3, learning_rate=0.05).fit(check=False)
    assert measured(tmp_path / "run", tmp_path / "plain.csv")["samples"] == 80
    (tmp_path / "named.csv").write_text("\n".join(["column_1,truth", *lines]))
    assert measured(tmp_path / "run", tmp_path / "named.csv", target="truth", header=True)["samples"] == 80
    numbers = "\n".join(f"{i},{'ab'[i % 2]}" for i in range(40))
    (tmp_path / "numbers.csv").write_text(numbers)
    assert measured(tmp_path / "run", tmp_path / "numbers.csv")["samples"] == 40


def test_the_users_dataset_is_left_as_it_was(trained: tuple[Path, dict[str, float]]) -> None:
    run, _ = trained
    data = fb.Dataset.from_folder(run.parent / "others")
    split, fields = data.split.copy(), dict(data.fields)
    assert measured(run, data)["samples"] == 90
    assert (data.split == split).all() and data.fields == fields


def test_what_is_named_is_measured_and_nothing_that_lies_beside_it(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part, count in (("TRAIN", 40), ("TEST", 13)):
        lines = [f"{','.join(f'{v:.3f}' for v in random.normal(size=8) + i % 2)}:{'ab'[i % 2]}" for i in range(count)]
        (tmp_path / f"two_{part}.ts").write_text("\n".join(["@classLabel true a b", "@data", *lines]))
    data = from_ts(tmp_path / "two_TRAIN.ts")
    assert data.split.tolist() == [0] * 40 + [2] * 13
    fb.Learner(data, "resnet-1d", run=tmp_path / "series", quiet=True, epochs=1, **{"model.options.width": 4}).fit(
        check=False
    )
    assert measured(tmp_path / "series", tmp_path / "two_TEST.ts")["samples"] == 13
    assert measured(tmp_path / "series", tmp_path / "two_TRAIN.ts")["samples"] == 40

    for part, count in (("train", 30), ("testa", 7), ("testb", 5)):
        text = "".join(f"word{i % 3} {'AB'[i % 2]}\nend B\n\n" for i in range(count))
        (tmp_path / f"eng.{part}").write_text(text)
    data = fb.Dataset.from_tagged(tmp_path / "eng.train")
    fb.Learner(data, "gru-tagger", run=tmp_path / "tags", quiet=True, epochs=1).fit(check=False)
    assert measured(tmp_path / "tags", tmp_path / "eng.testb")["samples"] == 5


def test_the_parts_of_a_folder_are_no_classes(trained: tuple[Path, dict[str, float]], tmp_path: Path) -> None:
    run, _ = trained
    for part in ("train", "test"):
        shutil.copytree(run.parent / "others", tmp_path / "all" / part)
    assert measured(run, tmp_path / "all")["samples"] == 180
    assert measured(run, tmp_path / "all" / "test")["samples"] == 90


def table(rows: int, seed: int, path: Path, rare: bool = False) -> Path:
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3))
    score = x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=rows)
    y = score > (2.0 if rare else 0.0)
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": ["yes" if v else "no" for v in y]}).write_csv(path)
    return path


def test_other_data_has_the_rivals_beside_it_fitted_on_the_training_rows(tmp_path: Path) -> None:
    data = fb.Dataset.from_table(table(800, 0, tmp_path / "t.csv"), target="y")
    fb.Learner(data, "linear", run=tmp_path / "run", quiet=True, epochs=2, cache=tmp_path / "cache").fit(check=False)
    other = table(1500, 1, tmp_path / "new.csv")
    result = measured(tmp_path / "run", other)
    assert result["samples"] == 1500
    plain, trees = result["baselines"]
    kept = fb.Run.open(tmp_path / "run").evaluation["baselines"]
    assert (plain["name"], trees["name"]) == tuple(b["name"] for b in kept)
    frame = pl.read_csv(other)
    most = max(kept, key=lambda b: b["metrics"]["accuracy"])
    assert plain["metrics"]["accuracy"] == pytest.approx((frame["y"] == "yes").mean(), abs=0.1)
    assert trees["metrics"]["accuracy"] == pytest.approx(most["metrics"]["accuracy"], abs=0.1)
    value, low, high = trees["differences"]["accuracy"]
    assert value == pytest.approx(result["metrics"]["accuracy"] - trees["metrics"]["accuracy"])
    assert low < value < high < 0, "the linear model does not see the product"
    assert "baselines" not in measured(tmp_path / "run", other, baseline=False)


def test_without_the_data_of_the_training_there_are_no_rivals_and_that_is_said(tmp_path: Path) -> None:
    class Heard(Reporter):
        def say(self, text: str, style: str | None = None) -> None:
            lines.append(text)

    lines: list[str] = []
    data = fb.Dataset.from_table(table(300, 0, tmp_path / "t.csv"), target="y")
    fb.Learner(data, "linear", run=tmp_path / "run", quiet=True, epochs=1, cache=tmp_path / "cache").fit(check=False)
    other = table(300, 1, tmp_path / "new.csv")
    # a rival knows its training rows by heart: no verdict is made on them
    assert "baselines" not in measured(tmp_path / "run", tmp_path / "t.csv", reporter=Heard())
    assert "this is the data of the training" in " ".join(lines)
    table(300, 2, tmp_path / "t.csv")
    assert measured(tmp_path / "run", other, reporter=Heard())["baselines"] == []
    (tmp_path / "t.csv").unlink()
    assert measured(tmp_path / "run", other, reporter=Heard())["baselines"] == []
    assert "the data of the training has changed" in lines[-2]
    assert "the data of the training cannot be read" in lines[-1]


def test_where_a_class_is_rare_ranking_decides_and_another_metric_can(tmp_path: Path) -> None:
    data = fb.Dataset.from_table(table(2000, 0, tmp_path / "t.csv", rare=True), target="y")
    run = tmp_path / "run"
    learner = fb.Learner(data, "resmlp", run=run, quiet=True, epochs=4, cache=tmp_path / "cache")
    metrics = learner.fit(check=False)
    kept = fb.Run.open(run)
    assert kept.recipe.objective.metric == kept.evaluation["metric"] == learner.objective.monitor == "roc_auc"
    assert {"roc_auc", "average_precision", "balanced_accuracy", "mcc", "f1", "accuracy"} < set(metrics)
    assert all(set(metrics) - {"loss"} == set(b["metrics"]) for b in kept.evaluation["baselines"])
    low, high = kept.evaluation["intervals"]["roc_auc"]
    assert low < metrics["roc_auc"] < high
    best = max(learner.trainer.history, key=lambda line: line["valid"]["roc_auc"])  # type: ignore[union-attr]
    assert learner.trainer.state.best["epoch"] == best["epoch"]  # type: ignore[union-attr]
    assert measured(run, metric="mcc")["metric"] == "mcc"
    with pytest.raises(UsageError, match="no metric 'rmse' for a target of the kind category; known: accuracy, f1"):
        measured(run, metric="rmse")
    asked = fb.Learner(data, "linear", run=False, quiet=True, epochs=1, metric="f1", cache=tmp_path / "cache")
    asked.fit(check=False)
    assert asked.objective.monitor == "f1"
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        fb.Learner(data, "linear", run=False, quiet=True, metric="acuracy").fit()


def test_the_headline_says_what_was_measured() -> None:
    result = {"split": "test", "samples": 150, "metric": "accuracy", "metrics": {"loss": 0.2, "accuracy": 0.9}}
    result["intervals"] = {"accuracy": [0.841, 0.939]}
    assert headline(result) == "150 test rows: accuracy 0.9000 (95 % interval 0.841 to 0.939)  loss 0.2000"
    assert headline(result, 5).startswith("epoch 5 is kept; 150 test rows: ")
    for split, says in (("valid", "150 validation rows, which chose the epoch, so this is optimistic"),
                       ("all", "150 rows"), ("train", "150 rows, measured on what it trained on")):  # fmt: skip
        assert measured_on({**result, "split": split}) == says
    on_valid = {**result, "split": "valid"}
    assert headline(on_valid).startswith("150 validation rows: ")
    assert headline(on_valid, chose="the model").startswith("150 validation rows, which chose the model, so this is ")


def test_where_it_fails_is_found_and_a_threshold_is_chosen_kept_and_gone_by(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    x, country = random.normal(size=(1500, 2)), random.choice(["de", "fr", "it"], 1500)
    score = 3 * x[:, 0] + np.where(country == "it", 6.0, 0.5) * random.normal(size=1500)
    said = ["yes" if v > 1 else "no" for v in score]
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "country": country, "y": said})
    frame.write_csv(tmp_path / "t.csv")
    run = tmp_path / "run"
    data = fb.Dataset.from_table(tmp_path / "t.csv", target="y", inputs=["a", "b"])
    fb.Learner(data, "linear", run=run, quiet=True, epochs=6, learning_rate=0.1, cache=tmp_path / "cache").fit()
    found = fb.Run.open(run).evaluation
    assert {"log_loss", "brier", "roc_auc"} <= set(found["further"]["metrics"]) == set(found["further"]["intervals"])
    assert {one["name"] for one in found["detail"]["slices"]["by"]} == {"a", "b", "country"}

    def told(*arguments: str) -> str:
        assert command(["evaluate", str(run), *arguments]) == 0
        return capfd.readouterr().out

    out = told("--slice", "country", "--precision", "0.7", "--accuracy", "0.9", "--apply")
    assert "where does it fail? where country = it (accuracy 0." in out and "worse than the rest, p = " in out
    assert "decision: precision 0.7 and accuracy 0.9, chosen on validation rows, 80% sure of it" in out
    decision = fb.Run.open(run).decision
    (threshold,) = decision["thresholds"].values()
    assert "decision: precision 0.7" in told(), "what a run keeps is measured"
    rows = frame.select("a", "b")
    plain, sure = fb.load(run), fb.load(run)
    plain.objective.decision = {}
    before, after = plain.predict(rows), sure.predict(rows)
    assert {one.label for one in after} >= {"unknown"}
    logits = np.log([one.probabilities["yes"] / one.probabilities["no"] for one in before])
    confidence = np.asarray([one.confidence for one in before])
    expected = np.where(confidence < decision["reject_below"], "unknown", np.where(logits >= threshold, "yes", "no"))
    assert [one.label for one in after] == expected.tolist()
    with background_server(run) as address:  # so does the server
        heard = httpx.post(f"{address}/predict", json={"inputs": rows[:100].to_dicts()}).json()["predictions"]
        assert [one["label"] for one in heard] == expected[:100].tolist()
    page = (run / "report.html").read_text("utf-8")
    (name,) = decision["thresholds"]
    assert f"{name}: from {1 / (1 + np.exp(-threshold)):.4g} on" in page and "unknown: below a confidence of" in page
    assert command(["predict", str(run), '{"a": 0.1, "b": 0}']) == 0
    heard = capfd.readouterr()
    assert "unknown" in heard.out and "decision.json" in heard.err
    for wrong, says in (
        (["--apply"], "no threshold is asked for"),
        (["--cost", "10"], "the cost '10' does not fit"),
        (["--slice", "contry"], "did you mean 'country'"),
        (["--recall", "0.9", "--positive", "maybe"], "there is no class 'maybe'"),
    ):
        assert command(["evaluate", str(run), *wrong]) == 2
        error = capfd.readouterr().err.strip().splitlines()[-1]
        assert says in error
