"""The way of tags: from a file of tagged sentences to a tagged sentence on the command line; resumed, and bad input."""

from __future__ import annotations

import random
import signal
from pathlib import Path

import pytest
import torch
from forkserver import Forkserver

import flambeau as fb
from flambeau.data.batch import Batch
from flambeau.techniques import Technique
from flambeau.training.interrupts import Interrupted

NAMES = ["Anna", "Bruno", "Clara", "Dario", "Elena"]
VERBS = ["saw", "met", "heard", "called", "left"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Sentences about people, as CoNLL has them; who is a person follows from the word alone."""
    draw = random.Random(0)
    lines = []
    for _ in range(200):
        first, other, verb = *draw.sample(NAMES, 2), draw.choice(VERBS)
        lines += [f"{first} B-PER", "Smith I-PER", f"{verb} O", f"{other} B-PER", "today O", ". O", ""]
    path = tmp_path / "people.conll"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_typed_sentence_comes_back_tagged(flambeau: Forkserver, file: Path, tmp_path: Path) -> None:
    trained = flambeau("train", file, "--no-check", "--epochs", 6, "--run", "run", "--json", cwd=tmp_path)
    assert trained.status == 0, trained.err
    assert trained.json["metrics"]["span_f1"] > 0.95
    told = flambeau("predict", "run", "Clara Smith met Anna today.", cwd=tmp_path)
    assert told.out.strip() == "Clara/B-PER Smith/I-PER met/O Anna/B-PER today/O ./O"
    (answer,) = flambeau("predict", "run", "Clara Smith met Anna today.", "--json", cwd=tmp_path).json["predictions"]
    assert [(s["text"], s["label"]) for s in answer["spans"]] == [("Clara Smith", "PER"), ("Anna", "PER")]
    assert answer["tokens"][0] == "Clara" and 0 < answer["confidence"] <= 1
    measured = flambeau("evaluate", "run", "--json", cwd=tmp_path)
    assert measured.json["metrics"]["span_f1"] == trained.json["metrics"]["span_f1"]
    chosen = flambeau("evaluate", "run", "--accuracy", "0.9", "--apply", "--json", cwd=tmp_path)
    assert chosen.json["decision"]["answered"]["accuracy"] > 0.9 and chosen.json["decision"]["applied"]
    assert "span_f1" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("crf", [False, True])
def test_a_resumed_tagger_ends_where_it_would_have(file: Path, tmp_path: Path, crf: bool) -> None:
    class Idle(Technique):
        name = "stop"

    class Stop(Technique):
        name = "stop"

        def on_step_end(self, objective: object, step: int) -> None:
            if step == 7:
                signal.raise_signal(signal.SIGTERM)

    data = fb.Dataset.from_tagged(file)
    settings = {"epochs": 3, "run": tmp_path / "run", "quiet": True}
    recipe = fb.Recipe().with_settings({"model.options": {"crf": crf}})
    with pytest.raises(Interrupted):
        fb.Learner(data, recipe=recipe, techniques=[Stop()], **settings).fit(check=False)
    again = fb.Learner(data, recipe=recipe, techniques=[Idle()], **settings)
    again.fit(resume=True, check=False)
    whole = fb.Learner(data, recipe=recipe, epochs=3, run=False, quiet=True)
    whole.fit(check=False)
    pairs = zip(again.objective.model.parameters(), whole.objective.model.parameters(), strict=True)
    assert all(one.equal(other) for one, other in pairs)
    predictor = fb.load(tmp_path / "run")
    sentence = ("Anna", "Smith", "left", ".")
    assert predictor.predict(sentence).label == again.predict(sentence).label
    many = predictor.predict(["Anna left.", "Bruno Smith met Clara today."])
    assert [len(p.label) for p in many] == [3, 6]
    assert many[0].confidence == pytest.approx(predictor.predict("Anna left.").confidence, abs=1e-5)


def test_a_batch_of_sentences_weighs_as_many_tokens_as_it_is_learned_from(file: Path) -> None:
    """So that accumulated batches are one large batch: each of its tokens counts alike."""
    objective = fb.Learner(fb.Dataset.from_tagged(file), epochs=1, run=False, quiet=True).build().objective
    assert objective.weight(Batch(None, torch.tensor([[1, 2, -100], [0, -1, 2]]), torch.arange(2))) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Anna B-PER\nleft\n", "line 2: the token 'left' has no tag; expected a token and its tag"),
        ("Anna X\nleft X\n\n" * 30, "there is only one tag, 'X'"),
    ],
)
def test_bad_files_are_told_in_one_line(flambeau: Forkserver, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "bad.conll").write_text(text, encoding="utf-8")
    command = flambeau("train", "bad.conll", cwd=tmp_path)
    assert command.status in (1, 2) and told in command.err, command.err
    assert "Traceback" not in command.err


def test_a_file_is_tagged_sentence_by_sentence(flambeau: Forkserver, file: Path, tmp_path: Path) -> None:
    assert flambeau("train", file, "--no-check", "--epochs", 1, "--run", "run", cwd=tmp_path).status == 0
    (tmp_path / "plain.txt").write_text("Anna left.\n\nClara met Anna today.\n", encoding="utf-8")
    told = flambeau("predict", "run", "plain.txt", "--csv", "out.csv", "--json", cwd=tmp_path).json["predictions"]
    assert [p["tokens"] for p in told] == [["Anna", "left", "."], ["Clara", "met", "Anna", "today", "."]]
    assert [p["file"] for p in told] == ["plain.txt, line 1", "plain.txt, line 3"]
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[1].startswith("Anna left .,") and len(lines[1].split(",")[1].split()) == 3
    tagged = flambeau("predict", "run", file, "--json", cwd=tmp_path).json["predictions"]
    assert len(tagged) == len(fb.Dataset.from_tagged(file)) and "line 1" in tagged[0]["file"]
    row = flambeau("predict", "run", '{"tokens": ["Anna", "left", "."]}', "gone.conll", "--json", cwd=tmp_path)
    one, gone = row.json["predictions"]
    assert one["label"] == told[0]["label"] and gone["error"] == "there is no such file"


def test_an_empty_sentence_is_told(flambeau: Forkserver, file: Path, tmp_path: Path) -> None:
    assert flambeau("train", file, "--no-check", "--epochs", 1, "--run", "run", cwd=tmp_path).status == 0
    told = flambeau("predict", "run", "  ", "Anna left.", cwd=tmp_path)
    assert told.status == 2 and "error: the sentence is empty" in told.out
