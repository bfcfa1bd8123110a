"""Encoders of transformers as models: for a text, for two texts that are read as one, for tags of words.

How the encoders themselves are found and read is in `huggingface`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.fx
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.text.crf import Chain, Transitions
from flambeau.models.text.pair import two
from flambeau.models.text.parts import Pooling, mask_padding

# Positions count from behind the padding token's number, so that many of them are never used.
COUNT_FROM_PADDING = (
    "camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
)  # fmt: skip


NETWORK = "network."
"""Where a language model has its network of transformers."""

torch.fx.wrap("mask_padding")  # its course depends on the texts: `models.cut` does not follow it


class Encoded(nn.Module):
    """An encoder of transformers, with the padding that it counts its positions by."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.config: Any = encoder.config
        self.padding = getattr(self.config, "pad_token_id", None) or 0
        self.encoder = encoder

    def states(self, values: Tensor, mask: Tensor, **more: Tensor) -> Tensor:
        """Tokens (B, T), where the mask has them, to the encoder's last states (B, T, D)."""
        values = values.masked_fill(~mask, self.padding)
        return self.encoder(input_ids=values, attention_mask=mask.long(), **more).last_hidden_state

    def adopted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the same model's language model by the names that they have here; all others as they are."""
        prefix = f"{NETWORK}{self.encoder.base_model_prefix}."
        if not any(name.startswith(prefix) for name in state):
            return state
        own = {name: value for name, value in self.state_dict().items() if not name.startswith("encoder.")}
        names = {f"encoder.{name}": prefix + name for name in self.encoder.state_dict()}
        return own | {name: state[known] for name, known in names.items() if known in state}


class PretrainedText(Encoded):
    """An encoder of transformers, pooled over the tokens, and a linear layer.

    Args:
        encoder: called with token numbers (B, T) and an attention mask; gives `last_hidden_state` (B, T, D).
        num_outputs: K.
        pooling: `mean`, `cls`, `max`, `last` or `attention`.
        dropout: probability, before the linear layer.

    Shapes: Ragged (B, T) int64 to (B, K).
    """

    def __init__(self, encoder: nn.Module, num_outputs: int, pooling: str = "mean", dropout: float = 0.1):
        super().__init__(encoder)
        self.pool = Pooling(pooling, self.config.hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.config.hidden_size, num_outputs)

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        values, mask = mask_padding(tokens)
        return self.head(self.dropout(self.pool(self.states(values, mask), mask)))


class Joined(NamedTuple):
    """Two texts as one: token numbers, which text each is of as the tokeniser says, and where it was in both texts'
    tokens end to end, -1 for marks, all int64 (B, T); and lengths, int64 (B)."""

    values: Tensor
    segments: Tensor
    sources: Tensor
    lengths: Tensor


class Joining(Encoded):
    """An encoder that reads two texts as one, with its own marks before, between and behind them: each token of one
    sees all of the other. Devlin et al. 2018, "BERT", https://arxiv.org/abs/1810.04805, section 3.

    Args:
        joint: how the tokeniser puts two texts together, as `Text.joint` tells it; end to end if not given.
    """

    def __init__(self, encoder: nn.Module, joint: Mapping[str, Any] | None):
        super().__init__(encoder)
        joint = joint or {"order": [["first", 0], ["second", 1]], "strip": [0, 0]}
        self.order = [(item, int(segment)) for item, segment in joint["order"]]
        self.strip = tuple(joint["strip"])
        self.most = positions(encoder.config)
        segments = getattr(encoder.config, "type_vocab_size", None) or 0
        has_segments = "token_type_ids" in inspect.signature(encoder.forward).parameters
        self.takes_segments = has_segments and segments > max(segment for _, segment in self.order)

    @property
    def marks(self) -> int:
        """How many tokens stand about two texts."""
        return sum(not isinstance(item, str) for item, _ in self.order)

    def states_of(self, both: Joined) -> tuple[Tensor, Tensor]:
        """The last states (B, T, D) of two texts put together, and where there are tokens (B, T)."""
        more = {"token_type_ids": both.segments} if self.takes_segments else {}
        values, mask = mask_padding(Ragged(both.values, both.lengths))
        return self.states(values, mask, **more), mask

    def together(self, first: Ragged, second: Ragged) -> Joined:
        """Two texts as the encoder reads them; where both are longer than it can take, the longer one loses its
        end."""
        before, behind = self.strip
        counts = {n: (t.lengths - before - behind).clamp_min(0) for n, t in (("first", first), ("second", second))}
        if self.most is not None:
            room = self.most - self.marks
            a, b = counts["first"], counts["second"]
            half = room // 2
            counts["first"] = torch.minimum(a, torch.clamp(room - b, min=room - half))
            counts["second"] = torch.minimum(b, room - counts["first"])
        lengths = counts["first"] + counts["second"] + self.marks
        shape = lengths.shape[0], self._width(first, second, lengths)
        values = first.values.new_zeros(shape)
        segments, sources = torch.zeros_like(values), torch.full_like(values, -1)
        begins = {"first": 0, "second": first.values.shape[1]}
        steps = torch.arange(shape[1], device=values.device).expand(shape)
        at = torch.zeros_like(lengths)[:, None]
        for item, segment in self.order:
            if isinstance(item, str):
                text, count = first if item == "first" else second, counts[item][:, None]
                inside = (steps >= at) & (steps < at + count)
                places = (steps - at + before).clamp(0, max(text.values.shape[1] - 1, 0))
                tokens = text.values.gather(1, places) if text.values.shape[1] else values
                sources = torch.where(inside, begins[item] + places, sources)
            else:
                count = torch.ones_like(at)
                inside, tokens = steps == at, torch.full_like(values, item)
            values = torch.where(inside, tokens, values)
            segments = torch.where(inside, segment, segments)
            at = at + count
        return Joined(values, segments, sources, lengths)

    def _width(self, first: Ragged, second: Ragged, lengths: Tensor) -> int:
        """How many tokens two texts have together at most; in a graph, which cannot look, as many as there may be."""
        if not torch.compiler.is_exporting():
            return max(int(lengths.max()), 1)
        most = first.values.shape[1] + second.values.shape[1] + self.marks - 2 * sum(self.strip)
        return most if self.most is None else torch.sym_min(most, self.most)


