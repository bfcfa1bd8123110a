"""Kneser-Ney: probabilities, against the definition written out, against figures done by hand, and at their edges."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

import flambeau as fb
from flambeau.baselines.kneser_ney import FALLBACK, KneserNey
from flambeau.fields import Corpus
from tests.support import tiny_language  # noqa: F401  enters the model


def plain(documents: list[list[int]], size: int, order: int) -> dict[tuple[int, ...], np.ndarray]:
    """The definition, written out over tuples: the distribution behind every context of fewer than `order` tokens of
    the vocabulary, and -1 for the beginning of a document."""
    begun = [[-1, *document] for document in documents]
    raw = Counter(tuple(d[i : i + n]) for d in begun for n in range(1, order + 1) for i in range(len(d) - n + 1))
    weight = {g: c if len(g) == order or g[0] == -1 else sum(h[1:] == g for h in raw) for g, c in raw.items()}
    discount = {}
    for n in range(1, order + 1):
        t = [sum(w == j for g, w in weight.items() if len(g) == n and g != (-1,)) for j in range(5)]
        discount[n] = FALLBACK
        if t[1] and t[2] and t[3]:
            y = t[1] / (t[1] + 2 * t[2])
            taken = np.asarray([0.0, *(j - (j + 1) * y * t[j + 1] / t[j] for j in (1, 2, 3))])
            discount[n] = taken if all(0 <= d <= j for j, d in enumerate(taken)) else FALLBACK

    def behind(context: tuple[int, ...]) -> np.ndarray:
        shorter = behind(context[1:]) if context else np.full(size, 1 / size)
        weights = np.asarray([weight.get((*context, w), 0) for w in range(size)])
        if not weights.sum():
            return shorter
        taken = discount[len(context) + 1][np.minimum(weights, 3)]
        return (weights - taken + taken.sum() * shorter) / weights.sum()

    tokens = [-1, *range(size)]
    return {c: behind(c) for n in range(order) for c in itertools.product(tokens, *[range(size)] * (n - 1))
            if n or not c} if order > 1 else {(): behind(())}  # fmt: skip


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_it_is_the_definition_in_every_context_and_sums_to_one(order: int) -> None:
    generator = np.random.default_rng(order)
    documents = [np.minimum(generator.geometric(0.4, n) - 1, 4).tolist() for n in (60, 0, 1, 90, 2, 70)]
    flat = np.concatenate([np.asarray(d, np.int64) for d in documents])
    model = KneserNey(flat, np.asarray([len(d) for d in documents]), 6, order)  # a sixth token is never there
    for context, expected in plain(documents, 6, order).items():
        if context[:1] == (-1,):
            found = model.distribution(np.asarray(context[1:], np.int64))
        elif len(context) == order - 1:  # behind others of a document, which are too far back to be seen
            found = model.distribution(np.asarray([5] * order + [*context], np.int64))
        else:
            continue
        assert found.sum() == pytest.approx(1, abs=1e-5)
        assert found == pytest.approx(expected, rel=1e-4)


def test_figures_done_by_hand() -> None:
    """Of "a b a b a c" there are too few counts for discounts of its own: 0.5, 1 and 1.5 are taken off 1, 2 and 3.

    Single tokens, by what they stand behind: a behind the beginning and b, b behind a, c behind a: 2, 1 and 1 of 4.
    Less 1, 0.5 and 0.5, which leaves half for all four tokens alike (a fourth, d, is never there):
    a: 1/4 + 1/8 = 0.375, b and c: 0.125 + 0.125 = 0.25, d: 0.125.
    Behind a: b twice, c once. b: (2 - 1)/3 + 1.5/3 · 0.25; c: 0.5/3 + 0.5 · 0.25; a: 0.5 · 0.375; d: 0.5 · 0.125.
    """
    model = KneserNey(np.asarray([0, 1, 0, 1, 0, 2]), np.asarray([6]), 4, 2)
    assert model.distribution(np.asarray([0])) == pytest.approx([0.1875, 1 / 3 + 0.125, 1 / 6 + 0.125, 0.0625])
    assert model.distribution(np.asarray([3])) == pytest.approx([0.375, 0.25, 0.25, 0.125]), "d was never seen"


def test_scores_do_not_hang_on_how_a_text_is_cut_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    flat, lengths = np.random.default_rng(0).integers(0, 9, 500), np.asarray([200, 0, 100, 200])
    model = KneserNey(flat, lengths, 9, 5)
    whole = model.log_probabilities(flat, lengths)
    monkeypatch.setattr("flambeau.baselines.kneser_ney.CHUNK", 7)
    assert np.array_equal(model.log_probabilities(flat, lengths), whole)
    assert whole.shape == flat.shape and np.isfinite(whole).all()


def test_where_there_is_no_time_for_longer_ones_it_is_the_model_of_shorter_ones() -> None:
    flat, lengths = np.random.default_rng(0).integers(0, 9, 500), np.asarray([200, 100, 200])
    cut, short = KneserNey(flat, lengths, 9, 5, more=lambda done: done < 3), KneserNey(flat, lengths, 9, 3)
    assert cut.order == 3
    assert np.array_equal(cut.log_probabilities(flat, lengths), short.log_probabilities(flat, lengths))


WORDS = "the torch burns bright and the night is long while it turns"


@pytest.mark.parametrize("chats", [False, True])
def test_it_stands_beside_a_model_on_the_same_tokens(chats: bool) -> None:
    texts: list[object] = [" ".join(WORDS.split()[i * j % 12] for j in range(9 + i % 20)) for i in range(60)]
    if chats:
        texts = [[{"role": "user", "content": "burns it?"}, {"role": "assistant", "content": text}] for text in texts]
    data = fb.Dataset({"text": texts}, inputs=["text"], fields={"text": Corpus("characters", 16)})
    learner = fb.Learner(data, model="tiny-lm", objective="language-model", epochs=1, run=False, quiet=True)
    learner.fit()
    (rival,) = learner.baselines("valid")
    data = learner.feed.dataset  # type: ignore[union-attr]
    field, model = data.fields["text"], learner.evaluate("valid")["metrics"]
    assert rival["name"] == "Kneser-Ney of 8-grams" and rival["metrics"].keys() == model.keys()
    train, valid = ([field.encode(data.columns["text"][row]) for row in data.rows(part)] for part in ("train", "valid"))
    encoded = [document.reshape(len(document), -1)[1:] for document in (*train, *valid)]
    flat, lengths = np.concatenate(encoded), np.asarray([len(document) for document in encoded])
    held_out = np.repeat(np.arange(len(encoded)) >= len(train), lengths)
    plain = KneserNey(flat[~held_out, 0], lengths[: len(train)], field.input_shape[0], 8)
    costs = -plain.log_probabilities(flat[held_out, 0], lengths[len(train) :])
    if chats:
        costs = costs[flat[held_out, 1] > 0]
    assert rival["metrics"]["loss"] == pytest.approx(costs.mean(), rel=1e-6)
    count = learner.objective.detail()["tokens"]  # type: ignore[union-attr]
    assert count == len(costs), "what the model was measured on"
