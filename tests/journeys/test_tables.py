"""The way of tables, and of several inputs: from a file to predictions on the command line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from forkserver import Forkserver
from realdata.pictures import write_digits
from sklearn.datasets import load_digits, load_wine

import flambeau as fb
from flambeau.core.errors import DataError, UsageError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Wines, with a column of texts for numbers, a category and gaps."""
    wine = load_wine()
    names = [n.replace("/", "_") for n in wine.feature_names[:6]]
    frame = pl.DataFrame(dict(zip(names, wine.data.T[:6], strict=True)))
    frame = frame.with_columns(
        pl.Series("strong", ["yes" if a > 13 else "no" for a in wine.data[:, 0]]),
        pl.Series("hue", ["n/a" if i % 10 == 0 else f"{h:.2f}" for i, h in enumerate(wine.data[:, 10])]),
        pl.Series("kind", [f"kind {t}" for t in wine.target]),
    )
    frame.write_csv(tmp_path / "wine.csv")
    return tmp_path / "wine.csv"


def test_a_table(flambeau: Forkserver, table: Path, tmp_path: Path) -> None:
    found = flambeau("check", table, "--target", "kind", "--json", cwd=tmp_path)
    assert found.status == 0, found.err
    assert {"read-as-missing", "missing-values"} <= {f["check"] for f in found.json["findings"]}
    trained = flambeau("train", table, "--target", "kind", "--epochs", 20, "--run", "run", "--json", cwd=tmp_path)
    assert trained.status == 0, trained.err
    assert trained.json["metrics"]["accuracy"] > 0.85
    assert "baseline" in trained.err and "gradient-boosted trees" in trained.err
    told = flambeau("predict", "run", table, "--json", cwd=tmp_path)
    assert told.status == 0 and len(told.json["predictions"]) == 178
    assert "not read: kind" in told.err
    measured = flambeau("evaluate", "run", table, "--json", cwd=tmp_path)
    assert measured.json["samples"] == 178 and measured.json["metrics"]["accuracy"] > 0.85
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="rivals"' in page and 'id="inputs"' in page


def test_rows_that_do_not_fit_are_named(flambeau: Forkserver, table: Path, tmp_path: Path) -> None:
    data = fb.Dataset.from_table(table, target="kind", inputs=["alcohol", "strong"])
    learner = fb.Learner(data, model="linear", epochs=2, run=tmp_path / "run", quiet=True)
    learner.fit(check=False)
    asked = ['{"alcohol": 13, "strong": "never seen"}', '{"alcohol": 13}', '{"alcohol": "much", "strong": "yes"}']
    told = flambeau("predict", "run", *asked, "--json", cwd=tmp_path)
    assert told.status == 2
    good, short, wrong = told.json["predictions"]
    assert good["label"].startswith("kind")
    assert short["error"] == "the row has no column 'strong'"
    assert wrong["error"] == "the column 'alcohol' has 'much'; expected a number"
    pl.read_csv(table).drop("strong").write_csv(tmp_path / "short.csv")
    assert "the table has no column 'strong'" in flambeau("predict", "run", "short.csv", cwd=tmp_path).out
    assert "there is no column 'strong'" in flambeau("evaluate", "run", "short.csv", cwd=tmp_path).err
    frame = pl.read_csv(table)[:3].select("alcohol", "strong")
    assert len(learner.predict(frame)) == 3
    with pytest.raises(DataError, match=r"input 1: the row has a column 'x' that the model does not know"):
        learner.predict([{"alcohol": 1, "strong": "yes"}, {"alcohol": 1, "strong": "yes", "x": 1}])


def test_a_picture_a_text_and_a_number_some_missing(flambeau: Forkserver, tmp_path: Path) -> None:
    digits = load_digits()
    write_digits(tmp_path / "digits")
    files = sorted((tmp_path / "digits").glob("[0-3]/*.png"))[::3]
    rows = []
    for i, file in enumerate(files):
        label = file.parent.name
        said = f"this one {'is round' if label == '0' else 'has an edge'} they say of number {i}"
        rows.append({
            "picture": None if i % 5 == 0 else str(file.relative_to(tmp_path)),
            "said": None if i % 7 == 0 else said, "ink": float(digits.images[i].mean()), "label": f"digit {label}",
        })  # fmt: skip
    pl.DataFrame(rows).write_csv(tmp_path / "some.csv")
    inputs = [x for name in ("picture", "said", "ink") for x in ("--input", name)]
    trained = flambeau(
        "train", "some.csv", "--target", "label", *inputs, "--epochs", 6, "--run", "run", "--no-check", "--json",
        "--set", "model.options.encoders.picture.name=lenet", "--set", "model.options.encoders.said.rate=0.5",
        cwd=tmp_path,
    )  # fmt: skip
    assert trained.status == 0, trained.err
    assert trained.json["metrics"]["accuracy"] > 0.7
    run = fb.Run.open(tmp_path / "run")
    without = run.evaluation["shuffled"]["without"]
    assert set(without) == {"picture", "said", "ink"}
    assert without["picture"] < run.evaluation["shuffled"]["whole"]
    assert run.recipe.model.options["encoders"]["said"]["rate"] == 0.5
    assert flambeau("evaluate", "run", cwd=tmp_path).status == 0
    predictor = fb.load(run.path)
    one = {"picture": str(files[1]), "said": "this one is round they say", "ink": 4.0}
    assert predictor.predict(one).label.startswith("digit")
    assert predictor.predict({"ink": 4.0}).label.startswith("digit")  # the rest is missing, as in some training rows
    with pytest.raises(DataError, match="the row has no column 'ink'"):
        predictor.predict({"picture": str(files[1]), "said": "x y z"})
    told = flambeau("predict", "run", "some.csv", "--json", cwd=tmp_path)
    assert told.status == 0 and len(told.json["predictions"]) == len(files)
    again = fb.Learner.from_recipe(run.recipe, run=False, quiet=True).build()
    assert again.recipe.model.options["encoders"]["picture"]["name"] == "lenet"


def test_a_model_of_one_input_says_so(table: Path) -> None:
    data = fb.Dataset.from_arrays({"a": load_digits().images[:50], "b": [1.0] * 50}, [0, 1] * 25)
    with pytest.raises(UsageError, match=r"resnet9 takes one input; the data has 2.*encoders\.table\.name=resnet9"):
        fb.Learner(data, model="resnet9", run=False, quiet=True).build()


def test_a_row_without_one_of_several_inputs_is_said_to_be_learned(tmp_path: Path) -> None:
    write_digits(tmp_path / "digits")
    files = sorted((tmp_path / "digits").rglob("*.png"))[::30]
    frame = pl.DataFrame({
        "picture": [None if i % 7 == 0 else str(file) for i, file in enumerate(files)],
        "ink": [float(i) for i in range(len(files))],
        "digit": [file.parent.name for file in files],
    })  # fmt: skip
    both = fb.Dataset.from_frame(frame, target="digit", inputs=["picture", "ink"])
    told = {f.check: f for f in both.check()}
    assert len(told["missing-input"].rows) == 9 and "learned as missing" in told["missing-input"].message
    assert "unreadable" not in told
    alone = fb.Dataset.from_frame(frame, target="digit", inputs=["picture"])
    assert "left out" in next(f.message for f in alone.check() if f.check == "unreadable")
