"""The model of phrases: which it keeps, how much each counts, and what of it does not depend on the batches."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from made import net
from realdata.texts import uci_sentences

import flambeau as fb
from flambeau.core.errors import ModelError, UsageError
from flambeau.fields import Ragged
from flambeau.models import OWN, InputSpec
from flambeau.models.text import ngrams as module
from flambeau.models.text.ngrams import NGrams

A, B, C, D = 3, 4, 5, 6


def ragged(*texts: list[int]) -> Ragged:
    width = max(map(len, texts))
    padded = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    return Ragged(padded, torch.tensor([len(text) for text in texts]))


def one_hot(*classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), 2).float()


def known(model: NGrams) -> int:
    return int((model.values > 0).sum())


TEXTS = [[A, B, A, B], [A, B], [C, A], [C, D, C]]
LABELS = [0, 0, 1, 1]


def test_a_phrase_is_kept_from_two_texts_on_and_counts_by_its_log_ratio() -> None:
    model = NGrams(2, ngrams=2, size=64)
    model.initialise_from_data([(ragged(*TEXTS), one_hot(*LABELS))])
    # in two texts or more: A (three), B, AB, C; AB comes twice in the first text and counts once
    assert known(model) == 4
    counts = {A: (2, 1), B: (2, 0), C: (0, 2)}
    different = {"A": (2, 1), "B": (2, 0), "AB": (2, 0), "BA": (1, 0), "C": (0, 2), "CA": (0, 1), "D": (0, 1),
                 "CD": (0, 1), "DC": (0, 1)}  # fmt: skip
    totals = [sum(pair[k] + 1 for pair in different.values()) for k in (0, 1)]
    for token, (first, second) in counts.items():
        expected = abs(math.log((first + 1) / totals[0] / ((second + 1) / totals[1])))
        places, values = model._weighted(ragged([token]))
        assert places[0, 0] > 0 and values[0, 0] == pytest.approx(1)  # alone it has all the length
        assert float(model.values[places[0, 0]]) == pytest.approx(expected, rel=1e-5)


def test_an_unknown_phrase_says_nothing() -> None:
    model = NGrams(2, ngrams=2, size=64).eval()
    model.initialise_from_data([(ragged(*TEXTS), one_hot(*LABELS))])
    torch.nn.init.normal_(model.table.weight)
    with torch.no_grad():
        assert torch.equal(model(ragged([D, 40, 41])), model.bias[None])
        assert not torch.equal(model(ragged([A])), model.bias[None])


def test_a_phrase_that_comes_again_counts_once() -> None:
    model = NGrams(3, ngrams=1, size=64).eval()
    torch.testing.assert_close(model(ragged([A, B, A, A])), model(ragged([A, B])))


def test_it_counts_alike_however_the_texts_come_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = NGrams(2, size=64), NGrams(2, size=64)
    whole.initialise_from_data([(ragged(*TEXTS), one_hot(*LABELS))])
    monkeypatch.setattr(module, "AT_ONCE", 8)
    parts.initialise_from_data((ragged(text), one_hot(label)) for text, label in zip(TEXTS, LABELS, strict=True))
    assert torch.equal(whole.keys, parts.keys) and torch.equal(whole.values, parts.values)


def test_the_rarest_are_forgotten_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 30)
    monkeypatch.setattr(module, "COUNTED", 3 * 40)
    model = NGrams(2, ngrams=1, size=64)
    often = [[A, B, 100 + i] for i in range(200)]
    model.initialise_from_data((ragged(text), one_hot(i % 2)) for i, text in enumerate(often))
    assert known(model) == 2, "two come in every text, two hundred in one each"
    small = NGrams(2, ngrams=1, size=4)
    small.initialise_from_data([(ragged(*[[A, B, C, D]] * 3, [A, B, C]), one_hot(0, 1, 0, 1))])
    assert known(small) == 3 and small._weighted(ragged([D]))[1].sum() == 0, "the rarest has no place"


def test_targets_without_classes_have_every_phrase_count_alike() -> None:
    model = NGrams(1, ngrams=1, size=64)
    model.initialise_from_data([(ragged(*TEXTS), torch.ones(4, 1))])
    assert set(model.values.tolist()) == {0.0, 1.0} and known(model) == 3


def test_no_two_of_many_phrases_are_taken_for_one() -> None:
    model = NGrams(2, ngrams=3, size=64)
    triples = [list(triple) for triple in itertools.product(range(2, 40), repeat=3)]
    phrases, good = model._phrases(ragged(*triples))
    singles, pairs = 38, 38 * 38
    assert len(phrases[good].unique()) == singles + pairs + len(triples)


def test_what_was_counted_is_saved_with_the_weights_and_a_label_is_learned() -> None:
    sentences = uci_sentences()
    data = fb.Dataset({"text": sentences.texts[:1500], "label": sentences.labels[:1500]}, target="label")
    learner = fb.Learner(data, run=False, quiet=True, epochs=4)
    assert learner.fit(check=False)["accuracy"] > 0.65
    model = learner.objective.model
    assert isinstance(model, NGrams) and bool(model.primed) and known(model) > 1000
    assert learner.recipe.fields["text"]["characters"] == 2048
    assert any("words and characters" in reason for reason in learner.recipe.reasons)


def test_it_says_what_does_not_fit() -> None:
    spec = InputSpec("text", (30,))
    with pytest.raises(UsageError, match="ngrams=0 and size=4"):
        net("ngrams", spec, 2, ngrams=0, size=4)
    with pytest.raises(ModelError, match="it has no word vectors; use the model bag"):
        net("ngrams", spec, 2, pretrained="vectors.txt", vocabulary=[str(i) for i in range(30)])


@pytest.mark.parametrize(("outputs", "size"), [(2, 1 << 19), (20, 1 << 17), (1000, 1 << 14)])
def test_the_table_is_as_large_as_the_outputs_allow(outputs: int, size: int) -> None:
    with torch.device("meta"):
        assert build_meta(outputs).table.weight.shape == (size, outputs)


def build_meta(outputs: int) -> NGrams:
    made = OWN["ngrams"](InputSpec("text", (30,)), outputs)
    assert isinstance(made, NGrams)
    return made
