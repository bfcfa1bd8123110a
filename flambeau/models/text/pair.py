"""Two texts compared: what each says, how they differ, and which of their words they share.

The vectors u and v of two texts are put together as u, v, |u − v| and u ∘ v: Mou, Men, Li, Xu, Zhang, Yan, Jin,
"Natural language inference by tree-based convolution and heuristic matching" (2016), https://arxiv.org/abs/1512.08422.
Vectors learned from a few thousand pairs know few words, so that beside them stands how much of each text the other one
has, each word counted by how rare it is: Spärck Jones, "A statistical interpretation of term specificity" (1972).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.spec import OWN, vocabulary
from flambeau.models.text.parts import Pooling, TokenEmbedding, first_times, mask_padding

SHARED = 7  # numbers that `shared` gives
LOUD = 4.0  # these are mostly far below 1, and are to be learned as soon as the rest
KNOWN = 2  # tokens from this number on are of the vocabulary; the others are padding and unknown


@OWN.register("pair", kinds=("texts",), of=vocabulary, wants={"pieces": 30_000})
class Pair(nn.Module):
    """The bags of two texts, which have the same vectors for the same words, and what both have; then two layers.

    Args:
        vocabulary_size: V, of both texts.
        num_outputs: K.
        embedding: D, width of the words' vectors.
        width: W, of each text's vector and of the hidden layer.
        dropout: probability, of each number of a vector.
        token_dropout: probability that a word is left out of a text's vector in training.

    Attributes:
        rarity: float (V), how much a word that both texts have counts; 1 before `initialise_from_data`.

    Shapes: two Ragged (B, T) int64, the first two of a dict, to (B, K).
    """

    def __init__(
        self, vocabulary_size: int, num_outputs: int, embedding: int = 64, width: int = 128, dropout: float = 0.5,
        token_dropout: float = 0.5,
    ):  # fmt: skip
        super().__init__()
        self.embedding = TokenEmbedding(vocabulary_size, embedding, token_dropout=token_dropout)
        self.pool = Pooling("sqrt", embedding)
        self.lead = nn.Linear(embedding, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(4 * width + SHARED, width)
        self.head = nn.Linear(width, num_outputs)
        rarity = torch.ones(vocabulary_size)
        rarity[:KNOWN] = 0
        self.register_buffer("rarity", rarity)
        self.rarity: Tensor

    def forward(self, texts: Mapping[str, Ragged]) -> Float[Tensor, "B K"]:
        first, second = two(texts)
        return self._compare(first, second, *(mask_padding(text)[1].float() for text in (first, second)))

    def _compare(self, first: Ragged, second: Ragged, there_first: Tensor, there_second: Tensor) -> Tensor:
        u, v = self._vector(first, there_first), self._vector(second, there_second)
        compared = self.dropout(torch.cat([u, v, (u - v).abs(), u * v], 1))
        common = shared(first, second, self.rarity, there_first, there_second)
        x = self.hidden(torch.cat([compared, LOUD * common.to(u.dtype)], 1))
        return self.head(self.dropout(x.relu()))

    def _vector(self, text: Ragged, there: Tensor) -> Tensor:
        x, mask = self.embedding(text)
        return self.norm(self.lead(self.dropout(self.pool(x * there[:, :, None].to(x.dtype), mask))))

    def attribute(self, texts: Mapping[str, Ragged], outputs: Tensor) -> tuple[Tensor, Tensor]:
        """What each token of the two texts added to an answer, to first order, float (B, T) each: the gradient by how
        much the token is there, in the text's vector and among what both texts have.

        Args:
            outputs: for each pair, which output is asked about, int64 (B).
        """
        first, second = two(texts)
        there = [mask_padding(text)[1].float().requires_grad_() for text in (first, second)]
        answers = self._compare(first, second, *there).gather(1, outputs[:, None]).sum()
        a, b = torch.autograd.grad(answers, there)
        return a * there[0].detach(), b * there[1].detach()

    def initialise_from_data(self, batches: Iterable[tuple[Mapping[str, Ragged], Tensor]]) -> None:
        """Counts in how many training texts each word is, and makes the rare ones count more.

        Args:
            batches: of the two texts, and of their answers, which do not matter.
        """
        count, having = 0, torch.zeros_like(self.rarity)
        for texts, _ in batches:
            for text in two(texts):
                values, _ = mask_padding(text)
                having += torch.bincount(values[first_times(values)], minlength=len(having))
                count += len(values)
        self.rarity.copy_(((1 + count) / (1 + having)).log() + 1)
        self.rarity[:KNOWN] = 0


def two(texts: Mapping[str, Ragged]) -> tuple[Ragged, Ragged]:
    """The first two texts of the inputs. Raises UsageError where there are fewer."""
    ragged = [value for value in texts.values() if isinstance(value, Ragged)] if isinstance(texts, Mapping) else []
    if len(ragged) < 2:
        raise UsageError("this model takes two texts", expected="a dict with two Ragged")
    return ragged[0], ragged[1]


def shared(
    first: Ragged, second: Ragged, rarity: Tensor, there_first: Tensor | None = None, there_second: Tensor | None = None
) -> Tensor:
    """How much two texts have in common, float (B, 7), about 0…1: the shared words' part of the first text, of the
    second, and of both, by weight; the heaviest shared word, and the logarithm of all shared weight; and the part of
    each text's different words.

    Args:
        rarity: the weight of each token, float (V); 0 for those that do not count.
        there_first: how much each token of a text is there, float (B, T); likewise `there_second`; 1 if not given.
    """
    a, b = mask_padding(first)[0], mask_padding(second)[0]
    same = a[:, :, None] == b[:, None]
    in_first, in_second = rarity[a] * first_times(a), rarity[b] * first_times(b)
    if there_first is not None and there_second is not None:
        in_first, in_second = in_first * there_first, in_second * there_second
    common = in_first * same.any(2)
    weight, whole_a, whole_b = common.sum(1), in_first.sum(1).clamp_min(1e-6), in_second.sum(1).clamp_min(1e-6)
    count, count_a, count_b = ((x > 0).sum(1) for x in (common, in_first, in_second))
    parts = [
        weight / whole_a, weight / whole_b, weight / (whole_a * whole_b).sqrt(), common.amax(1) / rarity.amax(0),
        weight.log1p() / 4, count / count_a.clamp_min(1), count / count_b.clamp_min(1),
    ]  # fmt: skip
    return torch.stack(parts, 1)
