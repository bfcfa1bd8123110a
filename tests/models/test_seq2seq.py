"""Models that write texts: their pieces are torch's own, a step gives what the whole gives, the search is bounded."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.fields import Ragged
from flambeau.models import InputSpec, OutputSpec, build
from flambeau.models.language import Seq2Seq, search
from flambeau.models.language.seq2seq_transformer import DecoderLayer, EncoderLayer, MultiHeadAttention

NAMES = ("seq2seq-lstm", "seq2seq-gru", "seq2seq-transformer")
V, BEGIN, END = 12, 2, 3


def model_of(name: str, **options: object) -> Seq2Seq:
    spec, small = InputSpec("text", (20,)), {"embedding": 16} | ({} if "former" in name else {"hidden_size": 16})
    generator = torch.Generator().manual_seed(1)
    made = build(name, spec, OutputSpec(V, "text"), generator=generator, **small, **options).model.eval()
    assert isinstance(made, Seq2Seq)
    return made


def sources() -> Ragged:
    values = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0], [4, 0, 0, 0]])
    return Ragged(values, torch.tensor([4, 2, 1]))


CASES = [*((name, {}) for name in NAMES), ("seq2seq-lstm", {"attention": "dot", "layers": 2}),
         ("seq2seq-gru", {"attention": "general"})]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps_give_what_the_whole_gives_and_padding_does_not_matter(name: str, options: dict[str, object]) -> None:
    model, source = model_of(name, **options), sources()
    tokens = torch.tensor([[2, 5, 6, 7], [2, 8, 9, 3], [2, 4, 4, 4]])
    scores, looked = model.taught(source, tokens)
    torch.testing.assert_close(looked.sum(2), torch.ones(3, 4))
    assert not looked[1, :, 2:].any() and not looked[2, :, 1:].any()
    reading = model.begin(source).keep(torch.tensor([2, 0, 1])).keep(torch.tensor([1, 2, 0]))  # texts move, and back
    for t, token in enumerate(tokens.unbind(1)):
        one, reading = model.step(token, reading)
        torch.testing.assert_close(one, scores[:, t], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(reading.attention, looked[:, t], rtol=1e-4, atol=1e-5)
    alone = model(Ragged(source.values[1:2, :2], source.lengths[1:2]), tokens[1:2])
    torch.testing.assert_close(alone, scores[1:2], rtol=1e-4, atol=1e-5)
    late = tokens.clone()
    late[:, 3] = 11
    torch.testing.assert_close(model(source, late)[:, :3], scores[:, :3])  # nothing is seen before it is written


@pytest.mark.parametrize("name", NAMES)
def test_beam_search_finds_what_trying_all_finds(name: str) -> None:
    model, source, longest = model_of(name), sources(), 2
    answers = [(END,), *((a, b) for a in range(V) if a != END for b in range(V))]
    for row in range(3):
        of = Ragged(source.values[row : row + 1, : source.lengths[row]], source.lengths[row : row + 1])
        totals = []
        for answer in answers:
            begun = torch.tensor([[BEGIN, *answer[:-1]]])
            follows = model(of, begun).log_softmax(2)[0]
            totals.append(sum(follows[t, token].item() for t, token in enumerate(answer)))
        best = answers[max(range(len(answers)), key=totals.__getitem__)]
        found = search(model, source, begin=BEGIN, end=END, longest=longest, beams=V, length_penalty=0.0)[row].tolist()
        assert found[: len(best)] == list(best)
    greedy = search(model, source, begin=BEGIN, end=END, longest=5)
    written = greedy.new_full((3, 1), BEGIN)
    for _ in range(greedy.shape[1]):
        written = torch.cat([written, model(source, written)[:, -1].argmax(1, keepdim=True)], 1)
    for found, expected in zip(greedy.tolist(), written[:, 1:].tolist(), strict=True):
        until = found.index(END) + 1 if END in found else len(found)
        assert found[:until] == expected[:until] and set(found[until:]) <= {END}


def test_an_answer_that_never_ends_is_cut() -> None:
    model = model_of("seq2seq-transformer")
    with torch.no_grad():
        model.get_parameter("bias")[END] = -1e9
    for beams in (1, 3):
        assert search(model, sources(), begin=BEGIN, end=END, longest=6, beams=beams).shape == (3, 6)


def copied(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    parts = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        assert theirs.in_proj_weight is not None
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def test_pieces_of_the_transformer_are_those_of_torch() -> None:
    torch.manual_seed(0)
    x, memory = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    there = torch.tensor([[True, True, True], [True, False, False]])
    ours, theirs = MultiHeadAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    copied(ours, theirs)
    expected, shares = theirs(x, memory, memory, key_padding_mask=~there)
    for found, wanted in zip(ours(x, *ours.of(memory), there[:, None, None]), (expected, shares), strict=True):
        torch.testing.assert_close(found, wanted)

    first, second = EncoderLayer(16, 4), nn.TransformerEncoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True,
                                                                    norm_first=True)  # fmt: skip
    copied(first.attention, second.self_attn)
    pairs: list[tuple[nn.Module, nn.Module]] = [(first.norm1, second.norm1), (first.norm2, second.norm2)]
    pairs += [(first.feed_forward[0], second.linear1), (first.feed_forward[3], second.linear2)]
    _same(pairs)
    inside = torch.tensor([[True] * 5, [True] * 4 + [False]])
    wanted = second(x, src_key_padding_mask=~inside)
    torch.testing.assert_close(first(x, inside[:, None, None])[inside], wanted[inside])

    one, other = DecoderLayer(16, 4), nn.TransformerDecoderLayer(16, 4, 64, 0.0, "gelu", batch_first=True,
                                                                 norm_first=True)  # fmt: skip
    copied(one.attention, other.self_attn)
    copied(one.source, other.multihead_attn)
    pairs = [(one.norm1, other.norm1), (one.norm2, other.norm2), (one.norm3, other.norm3)]
    _same([*pairs, (one.feed_forward[0], other.linear1), (one.feed_forward[3], other.linear2)])
    causal = torch.ones(5, 5, dtype=torch.bool).tril()
    wanted = other(x, memory, tgt_mask=~causal, memory_key_padding_mask=~there)
    found = one(x, None, causal[None, None], one.keys_of(memory), there[:, None, None])[0]
    torch.testing.assert_close(found, wanted)


def _same(pairs: list[tuple[nn.Module, nn.Module]]) -> None:
    for ours, theirs in pairs:
        for tensor in ours.parameters():  # norms are ones and zeros otherwise
            nn.init.normal_(tensor, mean=0.5, std=0.3)
        theirs.load_state_dict(ours.state_dict())


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(UsageError, match="no attention is called 'hard'"):
        model_of("seq2seq-lstm", attention="hard")
    with pytest.raises(UsageError, match="3 heads do not fit a width of 16"):
        model_of("seq2seq-transformer", heads=3)
    assert isinstance(model_of("seq2seq-gru")(sources()), Tensor)
