"""A GPT from scratch: blocks of causal attention and a feed-forward network, each around a shortcut, normalised first.

Radford et al. 2019, "Language models are unsupervised multitask learners", as nanoGPT has it
(https://github.com/karpathy/nanoGPT); rotary positions: Su et al. 2021, arXiv:2104.09864; RMSNorm: Zhang & Sennrich
2019, arXiv:1910.07467; SwiGLU: Shazeer 2020, arXiv:2002.05202.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import ModelError, UsageError, check_known
from flambeau.core.shapes import Float
from flambeau.models.language.attention import KeysAndValues, Part, causal_mask, places_in, rotary, rotated
from flambeau.models.language.base import CausalLanguageModel, State, last_of
from flambeau.models.layers import RMSNorm, attended
from flambeau.models.spec import OWN


class Size(NamedTuple):
    """Blocks, heads of each, and width D: about 12 · layers · D² numbers beside the tokens' vectors."""

    layers: int
    heads: int
    width: int


SIZES = {
    "nano": Size(4, 4, 128),  # 0.8 M: a minute on a CPU
    "tiny": Size(6, 6, 192),  # 2.7 M: a quarter of an hour on a CPU
    "small": Size(6, 6, 384),  # 10.6 M
    "base": Size(8, 8, 512),  # 25 M
    "gpt2": Size(12, 12, 768),  # 85 M, and with 50,257 tokens 124 M
    "gpt2-medium": Size(24, 16, 1024),
}
NORMS = {"rms": RMSNorm, "layer": nn.LayerNorm}
DEVIATION = 0.02  # of fresh weights, as GPT-2's


