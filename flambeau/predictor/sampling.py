"""How the token that comes next is chosen from a model's scores: settings, what is left to choose from, the draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flambeau.core.errors import require
from flambeau.core.shapes import Float

COLDEST = 1e-4
"""Temperatures under this choose the likeliest token."""


@dataclass(frozen=True)
class Sampling:
    """How a text goes on.

    Attributes:
        max_tokens: how many tokens it gets at most.
        temperature: what scores are divided by; 0 takes the likeliest token each time.
        top_k: only the so many likeliest tokens are drawn from; 0 for all.
        top_p: only the fewest tokens whose probabilities reach this (Holtzman et al. 2020, arXiv 1904.09751).
        min_p: only tokens of at least this part of the likeliest's probability (Nguyen et al. 2024, arXiv 2407.01082).
        repetition_penalty: what scores of tokens that came already, those of the prompt too, are divided by where
            positive and multiplied by where not (Keskar et al. 2019, arXiv 1909.05858); 1 for nothing.
        stop: texts before which it ends.
        seed: what the draws hang on, and nothing else that runs beside.
        beams: how many beginnings are followed at a time; above 1 the likeliest text is searched, and nothing drawn.
        length_penalty: of beams, the power of its length that a text's log-probability is divided by.
        json_schema: a JSON schema that it keeps to, as JSON; `{}` for any JSON.
        regex: a regular expression that the whole of it matches.

    Raises:
        UsageError: a setting does not fit.
    """

    max_tokens: int = 256
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    json_schema: str | None = None
    regex: str | None = None

    def __post_init__(self) -> None:
        require(self.max_tokens >= 1, f"max_tokens {self.max_tokens}", "1 or more")
        require(0 <= self.temperature <= 100, f"temperature {self.temperature}", "0 (the likeliest) to 100")
        require(self.top_k >= 0, f"top_k {self.top_k}", "1 or more, or 0 for all")
        require(0 < self.top_p <= 1, f"top_p {self.top_p}", "above 0, at most 1")
        require(0 <= self.min_p <= 1, f"min_p {self.min_p}", "0 to 1")
        require(
            0 < self.repetition_penalty <= 100, f"repetition_penalty {self.repetition_penalty}", "above 0, such as 1.1"
        )
        require(all(self.stop), "an empty text to stop at", "texts of a character or more")
        require(1 <= self.beams <= 1024, f"beams {self.beams}", "1 to 1024")
        require(self.json_schema is None or self.regex is None, "both a JSON schema and a regular expression", "one")
        require(
            self.beams == 1 or not self.constrained, "beams with a JSON schema or a regular expression", "one of them"
        )

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature < COLDEST

    @property
    def constrained(self) -> bool:
        """Whether it keeps to a form."""
        return self.json_schema is not None or self.regex is not None


def penalised(scores: Float[Tensor, " V"], tokens: Sequence[int], penalty: float) -> Float[Tensor, " V"]:
    """Scores (V) where tokens that came already are less likely; see `Sampling.repetition_penalty`."""
    seen = torch.tensor([*set(tokens)], device=scores.device)
    values = scores[seen]
    return scores.index_copy(0, seen, torch.where(values > 0, values / penalty, values * penalty))


def probabilities(scores: Float[Tensor, "B V"], samplings: Sequence[Sampling]) -> Float[Tensor, "B V"]:
    """Scores to what is drawn from, row by row with settings of its own: by temperature, then what top_k, top_p and
    min_p leave in this order; 0 elsewhere."""

    def column(name: str) -> Tensor:
        return torch.tensor([getattr(s, name) for s in samplings], device=scores.device)[:, None]

    size = scores.shape[1]
    scores = scores / column("temperature")
    if any(0 < s.top_k < size for s in samplings):
        ranks = column("top_k")
        ranks = torch.where(ranks > 0, ranks.clamp(max=size), size)
        largest = scores.topk(max(s.top_k for s in samplings if s.top_k < size)).values
        least = largest.gather(1, ranks.clamp(max=largest.shape[1]) - 1)
        scores = scores.masked_fill((scores < least) & (ranks < size), -torch.inf)
    if any(s.top_p < 1 for s in samplings):
        ordered = scores.sort(descending=True).values
        each = ordered.softmax(-1)
        part = column("top_p")
        beyond = (each.cumsum(-1) - each >= part) & (part < 1)
        scores = scores.masked_fill(scores < ordered.masked_fill(beyond, torch.inf).amin(-1, keepdim=True), -torch.inf)
    if any(s.min_p > 0 for s in samplings):
        each = scores.softmax(-1)
        scores = scores.masked_fill(each < column("min_p") * each.amax(-1, keepdim=True), -torch.inf)
    return scores.softmax(-1)


def drawn(chances: Float[Tensor, "B V"], draws: Sequence[float]) -> Tensor:
    """One token each, int64 (B), by numbers in (0, 1]: the first at which the sum of chances reaches its number, which
    is never one of chance 0."""
    reached = chances.cumsum(-1)
    wanted = torch.tensor(draws, device=chances.device, dtype=reached.dtype)[:, None] * reached[:, -1:]
    return torch.searchsorted(reached, wanted)[:, 0]
