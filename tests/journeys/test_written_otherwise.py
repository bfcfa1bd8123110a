"""What a column is was decided in training: it is read so ever after, by evaluate, predict, Python and a server, and
where it cannot be, that is said."""

from __future__ import annotations

import csv
import json
import urllib.request
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from forkserver import Forkserver

import flambeau as fb
from flambeau.evaluation import evaluate_run
from flambeau.serve import background_server


def german(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(".,", ",."))


def write(path: Path, price: Any, code: str, separator: str = ";") -> Path:
    """Items of which the dear ones have the code 12, and the cheap ones 7."""
    rows = [
        (f"A{i}", price(1000 + 500 * (i % 2) + i / 100), code.format([7, 12][i % 2]), "ny"[i % 2]) for i in range(120)
    ]
    lines = [separator.join(row) for row in [("id", "price", "code", "label"), *rows]]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on prices with decimal commas and codes of three digits."""
    folder = tmp_path_factory.mktemp("written")
    data = fb.Dataset.from_table(write(folder / "train.csv", german, "{:03d}"))
    fb.Learner(data, model="linear", epochs=30, learning_rate=0.1, run=folder / "run", quiet=True).fit(check=False)
    return folder / "run"


def test_the_recipe_keeps_how_a_column_is_read(run: Path) -> None:
    assert "written: de" in (run / "recipe.yaml").read_text()
    field = fb.load(run).column_fields["price"]
    assert field.reading == "number:de"


def test_numbers_and_codes_are_known_again_however_another_program_has_typed_them(run: Path) -> None:
    predictor = fb.load(run)
    as_trained = predictor.predict({"price": "1.500,25", "code": "012"})
    for price, code in ((1500.25, "012"), (1500.25, 12), (1500.25, 12.0), ("1.500,25", "12.0")):
        assert predictor.predict({"price": price, "code": code}).probabilities == as_trained.probabilities
    frame = pl.DataFrame({"price": [1500.25], "code": [12]})
    assert predictor.predict(frame)[0].probabilities == as_trained.probabilities
    texts = pl.DataFrame({"price": ["1.500,25"], "code": ["012"]})
    assert predictor.predict(texts)[0].probabilities == as_trained.probabilities


def test_a_file_that_is_written_otherwise_is_read_and_said(run: Path, tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.csv", lambda price: str(int(price)), "{:03d}")
    assert evaluate_run(run, whole)["metrics"]["accuracy"] == 1.0
    english = write(tmp_path / "english.csv", lambda price: f"{price:.2f}", "{:03d}", ",")
    data = fb.Dataset.from_table(english, target="label", fields={"price": fb.load(run).column_fields["price"]})
    assert data.columns["price"][1] == 1500.01
    assert "are not written as number:de, as was expected, and are read as number:en" in str(data.findings[0])
    assert evaluate_run(run, english)["metrics"]["accuracy"] == 1.0


def test_codes_that_training_did_not_have_are_said(run: Path, tmp_path: Path, flambeau: Forkserver) -> None:
    bare = write(tmp_path / "bare.csv", german, "{:d}")
    told = flambeau("evaluate", str(run), str(bare), cwd=tmp_path)
    assert "120 of 120 values of 'code' are taken as unknown" in told.err and "such as '7'" in told.err
    assert "such as '007'" in told.err
    told = flambeau("predict", str(run), str(bare), cwd=tmp_path)
    assert told.status == 0 and "120 of 120 values of 'code' are taken as unknown" in told.err
    with pytest.warns(UserWarning, match="1 of 1 values of 'code' are taken as unknown"):
        fb.load(run).predict(pl.DataFrame({"price": [1500.25], "code": ["7"]}))


def test_predictions_of_a_table_can_be_joined_to_it(run: Path, tmp_path: Path, flambeau: Forkserver) -> None:
    table = write(tmp_path / "new.csv", german, "{:03d}")
    assert flambeau("predict", str(run), str(table), "--csv", "out.csv", cwd=tmp_path).status == 0
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["id"]) for row in rows[:2]] == [("1", "A0"), ("2", "A1")] and len(rows) == 120
    assert "error" not in rows[0] and all(value for row in rows for value in row.values())
    made = pl.read_csv(table, separator=";").join(pl.read_csv(tmp_path / "out.csv"), on="id")
    assert (made["label"] == made["label_right"]).all()


def test_a_server_reads_rows_as_the_training_did(run: Path) -> None:
    inputs = [{"price": "1.500,25", "code": "012"}, {"price": 1500.25, "code": 12}, {"price": "cheap", "code": "012"}]
    with background_server(run) as url:
        request = urllib.request.Request(
            f"{url}/predict", json.dumps({"inputs": inputs}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            first, second, bad = json.load(response)["predictions"]
    assert first == second and first["label"] == "y" and "'price' has 'cheap'" in bad["error"]


def test_classes_that_are_true_and_false_are_known_again_as_such(tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 2},{['false', 'true'][i % 2]}" for i in range(60))
    (tmp_path / "t.csv").write_text(f"x,label\n{rows}")
    data = fb.Dataset.from_table(tmp_path / "t.csv")
    fb.Learner(data, model="linear", epochs=30, learning_rate=0.1, run=tmp_path / "run", quiet=True).fit(check=False)
    typed = fb.Dataset.from_frame(pl.DataFrame({"x": [0, 1] * 10, "label": [False, True] * 10}), target="label")
    assert evaluate_run(tmp_path / "run", typed)["metrics"]["accuracy"] == 1.0


def test_the_check_shows_how_each_column_is_read(tmp_path: Path, flambeau: Forkserver) -> None:
    write(tmp_path / "train.csv", german, "{:03d}")
    shown = flambeau("check", "train.csv", cwd=tmp_path)
    assert "price  number:de (with a decimal comma), e.g. '1.000,00' → 1000.0" in shown.err
    assert "code   category, e.g. '007'" in shown.err
    asked = flambeau("check", "train.csv", "--read", "code=number", "--json", cwd=tmp_path).json["columns"]
    assert asked[1] == {"column": "code", "form": "number", "words": "", "example": "007", "value": 7.0}
    wrong = flambeau("check", "train.csv", "--read", "code", cwd=tmp_path)
    assert wrong.status == 2 and "expected such as price=number:de" in wrong.err


def test_labels_that_are_joined_are_learned_one_by_one(tmp_path: Path) -> None:
    rows = "\n".join(f"{i % 4},{['a|b', 'b|c', 'a', 'c'][i % 4]}" for i in range(120))
    (tmp_path / "t.csv").write_text(f"x,label\n{rows}")
    data = fb.Dataset.from_table(tmp_path / "t.csv")
    fb.Learner(data, model="linear", epochs=3, run=tmp_path / "run", quiet=True).fit(check=False)
    assert evaluate_run(tmp_path / "run", tmp_path / "t.csv")["samples"] == 120
    trees = next(rival for rival in fb.Run(tmp_path / "run").evaluation["baselines"] if "trees" in rival["name"])
    assert trees["metrics"]["f1"] > 0.9, "each label has a model of its own"
