"""A recurrent encoder and a recurrent decoder that looks at the source for each token.

Attention as in Bahdanau et al., "Neural machine translation by jointly learning to align and translate" (2015),
https://arxiv.org/abs/1409.0473 (`additive`), and Luong et al., "Effective approaches to attention-based neural machine
translation" (2015), https://arxiv.org/abs/1508.04025 (`dot`, `general`), whose input feeding all three have here: what
was looked at last is seen with the next token. A step costs as many operations as the last; what it gained is printed
by `benchmarks/translation.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Bool, Float
from flambeau.fields import Ragged
from flambeau.models.language.seq2seq import Reading, Seq2Seq, tie
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.parts import TokenEmbedding

ATTENTIONS = ("additive", "dot", "general")


class Attention(nn.Module):
    """Shares of the places of a source, by how well each goes with what the decoder holds.

    Args:
        width: H, of both.
        score: `additive`, v·tanh(W q + U m); `dot`, q·m; `general`, q·W m.

    Shapes: query (B, H), memory (B, S, H) and mask (B, S) bool to the context (B, H) and shares (B, S).

    Raises:
        UsageError: there is no such score.
    """

    def __init__(self, width: int, score: str = "additive"):
        super().__init__()
        if score not in ATTENTIONS:
            raise UsageError(f"no attention is called '{score}'", expected=", ".join(ATTENTIONS))
        self.score = score
        if score != "dot":
            self.memory = nn.Linear(width, width, bias=False)
        if score == "additive":
            self.query = nn.Linear(width, width)
            self.value = nn.Linear(width, 1, bias=False)

    def keys(self, memory: Float[Tensor, "B S H"]) -> Float[Tensor, "B S H"]:
        """What queries are compared with: computed once a source."""
        return memory if self.score == "dot" else self.memory(memory)

    def forward(
        self, query: Float[Tensor, "B H"], keys: Tensor, memory: Tensor, mask: Bool[Tensor, "B S"]
    ) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B S"]]:
        if self.score == "additive":
            scores = self.value(torch.tanh(self.query(query)[:, None] + keys))[:, :, 0]  # (B, S)
        else:
            scores = torch.einsum("bh,bsh->bs", query, keys)
        shares = scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(1)
        return torch.einsum("bs,bsh->bh", shares, memory), shares


@dataclass
class RecurrentReading(Reading):
    """The source as it was read, and what the decoder holds.

    Attributes:
        memory, keys: (B, S, H); mask: (B, S).
        state: of the recurrent layers, (layers, B, H) each.
        fed: what was looked at last, with what the decoder held, (B, H).
    """

    memory: Tensor
    keys: Tensor
    mask: Tensor
    state: tuple[Tensor, ...]
    fed: Tensor
    attention: Tensor

    def keep(self, rows: Tensor) -> RecurrentReading:
        state = tuple(part[:, rows] for part in self.state)
        return RecurrentReading(self.memory[rows], self.keys[rows], self.mask[rows], state, self.fed[rows],
                                self.attention[rows])  # fmt: skip


@OWN.register("seq2seq-lstm", kinds=("text",), of=vocabulary, layout="text", wants={"written": 8_000}, cell=nn.LSTM)
@OWN.register("seq2seq-gru", kinds=("text",), of=vocabulary, layout="text", wants={"written": 8_000}, cell=nn.GRU)
class Seq2SeqRecurrent(Seq2Seq):
    """An encoder that reads in both directions, and a decoder with attention.

    Args:
        vocabulary_size: tokens of sources; 0 is padding.
        num_outputs: V, tokens of answers.
        embedding: width of tokens' vectors, of both.
        hidden_size: H, of the decoder's layers.
        layers: of the encoder and of the decoder.
        attention: `additive`, `dot` or `general`; see `Attention`.
        dropout: probability, on vectors and on what is scored.
        tied: whether tokens of sources and of answers, which are then the same, have one vector each.
        cell: nn.LSTM or nn.GRU.

    Shapes: as of `Seq2Seq`.
    """

    def __init__(
        self, vocabulary_size: int, num_outputs: int, embedding: int = 192, hidden_size: int = 256, layers: int = 1,
        attention: str = "additive", dropout: float = 0.3, tied: bool = False,
        cell: type[nn.LSTM] | type[nn.GRU] = nn.LSTM,
    ):  # fmt: skip
        super().__init__()
        if hidden_size % 2:
            raise UsageError(f"hidden_size={hidden_size} does not fit", expected="an even number, half for a direction")
        self.vocabulary, between = num_outputs, dropout if layers > 1 else 0.0
        self.source = TokenEmbedding(vocabulary_size, embedding, dropout)
        self.encoder = cell(embedding, hidden_size // 2, layers, batch_first=True, bidirectional=True, dropout=between)
        self.target = nn.Embedding(num_outputs, embedding)
        nn.init.normal_(self.target.weight, std=0.1)
        if tied:
            tie(self.source.table, self.target)
        self.decoder = cell(embedding + hidden_size, hidden_size, layers, batch_first=True, dropout=between)
        self.attend = Attention(hidden_size, attention)
        self.combine = nn.Linear(2 * hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, num_outputs)

    def begin(self, source: Ragged) -> RecurrentReading:
        x, mask = self.source(source)
        # Packing asks for the lengths on the CPU: on another device this waits for it.
        packed = pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        packed, last = self.encoder(packed)
        memory, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])  # (B, S, H)
        state = tuple(
            torch.cat([part[0::2], part[1::2]], 2) for part in _parts(last)
        )  # both directions: (layers, B, H)
        fed = memory.new_zeros(len(memory), memory.shape[2])
        return RecurrentReading(memory, self.attend.keys(memory), mask, state, fed, memory.new_zeros(mask.shape))

    def _advance(self, x: Float[Tensor, "B D"], reading: RecurrentReading) -> RecurrentReading:
        """What the decoder holds behind one more token's vector."""
        state: Any = reading.state if isinstance(self.decoder, nn.LSTM) else reading.state[0]
        output, state = self.decoder(torch.cat([x, reading.fed], 1)[:, None], state)
        context, shares = self.attend(output[:, 0], reading.keys, reading.memory, reading.mask)
        fed = torch.tanh(self.combine(torch.cat([context, output[:, 0]], 1)))
        return RecurrentReading(reading.memory, reading.keys, reading.mask, _parts(state), fed, shares)

    def step(self, tokens: Tensor, reading: Reading) -> tuple[Tensor, Reading]:
        assert isinstance(reading, RecurrentReading)
        reading = self._advance(self.dropout(self.target(tokens)), reading)
        return self.head(self.dropout(reading.fed)), reading

    def taught(self, source: Ragged, tokens: Tensor) -> tuple[Tensor, Tensor]:
        reading, fed, shares = self.begin(source), [], []
        for x in self.dropout(self.target(tokens)).unbind(1):
            reading = self._advance(x, reading)
            fed.append(reading.fed)
            shares.append(reading.attention)
        return self.head(self.dropout(torch.stack(fed, 1))), torch.stack(shares, 1)


def _parts(state: Any) -> tuple[Tensor, ...]:
    """What a recurrent layer holds, of LSTM two tensors and of GRU one."""
    return tuple(state) if isinstance(state, tuple) else (state,)