class PretrainedPair(Joining):
    """An encoder of transformers for two texts that it reads as one, pooled over the tokens, and a linear layer.

    Args:
        encoder, num_outputs, pooling, dropout: as for `PretrainedText`.
        joint: as for `Joining`.

    Shapes: two Ragged (B, T) int64, the first two of a dict, to (B, K). Where both are longer than the encoder can
    take, the longer one loses its end.
    """

    def __init__(
        self, encoder: nn.Module, num_outputs: int, pooling: str = "mean", dropout: float = 0.1,
        joint: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        super().__init__(encoder, joint)
        self.pool = Pooling(pooling, self.config.hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.config.hidden_size, num_outputs)

    def forward(self, texts: Mapping[str, Ragged]) -> Float[Tensor, "B K"]:
        return self.read(self.together(*two(texts)))

    def read(self, both: Joined) -> Tensor:
        """The outputs for texts that are put together already."""
        states, mask = self.states_of(both)
        return self.head(self.dropout(self.pool(states, mask)))


class PretrainedTagger(Encoded):
    """An encoder of transformers, and a linear layer on the first piece of each word: Devlin et al. 2018, "BERT",
    https://arxiv.org/abs/1810.04805, section 5.3.

    Args:
        encoder: as for `PretrainedText`.
        num_outputs: K tags.
        crf: score tags in a row by a conditional random field.

    Shapes: Ragged (B, S, 2) int64, pieces and whether a word begins with each, to (B, T, K) for T words; or a `Chain`.
    """

    def __init__(self, encoder: nn.Module, num_outputs: int, dropout: float = 0.1, crf: bool = False):
        super().__init__(encoder)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.config.hidden_size, num_outputs)
        self.transitions = Transitions(num_outputs) if crf else None

    def forward(self, tokens: Ragged) -> Float[Tensor, "B T K"] | Chain:
        values, mask = mask_padding(Ragged(tokens.values[:, :, 0], tokens.lengths))
        begins = tokens.values[:, :, 1].bool() & mask
        x = self.states(values, mask)
        count = begins.sum(1)
        row, piece = begins.nonzero(as_tuple=True)
        words = x.new_zeros(len(x), max(int(count.max()), 1), x.shape[2])
        words = words.index_put((row, (begins.cumsum(1) - 1)[row, piece]), x[row, piece])
        scores = self.head(self.dropout(words))
        if self.transitions is None:
            return scores
        steps = torch.arange(words.shape[1], device=x.device)
        return self.transitions(scores, steps < count.clamp_min(1)[:, None])


def positions(config: Any) -> int | None:
    """How many tokens an encoder of this configuration can take; None where any number will do."""
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        return None
    return most - (config.pad_token_id or 0) - 1 if config.model_type in COUNT_FROM_PADDING else most
