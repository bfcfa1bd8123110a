"""Masked language modelling: hidden tokens foretold as transformers does, and a classifier that begins with it; killed
in the stage before, it ends with the same weights."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from forkserver import Forkserver
from reviews import write_reviews

import flambeau as fb
from flambeau.data.batch import Batch
from flambeau.fields import Packed

pytest.importorskip("transformers")
from tiny_bert import tiny_bert

MORTAL = """
import os, signal
from pathlib import Path
from flambeau.models.language.masked import MaskedEncoder

plain, calls = MaskedEncoder.forward, 0

def forward(self, *inputs):
    global calls
    calls += self.training
    if Path("fuse").exists() and calls == int(Path("fuse").read_text()):
        Path("fuse").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, *inputs)

MaskedEncoder.forward = forward
"""
MASKED = ["--objective", "masked-language-model", "--no-check"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a table of reviews, an encoder with its head and one without."""
    where = tmp_path_factory.mktemp("masked")
    texts = write_reviews(where, 48)
    (where / "mortal.py").write_text(MORTAL)
    tiny_bert(where / "bert", texts, width=16)
    tiny_bert(where / "encoder", texts, width=16, head=False)
    return where


@pytest.fixture(scope="module")
def corpus(folder: Path, flambeau: Forkserver) -> str:
    """A run of a masked language model."""
    settings = ["--model", "hf:bert", "--epochs", 30, "--lr", 0.01]
    done = flambeau("train", "corpus.txt", *MASKED, *settings, "--run", "corpus", cwd=folder)
    assert done.status == 0 and "next: flambeau train ROWS.csv --pretrained corpus" in done.err, done.err
    return "corpus"


def test_hidden_tokens_cost_what_transformers_says_whatever_is_in_the_batch(
    folder: Path, corpus: str, flambeau: Forkserver
) -> None:
    run = fb.Run.open(folder / corpus)
    losses = [line["valid"]["loss"] for line in run.lines if "valid" in line]
    assert losses[-1] < losses[0] - 1 and 0 < run.evaluation["metrics"]["accuracy"] <= 1
    done = flambeau("export", corpus, "--format", "hf", "--out", "hub", cwd=folder)
    assert done.status == 0, done.err
    import transformers

    theirs = transformers.BertForMaskedLM.from_pretrained(folder / "hub").eval()
    objective = fb.load(run.path, device="cpu").objective
    objective.model.eval()
    field = objective.field
    documents = [field.encode(text).tolist() for text in ("The film 3 is dull.", "The song 11 is superb.")]
    row = torch.tensor([documents[0] + documents[1] + [field.end] * 3])  # a window that is filled up
    of = torch.tensor([[0] * len(documents[0]) + [1] * len(documents[1]) + [1] * 3])
    counted = torch.arange(row.shape[1])[None] < sum(map(len, documents))
    window = Packed(row, of, counted, of + 5)
    hidden = torch.zeros_like(counted)
    hidden[0, [2, 4, len(documents[0]) + 3]] = True
    with torch.inference_mode():
        costs, _ = objective.costs(window, hidden)
        at = 0
        for document in documents:
            ids, asked = torch.tensor([document]), hidden[:, at : at + len(document)]
            logits = theirs(input_ids=ids.masked_fill(asked, objective.mask)).logits[0]
            expected = F.cross_entropy(logits, ids[0], reduction="none") * asked[0]
            torch.testing.assert_close(costs[0, at : at + len(document)], expected, rtol=1e-4, atol=1e-4)
            at += len(document)
        two = Packed(*(torch.cat([part.flip(1), part]) for part in window))
        assert torch.equal(objective.hidden(two, 7)[1:], objective.hidden(window, 7))
        assert not torch.equal(objective.hidden(two, 7), objective.hidden(two, 8))
        ids = torch.tensor(documents[:1])
        alone = Packed(ids, torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool))
        lone = objective.predict(Batch(alone, None, torch.arange(1)))
    assert int(lone[0, 2]) == len(documents[0]) - 2  # each token but the marks, once


