"""LSTM and GRU over words, one or both ways, in several layers, packed: padding is never computed.

Hochreiter, Schmidhuber, "Long short-term memory" (1997); Cho et al., "Learning phrase representations using RNN
encoder–decoder" (2014), https://arxiv.org/abs/1406.1078.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.parts import Pooling, TokenEmbedding


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
        self.ways = 2 if bidirectional else 1
        self.pool = Pooling(pooling, self.ways * hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.ways * hidden_size, num_outputs)

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        x, mask = self.embedding(tokens)
        # Packing asks for the lengths on the CPU: on another device this waits for it.
        packed = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        packed, state = self.recurrent(packed)
        if self.pool.pooling == "last":
            hidden = state[0] if isinstance(state, tuple) else state  # (layers·ways, B, hidden)
            pooled = torch.cat(list(hidden[-self.ways :]), 1)
        else:
            x, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])  # (B, T, ways·hidden)
            pooled = self.pool(x, mask)
        return self.head(self.dropout(pooled))
