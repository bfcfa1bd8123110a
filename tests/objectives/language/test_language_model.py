"""Language modelling: every token once, whatever the batches; nothing seen across documents; a resume to the bit."""

import itertools
import math

import numpy as np
import pytest
import tiny_language  # noqa: F401  enters the model
import torch

import flambeau as fb
from flambeau.data.batch import Batch
from flambeau.data.packing import PackedBatches
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.fields import Corpus, Packed
from flambeau.models import InputSpec, OutputSpec, build
from flambeau.objectives import LanguageModel

WORDS = ["the", "torch", "burns", "bright", "and", "night", "is", "long", "while", "wörld", "and", "世界", "turn"]
TEXTS = [" ".join(WORDS[(i * j) % len(WORDS)] for j in range(5 + i % 40)) + "\n" for i in range(60)]
CHAT = [{"role": "user", "content": "burns it?"}, {"role": "assistant", "content": "bright"}]


def fitted(values, tokens="characters", context=16):
    field = Corpus(tokens, context)
    field.fit(values)
    return field


def stored(values, tmp_path, **settings):
    data = fb.Dataset({"text": values}, inputs=["text"], fields={"text": Corpus(**settings)}, split="none")
    data.fit()
    return data.fields["text"], encode(data, EncodeOptions(tmp_path / "store"))


def objective_of(field):
    torch.manual_seed(0)
    spec = InputSpec.of([field])
    return LanguageModel(build("tiny-lm", spec, OutputSpec(spec.shape[0], "tokens")).model, field)


@pytest.mark.parametrize("tokens", ["bytes", "characters", "bpe"])
def test_texts_come_back_byte_by_byte(tokens):
    field = fitted(TEXTS, tokens)
    for text in [*TEXTS, "never € seen\r\n\t  <|endoftext|> ひらがな \u0000 é"]:
        ids = field.tokens_of(text)
        assert field.text_of(ids) == text and field.bytes_of(field.encode(text)) == text.encode()
        assert max(ids) < field.input_shape[0] and field.end not in ids
        so_far = [field.streamed(ids[:i]) for i in range(len(ids) + 1)]
        assert so_far[-1] == text
        assert all(after.startswith(before) for before, after in itertools.pairwise(so_far))
    sizes = field.sizes[torch.tensor(field.tokens_of("aé世"))].sum(0)
    assert sizes.tolist() == [len("aé世".encode()), 3]


def test_what_an_assistant_says_counts_alone_and_a_prompt_begins_like_it():
    field = fitted([CHAT, *TEXTS])
    encoded = field.encode(CHAT)
    said = encoded[encoded[:, 1] == 1, 0].tolist()
    assert field.text_of(said) == "bright" and said[-1] == field.end
    prompt = field.chat(CHAT[:1])
    assert encoded[: len(prompt), 0].tolist() == prompt and encoded[len(prompt), 1] == 1


@pytest.mark.parametrize("context", [7, 16, 5000])
def test_an_epoch_foretells_no_token_twice_and_an_evaluation_each_once(tmp_path, context):
    field, store = stored(TEXTS, tmp_path, tokens="bytes", context=context)
    rows, lengths = torch.arange(len(TEXTS)), store.columns["text"].lengths

    def foretold(batches, epoch=0):
        found = []
        for _, gathered in batches.epoch(epoch):
            packed = gathered["text"]
            for tokens, of in zip(packed.tokens, packed.rows, strict=True):
                for row in of.unique().tolist():  # windows hold documents as they are
                    assert bytes(field.bytes_of(tokens[of == row].tolist())) in 2 * TEXTS[row].encode()
            found += packed.rows[:, 1:][packed.targets].tolist()
        return np.bincount(found, minlength=len(TEXTS))

    held_out = foretold(PackedBatches(store, rows, 4))
    np.testing.assert_array_equal(held_out, lengths.numpy() - 1)
    for stride in (1 + context // 3, context):  # each once, whatever it looks back at
        np.testing.assert_array_equal(foretold(PackedBatches(store, rows, 4, stride=stride)), lengths.numpy() - 1)
    with pytest.raises(fb.FlambeauError, match=f"1 to {context}"):
        PackedBatches(store, rows, 4, stride=context + 1)
    train = PackedBatches(store, rows, 4, seed=3)
    for epoch in range(3):
        assert (foretold(train, epoch) <= lengths.numpy() - 1).all()
    whole = [gathered["text"] for _, gathered in train.epoch(1)]
    rest = [gathered["text"] for _, gathered in PackedBatches(store, rows, 4, seed=3).epoch(1, start=2)]
    assert len(whole) == train.count(1)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(whole[2:], rest, strict=True))


