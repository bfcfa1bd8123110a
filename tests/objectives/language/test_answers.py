"""Answers that are parts of a text: made by a rule, so that what a model reads is known."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import httpx
import polars as pl
import pytest
import torch

import flambeau as fb
from flambeau.cli.main import run as flambeau
from flambeau.data.sources.opening import from_path
from flambeau.fields import Answer
from flambeau.fields.answer import part_of
from flambeau.objectives.tasks.answer import Overlap, best, f1, plain
from flambeau.run import Run
from flambeau.serve import background_server
from tests.support.tiny_bert import tiny_bert

NAMES = ["Anna", "Boris", "Clara", "David", "Emma", "Felix", "Greta", "Hugo", "Ida", "Jonas"]
TOLD = "Clara was born in Oslo in 1931. Felix was born in Rome in 1977."
TOWNS = ["Berlin", "Paris", "Rome", "Vienna", "Oslo", "Madrid", "Lisbon", "Prague"]


def made(count: int, seed: int = 0) -> list[dict[str, str]]:
    """Two people, where and when each was born; asked is one of four things, or one who is not told of."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        people, towns = draw.sample(NAMES, 3), draw.sample(TOWNS, 2)
        years = [str(draw.randint(1900, 1999)) for _ in range(2)]
        text = " ".join(f"{p} was born in {t} in {y}." for p, t, y in zip(people, towns, years, strict=False))
        which, where = draw.randrange(3), draw.random() < 0.5
        question = f"{'Where' if where else 'When'} was {people[which]} born?"
        answer = "" if which == 2 else (towns if where else years)[which]
        rows.append({"question": question, "context": text, "answer": answer})
    return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    rows = made(600)
    rows[7]["answer"] = "a town by the sea"
    pl.DataFrame(rows).write_csv(folder / "rows.csv")
    columns = ["--input", "question", "--input", "context", "--target", "answer", "--objective", "question-answering"]
    settings = ["--epochs", "8", "--lr", "0.01", "--set", "batch_size=16", "--set", "model.options.hidden_size=32"]
    status = flambeau(["train", str(folder / "rows.csv"), *columns, *settings, "--run", str(folder / "run")])
    assert status == 0
    return folder / "run"


def test_a_model_reads_where_the_answer_stands(run: Path) -> None:
    evaluation = Run.open(run).evaluation
    assert evaluation["metrics"]["exact_match"] > 0.9 and evaluation["metrics"]["f1"] > 0.9
    rival = evaluation["baselines"][0]
    assert "sentence" in rival["name"] and rival["metrics"]["f1"] < 0.6


