"""Taggers: padding never changes a score, and the chain's probabilities are those of counting every way."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from made import net

from flambeau.core.errors import UsageError
from flambeau.fields import Ragged
from flambeau.models import InputSpec, choose
from flambeau.models.text.crf import Chain, marginals, negative_log_likelihood

SPEC = InputSpec("tokens", (40, 20, 16))
K = 5
MODELS: list[tuple[str, dict[str, Any]]] = [
    ("lstm-tagger", {}),
    ("lstm-tagger", {"layers": 2, "spelling": 0}),
    ("gru-tagger", {"layers": 2}),
    ("transformer-tagger", {}),
]


def sentences(lengths: list[int], width: int | None = None, seed: int = 0) -> Ragged:
    """Random words, with garbage behind each sentence's end."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(1, 20, (len(lengths), max(lengths), 17), generator=generator)
    if width is not None:
        more = torch.randint(1, 20, (len(lengths), width - max(lengths), 17), generator=generator)
        values = torch.cat([values, more], 1)
    return Ragged(values, torch.tensor(lengths))


def tagger(name: str, **options: Any) -> torch.nn.Module:
    return net(name, SPEC, K, generator=torch.Generator().manual_seed(1), **options).eval()


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_padding_never_changes_a_score(name: str, options: dict[str, Any]) -> None:
    model = tagger(name, **options)
    batch = sentences([7, 3, 1])
    together = model(sentences([7, 3, 1], width=12))
    assert together.shape == (3, 12, K)
    for row, length in enumerate([7, 3, 1]):
        alone = model(Ragged(batch.values[row : row + 1, :length], torch.tensor([length])))
        assert torch.allclose(together[row, :length], alone[0], atol=1e-5)


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_a_score_depends_on_the_words_on_both_sides(name: str, options: dict[str, Any]) -> None:
    model = tagger(name, **options)
    batch = sentences([7])
    before = model(batch)
    for place in (0, 6):
        changed = batch.values.clone()
        changed[0, place] = 20 - changed[0, place]
        assert not torch.allclose(model(Ragged(changed, batch.lengths))[0, 3], before[0, 3], atol=1e-6)


def test_an_unknown_word_is_known_by_its_spelling() -> None:
    model = tagger("lstm-tagger")
    batch = sentences([4])
    batch.values[0, 1, 0] = 1
    other = batch.values.clone()
    other[0, 1, 1:5] = 19 - other[0, 1, 1:5] + 1
    assert not torch.allclose(model(batch)[0, 1], model(Ragged(other, batch.lengths))[0, 1], atol=1e-6)


def random_chain(lengths: list[int]) -> Chain:
    generator = torch.Generator().manual_seed(3)
    T = max(lengths)
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    shapes = ((len(lengths), T, 3), (3, 3), (3,), (3,))
    scores, between, start, end = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in shapes)
    return Chain(scores, mask, between, start, end)


def test_a_chain_is_the_sum_over_every_way_to_tag() -> None:
    lengths = [4, 2, 1]
    chain = random_chain(lengths)
    likelihood = marginals(chain)
    for row, length in enumerate(lengths):
        ways: dict[tuple[int, ...], float] = {}
        for way in itertools.product(range(3), repeat=length):
            score = chain.start[way[0]] + chain.end[way[-1]]
            score = score + sum(chain.scores[row, t, k] for t, k in enumerate(way))
            score = score + sum((chain.transitions[a, b] for a, b in itertools.pairwise(way)), torch.tensor(0.0))
            ways[way] = float(score.exp())
        total = sum(ways.values())
        tags = torch.tensor([[2, 0, 1, 1][:length] + [2] * (4 - length)])
        one = Chain(chain.scores[row : row + 1], chain.mask[row : row + 1], *chain[2:])
        expected = -torch.tensor(ways[tuple(tags[0, :length].tolist())] / total).log()
        assert torch.allclose(negative_log_likelihood(one, tags)[0].float(), expected.float(), atol=1e-5)
        for t, k in itertools.product(range(length), range(3)):
            share = sum(p for way, p in ways.items() if way[t] == k) / total
            assert float(likelihood[row, t, k]) == pytest.approx(share, abs=1e-6)
        assert not likelihood[row, length:].any()


def test_a_tag_that_is_not_known_may_be_any() -> None:
    chain = random_chain([4, 2, 3])
    tags = torch.tensor([[2, -1, 1, -1], [0, 1, -1, -1], [-1, -1, -1, -1]])
    some = negative_log_likelihood(chain, tags)
    ways = [negative_log_likelihood(chain, tags.index_put((torch.tensor([0, 0]), torch.tensor([1, 3])),
            torch.tensor(way)))[0] for way in itertools.product(range(3), repeat=2)]  # fmt: skip
    assert torch.allclose(some[0], -torch.logsumexp(-torch.stack(ways), 0))
    assert torch.allclose(some[1], negative_log_likelihood(chain, tags.clamp_min(0))[1]), "behind the end it is as ever"
    assert float(some[2]) == pytest.approx(0, abs=1e-9)
    scores = chain.scores.clone().requires_grad_()
    negative_log_likelihood(chain._replace(scores=scores), tags).sum().backward()
    assert scores.grad is not None and scores.grad.isfinite().all() and not scores.grad[2].abs().gt(1e-9).any()


def test_a_chain_learns_what_may_follow_what() -> None:
    model = net("lstm-tagger", SPEC, K, crf=True, generator=torch.Generator().manual_seed(1))
    batch = sentences([6, 4])
    tags = torch.tensor([[0, 1, 0, 1, 0, 1], [0, 1, 0, 1, 0, 0]])
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        negative_log_likelihood(model(batch), tags).sum().backward()
        optimizer.step()
    between = model.transitions.between
    assert between[0, 1] > between[0, 0] and between[1, 0] > between[1, 1]


def test_what_suits_what() -> None:
    assert choose(SPEC, 1000)[0] == "lstm-tagger"
    with pytest.raises(UsageError, match="lstm-tagger"):
        net("bag", SPEC, K)
    with pytest.raises(UsageError, match="takes sentences of tokens"):
        net("lstm-tagger", InputSpec("text", (40,)), K)


def test_a_pretrained_encoder_gives_a_score_to_each_word(tmp_path: Path) -> None:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=60, max_position_embeddings=40, **sizes)).save_pretrained(tmp_path)
    model = net(f"hf:{tmp_path}", InputSpec("tokens", (60,)), K).eval()
    pieces = torch.tensor([[2, 5, 6, 7, 3, 0], [2, 5, 3, 9, 9, 9]])
    begins = torch.tensor([[0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 1, 1]])
    values = torch.stack([pieces, begins], 2)
    scores = model(Ragged(values, torch.tensor([5, 3])))
    assert scores.shape == (2, 2, K), "two words at most, and none behind a sentence's end"
    first = model.encoder(input_ids=pieces[:1, :5]).last_hidden_state
    assert torch.allclose(scores[0], model.head(first[0, [1, 3]]), atol=1e-5)
    assert net(f"hf:{tmp_path}", InputSpec("tokens", (60,)), K, crf=True).transitions is not None
