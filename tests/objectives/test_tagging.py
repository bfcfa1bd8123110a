"""Losses and metrics of tags, against plain counting."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Ragged, Tags
from flambeau.fields.tokens import words_seen
from flambeau.models.text.crf import Chain
from flambeau.objectives import Supervised
from flambeau.objectives.tagging import Tagging, tag_cross_entropy, tag_probabilities

TARGET = torch.tensor([[0, 1, 2, -100], [2, -1, -100, -100]])


def test_the_loss_is_the_mean_over_tokens_that_can_be_learned() -> None:
    scores = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    learned = [(0, 0), (0, 1), (0, 2), (1, 0)]
    each = [F.cross_entropy(scores[b, t][None], TARGET[b, t][None]) for b, t in learned]
    assert torch.allclose(tag_cross_entropy(scores, TARGET), torch.stack(each).mean())
    rows = tag_cross_entropy(scores, TARGET, reduction="none")
    assert torch.allclose(rows, torch.stack([torch.stack(each[:3]).mean(), each[3]]))
    smooth = tag_cross_entropy(scores, TARGET, label_smoothing=0.1)
    smoothed = [F.cross_entropy(scores[b, t][None], TARGET[b, t][None], label_smoothing=0.1) for b, t in learned]
    assert torch.allclose(smooth, torch.stack(smoothed).mean())


def test_a_sentence_that_the_model_cut_off_is_scored_as_far_as_it_goes() -> None:
    scores = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(tag_cross_entropy(scores, TARGET), tag_cross_entropy(scores, TARGET[:, :2]))


def test_a_chain_without_transitions_is_the_plain_loss() -> None:
    scores = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([[0, 1, 2, -100], [2, 1, -100, -100]])
    chain = Chain(scores, target != -100, torch.zeros(3, 3), torch.zeros(3), torch.zeros(3))
    assert torch.allclose(tag_cross_entropy(chain, target), tag_cross_entropy(scores, target), atol=1e-6)
    there = (target != -100)[:, :, None]
    assert torch.allclose(tag_probabilities(chain), scores.softmax(-1) * there, atol=1e-6)


def test_unseen_tags_and_cut_off_tokens_are_wrong() -> None:
    field = Tags(["a", "b", "c"])
    metric = Tagging(field, detail=True)
    perfect = F.one_hot(TARGET.clamp_min(0), 3).float()
    metric.update(perfect, TARGET, torch.tensor([10, 11]))
    assert metric.values()["accuracy"] == pytest.approx(4 / 5)  # the unseen one
    metric.update(perfect[:, :2], TARGET, torch.tensor([10, 11]))
    assert metric.values()["accuracy"] == pytest.approx(7 / 10)  # and the third token of the first
    assert metric.detail()["lost"] == 3 and metric.detail()["tokens"] == 10


def test_the_worst_mistake_names_its_sentence_and_its_token() -> None:
    metric = Tagging(Tags(["a", "b", "c"]), detail=True)
    output = F.one_hot(TARGET.clamp_min(0), 3).float()
    output[0, 2] = torch.tensor([0.9, 0.05, 0.05])
    metric.update(output, TARGET, torch.tensor([10, 11]))
    (worst,) = metric.detail()["worst"]
    assert (worst["row"], worst["at"], worst["true"], worst["predicted"]) == (10, 2, "c", "a")


def test_one_sentence_may_have_many_mistakes_of_the_same_weight() -> None:
    metric = Tagging(Tags(["a", "b", "c"]), detail=True)
    sure = F.one_hot(torch.zeros(1, 60, dtype=torch.int64), 3).float()
    metric.update(sure, torch.ones(1, 60, dtype=torch.int64), torch.tensor([3]))
    assert {w["row"] for w in metric.detail()["worst"]} == {3} and len(metric.detail()["worst"]) == 24


def test_label_smoothing_of_a_chain_is_refused() -> None:
    chain = Chain(torch.zeros(2, 4, 3), TARGET != -100, torch.zeros(3, 3), torch.zeros(3), torch.zeros(3))
    with pytest.raises(UsageError, match="has no label smoothing"):
        tag_cross_entropy(chain, TARGET, label_smoothing=0.1)


class Pieces(torch.nn.Module):
    """A score for each word that a pretrained tokeniser's pieces hold, up to the most of any sentence."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = torch.nn.Embedding(10, 3)

    def forward(self, tokens: Ragged) -> Tensor:
        return self.scores(tokens.values[:, :, 0].clamp_max(9)[:, : int(words_seen(tokens).max())])


