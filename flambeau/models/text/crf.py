"""A linear-chain conditional random field over tags: tags that follow one another are scored together.

Lafferty, McCallum, Pereira, "Conditional random fields" (2001); on neural scores as in Lample et al., "Neural
architectures for named entity recognition" (2016), https://arxiv.org/abs/1603.01360.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from flambeau.core.shapes import Bool, Float


class Chain(NamedTuple):
    """Scores of a sentence's tags, and of one tag after another.

    Attributes:
        scores: (B, T, K) of each tag for each word.
        mask: (B, T) bool, True where there is a word; the first ones of each row.
        transitions: (K, K), from the row's tag to the column's.
        start: (K), of the first tag. end: (K), of the last.
    """

    scores: Tensor
    mask: Tensor
    transitions: Tensor
    start: Tensor
    end: Tensor


class Transitions(nn.Module):
    """The learned scores of a chain. Shapes: scores (B, T, K) and mask (B, T) to a `Chain`."""

    def __init__(self, num_tags: int):
        super().__init__()
        self.between = nn.Parameter(torch.zeros(num_tags, num_tags))
        self.start = nn.Parameter(torch.zeros(num_tags))
        self.end = nn.Parameter(torch.zeros(num_tags))

    def forward(self, scores: Float[Tensor, "B T K"], mask: Bool[Tensor, "B T"]) -> Chain:
        # sums over whole sentences: in bfloat16 a likelihood may come out above 1
        return Chain(
            scores.to(torch.promote_types(scores.dtype, torch.float32)), mask, self.between, self.start, self.end
        )


def negative_log_likelihood(chain: Chain, tags: Tensor) -> Tensor:
    """(B): of the true tags, int64 (B, T) in 0…K-1, or below 0 where any tag may be; what stands behind a sentence's
    end is not looked at."""
    scores, mask, transitions, start, end = chain
    tags = tags.where(mask, 0)
    known = tags >= 0
    if not bool(known.all()):  # all ways through the tags that are known
        other = known[:, :, None] & (torch.arange(scores.shape[2], device=tags.device) != tags[:, :, None])
        return _forward(chain)[1] - _forward(chain._replace(scores=scores.masked_fill(other, -torch.inf)))[1]
    rows = torch.arange(len(tags), device=tags.device)
    last = tags[rows, mask.sum(1) - 1]
    own = scores.gather(2, tags[:, :, None]).squeeze(2).where(mask, 0).sum(1)
    follow = transitions[tags[:, :-1], tags[:, 1:]].where(mask[:, 1:], 0).sum(1)
    return _forward(chain)[1] - (own + follow + start[tags[:, 0]] + end[last])


def marginals(chain: Chain) -> Tensor:
    """(B, T, K): the probability of each tag at each word, over all ways to tag the sentence.

    The likeliest tag of each word is then the answer with the fewest wrong tags to be expected. Zeros behind a
    sentence's end.
    """
    ahead, total = _forward(chain)
    scores, mask, transitions, _, end = chain
    back = end.expand_as(scores[:, 0])
    beta = [back]
    for t in range(scores.shape[1] - 1, 0, -1):
        step = torch.logsumexp(transitions[None] + (scores[:, t] + back)[:, None], 2)
        back = torch.where(mask[:, t, None], step, end.expand_as(step))
        beta.append(back)
    together = torch.stack(ahead, 1) + torch.stack(beta[::-1], 1) - total[:, None, None]
    return together.exp().masked_fill(~mask[:, :, None], 0)


def _forward(chain: Chain) -> tuple[list[Tensor], Tensor]:
    """Log-sums (B, K) of the ways to each tag of each word, and (B) of all ways."""
    scores, mask, transitions, start, end = chain
    alpha = start + scores[:, 0]
    steps = [alpha]
    for t in range(1, scores.shape[1]):
        step = torch.logsumexp(alpha[:, :, None] + transitions, 1) + scores[:, t]
        alpha = torch.where(mask[:, t, None], step, alpha)
        steps.append(alpha)
    return steps, torch.logsumexp(alpha + end, 1)