def test_of_a_word_all_pieces_are_hidden_and_of_marks_none(folder: Path, corpus: str) -> None:
    objective = fb.load(folder / corpus, device="cpu").objective
    objective.whole_words, objective.share = True, 0.5
    ids = torch.tensor([objective.field.encode("superb charming lovely unheardof filmlike 123456").tolist()] * 40)
    packed = Packed(ids, torch.zeros_like(ids), None, torch.arange(40)[:, None].expand_as(ids))
    hidden, begins = objective.hidden(packed, 3), objective._begins[ids]
    assert (hidden[:, 1:] == hidden[:, :-1])[~begins[:, 1:]].all() and not begins.all()
    assert 0.35 < hidden[:, 1:-1].float().mean() < 0.65 and not hidden[:, [0, -1]].any()


def road(run: str, *more: object) -> list[object]:
    return ["train", "reviews.csv", "--epochs", 2, "--batch-size", 8, "--no-check", "--no-baseline", "--run", run,
            "--technique", "continued_pretraining epochs=3", "--plugin", "mortal.py", *more]  # fmt: skip


def test_killed_in_the_stage_before_a_classifier_ends_with_the_same_weights(folder: Path, flambeau: Forkserver) -> None:
    whole = flambeau(*road("whole", "--model", "hf:bert"), cwd=folder)
    assert whole.status == 0 and "hf:bert goes on with the texts of 48 rows" in whole.err, whole.err
    (folder / "fuse").write_text("4")
    killed = flambeau(*road("killed", "--model", "hf:bert"), cwd=folder)
    assert killed.status == -signal.SIGKILL and not (folder / "killed/model.safetensors").exists(), killed.err
    done = flambeau("resume", "killed", "--plugin", "mortal.py", cwd=folder)
    assert done.status == 0, done.err
    for name in ("language/model.safetensors", "model.safetensors"):
        assert (folder / "killed" / name).read_bytes() == (folder / "whole" / name).read_bytes(), name
    told = flambeau("evaluate", "whole", "--plugin", "mortal.py", cwd=folder)
    assert "whole/language (continued_pretraining, 3 epochs): perplexity" in told.out, told.err


def test_a_classifier_begins_where_the_masked_language_model_ended(folder: Path, corpus: str, monkeypatch) -> None:
    monkeypatch.chdir(folder)
    data = fb.Dataset.from_table("reviews.csv")
    learner = fb.Learner(data, pretrained=corpus, techniques=["continued_pretraining epochs=0"], run=False, quiet=True)
    ours = learner.build().objective.model.encoder.state_dict()
    theirs = fb.load(corpus, device="cpu").objective.model.network.bert.state_dict()
    assert learner.recipe.model.name == "hf:bert"
    assert theirs and all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_what_cannot_be_is_told_in_a_line(folder: Path, corpus: str, flambeau: Forkserver) -> None:
    goes_on = flambeau("train", "corpus.txt", "--pretrained", corpus, "--epochs", 1, "--no-check", cwd=folder)
    assert goes_on.status == 0 and "accuracy" in goes_on.err, goes_on.err  # as what it was
    fresh = flambeau("train", "corpus.txt", *MASKED, "--model", "hf:encoder", "--epochs", 1, "--run", "f", cwd=folder)
    assert fresh.status == 0 and "begins fresh: hf:encoder has none" in fresh.err, fresh.err
    for command, said in (
        (["train", "corpus.txt", *MASKED, "--run", "x"], "name one: model='hf:FOLDER'"),
        (["train", "corpus.txt", *MASKED, "--model", "gpt", "--run", "x"], "gpt gives numbers for a token"),
        (["train", "corpus.txt", *MASKED, "--model", "hf:bert", "--set", "objective.share=2", "--run", "x"], "share=2"),
        (["generate", corpus, "The film"], "a prompt is for runs that let texts go on"),
        (["export", corpus, "--format", "onnx"], "--format hf"),
        (road("x", "--model", "hf:bert", "--pretrained", "other"), "leave pretrained out"),
    ):
        done = flambeau(*command, cwd=folder)
        assert done.status == 2 and said in done.err, done.err