def batch(rows: slice) -> Batch:
    """Of three sentences of four words, of which a model sees 4, 2 and 1."""
    begins = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [1, 0, 0, 1]])
    pieces = torch.arange(1, 13).view(3, 4) % 10
    lengths = torch.tensor([4, 4, 2])
    target = torch.tensor([[0, 1, 2, 0], [2, 1, 0, 1], [1, 1, -100, -100]])
    return Batch(Ragged(torch.stack([pieces, begins], 2)[rows], lengths[rows]), target[rows], torch.arange(3)[rows])


def test_what_a_model_does_not_see_is_wrong_and_nothing_is_learned_of_it() -> None:
    objective = Supervised(Pieces(), Tags(["a", "b", "c"]))
    assert [objective.weight(batch(slice(i, i + 1))) for i in range(3)] == [4, 2, 1]
    whole, alone = (objective.predict(batch(rows)) for rows in (slice(0, 3), slice(2, 3)))
    assert whole[2, 0].equal(alone[0, 0]) and not whole[2, 1:].any(), "whatever stands beside it"
    objective.start_evaluation(detail=True)
    with torch.no_grad():
        objective.evaluate(batch(slice(0, 3)))
    assert objective.detail()["lost"] == 3 and objective.detail()["tokens"] == 10


def test_parts_of_a_batch_have_the_gradient_of_all_of_it() -> None:
    objective = Supervised(Pieces(), Tags(["a", "b", "c"]))
    (whole,) = torch.autograd.grad(objective.loss(batch(slice(0, 3))), objective.model.scores.weight)
    parts = [batch(slice(0, 1)), batch(slice(1, 3))]
    weights = [objective.weight(part) for part in parts]
    loss = sum(objective.loss(p) * w for p, w in zip(parts, weights, strict=True)) / sum(weights)
    (summed,) = torch.autograd.grad(loss, objective.model.scores.weight)
    assert torch.allclose(whole, summed, atol=1e-7)


def test_spans_that_training_never_saw_are_missed_ones() -> None:
    field = Tags(["B-PER", "M-PER", "E-PER", "b-PER", "O"])
    assert field.has_spans, "one that is misspelt does not count"
    number = {name: i for i, name in enumerate(field.classes)}
    truth = torch.tensor([[number["B-PER"], number["M-PER"], number["E-PER"], number["O"], -1, -1]])
    guess = truth.where(truth >= 0, number["O"])
    metric = Tagging(field, detail=True)
    metric.update(F.one_hot(guess, 5).float(), truth, torch.tensor([0]))
    values = metric.values()
    assert (values["span_precision"], values["span_recall"]) == (1.0, 0.5)
    assert {c["class"]: c["precision"] for c in metric.per_class()}["O"] == pytest.approx(1 / 3)


def test_whole_spans_count() -> None:
    field = Tags(["B-LOC", "B-PER", "I-LOC", "I-PER", "O"])
    number = {name: i for i, name in enumerate(field.classes)}
    truth = torch.tensor([[number[t] for t in ["B-PER", "I-PER", "O", "B-LOC"]]])
    guess = torch.tensor([[number[t] for t in ["B-PER", "O", "O", "B-LOC"]]])
    metric = Tagging(field, detail=True)
    metric.update(F.one_hot(guess, 5).float(), truth, torch.tensor([0]))
    values = metric.values()
    assert (values["span_precision"], values["span_recall"], values["span_f1"]) == (0.5, 0.5, 0.5)
    assert {s["class"]: s["f1"] for s in metric.detail()["spans"]} == {"LOC": 1.0, "PER": 0.0}