class Attention(nn.Module):
    """Each token looks at those before it. (B, T, D) to the same."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.projection = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None, turn: tuple[Tensor, Tensor] | None, past: Part | None) -> Tensor:
        """`mask` bool (B or 1, 1, T, S), plainly causal if not given; `turn` of queries and keys by their positions;
        `past` takes the new keys and values, and gives all S."""
        B, T, D = x.shape
        parts = self.query_key_value(x).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, B, H, T, d)
        query, key = parts[:2] if turn is None else rotated(parts[:2], *turn)
        value = parts[2]
        if past is not None:
            key, value = past.extended(key, value)  # (B, H, S, d)
        causal = mask is None and (past is None or T > 1)  # of a graph, T is no number to be looked at
        x = attended(query, key, value, mask, self.dropout if self.training else 0.0, causal)
        return self.projection(x.transpose(1, 2).reshape(B, T, D))


class GELU(nn.Module):
    """(…, D) to the same, through 4 D numbers."""

    def __init__(self, width: int):
        super().__init__()
        self.up, self.projection = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(F.gelu(self.up(x)))


class SwiGLU(nn.Module):
    """(…, D) to the same, through numbers that are let through by others; with as many weights as `GELU`."""

    def __init__(self, width: int):
        super().__init__()
        hidden = 32 * round(8 * width / 3 / 32) or 8  # a multiple of what a processor takes at once
        self.gate, self.up = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.projection = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(F.silu(self.gate(x)) * self.up(x))


FEED_FORWARD = {"swiglu": SwiGLU, "gelu": GELU}


class Block(nn.Module):
    """Attention, then a feed-forward network. (B, T, D) to the same."""

    def __init__(self, width: int, heads: int, norm: str, feed_forward: str, dropout: float):
        super().__init__()
        self.norm1, self.attention = NORMS[norm](width), Attention(width, heads, dropout)
        self.norm2, self.feed_forward = NORMS[norm](width), FEED_FORWARD[feed_forward](width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, turn: tuple[Tensor, Tensor] | None, past: Part | None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), mask, turn, past))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


@OWN.register("gpt", kinds=("corpus",), of=lambda spec: spec.shape[1:], layout="tokens")
class GPT(CausalLanguageModel):
    """What follows a text, by attention to what came before.

    Args:
        context: L, tokens of a window. With rotary positions longer ones can be read, less well.
        num_outputs: V, how many different tokens there are.
        size: a name of `SIZES`.
        layers, heads, width: where they are to differ from the size's.
        positions: `rotary`, or `learned`, a vector for each place up to `context`.
        norm: `rms` or `layer`.
        feed_forward: `swiglu` or `gelu`.
        dropout: probability, of attention and of what each part of a block adds.

    Shapes: int64 (B, T) to (B, T, V).

    Raises:
        UsageError: there is no such size, norm, feed-forward network or kind of positions, or the heads do not divide
            the width.
        ModelError: more tokens than there are learned positions, when called.
    """

    def __init__(
        self, context: int, num_outputs: int, size: str = "tiny", layers: int | None = None, heads: int | None = None,
        width: int | None = None, positions: str = "rotary", norm: str = "rms", feed_forward: str = "swiglu",
        dropout: float = 0.0,
    ):  # fmt: skip
        super().__init__()
        for what, name, known in (
            ("size of gpt", size, SIZES), ("norm", norm, NORMS), ("feed-forward network", feed_forward, FEED_FORWARD),
            ("kind of positions", positions, ("rotary", "learned")),
        ):  # fmt: skip
            check_known(f"no {what} is called", [name], known)
        named = SIZES[size]
        layers, heads, width = layers or named.layers, heads or named.heads, width or named.width
        if width % (2 * heads):
            raise UsageError(f"{heads} heads do not fit a width of {width}", expected="a multiple of twice the heads")
        self.vocabulary, self.context, self.shape = num_outputs, context, Size(layers, heads, width)
        self.embedding = nn.Embedding(num_outputs, width)
        self.positions = nn.Embedding(context, width) if positions == "learned" else None
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, norm, feed_forward, dropout) for _ in range(layers))
        self.norm = NORMS[norm](width)
        self.head = nn.Linear(width, num_outputs, bias=False)
        self.head.weight = self.embedding.weight  # Press & Wolf 2017, arXiv:1608.05859
        self._initialise()

    def _initialise(self) -> None:
        """As GPT-2: what is added to the shortcuts begins the smaller the more is added."""
        for name, module in self.named_modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                added = name.endswith("projection")
                scale = math.sqrt(2 * self.shape.layers) if added else 1.0
                nn.init.normal_(module.weight, std=DEVIATION / scale)

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Float[Tensor, "B T V"]:
        places = torch.arange(tokens.shape[1], device=tokens.device)[None]  # (1, T)
        mask = causal_mask(segments)
        if segments is not None and mask is not None and self.positions is not None:
            places = places_in(segments)  # rotary positions tell distances alone: there is no need to count anew
        return self.head(self._states(tokens, places, mask))

    def states(self, tokens: Tensor) -> Float[Tensor, "B T D"]:
        return self._states(tokens, torch.arange(tokens.shape[1], device=tokens.device)[None], None)

    def _states(self, tokens: Tensor, places: Tensor, mask: Tensor | None, past: KeysAndValues | None = None) -> Tensor:
        """(B, T) at `places` (B or 1, T) to (B, T, D)."""
        x, turn = self.embedding(tokens), None
        if self.positions is None:
            turn = rotary(places, x.shape[2] // self.shape.heads, x.dtype)
        else:
            furthest = (past.longest if past else 0) + tokens.shape[1]
            if furthest > self.positions.num_embeddings:
                raise ModelError(
                    f"{furthest:,} tokens do not fit {self.positions.num_embeddings:,} learned positions",
                    where="gpt", fix="cut the text shorter, or train with a longer context, or rotary positions",
                )  # fmt: skip
            x = x + self.positions(places)
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, turn, past.part(layer) if past else None)
        return self.norm(x)

    def forget_scores(self) -> None:
        del self.head

    def begin(self, count: int) -> KeysAndValues:
        layers, heads, width = self.shape
        return KeysAndValues.empty(layers, count, heads, width // heads, self.embedding.weight)

    def step(
        self, tokens: Tensor, state: State, counts: Tensor | None = None
    ) -> tuple[Float[Tensor, "B V"], KeysAndValues]:
        assert isinstance(state, KeysAndValues)
        T = tokens.shape[1]
        state.make_room(T)
        places = state.places(T)  # (B, T)
        x = self._states(tokens, places, state.mask(places), state)
        return self.head(last_of(x, counts)), state.moved_on(T, counts)
