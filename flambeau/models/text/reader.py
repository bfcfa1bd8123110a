"""Reads a text for a question: where in it the answer begins and ends, or that it has none.

After the document reader of Chen, Fisch, Weston, Bordes, "Reading Wikipedia to answer open-domain questions" (2017),
https://arxiv.org/abs/1704.00051: each token of the text is its vector, whether the question has it, and the question as
it looks from there; both are read by recurrent layers, and each place is scored by the question.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.pair import two
from flambeau.models.text.parts import Pooling, TokenEmbedding, mask_padding
from flambeau.models.text.recurrent import packed, unpacked


@OWN.register("reader", kinds=("texts",), of=vocabulary, layout="span", wants={"pieces": 8_000})
class Reader(nn.Module):
    """The text first, then the question, with the same vectors for the same tokens.

    Args:
        vocabulary_size: V, of both texts.
        num_outputs: 2, where an answer begins and where it ends.
        embedding: D, width of the vectors.
        hidden_size: of the recurrent layers, each way.
        dropout: probability, of vectors and of what is read.

    Shapes: two Ragged (B, T) int64, the first two of a dict, to (B, 2, 1 + T): logits of no answer, then of each token.
    """

    def __init__(
        self, vocabulary_size: int, num_outputs: int, embedding: int = 64, hidden_size: int = 64, dropout: float = 0.2
    ):
        super().__init__()
        self.embedding = TokenEmbedding(vocabulary_size, embedding, dropout)
        self.look = nn.Linear(embedding, embedding)
        self.question = nn.GRU(embedding, hidden_size, batch_first=True, bidirectional=True)
        self.text = nn.GRU(2 * embedding + 1, hidden_size, batch_first=True, bidirectional=True)
        self.again = nn.GRU(2 * hidden_size, hidden_size, batch_first=True, bidirectional=True)
        self.pool = Pooling("attention", 2 * hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.by_question = nn.Linear(2 * hidden_size, 2 * hidden_size * num_outputs)
        self.head = nn.Linear(2 * hidden_size, num_outputs)
        self.none = nn.Linear(4 * hidden_size, num_outputs)

    def forward(self, texts: Mapping[str, Ragged]) -> Float[Tensor, "B K P"]:
        passage, question = two(texts)
        read = unpacked if torch.compiler.is_exporting() else packed
        (x, mask), (q, asked) = self.embedding(passage), self.embedding(question)
        scores = self.look(x).relu() @ self.look(q).relu().transpose(1, 2)  # (B, T, Q)
        aligned = scores.masked_fill(~asked[:, None], torch.finfo(scores.dtype).min).softmax(2) @ q
        known = mask_padding(passage)[0][:, :, None] == mask_padding(question)[0][:, None]
        shared = (known & asked[:, None]).any(2, keepdim=True).to(x.dtype)
        words = self.pool(self.dropout(read(self.question, q, asked)[0]), asked)  # (B, 2H)
        states = self.dropout(read(self.text, torch.cat([x, aligned, shared], 2), mask)[0])
        states = self.dropout(read(self.again, states, mask)[0])
        wanted = self.by_question(words).unflatten(1, (-1, states.shape[2]))  # (B, 2, 2H)
        places = wanted @ states.transpose(1, 2) + self.head(states).transpose(1, 2)  # (B, 2, T)
        places = places.masked_fill(~mask[:, None], torch.finfo(places.dtype).min / 2)
        met = torch.cat([words, states.masked_fill(~mask[:, :, None], -1).amax(1)], 1)
        return torch.cat([self.none(met)[:, :, None], places], 2)