def test_a_stride_lets_each_token_be_foretold_from_more(tmp_path):
    field, store = stored([" ".join(TEXTS)], tmp_path, tokens="bytes", context=12)
    back = [
        (packed.targets * torch.arange(1, packed.tokens.shape[1]))[packed.targets].tolist()
        for _, gathered in PackedBatches(store, torch.arange(1), 4, stride=3).epoch(0)
        for packed in (gathered["text"],)
    ]
    looked = [count for batch in back for count in batch]
    assert looked[:12] == [*range(1, 13)] and set(looked[12:]) == {10, 11, 12}


def test_figures_are_those_of_all_tokens_whatever_the_windows_and_sums_of_batches_are_exact(tmp_path):
    field, store = stored(TEXTS, tmp_path, tokens="characters", context=16)
    objective, rows = objective_of(field), torch.arange(len(TEXTS))

    def measured(size):
        objective.start_evaluation(detail=True)
        with torch.inference_mode():
            for of, gathered in PackedBatches(store, rows, size).epoch(0):
                objective.evaluate(Batch(field.prepare(gathered["text"]), None, of))
        return objective.metrics()

    one, many = measured(1), measured(50)
    assert one == pytest.approx(many, rel=1e-9)
    assert one["perplexity"] == pytest.approx(math.exp(one["loss"]))
    size = sum(len(text.encode()) for text in TEXTS)
    assert one["bits_per_byte"] == pytest.approx(one["loss"] * objective._measured.count / math.log(2) / size)
    low, high = objective.intervals()["loss"]
    assert low < one["loss"] < high and objective.detail()["worst"]
    batches = [Batch(g["text"], None, r) for r, g in PackedBatches(store, rows, 8).epoch(0)]
    whole = Batch(Packed(*(torch.cat([b.input[i] for b in batches]) for i in range(4))), None, rows)
    shares = torch.tensor([objective.weight(batch) for batch in batches])
    parts = torch.stack([objective.loss(batch) for batch in batches])
    torch.testing.assert_close((parts * shares / shares.sum()).sum(), objective.loss(whole))


def test_long_documents_are_foretold_whole_and_another_document_changes_nothing(tmp_path):
    field = fitted(TEXTS)
    objective = objective_of(field)
    long = " ".join(TEXTS)
    alone = objective.predict(Batch(field.prepare(gathered(field, [long])), None, torch.arange(1)))
    beside = objective.predict(Batch(field.prepare(gathered(field, ["a", long, "bc"])), None, torch.arange(3)))
    torch.testing.assert_close(alone[0], beside[1])
    assert alone[0, 2] == len(long) + 1


def gathered(field, values):
    from flambeau.data.store.store import collate

    return collate([field.encode(value) for value in values], field.encoding)


def test_a_training_goes_on_to_the_bit_and_its_run_measures_other_texts(tmp_path):
    def learner(run):
        data = fb.Dataset({"text": TEXTS}, inputs=["text"], fields={"text": Corpus("characters", 16)})
        return fb.Learner(data, "tiny-lm", objective="language-model", run=tmp_path / run, quiet=True, epochs=3,
                          batch_size=8, learning_rate=0.03, cache=tmp_path / "store", baseline=False)  # fmt: skip

    whole = learner("whole")
    metrics = whole.fit()
    assert 1 < metrics["perplexity"] < 60 and metrics["bits_per_byte"] > 0  # of 260 tokens

    class Stopped(Exception):
        pass

    stopped = learner("stopped")
    stopped.build()
    real, seen = stopped.objective.loss, []

    def loss(batch, phase="train"):
        seen.append(1)
        if len(seen) == 12:
            raise KeyboardInterrupt
        return real(batch, phase)

    stopped.objective.loss = loss
    with pytest.raises(KeyboardInterrupt):
        stopped.fit()
    resumed = learner("stopped")
    resumed.fit(resume=True)
    for a, b in zip(whole.objective.model.parameters(), resumed.objective.model.parameters(), strict=True):
        assert torch.equal(a, b)
    predictor = fb.load(tmp_path / "whole")
    odd, usual = predictor.predict(["zzzz qqqq zxzx", TEXTS[3]])
    assert odd.label > usual.label
