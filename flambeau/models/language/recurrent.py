"""Recurrent language models: LSTM and GRU, and AWD-LSTM, in which much is left out at random.

Merity, Keskar & Socher 2018, "Regularizing and optimizing LSTM language models", arXiv:1708.02182; the same dropout at
each step: Gal & Ghahramani 2016, arXiv:1512.05287; weights left out: Wan et al. 2013; tied weights: Press & Wolf 2017,
arXiv:1608.05859; penalties of activations: Merity, McCann & Socher 2017, "Revisiting activation regularization for
language RNNs", arXiv:1708.01009.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from flambeau.core.errors import require
from flambeau.core.shapes import Float
from flambeau.models.language.base import CausalLanguageModel, State, by_document, last_of
from flambeau.models.spec import OWN

Cell = type[nn.LSTM] | type[nn.GRU]
WINDOW = 128  # tokens: a step between two costs nearly the same for 8 windows as for 32
VECTORS = 0.5
"""Vectors begin within this of 0. They are the weights of the scores too: with the paper's 0.1, made for SGD at a rate
of 30, a network with AdamW tells how frequent tokens are, and nothing more, for some hundred steps."""


class Hidden(State):
    """What recurrent layers hold of B texts: of each layer one tensor or two, (1, B, H)."""

    def __init__(self, layers: list[tuple[Tensor, ...]], lengths: Tensor):
        self.layers, self.lengths = layers, lengths

    def keep(self, rows: Tensor) -> Hidden:
        return Hidden([tuple(held[:, rows] for held in layer) for layer in self.layers], self.lengths[rows])

    @classmethod
    def joined(cls, states: Sequence[State]) -> Hidden:
        parts = [state for state in states if isinstance(state, Hidden)]
        layers = [
            tuple(torch.cat(held, 1) for held in zip(*of_each, strict=True))
            for of_each in zip(*(part.layers for part in parts), strict=True)
        ]
        return cls(layers, torch.cat([part.lengths for part in parts]))


class LockedDropout(nn.Module):
    """(B, T, D) to the same: what is left out of a text is left out at each of its steps."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        return x * F.dropout(x.new_ones(x.shape[0], 1, x.shape[2]), self.p)


@OWN.register("lstm-lm", kinds=("corpus",), of=lambda spec: (), layout="tokens", wants={"window": WINDOW},
              cell=nn.LSTM, weight_dropout=0.0, token_dropout=0.0)  # fmt: skip
@OWN.register("gru-lm", kinds=("corpus",), of=lambda spec: (), layout="tokens", wants={"window": WINDOW},
              cell=nn.GRU, weight_dropout=0.0, token_dropout=0.0)  # fmt: skip
