"""The way of texts: from a table to predictions on the command line, from scratch and from a pretrained encoder."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import polars as pl
import pytest
from forkserver import Forkserver
from kinds import pairs
from realdata.texts import write_sentences
from safetensors.torch import load_file

import flambeau as fb
from flambeau.core.errors import ModelError, RunError, UsageError
from flambeau.core.files import read_json
from flambeau.models.text.pretrained import PretrainedPair
from flambeau.techniques import Technique
from flambeau.training.interrupts import Interrupted


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_sentences(tmp_path / "sentences.csv")


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """A folder as transformers saves it: a tiny BERT of random weights, with a tokeniser of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel

    folder = tmp_path / "tiny-bert"
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.train_from_iterator(fb.Dataset.from_table(write_sentences(tmp_path / "s.csv")).columns["text"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=600, max_position_embeddings=40, **sizes)).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_table_of_texts(flambeau: Forkserver, table: Path, tmp_path: Path) -> None:
    found = flambeau("check", table, "--input", "text", "--json", cwd=tmp_path)
    assert found.status == 0, found.err
    checks = {f["check"] for f in found.json["findings"]}
    assert "duplicate" in checks and "leakage" not in checks  # copies are in one part of the split
    trained = flambeau(
        "train", table, "--input", "text", "--epochs", 4, "--no-check", "--run", "run", "--json", cwd=tmp_path
    )
    assert trained.status == 0, trained.err
    assert trained.json["metrics"]["accuracy"] > 0.7
    asked = ["What a wonderful film, I loved it.", "Terrible. It broke and it was a waste of money.", " "]
    told = flambeau("predict", "run", *asked, "--json", cwd=tmp_path)
    assert told.status == 2
    good, bad, empty = told.json["predictions"]
    assert (good["text"], good["label"], bad["label"]) == (asked[0], "positive", "negative")
    assert empty["error"] == "the text is empty"
    new = tmp_path / "new.csv"
    new.write_text(f'id,text\n1,"{asked[0]}"\n2,{asked[1]}\n3,\n', encoding="utf-8")
    rows = flambeau("predict", "run", new, "--json", cwd=tmp_path)
    assert rows.status == 2 and "not read: id" in rows.err
    named = [{"row": 1, "id": "1", **good}, {"row": 2, "id": "2", **bad}]
    assert rows.json["predictions"][:2] == named
    assert rows.json["predictions"][2]["error"] == "the value is missing"
    for wrong, message in ((table.with_name("no.csv"), "no such table"), (new, "no column 'text'")):
        new.write_text("id,review\n1,fine\n", encoding="utf-8")
        refused = flambeau("predict", "run", wrong, cwd=tmp_path)
        assert refused.status == 2 and message in refused.out
    told = flambeau("predict", "run", "", "missing.txt", '{"text": "a fine film"}', asked[0], "--json", cwd=tmp_path)
    empty, slip, row, right = told.json["predictions"]
    assert told.status == 2 and (empty["error"], slip["error"]) == ("the text is empty", "there is no such file")
    assert right == good and row["label"] == flambeau("predict", "run", "a fine film", "--json", cwd=tmp_path).json[
        "predictions"][0]["label"]  # fmt: skip
    new.write_text(f'text\n{new.resolve()}\n"run"\n""\n123\n', encoding="utf-8")
    cells = flambeau("predict", "run", new, "--json", cwd=tmp_path).json["predictions"]
    assert [c["text"] for c in cells] == [str(new.resolve()), "run", "", "123"], "no cell is opened as a file"
    assert cells[2]["error"] == "the text is empty" and all("label" in cells[i] for i in (0, 1, 3))
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "sentences.csv" in report or "confusion" in report.lower()


