"""Cross-validation: what each row is answered comes from a model that did not see it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sklearn.datasets

import flambeau as fb
from flambeau.cli.main import main
from flambeau.core.errors import UsageError
from flambeau.data.split import TEST, TRAIN, UNUSED, VALID
from flambeau.evaluation import evaluate_run

DIGITS = sklearn.datasets.load_digits()


def learner(data: fb.Dataset, **settings) -> fb.Learner:
    return fb.Learner(data, **{"epochs": 1, "batch_size": 16, "quiet": True, **settings})


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Numbers whose class is their sign, in kits of 10 rows, a day to each row."""
    folder = tmp_path_factory.mktemp("table")
    x = np.random.default_rng(0).standard_normal((80, 2))
    days = [f"2024-{1 + i // 28:02}-{1 + i % 28:02}" for i in range(80)]
    frame = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "kit": [f"k{i % 4}" for i in range(80)], "day": days,
                          "sign": ["up" if v > 0 else "down" for v in x[:, 0]]})  # fmt: skip
    frame.write_csv(folder / "rows.csv")
    return folder / "rows.csv"


def test_every_row_is_answered_once_a_repeat_by_a_model_that_did_not_see_it(tmp_path):
    data = fb.Dataset.from_arrays(DIGITS.images[:200] / 16, DIGITS.target[:200])
    found = fb.cross_validate(learner(data, model="mlp"), 3, repeats=2, study=tmp_path / "s", ensemble=True)

    answers = found.out_of_fold
    assert [*answers.columns] == ["row", "place", "repeat", "fold", "true", "predicted", "output"]
    for _, of_repeat in answers.group_by("repeat"):
        assert of_repeat["row"].sort().to_list() == [*range(200)]
    assert answers["true"].to_list() == [str(DIGITS.target[row]) for row in answers["row"]]
    for facts in found.folds:  # the figures are those of the answers
        own = answers.filter((pl.col("repeat") == facts["repeat"]) & (pl.col("fold") == facts["fold"]))
        assert (own["true"] == own["predicted"]).mean() == pytest.approx(facts["metrics"]["accuracy"])
        probabilities = np.asarray(own["output"].to_list())
        assert [str(k) for k in probabilities.argmax(1)] == own["predicted"].to_list()
    each = [facts["metrics"]["accuracy"] for facts in found.folds]
    assert found.mean["accuracy"] == pytest.approx(np.mean(each))
    assert found.deviation["accuracy"] == pytest.approx(np.std(each, ddof=1))

    assert found.ensemble is not None and found.ensemble.evaluation["split"] == "out_of_fold"
    assert len(found.ensemble.members) == 6 and fb.load(found.ensemble).predict(DIGITS.images[0] / 16).label == "0"


def test_the_fold_that_is_measured_does_not_choose_the_epoch():
    data = fb.Dataset.from_arrays(DIGITS.images[:200] / 16, DIGITS.target[:200])
    for fold in data.folds(4, valid=0.2):
        assert [(fold.split == s).sum() for s in (TEST, VALID)] == [50, 30]
    for fold in data.folds(4, valid=0):
        assert {*fold.split.tolist()} == {TRAIN, TEST}


def test_by_time_each_fold_is_later_than_all_that_trains():
    days = np.random.default_rng(0).permutation(100) // 2  # two rows a day
    data = fb.Dataset({"x": [*range(100)], "day": days, "y": [1.5 * v for v in range(100)]}, target="y", inputs=["x"])
    folds = [*data.folds(4, by="day", method="time", valid=0.1)]
    for number, fold in enumerate(folds):
        parts = [days[fold.split == part] for part in (TRAIN, VALID, TEST, UNUSED)]
        assert parts[0].max() <= parts[1].min() <= parts[1].max() < parts[2].min()
        assert len(parts[2]) == 20 and (parts[2].max() < parts[3].min() if len(parts[3]) else number == 3)


def test_groups_stay_together_and_each_is_a_fold_where_no_number_is_given(table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["cv", str(table), "--target", "sign", "--by", "kit", "--input", "a", "--input", "b", "--epochs", "1",
              "--json", "--ensemble"])  # fmt: skip
    assert not ended.value.code
    said = json.loads(capsys.readouterr().out)
    answers = pl.read_parquet(said["out_of_fold"])
    kits = pl.read_csv(table)["kit"]
    assert len(said["folds"]) == 4
    for _, fold in answers.group_by("fold"):
        assert kits[fold["row"]].n_unique() == 1 and len(fold) == 20
    # no row is held out from all members, so none is measured on as if it were
    assert evaluate_run(said["ensemble"])["split"] == "train"


