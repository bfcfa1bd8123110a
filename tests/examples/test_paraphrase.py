"""Paraphrases: of training texts alone, paid for once, kept through a crash."""

from __future__ import annotations

from pathlib import Path

import pytest
from paraphrase import back_translation, paraphrase, translator

import flambeau as fb
from flambeau.core.errors import DataError, ModelError, UsageError


@pytest.fixture
def data() -> fb.Dataset:
    texts = [f"sentence number {i} says something" for i in range(20)]
    return fb.Dataset({"text": texts, "n": list(range(20)), "label": ["a", "b"] * 10}, inputs=["text"], target="label")


class Counting:
    """A rewriting that counts what it is asked, and dies after so many calls."""

    def __init__(self, dies_after: int = 1000):
        self.asked: list[str] = []
        self.left = dies_after

    def __call__(self, texts: list[str]) -> list[str]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.asked += texts
        return [text.replace("says", "tells") for text in texts]


def test_training_rows_alone_come_twice(data: fb.Dataset, tmp_path: Path) -> None:
    more = paraphrase(data, Counting(), cache=tmp_path)
    train = data.rows("train")
    assert len(more) == 20 + len(train)
    assert (more.split[:20] == data.split).all() and (more.split[20:] == 0).all()
    for at, row in enumerate(train.tolist(), 20):
        assert more.columns["text"][at] == data.columns["text"][row].replace("says", "tells")
        assert more.columns["label"][at] == data.columns["label"][row] and more.columns["n"][at] == row
    assert more.place(20) == f"{data.place(int(train[0]))}, rewritten"
    held_out = {data.columns["text"][r] for r in data.rows("valid").tolist()}
    assert not held_out & {t.replace("tells", "says") for t in more.columns["text"][20:]}
    assert fb.Learner(more, epochs=1, run=False, quiet=True).fit(check=False)


def test_what_was_paid_for_is_kept(data: fb.Dataset, tmp_path: Path) -> None:
    first = Counting(dies_after=2)
    with pytest.raises(KeyboardInterrupt):
        paraphrase(data, first, cache=tmp_path, batch_size=4)
    (file,) = tmp_path.iterdir()
    with file.open("a") as out:
        out.write('["cut off by a cra')
    second = Counting()
    paraphrase(data, second, cache=tmp_path, batch_size=4)
    assert len(first.asked) == 8 and not set(first.asked) & set(second.asked)
    third = Counting()
    paraphrase(data, third, cache=tmp_path)
    assert not third.asked
    paraphrase(data, third, cache=tmp_path, name="another model")
    assert third.asked


def test_a_function_without_a_name_of_its_own_is_refused(data: fb.Dataset, tmp_path: Path) -> None:
    """Two of them would be given one another's texts."""
    with pytest.raises(UsageError, match="a lambda has no name to keep its texts by; give name="):
        paraphrase(data, lambda texts: texts, cache=tmp_path)


def test_a_function_that_loses_texts_is_told(data: fb.Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gave 1 texts for"):
        paraphrase(data, lambda texts: texts[:1], name="loses", cache=tmp_path)
    with pytest.raises(UsageError, match="no one column of texts called 'n'"):
        paraphrase(data, Counting(), column="n", cache=tmp_path)


def test_there_and_back_through_local_models(data: fb.Dataset, tmp_path: Path) -> None:
    """Two tiny models of random weights: what they say is nonsense, and the same each time."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

    words = {w: i for i, w in enumerate(["<pad>", "<s>", "</s>", "<unk>", "sentence", "says", "something"])}
    tool = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tool.pre_tokenizer = pre_tokenizers.Whitespace()
    tool.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    folder = tmp_path / "there"
    PreTrainedTokenizerFast(
        tokenizer_object=tool, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 40}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    model = BartForConditionalGeneration(BartConfig(vocab_size=len(words), **sizes, **heads, **ids))
    model.save_pretrained(folder)
    rewrite = back_translation(translator(folder, max_length=8), lambda texts: [f"{t} again" for t in texts])
    assert rewrite.__name__.startswith("there-")
    given = rewrite(data.columns["text"][:3])
    assert (
        len(given) == 3
        and all(text.endswith(" again") for text in given)
        and given == rewrite(data.columns["text"][:3])
    )
    with pytest.raises(ModelError, match="no such folder"):
        translator(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="cannot be loaded"):
        translator(tmp_path / "empty")


def test_rows_that_are_rewritten_are_not_dealt_into_folds(data: fb.Dataset, tmp_path: Path) -> None:
    more = paraphrase(data, lambda texts: [t + " again" for t in texts], name="again", cache=tmp_path)
    with pytest.raises(UsageError, match="cannot be dealt into folds; make the folds first"):
        next(more.folds(5))
