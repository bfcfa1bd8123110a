"""Encoder-decoders of transformers: a step gives what the whole gives, and what transformers gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSeq2SeqLM,
    BartConfig,
    BartForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    T5Config,
    T5ForConditionalGeneration,
)

import flambeau as fb
from flambeau.core.errors import ModelError
from flambeau.fields import Ragged, Text, TextTarget
from flambeau.fields.language.tokenizers import tokenizers
from flambeau.models import InputSpec, OutputSpec, build
from flambeau.models.language import Seq2Seq, search
from flambeau.run import Run

V = 40


@pytest.fixture(scope="module", params=["t5", "bart", "marian"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small encoder-decoder with fresh weights and a tokeniser of letters."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp(request.param)
    if request.param == "t5":
        config = T5Config(vocab_size=V, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
                          decoder_start_token_id=0, eos_token_id=1, pad_token_id=0)  # fmt: skip
        T5ForConditionalGeneration(config).save_pretrained(path)
    else:
        layers = {f"{part}_{what}": n for part in ("encoder", "decoder")
                  for what, n in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
        marks = {"bos_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 1}
        of, network = {"bart": (BartConfig, BartForConditionalGeneration), "marian": (MarianConfig, MarianMTModel)}[
            request.param
        ]
        config = of(vocab_size=V, d_model=16, max_position_embeddings=64, forced_eos_token_id=None, **layers, **marks)
        network(config).save_pretrained(path)
    package = tokenizers()
    letters = ["<pad>", "</s>", "<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz"]
    tool = package.Tokenizer(package.models.BPE({letter: i for i, letter in enumerate(letters)}, [], unk_token="<unk>"))
    tool.pre_tokenizer, tool.decoder = package.pre_tokenizers.Metaspace(), package.decoders.Metaspace()
    tool.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tool.post_processor = package.processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    tool.save(str(path / "tokenizer.json"))
    return path


def test_it_steps_as_it_is_taught_and_writes_as_transformers_does(folder: Path) -> None:
    model = build(f"hf:{folder}", InputSpec("text", (V,)), OutputSpec(V, "text")).model.eval()
    assert isinstance(model, Seq2Seq)
    source = Ragged(torch.tensor([[5, 6, 7, 1], [9, 1, 0, 0]]), torch.tensor([4, 2]))
    begin = model.network.config.decoder_start_token_id
    tokens = torch.tensor([[begin, 5, 6], [begin, 8, 9]])
    with torch.no_grad():
        scores, looked = model.taught(source, tokens)
        reading = model.begin(source)
        for t in range(3):
            reading = reading.keep(torch.tensor([1, 0])).keep(torch.tensor([1, 0]))
            one, reading = model.step(tokens[:, t], reading)
            torch.testing.assert_close(one, scores[:, t], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(looked.sum(2), torch.ones(2, 3))
        assert not looked[1, :, 2:].any()
        mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
        theirs = model.network.generate(input_ids=source.values, attention_mask=mask, max_new_tokens=5, do_sample=False,
                                        num_beams=1)[:, 1:]  # fmt: skip
    ours = search(model, source, begin=begin, end=1, longest=5)
    for mine, other in zip(ours.tolist(), theirs.tolist(), strict=True):
        until = mine.index(1) + 1 if 1 in mine else len(mine)
        assert mine[:until] == other[:until]


def test_it_is_trained_by_its_folder(folder: Path, tmp_path: Path) -> None:
    said = [f"{a}{b} {b}" for a in "abcdefgh" for b in "abcdef"]
    data = fb.Dataset({"said": said, "written": [text[::-1] for text in said]}, inputs=["said"], target="written",
                      fields={"said": Text(), "written": TextTarget()})  # fmt: skip
    fb.Learner(data, f"hf:{folder}", run=tmp_path / "run", epochs=1, quiet=True).fit(check=False)
    kept = Run.open(tmp_path / "run").recipe
    assert kept.fields["written"]["tokens"] == kept.fields["said"]["tokens"] == f"hf:{folder}"
    assert isinstance(fb.load(tmp_path / "run").predict("ab b").label, str)


def test_an_adapter_is_all_that_was_trained_and_peft_loads_it(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    said = [f"{a}{b} {b}" for a in "abcdefgh" for b in "abcdef"]
    data = fb.Dataset({"said": said, "written": [text[::-1] for text in said]}, inputs=["said"], target="written",
                      fields={"said": Text(), "written": TextTarget()})  # fmt: skip
    options = {"techniques": "lora adapter=true", "epochs": 1, "learning_rate": 0.05, "quiet": True}
    fb.Learner(data, f"hf:{folder}", pretrained=True, run=tmp_path / "run", **options).fit(check=False)
    network = fb.load(tmp_path / "run").objective.model.eval().network
    base = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    asked = {"input_ids": torch.arange(4, 10)[None], "decoder_input_ids": torch.arange(4, 10)[None]}
    with torch.no_grad():
        before, ours = base(**asked).logits, network(**asked).logits
        theirs = peft.PeftModel.from_pretrained(base, tmp_path / "run" / "adapter").eval()(**asked).logits
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    assert (before - ours).abs().max() > 1e-3, "it learned something"


def test_an_encoder_alone_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(vocab_size=V, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=16)).save_pretrained(tmp_path)  # fmt: skip
    with pytest.raises(ModelError, match="models of type 'bert' write no texts"):
        build(f"hf:{tmp_path}", InputSpec("text", (V,)), OutputSpec(V, "text"))
