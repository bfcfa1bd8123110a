"""Texts for texts: what is written is measured as sacrebleu measures it, beside a table of words."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
import pytest
import sacrebleu
import torch

import flambeau as fb
from flambeau.baselines.rows import Budget
from flambeau.baselines.texts import Table
from flambeau.core.errors import UsageError
from flambeau.fields import FIELDS, TextTarget
from flambeau.learner import Learner
from flambeau.objectives import Translation
from flambeau.objectives.texts import Translated
from flambeau.recipe import Recipe
from flambeau.run import Run

WORDS = ["nul", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(0)
    path = tmp_path_factory.mktemp("pairs") / "digits.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["digits", "words"])
        for _ in range(400):
            digits = [draw.randrange(5) for _ in range(draw.randint(1, 4))]
            table.writerow([" ".join(f"#{d}" for d in digits), " ".join(WORDS[d] for d in digits)])
    return path


def learner(path: Path, run: Path, **settings: object) -> Learner:
    options = {"embedding": 48, "hidden_size": 64, "dropout": 0.0}
    recipe = Recipe().with_settings({"model": "seq2seq-gru", "epochs": 2, "learning_rate": 0.01, **settings})
    recipe.model.options = options
    fields = Translation.fields_of("words", ["digits"])  # which repeat, and could be classes
    data = fb.Dataset.from_table(path, inputs=["digits"], target="words", fields=fields)
    return Learner(data, recipe=recipe, run=run, quiet=True)


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_a_text_comes_back_byte_for_byte(tokens: str) -> None:
    field = TextTarget(tokens)
    field.fit(["a fine day", "ein schöner Tag", "</s> is a mark", "今天"] * 3)
    for text in ("a fine day", "  two  spaces\n", "</s> <s> <0x41>", "unseen: Ω 🜁 \x00", "今日"):
        encoded = field.encode(text)
        assert (encoded[0], encoded[-1], encoded.dtype) == (field.begin, field.end, np.int32)
        assert field.text_of(encoded[1:]) == text
        assert field.end not in encoded[1:-1]
    again = FIELDS["text-target"].from_dict(field.to_dict())
    assert again.decode(field.encode("Tag 今")[1:].astype(np.float32)) == "Tag 今"


def test_texts_are_measured_as_sacrebleu_measures_them() -> None:
    field = TextTarget("characters")
    true = ["der Hund schläft im Haus", "die Katze sitzt auf dem Dach", "es regnet heute", "ja"]
    said = ["der Hund schläft im Haus", "die Katze sitzt auf der Dach", "heute regnet es nicht", "nein"]
    field.fit([*true, *said])
    encoded = [[torch.from_numpy(field.encode(text)).long() for text in texts] for texts in (said, true)]
    answers, targets = (torch.nn.utils.rnn.pad_sequence(texts, True, -100) for texts in encoded)
    metric = Translated(field, True)
    metric.update(answers[:3, 1:].float(), targets[:3], torch.arange(3))
    metric.update(answers[3:, 1:].float(), targets[3:], torch.arange(3, 4))
    values = metric.values()
    assert values["chrf"] == pytest.approx(sacrebleu.corpus_chrf(said, [true]).score)
    assert values["bleu"] == pytest.approx(sacrebleu.corpus_bleu(said, [true], force=True).score)
    assert values["exact_match"] == 0.25
    low, high = metric.intervals()["chrf"]
    assert 0 <= low < values["chrf"] < high <= 100
    worst = metric.detail()["worst"]
    assert [one["row"] for one in worst] == [3, 2, 1] and worst[0]["predicted"] == "nein"


def test_the_table_of_words_finds_what_goes_with_what() -> None:
    table = Table([("the house", "das haus"), ("the book", "das buch"), ("a book", "ein buch")] * 3, Budget())
    assert table("A house") == "ein haus"
    assert table("the Zebra") == "das Zebra"


def test_a_run_answers_with_texts_and_stands_beside_the_table(pairs: Path, tmp_path: Path) -> None:
    learner(pairs, tmp_path / "run", epochs=12).fit()
    fb.report.write(Run.open(tmp_path / "run"))
    made = Run.open(tmp_path / "run")
    assert made.recipe.objective.name == "translation"
    assert made.recipe.techniques == {"label_smoothing": {"amount": 0.1}}
    evaluation = made.evaluation
    assert evaluation["metric"] == "chrf" and evaluation["metrics"]["exact_match"] > 0.2
    (rival,) = evaluation["baselines"]
    assert rival["name"] == "word by word" and set(rival["metrics"]) >= {"chrf", "bleu", "exact_match"}
    drawn = evaluation["detail"]["alignments"]
    assert drawn and all(len(one["weights"]) == len(one["answer"]) for one in drawn)
    assert all(sum(line) == pytest.approx(1, abs=0.05) for one in drawn for line in one["weights"])
    predictor = fb.load(made.path)
    answers = predictor.predict(["#3 #1", "#4 #4"])
    assert [type(answer.label) for answer in answers] == [str, str]
    assert set(answers[0].label.split()) <= set(WORDS)
    report = (made.path / "report.html").read_text(encoding="utf-8")
    assert "Where the model looked" in report


def test_what_does_not_fit_is_told(pairs: Path, tmp_path: Path) -> None:
    for settings, told in (
        ({"objective.name": "translation", "objective.beams": 0}, "beams=0 does not fit"),
        ({"fields.words.tokens": "words"}, "a text cannot be put together from words"),
        ({"model": "ngrams"}, "ngrams gives numbers for a sample, the target wants"),
    ):
        with pytest.raises(UsageError, match=told):
            learner(pairs, tmp_path / "none", **settings).build()


@pytest.mark.parametrize("model", ["seq2seq-gru", "seq2seq-transformer"])
def test_two_languages_share_their_pieces_and_a_vector_for_each(model: str, tmp_path: Path) -> None:
    path = tmp_path / "related.csv"
    rows = [(f"the film {a} is {b}", f"de film {a} is {b}") for a in WORDS for b in WORDS]
    path.write_text("en,nl\n" + "\n".join(map(",".join, rows)), encoding="utf-8")
    data = fb.Dataset.from_table(path, inputs=["en"], target="nl", fields=Translation.fields_of("nl", ["en"]))
    small = {"embedding": 16, **({"hidden_size": 16} if "gru" in model else {"layers": 1})}
    recipe = Recipe().with_settings({"model": model, "model.options": small, "epochs": 1, "max_tokens": 512})
    learner = Learner(data, recipe=recipe, tokens="shared", run=tmp_path / "run", quiet=True)
    learner.fit(check=False)
    read, written = learner.data.fields["en"], learner.data.fields["nl"]
    assert read.tokenizer == written.tokenizer and read.encode("the film").tolist() == written.tokens_of("the film")
    assert len({*read.encode("the de Film").tolist()} - {*written.tokens_of("the film")}) > 0  # of upper case too
    predictor = fb.load(tmp_path / "run")
    network = predictor.objective.model
    source = getattr(network.source, "table", network.source)
    assert source.weight is network.target.weight and Run.open(tmp_path / "run").recipe.model.options["tied"] is True
    assert predictor.predict("the film drei is vier") == learner.predictor.predict("the film drei is vier")


def test_pieces_are_shared_by_two_or_by_none(pairs: Path, tmp_path: Path) -> None:
    for said in ("fields.digits.tokens", "fields.words.tokens"):
        with pytest.raises(UsageError, match=r"shared is said of \w+ alone.*--tokens shared"):
            learner(pairs, tmp_path / "run", **{said: "shared"}).fit(check=False)
    one = learner(pairs, tmp_path / "run")
    one.recipe.model.options["tied"] = True
    with pytest.raises(UsageError, match=r"tied=true.*--tokens shared"):
        one.fit(check=False)
