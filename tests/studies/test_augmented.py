"""More training texts by other runs: they train where what they were made of does, and nowhere else."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import flambeau as fb
from flambeau.cli.main import run as flambeau
from flambeau.data.split import TRAIN, UNUSED
from flambeau.recipe import Recipe
from flambeau.run import Run

GOOD, BAD = ["fine", "lovely", "great"], ["awful", "poor", "dull"]
THINGS = ["film", "meal", "phone", "song", "book", "hotel", "game"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reviews with their split, and runs: one that shortens texts, a language model of those that train, a judge."""
    path = tmp_path_factory.mktemp("augmented")
    texts = [(f"the {thing} is {word} {more}", "good" if word in GOOD else "bad")
             for thing in THINGS for word in GOOD + BAD for more in ("today", "again")]  # fmt: skip
    draw = np.random.default_rng(0).permutation(len(texts))
    split = np.where(draw % 5 == 0, "valid", "train").tolist()
    frame = pl.DataFrame(texts, schema=["text", "label"], orient="row")
    frame.with_columns(pl.Series("split", split)).write_csv(path / "reviews.csv")
    frame.write_csv(path / "bare.csv")
    frame.with_columns(pl.Series("split", split)).filter(pl.col("split") == "train").write_csv(path / "train.csv")
    columns = {"a": [text for text, _ in texts] * 3, "b": [text.split()[3] for text, _ in texts] * 3}
    fields = {"a": fb.fields.Text(), "b": fb.fields.TextTarget("characters")}
    data = fb.Dataset(columns, target="b", fields=fields, split="none")
    settings = {"model": "seq2seq-gru", "epochs": 10, "learning_rate": 0.01, "baseline": False}
    recipe = Recipe().with_settings(settings)
    recipe.model.options = {"embedding": 32, "hidden_size": 48, "dropout": 0.0}
    fb.Learner(data, recipe=recipe, run=path / "shorter", quiet=True).fit(check=False)
    quiet = ["--no-check", "--no-baseline"]
    for name, table, epochs in (("lm", "train.csv", "6"), ("lm-all", "bare.csv", "1")):
        sizes = [f"model.options.{n}={size}" for n, size in (("hidden_size", 48), ("embedding", 48), ("layers", 1))]
        settings = [*sizes, "fields.text.tokens=characters", "batch_size=2"]
        asked = ["--input", "text", "--objective", "language-model", "--model", "gru-lm"]
        asked += [word for setting in settings for word in ("--set", setting)]
        run = ["--run", str(path / name), "--epochs", epochs, "--lr", "0.01"]
        assert flambeau(["train", str(path / table), *asked, *run, *quiet]) == 0
    run = ["--run", str(path / "judge"), "--model", "bag", "--epochs", "20"]
    assert flambeau(["train", str(path / "reviews.csv"), *run, *quiet]) == 0
    return path


def made(folder: Path, name: str, *options: str) -> pl.DataFrame:
    out = folder / f"{name}.csv"
    assert flambeau(["augment", str(folder / "reviews.csv"), *options, "--out", str(out)]) == 0
    return pl.read_csv(out)


def test_texts_come_back_in_other_words_and_train_where_theirs_do(folder: Path) -> None:
    table = made(folder, "back", "--forth", str(folder / "shorter"), "--back",
                 str(folder / "shorter"))  # fmt: skip
    rows = pl.read_csv(folder / "reviews.csv")
    known = set(rows["text"])
    assert len(table) >= 3 and set(table["made_by"]) == {"back-translation shorter shorter"}
    for new in table.iter_rows(named=True):
        source = rows.row(new["made_from"] - 1, named=True)
        assert (source["text"], source["label"], source["split"]) == (new["made_of"], new["label"], "train")
        assert new["text"] not in known
    plain = fb.Dataset.from_table(folder / "reviews.csv")
    assert flambeau(["train", str(folder / "reviews.csv"), "--also", str(folder / "back.csv"), "--model", "bag",
                     "--epochs", "1", "--run", str(folder / "more")]) == 0  # fmt: skip
    source = Run.open(folder / "more").recipe.data
    data = fb.Dataset.from_source({name: value for name, value in source.items() if name != "fingerprint"})
    assert (data.split[: len(plain)] == plain.split).all() and (data.split[len(plain) :] == TRAIN).all()
    assert data.place(len(plain)) == "back.csv, row 1"
    assert Run.open(folder / "more").evaluation["samples"] == len(plain.rows("valid"))
    seen: set[int] = set()
    for fold in data.folds(3):  # those whose text is held out are in no part
        parts = fold.split[len(plain) :]
        own = fold.split[table["made_from"].to_numpy() - 1]
        assert (parts == np.where(own == TRAIN, TRAIN, UNUSED)).all()
        seen |= {*parts.tolist()}
    assert seen == {TRAIN, UNUSED}


def test_a_language_model_writes_what_a_classifier_keeps(folder: Path) -> None:
    asked = ["--run", str(folder / "lm"), "--filter", str(folder / "judge")]
    table = made(folder, "written", *asked, "--per-class", "4", "--temperature", "1.2")
    rows = pl.read_csv(folder / "reviews.csv")
    assert set(table["label"]) <= {"good", "bad"} and 0 < len(table) <= 8 and table["text"].is_unique().all()
    judge = fb.load(folder / "judge")
    for new in table.iter_rows(named=True):
        source = rows.row(new["made_from"] - 1, named=True)
        assert source["split"] == "train" and source["label"] == new["label"] == judge.predict(new["text"]).label
        assert new["text"].startswith(" ".join(source["text"].split()[:2])) and new["text"] not in set(rows["text"])


def test_a_model_that_saw_what_is_held_out_makes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--run", str(folder / "lm-all"), "--filter", str(folder / "judge")]
    assert flambeau(["augment", str(folder / "bare.csv"), *asked, "--out", str(folder / "none.csv")]) == 2
    said = capsys.readouterr().err
    assert "the run learned from" in said and "held out here" in said and not (folder / "none.csv").exists()


def test_what_does_not_fit_is_told(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    reviews, judge = str(folder / "reviews.csv"), str(folder / "judge")
    for asked, told in (
        ([], "how are texts to be made"),
        (["--forth", judge, "--run", judge], "both"),
        (["--forth", judge], "--back is missing"),
        (["--forth", judge, "--back", judge], "translates nothing"),
        (["--run", judge, "--filter", judge], "writes no texts"),
        (["--run", str(folder / "lm"), "--filter", str(folder / "lm")], "no class 'bad'"),
        (["--run", str(folder / "no"), "--filter", judge], "no"),
    ):
        assert flambeau(["augment", reviews, *asked, "--out", str(tmp_path / "out.csv")]) == 2
        assert told in capsys.readouterr().err
    line = {"text": "the film is grand", "label": "good", "made_by": "x", "made_from": 500, "made_of": None}
    for change, told in (({}, "is no row of the data"), ({"made_from": 1, "made_of": "another"}, "is not what")):
        with (tmp_path / "other.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, [*line])
            table.writeheader()
            table.writerow({**line, **change})
        assert flambeau(["train", reviews, "--also", str(tmp_path / "other.csv")]) == 2
        assert told in capsys.readouterr().err
