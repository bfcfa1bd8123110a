"""A kind of data whose values differ in length goes all the way without any part being changed for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small import Stop, Stopped, identical, terminated_at, weights
from torch import Tensor, nn
from words import TOPICS, Bag, Words, registered, sentences

import flambeau as fb
from flambeau.data.batch import Batch
from flambeau.data.batches import Batches
from flambeau.data.custom import batch_length
from flambeau.data.prepare import Preparer
from flambeau.data.store.encode import EncodeOptions, encode
from flambeau.data.store.store import RaggedColumn
from flambeau.fields import Ragged
from flambeau.fields.base import Encoding, Field, Recognition
from flambeau.learner.preflight import head
from flambeau.objectives import Objective
from flambeau.techniques import Technique
from flambeau.training import Interrupted, Settings, Trainer
from flambeau.training.engine import Engine

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _words() -> Iterator[None]:
    with registered():
        yield


def dataset(**options: Any) -> fb.Dataset:
    text, topics = sentences()
    return fb.Dataset({"text": text, "topic": topics}, target="topic", **options)


def test_it_is_recognised_and_described() -> None:
    data = dataset()
    assert data.fields["text"].kind == "words"
    assert "text (words) → topic (category)" in data.describe()


@pytest.fixture
def stores(tmp_path: Path) -> tuple[fb.Dataset, Any, Any]:
    """The same sentences in a store on disk and in one in memory."""
    data = dataset()
    data.fit()
    on_disk = encode(data, EncodeOptions(tmp_path, threads=2))
    in_memory = dataset()
    in_memory.columns["text"] = [data.fields["text"].split(t) for t in data.columns["text"]]  # type: ignore[attr-defined]
    in_memory.fields = data.fields
    return data, on_disk, encode(in_memory, EncodeOptions(tmp_path / "unused"))


@pytest.mark.parametrize("name", ["flat.bin", "offsets.bin"])
def test_another_bit_of_it_is_found(stores: tuple[fb.Dataset, Any, Any], tmp_path: Path, name: str) -> None:
    data, on_disk, _ = stores
    expected = [on_disk.columns["text"].gather(torch.tensor([row])).values for row in range(len(data))]
    (file,) = tmp_path.glob(f"*/{name}")
    whole = bytearray(file.read_bytes())
    whole[-5] ^= 1
    file.write_bytes(whole)
    column = encode(data, EncodeOptions(tmp_path)).columns["text"]
    assert all(torch.equal(column.gather(torch.tensor([r])).values, expected[r]) for r in range(len(data)))  # type: ignore[union-attr]


def test_it_is_stored_flat_with_offsets_on_disk_and_in_memory_alike(
    stores: tuple[fb.Dataset, Any, Any], tmp_path: Path
) -> None:
    data, on_disk, in_memory = stores
    assert list(tmp_path.glob("*/flat.bin")) and list(tmp_path.glob("*/offsets.bin"))
    assert not (tmp_path / "unused").exists()
    for store in (on_disk, in_memory):
        column = store.columns["text"]
        assert isinstance(column, RaggedColumn)
        assert column.flat.dtype == torch.int32 and column.offsets[-1] == len(column.flat)
        for row in (0, 7, len(data) - 1):
            expected = data.fields["text"].encode(data.columns["text"][row])
            alone = column.gather(torch.tensor([row]))
            assert np.array_equal(alone.values[0].numpy(), expected) and alone.lengths.tolist() == [len(expected)]
    assert torch.equal(on_disk.columns["text"].flat, in_memory.columns["text"].flat)
    assert torch.equal(on_disk.lengths(), in_memory.lengths())


def test_gathered_rows_are_padded_with_zeros_behind_their_ends(stores: tuple[fb.Dataset, Any, Any]) -> None:
    data, store, _ = stores
    rows = torch.tensor([len(data) - 1, 3, 3, 0])
    text = store.gather(rows)["text"]
    assert text.values.shape == (4, int(text.lengths.max()))
    for row, values, length in zip(rows.tolist(), text.values, text.lengths.tolist(), strict=True):
        assert np.array_equal(values[:length].numpy(), data.fields["text"].encode(data.columns["text"][row]))
        assert not values[length:].any()


def test_padding_never_changes_an_output(stores: tuple[fb.Dataset, Any, Any]) -> None:
    data, store, _ = stores
    model, prepare = Bag(), Preparer(data.fields, ["text"], "topic", CPU)
    longest = int(store.lengths().argmax())
    for row in range(0, 60, 7):
        alone = model(prepare(torch.tensor([row]), store.gather(torch.tensor([row]))).input)[0]
        both = torch.tensor([row, longest])
        beside = model(prepare(both, store.gather(both)).input)[0]
        # a sum of at most 253 terms, some of them zero, in another order
        torch.testing.assert_close(alone, beside, rtol=253 * 2**-23, atol=1e-6)


def test_a_row_without_words_is_named_and_left_out(tmp_path: Path) -> None:
    text, topics = sentences()
    data = fb.Dataset({"text": [*text, "…", None], "topic": [*topics, "debugger", "debugger"]}, target="topic")
    data.fit()
    store = encode(data, EncodeOptions(tmp_path))
    assert sorted(set(range(len(data))) - set(store.good.tolist())) == [len(text), len(text) + 1]
    assert {p for f in store.findings for p in f.places} == {f"row {len(text)}", f"row {len(text) + 1}"}
    assert store.gather(torch.tensor([0, len(text)]))["text"].lengths[1] == 0, "gathering it does no harm"


@pytest.mark.parametrize("tokens", [None, 200, 2000])
def test_batches_are_bucketed_by_length_under_a_token_budget(stores: Any, tokens: int | None) -> None:
    _, store, _ = stores
    batches = Batches(store, store.good, 16, seed=1, tokens=tokens)
    seen: Counter[int] = Counter()
    padding = total = 0
    for rows, gathered in batches.epoch(0):
        b, t = gathered["text"].values.shape
        assert b <= 16 and (tokens is None or b == 1 or b * t <= tokens)
        seen.update(rows.tolist())
        padding += b * t - int(gathered["text"].lengths.sum())
        total += b * t
    assert seen == Counter(store.good.tolist()), "every row once"
    assert padding < total / 4, "rows of like length lie together"
    lengths = store.lengths()
    order = [int(lengths[rows].max()) for rows in batches.plan(0)]
    assert order != sorted(order), "and still the order is random"


def test_the_order_is_a_function_of_seed_and_epoch(stores: Any) -> None:
    _, store, _ = stores

    def order(seed: int | None, epoch: int, start: int = 0) -> list[list[int]]:
        batches = Batches(store, store.good, 8, seed=seed, tokens=300)
        return [rows.tolist() for rows, _ in batches.epoch(epoch, start)]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1) and order(1, 0) != order(2, 0)
    assert order(None, 0) == order(None, 1)
    assert order(1, 3, start=5) == order(1, 3)[5:]


def test_a_single_sample_is_left_out_where_batch_norm_could_not_take_it(stores: Any) -> None:
    _, store, _ = stores
    longest = int(store.lengths().max())
    assert any(len(b) == 1 for b in Batches(store, store.good, 16, seed=1, tokens=longest).plan(0))
    assert all(len(b) > 1 for b in Batches(store, store.good, 16, seed=1, tokens=longest, drop_single=True).plan(0))


class Spots(Field):
    """Any number of numbers."""

    kind = "spots"

    @classmethod
    def recognise(cls, values: Any) -> Recognition:
        return Recognition(0.0, "it is given")

    def fit(self, values: Any) -> None:
        return

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (), ragged=True)

    def encode(self, value: Any) -> np.ndarray:
        return np.asarray(value, np.float32)


def test_only_what_a_model_sees_has_a_length() -> None:
    """A target of several entries a row, such as boxes, neither sorts the rows nor fills the budget of tokens."""
    rows = [[float(i)] * (1 + i % 7) for i in range(64)]
    data = fb.Dataset({"x": np.arange(64.0), "spots": rows}, target="spots", fields={"spots": Spots()})
    data.fit()
    store = encode(data)
    assert store.lengths() is None and not store.padded
    batches = [(r, g["spots"]) for r, g in Batches(store, store.good, 16, seed=1, tokens=8).epoch(0)]
    assert [len(r) for r, _ in batches] == [16] * 4
    assert all(torch.equal(spots.lengths, 1 + r % 7) for r, spots in batches)
    seen = head(batches[0][1], 3)
    assert isinstance(seen, Ragged) and seen.values.shape == (3, 7) and len(seen.lengths) == batch_length(seen) == 3


# -- training -----------------------------------------------------------------------------------------------------


def learner(tmp_path: Path, run: Any = False, stop: Stop | None = None, **settings: Any) -> fb.Learner:
    given = {"epochs": 2, "learning_rate": 0.05, "batch_size": 16, "max_tokens": 400, "keep": "last", **settings}
    return fb.Learner(
        dataset(), Bag(), run=run, quiet=True, cache=tmp_path / "cache", techniques=[stop or Stop()], **given
    )


def test_it_trains_evaluates_and_predicts(tmp_path: Path) -> None:
    trained = learner(tmp_path, run=tmp_path / "run", epochs=4)
    assert trained.fit(check=False)["accuracy"] > 0.7  # the largest topic has about 0.36
    text = trained.data.columns["text"][:40]  # type: ignore[union-attr]
    together = trained.predict(text)
    for one, sentence in zip(together, text, strict=True):
        assert trained.predict(sentence).label == one.label
        assert trained.predict(sentence).confidence == pytest.approx(one.confidence, abs=1e-5)
    loaded = fb.load(tmp_path / "run", model=Bag(seed=9))
    assert [p.label for p in loaded.predict(text)] == [p.label for p in together]
    assert set(loaded.classes) == set(TOPICS)


@pytest.mark.parametrize("step", [4, 25])
@pytest.mark.parametrize("how", ["SIGTERM", "crash"])
def test_it_resumes_bit_identically(step: int, how: str, tmp_path: Path) -> None:
    whole = learner(tmp_path, run=tmp_path / "whole", checkpoint_minutes=0)
    metrics = whole.fit(check=False)
    stop = terminated_at(step) if how == "SIGTERM" else Stop(step)
    with pytest.raises(Interrupted if how == "SIGTERM" else Stopped):
        learner(tmp_path, run=tmp_path / "run", stop=stop, checkpoint_minutes=0).fit(check=False)
    resumed = learner(tmp_path, run=tmp_path / "run", checkpoint_minutes=0)
    assert resumed.fit(resume=True, check=False) == metrics
    assert identical(weights(whole.objective.model), weights(resumed.objective.model))


class Rows(Technique):
    """Notes the rows of every batch, by epoch."""

    name = "rows"

    def __init__(self) -> None:
        self.epochs: list[list[int]] = [[]]

    def on_batch(self, batch: Batch, generator: torch.Generator) -> Batch:
        self.epochs[-1] += batch.rows.tolist()
        return batch

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> None:
        self.epochs.append([])


def test_every_row_is_trained_on_in_every_epoch_however_many_batches_it_takes(tmp_path: Path) -> None:
    rows = Rows()
    trained = fb.Learner(
        dataset(split="none"), Bag(), run=False, quiet=True, cache=tmp_path, techniques=[rows], epochs=6, batch_size=3,
        max_tokens=60,
    )  # fmt: skip
    trained.build()
    source = trained.feed.sources["train"]
    assert source is not None
    assert len({source.count(e) for e in range(6)}) > 1, "else this proves nothing"
    trained.fit(check=False)
    assert all(sorted(epoch) == list(range(len(sentences()[0]))) for epoch in rows.epochs[:-1])


class PerWord(Objective):
    """Tells the topic from each word alone: the mean is over words, so a batch weighs what it has of them."""

    def __init__(self) -> None:
        self.model: nn.Module = Bag()

    def loss(self, batch: Batch, phase: str) -> Tensor:
        text: Ragged = batch.input
        inside = torch.arange(text.values.shape[1]) < text.lengths[:, None]
        logits = self.model.head(self.model.embedding(text.values.long()[inside]))  # type: ignore[operator]
        return F.cross_entropy(logits, batch.target.repeat_interleave(text.lengths))

    def weight(self, batch: Batch) -> float:
        return float(batch.input.lengths.sum())

    def start_evaluation(self, detail: bool = False) -> None: ...

    def evaluate(self, batch: Batch) -> None: ...

    def metrics(self) -> dict[str, float]:
        return {"loss": 0.0}


def test_accumulated_batches_weighted_by_their_words_are_one_large_batch(stores: Any) -> None:
    data, store, _ = stores

    def trained(batch_size: int, accumulate: int, objective: Objective) -> dict[str, Tensor]:
        # in their order by length, so that four batches of 8 hold the rows of one of 32
        source = Batches(store, store.good[:256], batch_size)
        settings = Settings(
            epochs=2, batch_size=batch_size, accumulate=accumulate, learning_rate=0.1, optimizer="sgd",
            weight_decay=0.0, schedule="constant",
        )  # fmt: skip
        prepare = Preparer(data.fields, ["text"], "topic", CPU)
        training = Trainer(objective, Engine(), settings, train=source, valid=None, prepare=prepare)
        training.fit()
        assert training.state.step == 16
        return weights(training)

    large = trained(32, 1, PerWord())
    small = trained(8, 4, PerWord())
    for name in large:
        # 16 steps, each a float32 sum over about 2,000 words in another order
        torch.testing.assert_close(small[name], large[name], rtol=1e-4, atol=1e-6, msg=name)

    class BySample(PerWord):
        def weight(self, batch: Batch) -> float:
            return len(batch)

    wrong = trained(8, 4, BySample())
    assert any((wrong[n] - large[n]).abs().max() > 1e-4 for n in large), "the weights do matter here"


def test_files_of_its_suffix_are_found_in_folders(tmp_path: Path) -> None:
    text, topics = sentences()
    for i, (sentence, topic) in enumerate(zip(text, topics, strict=True)):
        file = tmp_path / "texts" / topic / f"{i:04d}.sentence"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(sentence, encoding="utf-8")
    data = fb.Dataset.from_folder(tmp_path / "texts")
    assert isinstance(data.fields["words"], Words) and len(data) == len(text)
    data.fit()
    store = encode(data, EncodeOptions(tmp_path / "store"))
    assert len(store.good) >= len(text) - 5, "a few sentences are but a sign"
