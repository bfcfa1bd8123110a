"""Suspected labels: found by answers of models that did not see them, looked through by a person, given back."""

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import flambeau as fb
from flambeau.cli.main import main
from flambeau.core.errors import DataError
from flambeau.data.corrections import corrected
from flambeau.fields import MultiLabel, Tags
from flambeau.objectives.doubts import wrong_classes, wrong_numbers
from flambeau.objectives.tasks import task_of
from flambeau.studies.clean import Suspect, suspects, write


def told(*arguments, capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    out = capsys.readouterr()
    return int(ended.value.code or 0), out.out, out.err


def test_as_many_are_suspected_as_disagree_where_models_are_sure():
    """100 samples of which models are sure, 5 of them mislabelled; 100 they are wrong about 40 times of themselves."""
    sure, unsure = np.tile([0.98, 0.02], (100, 1)), np.tile([0.55, 0.45], (100, 1))
    given = np.zeros(201, np.int64)
    given[:5] = given[100:140] = 1
    given[200] = -1  # no label, nothing to suspect
    answers = np.concatenate([sure, unsure, sure[:1]])
    found = wrong_classes(given, answers)
    assert [doubt.at for doubt in found[:5]] == [*range(5)] and len(found) == 10  # 5 % of the 200
    assert found[0].suggested == 0 and found[0].confidence == pytest.approx(0.98)
    given[:5] = 0
    assert wrong_classes(given, answers) == []


def test_far_numbers_are_suspected():
    random = np.random.default_rng(0)
    truth = random.uniform(0, 100, 200)
    given = truth + random.normal(0, 1, 200)
    given[[3, 50]] = truth[[3, 50]] + (40, -25)
    assert [doubt.at for doubt in wrong_numbers(given, truth)] == [3, 50]


@pytest.mark.parametrize("separator", [None, ";", "[,]"])
def test_of_several_labels_each_may_be_wrong(separator):
    field = MultiLabel(["cat", "dog"], separator or ";")
    names = [["cat", "dog"], ["dog"], ["cat"], []] * 5
    answers = [np.asarray([0.97 if name in own else 0.02 for name in field.classes]) for own in names]
    names[4], names[9] = ["dog"], ["cat", "dog"]  # a label is left out, and one too many
    given = names if separator is None else [field.joined(own) for own in names]
    doubts = task_of(field).doubts(given, given, answers)
    assert {doubt.at: {*field.names(doubt.suggested)} for doubt in doubts} == {4: {"cat", "dog"}, 9: {"dog"}}
    assert all(type(doubt.suggested) is type(given[0]) for doubt in doubts)


@pytest.mark.parametrize("form", [list, " ".join])
def test_of_tags_one_word_may_be_wrong(form):
    field = Tags(["O", "PER", "LOC"])
    answers = [np.asarray([[0.95, 0.03, 0.02], [0.03, 0.95, 0.02], [0.02, 0.03, 0.95], [0, 0, 0]])] * 10
    given = [form(["O", "PER", "LOC", "LOC"])] * 9 + [form(["O", "LOC", "LOC", "O"])]  # the last is cut off
    [doubt] = task_of(field).doubts(given, given, answers)
    assert (doubt.at, doubt.suggested) == (9, form(["O", "PER", "LOC", "O"]))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Sentences of two kinds of words, of which four are labelled as the other kind."""
    folder = tmp_path_factory.mktemp("clean")
    random = np.random.default_rng(0)
    words = {"sea": ["wave", "boat", "salt", "tide", "harbour"], "hill": ["peak", "goat", "rock", "snow", "valley"]}
    names = ["sea", "hill"] * 60
    texts = [" ".join(random.choice(words[name], 6)) + f" {number}" for number, name in enumerate(names)]
    for row in (4, 9, 40, 71):
        names[row] = {"sea": "hill", "hill": "sea"}[names[row]]
    pl.DataFrame({"text": texts, "kind": names}).write_csv(folder / "rows.csv")
    return folder / "rows.csv"


@pytest.fixture(scope="module")
def study(data, tmp_path_factory) -> Path:
    learner = fb.Learner(fb.Dataset.from_table(data, target="kind"), model="bag", epochs=15, batch_size=8, quiet=True)
    return fb.cross_validate(learner, 3, valid=0, study=tmp_path_factory.mktemp("s") / "cv").study.path


def test_wrong_labels_are_found_looked_through_and_given_back(data, study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = suspects(study)
    assert {4, 9, 40, 71} <= {one.row for one in found} and len(found) < 10
    code, out, err = told("clean", data, "--from", study, "--page", "fixes.html", capsys=capsys)
    assert code == 0 and "labels may be wrong" in out
    assert err.splitlines()[-1] == f"next: flambeau train {data} --target kind --corrections fixes.csv"
    assert "sea → hill" in Path("fixes.html").read_text("utf-8")

    rows = list(csv.DictReader(Path("fixes.csv").read_text("utf-8").splitlines()))
    assert {*rows[0]} == {"place", "given", "suggested", "confidence", "keep"}
    for row in rows:
        row["keep"] = "" if row["place"] in ("row 5", "row 10") else "right as it is"
    with Path("fixes.csv").open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    code, out, err = told("train", data, "--target", "kind", "--corrections", "fixes.csv", "--epochs", "1",
                          "--model", "bag", "--no-baseline", "--json", capsys=capsys)  # fmt: skip
    assert code == 0, err
    again = fb.Dataset.from_source(
        {k: v for k, v in fb.Run(json.loads(out)["run"]).recipe.data.items() if k != "fingerprint"}
    )
    plain = fb.Dataset.from_table(data, target="kind")
    changed = [row for row in range(120) if again.columns["kind"][row] != plain.columns["kind"][row]]
    assert changed == [4, 9]
    assert (again.split == plain.split).all()  # what was held out is held out still


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (Suspect(0, "row 999", "sea", "hill", 0.9), "there is no 'row 999' in the data"),
        (Suspect(0, "row 1", "hill", "sea", 0.9), "row 1 is labelled 'sea'"),
        (Suspect(0, "row 1", "sea", "", 0.9), "nothing is suggested"),
    ],
)
def test_corrections_that_do_not_fit_name_their_line(data, tmp_path, line, said):
    write([line], tmp_path / "fixes.csv")
    with pytest.raises(DataError, match=said) as raised:
        corrected(fb.Dataset.from_table(data, target="kind"), tmp_path / "fixes.csv")
    assert "fixes.csv, line 2" in str(raised.value)


def test_numbers_and_lists_of_labels_are_given_back_as_they_are_in_the_data(tmp_path):
    numbers = fb.Dataset({"x": [*map(float, range(40))], "y": [v * 1.5 for v in range(40)]}, target="y")
    write([Suspect(3, "row 3", 4.5, 7.25, 0.9)], tmp_path / "n.csv")
    assert corrected(numbers, tmp_path / "n.csv").columns["y"][3] == 7.25
    for one, other in ((7, 5), (np.int64(7), 5), (True, False)):  # classes that are not texts
        classes = fb.Dataset({"t": [f"text {v}" for v in range(40)], "y": [one, other] * 20}, target="y",
                             fields={"y": fb.fields.Category()})  # fmt: skip
        write([Suspect(2, "row 2", str(one), str(other), 0.9)], tmp_path / "c.csv")
        assert str(corrected(classes, tmp_path / "c.csv").columns["y"][2]) == str(other)
    lists = fb.Dataset({"t": [f"text {v}" for v in range(40)], "y": [["a"], ["a", "b"]] * 20}, target="y")
    write([Suspect(2, "row 2", ["a"], ["b"], 0.9)], tmp_path / "l.csv")
    assert corrected(lists, tmp_path / "l.csv").columns["y"][2] == ["b"]


def test_what_is_no_study_or_would_be_overwritten_is_told(data, study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "this is no cross-validation" in told("clean", data, "--from", tmp_path, capsys=capsys)[2]
    assert "there is no such folder" in told("clean", data, "--from", "gone", capsys=capsys)[2]
    Path("fixes.csv").write_text("mine")
    code, _, err = told("clean", data, "--from", study, capsys=capsys)
    assert code == 2 and "may hold your decisions" in err and Path("fixes.csv").read_text() == "mine"