class RecurrentLM(CausalLanguageModel):
    """What follows a text, by what recurrent layers hold of what came before, however long that is. The last layer is
    as wide as the tokens' vectors, which are the weights of the scores too.

    Args:
        num_outputs: V, how many different tokens there are.
        embedding: D, width of the vectors.
        hidden_size: of the layers before the last.
        layers: how many lie on one another.
        dropout: probability, of the vectors, between layers and before the scores; the same at each step.
        weight_dropout: that a weight between a step and the next is left out.
        token_dropout: that a token's vector is left out of all texts of a batch.
        activation_penalty: what the mean square of the last layer's states, after dropout, costs in training (AR).
        temporal_penalty: what that of how they change from one token of a document to the next costs, before it (TAR).
        cell: `nn.LSTM` or `nn.GRU`.

    Shapes: int64 (B, T) to (B, T, V).

    Raises:
        UsageError: a size is below 1, a probability is none, or a penalty is below 0.
    """

    def __init__(
        self, num_outputs: int, embedding: int = 256, hidden_size: int = 512, layers: int = 2, dropout: float = 0.1,
        weight_dropout: float = 0.0, token_dropout: float = 0.0, activation_penalty: float = 0.0,
        temporal_penalty: float = 0.0, cell: Cell = nn.LSTM,
    ):  # fmt: skip
        super().__init__()
        for what, size in (("embedding", embedding), ("hidden_size", hidden_size), ("layers", layers)):
            require(size >= 1, f"{what} of {size}", "1 or more")
        for what, p in (("dropout", dropout), ("weight_dropout", weight_dropout), ("token_dropout", token_dropout)):
            require(0 <= p < 1, f"a {what} of {p}", "0 or more, below 1")
        for what, cost in (("activation_penalty", activation_penalty), ("temporal_penalty", temporal_penalty)):
            require(cost >= 0, f"a {what} of {cost}", "0 or more")
        self.activation_penalty, self.temporal_penalty = activation_penalty, temporal_penalty
        self.penalty = None
        self.vocabulary, self.weight_dropout, self.token_dropout = num_outputs, weight_dropout, token_dropout
        self.embedding = nn.Embedding(num_outputs, embedding)
        nn.init.uniform_(self.embedding.weight, -VECTORS, VECTORS)
        widths = [embedding, *[hidden_size] * (layers - 1), embedding]
        self.layers = nn.ModuleList(cell(a, b, batch_first=True) for a, b in itertools.pairwise(widths))
        self.dropout = LockedDropout(dropout)
        self.head = nn.Linear(embedding, num_outputs)
        self.head.weight = self.embedding.weight
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Float[Tensor, "B T V"]:
        if not self.training or not (self.activation_penalty or self.temporal_penalty):
            return by_document(self._scores, tokens, segments)
        raw, x = by_document(self._both, tokens, segments).chunk(2, 2)
        same = torch.ones_like(tokens[:, 1:]) if segments is None else segments[:, 1:] == segments[:, :-1]
        moved = ((raw[:, 1:] - raw[:, :-1]).square().mean(2) * same).sum() / same.sum().clamp_min(1)
        self.penalty = self.activation_penalty * x.square().mean() + self.temporal_penalty * moved
        return self.head(x)

    def _both(self, tokens: Tensor) -> Tensor:
        """The last layer's states before dropout, and after it, (B, T, 2 D)."""
        raw, _ = self._read(tokens, drops_last=False)
        return torch.cat([raw, self.dropout(raw)], 2)

    def _scores(self, tokens: Tensor) -> Tensor:
        return self.head(self.states(tokens))

    def states(self, tokens: Tensor) -> Float[Tensor, "B T D"]:
        x, _ = self._read(tokens)
        return x

    def _read(
        self,
        tokens: Tensor,
        held: Sequence[tuple[Tensor, ...]] | None = None,
        counts: Tensor | None = None,
        drops_last: bool = True,
    ) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """(B, T) to (B, T, D), and what the layers hold behind the text's own tokens."""
        x, after = self.dropout(self._vectors(tokens)), list[tuple[Tensor, ...]]()
        for i, layer in enumerate(self.layers):
            before = None if held is None else held[i] if len(held[i]) > 1 else held[i][0]
            weights = self._weights(layer)
            if counts is None:
                x, state = functional_call(layer, weights, (x, before)) if weights else layer(x, before)
            else:  # padding is not read
                packed = pack_padded_sequence(x, counts.cpu(), batch_first=True, enforce_sorted=False)
                packed, state = layer(packed, before)
                x, _ = pad_packed_sequence(packed, batch_first=True, total_length=tokens.shape[1])
            x = self.dropout(x) if drops_last or i < len(self.layers) - 1 else x
            after.append(state if isinstance(state, tuple) else (state,))
        return x, after

    def _vectors(self, tokens: Tensor) -> Tensor:
        table = self.embedding.weight
        if self.training and self.token_dropout:
            table = table * F.dropout(table.new_ones(len(table), 1), self.token_dropout)
        return F.embedding(tokens, table)

    def _weights(self, layer: nn.Module) -> dict[str, Tensor]:
        """Those of a layer that stand for its own: between steps, with some left out for the whole of a batch."""
        if not self.training or not self.weight_dropout:
            return {}
        return {"weight_hh_l0": F.dropout(layer.get_parameter("weight_hh_l0"), self.weight_dropout)}

    def forget_scores(self) -> None:
        del self.head

    def begin(self, count: int) -> Hidden:
        like, parts = self.embedding.weight, 2 if isinstance(self.layers[0], nn.LSTM) else 1
        layers = [
            tuple(like.new_zeros(1, count, layer.hidden_size) for _ in range(parts))
            for layer in self.layers
            if isinstance(layer, nn.RNNBase)
        ]
        return Hidden(layers, torch.zeros(count, dtype=torch.int64, device=like.device))

    def step(self, tokens: Tensor, state: State, counts: Tensor | None = None) -> tuple[Float[Tensor, "B V"], Hidden]:
        assert isinstance(state, Hidden)
        x, held = self._read(tokens, state.layers, counts)
        return self.head(last_of(x, counts)), Hidden(
            held, state.lengths + (tokens.shape[1] if counts is None else counts)
        )


@OWN.register("awd-lstm", kinds=("corpus",), of=lambda spec: (), layout="tokens", wants={"window": WINDOW})
class AWDLSTM(RecurrentLM):
    """An LSTM with weights between steps, tokens and activations left out at random, whose large states and
    sudden changes cost; see the top of the file. With embedding=400 and hidden_size=1150 it is that of the paper.

    Args, shapes and errors as `RecurrentLM`.
    """

    def __init__(
        self, num_outputs: int, embedding: int = 256, hidden_size: int = 512, layers: int = 3, dropout: float = 0.2,
        weight_dropout: float = 0.2, token_dropout: float = 0.02, activation_penalty: float = 2.0,
        temporal_penalty: float = 1.0,
    ):  # fmt: skip
        super().__init__(num_outputs, embedding, hidden_size, layers, dropout, weight_dropout, token_dropout,
                         activation_penalty, temporal_penalty)  # fmt: skip
