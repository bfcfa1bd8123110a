"""Beam search: the likeliest text, by following several beginnings at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from flambeau.core.shapes import Float
from flambeau.models.language.base import State


@dataclass(frozen=True)
class Beam:
    """A text that was followed.

    Attributes:
        tokens, logprobs: its tokens, that which ends it with them, and the logarithm of each one's probability.
        score: the sum of these by a power of the length: the higher the better.
    """

    tokens: list[int]
    logprobs: list[float]
    score: float


def beam_search(
    scores: Float[Tensor, "1 V"], state: State, step: Callable[[Tensor, State], tuple[Tensor, State]], *,
    beams: int, max_tokens: int, ends: Collection[int], length_penalty: float = 1.0,
) -> list[Beam]:  # fmt: skip
    """The best texts that go on from one beginning, at most `beams`, the best first (Wu et al. 2016, arXiv 1609.08144,
    with the plain power of the length that transformers has). Costs `beams` texts' steps.

    Args:
        scores: of what comes first.
        state: behind the beginning, of one row.
        step: from tokens (B, 1) and a state of B rows to scores (B, V) and the state after.
        ends: tokens that end a text.
        length_penalty: the power; above 0 longer texts are favoured, for their logarithms are negative.
    """
    live = [Beam([], [], 0.0)]
    done: list[Beam] = []
    for length in range(1, max_tokens + 1):
        logprobs = scores.float().log_softmax(-1)
        totals = logprobs + torch.tensor([[beam.score] for beam in live], device=logprobs.device)
        vocabulary = totals.shape[1]
        best = totals.flatten().topk(min(totals.numel(), beams * (1 + len(ends))))
        following: list[tuple[int, Beam]] = []
        for rank, (total, place) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            row, token = divmod(place, vocabulary)
            beam = Beam([*live[row].tokens, token], [*live[row].logprobs, float(logprobs[row, token])], total)
            if token not in ends:
                following.append((row, beam))
            elif rank < beams:
                done.append(_weighed(beam, length_penalty))
            if len(following) == beams:
                break
        done = sorted(done, key=lambda beam: -beam.score)[:beams]
        live = [beam for _, beam in following]
        # no longer text can be better than its beginning's sum by the power of the greatest length
        longest = max_tokens if length_penalty > 0 else length
        if not live or (len(done) == beams and live[0].score / longest**length_penalty <= done[-1].score):
            return done
        if length < max_tokens:
            rows = torch.tensor([row for row, _ in following], device=scores.device)
            last = torch.tensor([[beam.tokens[-1]] for beam in live], device=scores.device)
            scores, state = step(last, state.keep(rows))
    return sorted([*done, *(_weighed(beam, length_penalty) for beam in live)], key=lambda beam: -beam.score)[:beams]


def _weighed(beam: Beam, length_penalty: float) -> Beam:
    return Beam(beam.tokens, beam.logprobs, beam.score / len(beam.tokens) ** length_penalty)
