"""LSTM and GRU over words, one or both ways, in several layers, packed: padding is never computed. An export, whose
steps may not hang on values, computes it and leaves it out.

Hochreiter, Schmidhuber, "Long short-term memory" (1997); Cho et al., "Learning phrase representations using RNN
encoder–decoder" (2014), https://arxiv.org/abs/1406.1078.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from flambeau.core.shapes import Bool, Float
from flambeau.fields import Ragged
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.parts import Pooling, TokenEmbedding, turned


@OWN.register("lstm", kinds=("text",), of=vocabulary, cell=nn.LSTM)
@OWN.register("gru", kinds=("text",), of=vocabulary, cell=nn.GRU)
class Recurrent(nn.Module):
    """A recurrent network over the tokens' vectors, pooled over time.

    Args:
        vocabulary_size: V.
        num_outputs: K.
        embedding: D, width of the vectors.
        hidden_size: width of the state, each way.
        layers: how many lie on one another.
        bidirectional: read from both ends.
        dropout: probability, on the vectors, between layers and before the last layer.
        token_dropout: probability that a token is left out in training.
        pooling: `mean`, `max`, `attention`, or `last`, the state at the end of each way.
        cell: `nn.LSTM` or `nn.GRU`.

    Shapes: Ragged (B, T) int64 to (B, K).
    """

    def __init__(
        self,
        vocabulary_size: int,
        num_outputs: int,
        embedding: int = 64,
        hidden_size: int = 64,
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.5,
        token_dropout: float = 0.2,
        pooling: str = "max",
        cell: type[nn.LSTM] | type[nn.GRU] = nn.LSTM,
    ):
        super().__init__()
        self.embedding = TokenEmbedding(vocabulary_size, embedding, dropout, token_dropout)
        self.recurrent = cell(
            embedding,
            hidden_size,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )
        ways = 2 if bidirectional else 1
        self.pool = Pooling(pooling, ways * hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(ways * hidden_size, num_outputs)

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        x, mask = self.embedding(tokens)
        states, last = (unpacked if torch.compiler.is_exporting() else packed)(self.recurrent, x, mask)
        pooled = last if self.pool.pooling == "last" else self.pool(states, mask)
        return self.head(self.dropout(pooled))


def packed(cell: nn.LSTM | nn.GRU, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]) -> tuple[Tensor, Tensor]:
    """States (B, T, ways·hidden) of the last layer, and those at the end of each way (B, ways·hidden)."""
    # Packing asks for the lengths on the CPU: on another device this waits for it.
    sequence = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
    sequence, state = cell(sequence)
    hidden = state[0] if isinstance(state, tuple) else state  # (layers·ways, B, hidden)
    states, _ = pad_packed_sequence(sequence, batch_first=True, total_length=x.shape[1])
    return states, torch.cat(list(hidden[-2 if cell.bidirectional else -1 :]), 1)


def unpacked(cell: nn.LSTM | nn.GRU, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B T"]) -> tuple[Tensor, Tensor]:
    """The same in evaluation, where the mask has a place, without packing: layer by layer and way by way, a text read
    backwards from its own end."""
    places, ends = turned(mask), (mask.sum(1) - 1)[:, None, None]
    begin = x.new_zeros(1, x.shape[0], cell.hidden_size)
    ways = 2 if cell.bidirectional else 1
    last: list[Tensor] = []
    for layer in range(cell.num_layers):
        read, last = [], []
        for way in range(ways):
            into = x.gather(1, places.expand_as(x)) if way else x
            weights: list[Tensor] = [*cell.all_weights[layer * ways + way]]
            if isinstance(cell, nn.LSTM):
                out = torch.lstm(into, (begin, begin), weights, cell.bias, 1, 0.0, False, False, True)[0]
            else:
                out = torch.gru(into, begin, weights, cell.bias, 1, 0.0, False, False, True)[0]
            last.append(out.gather(1, ends.expand(-1, -1, out.shape[2]))[:, 0])
            read.append(out.gather(1, places.expand_as(out)) if way else out)
        x = torch.cat(read, 2)
    return x, torch.cat(last, 1)