@pytest.mark.parametrize("transform", ["none", "log"])
def test_models_of_numbers_are_joined_in_the_units_of_the_target(transform, tmp_path):
    """Each fold scales the target by its own rows."""
    x = np.random.default_rng(0).uniform(1, 3, 60)
    columns = {"x": x.tolist(), "price": (1000 * x**3).tolist()}
    data = fb.Dataset(columns, target="price", fields={"price": fb.fields.Number(transform=transform)})
    found = fb.cross_validate(learner(data, epochs=3), 3, study=tmp_path / "s", ensemble=True)
    assert found.ensemble is not None
    joint, members = fb.load(found.ensemble), [fb.load(run) for run in found.ensemble.members]
    scaled = [member.fields["price"] for member in members]
    assert len({tuple(field.mean) for field in scaled}) == 3
    for value in (1.2, 2.9):
        own = np.asarray([member.predict({"x": value}).label for member in members])
        mean = np.exp(np.log(own).mean()) if transform == "log" else own.mean()
        assert joint.predict({"x": value}).label == pytest.approx(mean, rel=1e-5)


def test_a_study_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(table, tmp_path):
    program = f"""if True:
        import flambeau as fb
        data = fb.Dataset.from_table({str(table)!r}, target="sign", inputs=["a", "b"])
        learner = fb.Learner(data, epochs=1, batch_size=16, cache="cache")
        print(fb.cross_validate(learner, 4, study="s").mean)
    """
    killed = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert killed.stderr is not None
    for line in killed.stderr:
        if "fold 3 of 4" in line:
            os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    first = tmp_path / "s" / "fold-1-1" / "model.safetensors"
    stamp = first.stat().st_mtime_ns
    assert not (tmp_path / "s" / "fold-1-4").exists()
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
    assert first.stat().st_mtime_ns == stamp

    data = fb.Dataset.from_table(table, target="sign", inputs=["a", "b"])
    fb.cross_validate(learner(data, cache=tmp_path / "cache"), 4, study=tmp_path / "whole")
    both = [pl.read_parquet(tmp_path / name / "out_of_fold.parquet") for name in ("s", "whole")]
    assert both[0].equals(both[1])


def test_a_search_sees_nothing_of_the_fold(table, tmp_path):
    data = fb.Dataset.from_table(table, target="sign", inputs=["a", "b"])
    seen = []

    def search(inner: fb.Learner) -> dict[str, float]:
        seen.append((inner.data.split == UNUSED).sum())
        assert not (inner.data.split == TEST).any()
        return {"learning_rate": 0.01 * len(seen)}

    found = fb.cross_validate(learner(data), 2, study=tmp_path / "s", search=search)
    assert seen == [40, 40]
    rates = [fb.Run(tmp_path / "s" / fold["run"]).recipe.training.learning_rate for fold in found.folds]
    assert rates == [0.01, 0.02]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--by", "kitt"], "there is no column 'kitt' to split by; did you mean 'kit'"),
        (["--by", "kit", "--folds", "9"], "has 4 groups"),
        (["--split", "none"], "fold 0 of 5 of a split 'none' does not fit"),
        (["--split", "time"], "needs a column"),
        (["--by", "a"], "80 groups, which would be as many trainings"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(asked, said, table, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["cv", str(table), "--target", "sign", *asked])
    errors = capsys.readouterr().err
    assert ended.value.code == 2 and said in errors and "Traceback" not in errors
    assert not (tmp_path / "runs").exists()


def test_windows_of_series_are_not_dealt(tmp_path):
    steps = [f"2024-01-01 {minute // 60:02}:{minute % 60:02},{minute % 7}\n" for minute in range(240)]
    (tmp_path / "s.csv").write_text("".join(["t,v\n", *steps]))
    data = fb.Dataset.from_series(tmp_path / "s.csv", time="t", target="v", horizon=2)
    with pytest.raises(UsageError, match="overlap"):
        fb.cross_validate(learner(data), 3, study=tmp_path / "s")