def test_a_pretrained_encoder_is_needed_for_the_training_alone(encoder: Path, table: Path, tmp_path: Path) -> None:
    data = fb.Dataset.from_table(table, inputs=["text"])
    learner = fb.Learner(data, model=f"hf:{encoder}", epochs=1, run=tmp_path / "run", quiet=True)
    learner.fit(check=False)
    own = fb.Recipe().with_settings({"fields.text.tokens": "words"})
    with pytest.raises(UsageError, match=r"reads the pieces of its own tokeniser, and text is cut into words"):
        fb.Learner(data, model=f"hf:{encoder}", recipe=own, run=False, quiet=True).build()
    text = learner.recipe.fields["text"]
    assert text["tokens"] == f"hf:{encoder}" and text["max_length"] == 40
    weights = load_file(encoder / "model.safetensors")["embeddings.word_embeddings.weight"]
    recipe = fb.Recipe.load(tmp_path / "run" / "recipe.yaml")
    from_recipe = fb.Learner(data, recipe=recipe, run=False, quiet=True).build()  # begins where the first one began
    state = from_recipe.objective.model.state_dict()
    assert any(value.shape == weights.shape and value.equal(weights) for value in state.values())
    asked = ["a fine phone", "word " * 100]
    expected = learner.predictor.predict(asked)
    shutil.rmtree(encoder)
    again = fb.load(tmp_path / "run").predict(asked)
    for one, other in zip(again, expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_words_are_tagged_by_a_pretrained_encoder_as_far_as_it_reads(
    flambeau: Forkserver, encoder: Path, tmp_path: Path
) -> None:
    texts = fb.Dataset.from_table(write_sentences(tmp_path / "t.csv")).columns["text"][:300]
    words = [text.split() for text in texts]
    lines = [json.dumps({"tokens": ws, "tags": ["UP" if w[0].isupper() else "low" for w in ws]}) for ws in words if ws]
    (tmp_path / "words.jsonl").write_text("\n".join(lines), encoding="utf-8")
    options = ("--model", f"hf:{encoder}", "--epochs", 1, "--set", "learning_rate=0.003", "--run", "run", "--json")
    trained = flambeau("train", "words.jsonl", *options, cwd=tmp_path)
    assert trained.status == 0, trained.err
    assert (tmp_path / "run" / "report.html").exists() and "the most frequent tag of each word" in trained.err
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["detail"]["lost"] > 0
    long = "Well it works and " * 20
    alone = flambeau("predict", "run", long, "--json", cwd=tmp_path).json["predictions"]
    beside = flambeau("predict", "run", "a " * 30, long, "--json", cwd=tmp_path).json["predictions"][1:]
    assert len(alone[0]["label"]) == len(beside[0]["label"]) == len(beside[0]["tokens"]) < 40
    assert alone[0]["label"] == beside[0]["label"]


def test_two_texts_are_compared(flambeau: Forkserver, tmp_path: Path) -> None:
    """Neither text tells the answer; an encoder for each, fused, gets one right by chance."""
    arguments = pairs(tmp_path)
    trained = flambeau("train", *arguments, "--no-check", "--run", "run", "--json", cwd=tmp_path)
    assert trained.status == 0, trained.err
    fused = flambeau("train", *arguments, "--no-check", "--model", "fusion", "--run", "fused", "--json", cwd=tmp_path)
    assert trained.json["metrics"]["accuracy"] > 0.75 > 0.65 > fused.json["metrics"]["accuracy"]
    measured = read_json(tmp_path / "run" / "evaluation.json")
    assert [b["name"] for b in measured["baselines"]][-1] == "TF-IDF of both and a linear model"
    worst = measured["detail"]["worst"][0]["html"]
    assert " class=for" in worst or " class=against" in worst
    assert max(measured["shuffled"]["without"].values()) < measured["shuffled"]["whole"] - 0.15
    row = '{"first": "the debugger prompt is shown", "second": "when the debugger prompt appears"}'
    (told,) = flambeau("predict", "run", row, "--json", cwd=tmp_path).json["predictions"]
    assert told["label"] == "own" and told["confidence"] > 0.6
    lacking = flambeau("predict", "run", '{"first": "alone"}', "--json", cwd=tmp_path).json["predictions"][0]
    assert "second" in lacking["error"]


def test_two_texts_are_read_by_one_encoder(encoder: Path, tmp_path: Path) -> None:
    pairs(tmp_path)
    frame = pl.read_csv(tmp_path / "pairs.csv").head(200)
    holed = frame.with_columns(second=pl.when(pl.int_range(200) % 9 > 0).then("second"))
    data = fb.Dataset.from_frame(holed, target="match", inputs=["first", "second"])
    learner = fb.Learner(data, model=f"hf:{encoder}", epochs=1, run=tmp_path / "run", quiet=True)
    learner.fit(check=False)
    model = learner.objective.model
    assert learner.summary().parameters == sum(p.numel() for p in model.parameters()) and learner.summary().flops > 0
    assert isinstance(model, PretrainedPair) and [item for item, _ in model.order] == [2, "first", 3, "second", 3]
    asked = [{"first": "the debugger", "second": "a prompt " * 60}, {"first": "the debugger", "second": None}]
    expected = learner.predict(asked)
    shutil.rmtree(encoder)
    for one, other in zip(fb.load(tmp_path / "run").predict(asked), expected, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)


def test_texts_that_are_cut_differently_are_not_compared(tmp_path: Path) -> None:
    pairs(tmp_path)

    def learner(model: str | None = None) -> fb.Learner:
        data = fb.Dataset.from_table(tmp_path / "pairs.csv", target="match", inputs=["first", "second"])
        data.fields["second"] = fb.fields.Text("characters")
        return fb.Learner(data, model=model, epochs=1, run=False, quiet=True)

    assert learner().build().recipe.model.name == "fusion"
    with pytest.raises(UsageError, match=r"first and second are cut differently.*the same settings.*fusion"):
        learner("pair").build()
    with pytest.raises(UsageError, match=r"bag takes one input; the data has 2"):
        learner("bag").build()
    frame = pl.read_csv(tmp_path / "pairs.csv").with_columns(length=pl.col("first").str.len_chars())
    for inputs in (["first", "length"], ["first", "second", "length"]):
        data = fb.Dataset.from_frame(frame, target="match", inputs=inputs)
        with pytest.raises(UsageError, match=rf"pair takes two texts; the data has {len(inputs)}: "):
            fb.Learner(data, model="pair", run=False, quiet=True).build()


def test_pickled_weights_are_not_read(encoder: Path, table: Path, tmp_path: Path) -> None:
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    learner = fb.Learner(fb.Dataset.from_table(table, inputs=["text"]), model=f"hf:{encoder}", run=False, quiet=True)
    with pytest.raises(ModelError, match="safetensors"):
        learner.fit(check=False)


def test_an_interrupted_training_of_texts_ends_with_the_same_weights(table: Path, tmp_path: Path) -> None:
    """Token budgets, buckets and all: the order depends on seed and epoch alone."""
    import torch

    lines = table.read_text(encoding="utf-8").splitlines(keepends=True)
    table.write_text("".join(lines[:501]), encoding="utf-8")

    def learner(run: str, *techniques: Technique) -> fb.Learner:
        data = fb.Dataset.from_table(table, inputs=["text"])
        return fb.Learner(data, model="gru", epochs=2, run=tmp_path / run, quiet=True, max_tokens=1000,
                          techniques=techniques, schedule="constant", seed=3, log_every=7)  # fmt: skip

    whole = learner("whole")
    whole.fit(check=False)
    first = learner("parts", StopAt(30))
    with pytest.raises(Interrupted):
        first.fit(check=False)
    with pytest.raises(RunError, match=r"other techniques \(stop_at\) than it is resumed with \(none\).*the same ones"):
        learner("parts").fit(check=False, resume=True)
    second = learner("parts", StopAt(-1))
    second.fit(check=False, resume=True)
    for a, b in zip(whole.objective.model.parameters(), second.objective.model.parameters(), strict=True):
        assert torch.equal(a, b)


class StopAt(Technique):
    """Ctrl-C in the middle of an epoch."""

    name = "stop_at"

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, objective: object, step: int) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGINT)