def test_an_answer_comes_with_its_place(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = TOLD
    predictor = fb.load(run)
    asked = [{"context": text, "question": f"{what} was {who} born?"}
             for what, who in (("Where", "Felix"), ("When", "Clara"), ("When", "Greta"))]  # fmt: skip
    town, year, none = predictor.predict(asked)
    assert (town.label, year.label, none.label) == ("Rome", "1931", "") and none.place is None
    assert text[slice(*town.place)] == "Rome" and text[slice(*year.place)] == "1931"
    assert town.to_dict()["place"] == [text.index("Rome"), text.index("Rome") + 4] and 0 < town.confidence <= 1
    capsys.readouterr()
    assert flambeau(["predict", str(run), json.dumps(asked[0]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["label"] == "Rome"


def test_a_stress_test_spoils_the_question_and_leaves_the_text(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run.parent / "stressed.csv"
    pl.DataFrame(made(20, seed=3)).write_csv(rows)
    assert flambeau(["stress", str(run), str(rows), "--corruptions", "typos", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["samples"] == 20 and [one["input"] for one in told["corruptions"]] == ["question"]


def test_a_server_tells_the_place_and_the_report_the_words(run: Path) -> None:
    row = {"context": TOLD, "question": "Where was Felix born?"}
    with background_server(run) as url:
        (told,) = httpx.post(f"{url}/predict", json={"inputs": [row]}).json()["predictions"]
    assert TOLD[slice(*told["place"])] == told["label"] == "Rome"
    assert {one["label"] for one in Run.open(run).overview["samples"]} <= {row["answer"] for row in made(600)}


def test_other_rows_are_measured_and_what_is_not_in_the_text_is_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = json.dumps([str(finding) for finding in Run.open(run).findings])
    assert "1 answer not in 'context' as written" in findings and "row 8" in findings
    pl.DataFrame(made(60, seed=5)).write_csv(tmp_path / "other.csv")
    capsys.readouterr()
    assert flambeau(["evaluate", str(run), str(tmp_path / "other.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["metrics"]["exact_match"] > 0.85 and told["samples"] == 60


def test_squad_is_read_and_its_paragraphs_stay_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = made(40)
    paragraphs = []
    for number, row in enumerate(rows):
        text, start = row["context"], row["context"].rfind(row["answer"])
        gold = [{"text": row["answer"], "answer_start": start}, {"text": "in truth", "answer_start": 0}]
        gold = gold if row["answer"] else []
        qas = [{"id": f"q{number}-{i}", "question": row["question"], "answers": gold, "is_impossible": not gold}
               for i in range(2)]  # fmt: skip
        paragraphs.append({"context": text, "qas": qas})
    file = tmp_path / "squad.json"
    file.write_text(json.dumps({"data": [{"title": "people", "paragraphs": paragraphs}]}), encoding="utf-8")
    data = from_path(file)
    assert len(data) == 80 and data.inputs == ["context", "question"] and isinstance(data.fields["answer"], Answer)
    assert (data.split[::2] == data.split[1::2]).all() and {0, 1} <= {*data.split.tolist()}
    for part, row in zip(data.columns["answer"][::2], rows, strict=True):
        assert str(part) == row["answer"]
        assert part.start == (row["context"].rfind(row["answer"]) if row["answer"] else -1)
        assert part.others == (("in truth",) if row["answer"] else ())
    file.write_text('{"data": [{"paragraphs": [{"context": 5, "qas": [{"question": "?"}]}]}]}')
    assert flambeau(["train", str(file)]) == 2
    assert "a text is missing" in capsys.readouterr().err
    answered = '{"paragraphs": [{"context": "a", "qas": [{"question": "?", "answers": ["a"]}]}]}'
    for article in ('"paragraphs"', '{"paragraphs": null}', answered):
        file.write_text(f'{{"data": [{article}]}}')
        assert flambeau(["train", str(file)]) == 2
        assert "this is no SQuAD" in capsys.readouterr().err


def test_answers_are_compared_as_squad_does() -> None:
    assert plain("The  Eiffel Tower.") == ["eiffel", "tower"]
    assert (f1("in the Tower", "tower"), f1("", ""), f1("x", "")) == (pytest.approx(2 / 3), 1.0, 0.0)
    field = Answer()
    parts = [part_of("Anna met Anna in Rome.", {"text": "Anna", "start": 8}), part_of("So it is.", "")]
    field.fit(parts)
    assert parts[0] is not None and parts[0].start == 9 and part_of("So it is.", "never") is None
    target = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(field.encode(p)).long() for p in parts], True, -100)
    answers = torch.tensor([[2.0, 4.0, 0.5], [-1, -1, 0.9]])
    assert field.both(answers, target) == [("Anna in Rome", ("Anna",)), ("", ("",))]
    metric = Overlap(field, True)
    metric.update(answers, target, torch.arange(2))
    assert metric.values() == {"f1": pytest.approx(0.75), "exact_match": 0.5, "answerable": 1.0}
    several = part_of("Anna met Anna in Rome.", ["Rome, Italy", {"text": "Anna", "start": 8}, "the Anna in  Rome"])
    assert several is not None and (several.start, several.others) == (9, ("Rome, Italy", "the Anna in  Rome"))
    assert field.from_portable(json.loads(json.dumps(field.portable(several)))) == several
    target = torch.from_numpy(field.encode(several)).long()[None]
    metric = Overlap(field, True)  # the best of all: with the first alone it would be 0.5
    metric.update(answers[:1], target, torch.arange(1))
    assert metric.values() == {"f1": 1.0, "exact_match": 1.0, "answerable": 1.0}
    logits = torch.full((1, 2, 4), -9.0)
    logits[0, 0, 3] = logits[0, 1, 1] = 5.0  # an end before its beginning is none
    logits[0, 1, 3] = 4.0
    assert best(logits)[0, :2].tolist() == [2, 2]


# -- an encoder of transformers ---------------------------------------------------------------------------------------

RAIN = ["it", "rained", "all", "day", "and", "nobody", "came", "to", "see", "the", "house", "by", "the", "river"]


def lived(count: int, seed: int = 0) -> list[dict[str, str]]:
    """A sentence within longer texts than the encoder can take: asked is where, when, or why, which it does not say."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        answers = (draw.choice(TOWNS), str(draw.randint(1960, 1979)), "")
        before, behind = (" ".join(draw.choices(RAIN, k=draw.randint(0, 25))) for _ in range(2))
        which = draw.randrange(3)
        question = ("Where did she live?", "When did she move?", "Why did she move?")[which]
        text = f"{before} She lived in {answers[0]} from {answers[1]} on. {behind}"
        rows.append({"context": text, "question": question, "answer": answers[which]})
    return rows


def test_a_pretrained_encoder_reads_texts_that_are_longer_than_it_can_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = lived(400)
    words = [row[column] for row in rows for column in ("context", "question")]
    encoder = tiny_bert(tmp_path / "bert", words, positions=40, head=False, deviation=0.15)
    pl.DataFrame(rows).write_csv(tmp_path / "rows.csv")
    columns = ["--input", "question", "--input", "context", "--target", "answer", "--objective", "question-answering"]
    model = ["--model", f"hf:{encoder}", "--set", "model.pretrained=false", "--set", "model.options.dropout=0"]
    settings = ["--epochs", "20", "--lr", "0.004", "--set", "batch_size=16", "--run", str(tmp_path / "run")]
    assert flambeau(["train", str(tmp_path / "rows.csv"), *columns, *model, *settings]) == 0
    evaluation = Run.open(tmp_path / "run").evaluation
    assert evaluation["metrics"]["f1"] > 0.9 > 0.2 > evaluation["baselines"][0]["metrics"]["f1"]
    shutil.rmtree(encoder)  # a run needs it no more
    text = f"{' '.join(RAIN * 8)} She lived in Vienna from 1966 on."
    told = fb.load(tmp_path / "run").predict({"context": text, "question": "Where did she live?"})
    assert told.label == "Vienna" and text[slice(*told.place)] == "Vienna"
    with background_server(tmp_path / "run") as url:
        asked = {"context": text, "question": "Why did she move?"}
        (answer,) = httpx.post(f"{url}/predict", json={"inputs": [asked]}).json()["predictions"]
    assert answer["label"] == ""
