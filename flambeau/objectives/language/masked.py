"""Masked language modelling: tokens that are hidden, foretold from those on both sides of them in their document
(Devlin et al. 2018, "BERT", arXiv:1810.04805, section 3.1): how encoders go on with texts of another kind.

flambeau train corpus.txt --objective masked-language-model --model hf:FOLDER
flambeau evaluate runs/corpus other.txt
flambeau predict runs/corpus other.txt         # pseudo bits a byte of each document, the oddest first
flambeau train reviews.csv --pretrained runs/corpus
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError, require
from flambeau.core.randomness import hashed
from flambeau.data.batch import Batch
from flambeau.fields import Corpus, Packed
from flambeau.fields.language.alphabets import mask_of
from flambeau.models.language.masked import MaskedEncoder
from flambeau.objectives.base import OBJECTIVES
from flambeau.objectives.language.base import Likelihoods, OfTexts, windows_of
from flambeau.objectives.programs import Program

MASKED, DRAWN = 0.8, 0.1  # of the hidden tokens: a mask in their place, another token; the rest stays as it is
SCORES = 1 << 28  # bytes of scores at once
FEW = 10_000  # windows, below which texts are read more often


@OBJECTIVES.register("masked-language-model")
class MaskedLanguageModel(OfTexts):
    """The mean negative log-likelihood of hidden tokens, in nats. In training a mask stands in the place of eight of
    ten of them, another token in that of one, and one stays; which are hidden is drawn anew for each batch (Liu et al.
    2019, "RoBERTa", arXiv:1907.11692). In an evaluation all are masked, the same ones every time.

    `perplexity` is the exponential of the mean, `accuracy` the share of hidden tokens that the likeliest token is. An
    answer hides each token of a document once, several at a time: pseudo-likelihood (Salazar et al. 2020,
    arXiv:1910.14659).

    Args:
        share: of the tokens that are hidden.
        whole_words: whether all pieces of a word are hidden together.
    """

    settings = ("share", "whole_words")
    layout = "masked"
    measures: ClassVar[Mapping[str, bool]] = {"loss": False, "perplexity": False, "accuracy": True}
    next_verb = "train ROWS.csv --pretrained {run}"
    model: MaskedEncoder

    def __init__(self, model: MaskedEncoder, field: Corpus, share: float = 0.15, whole_words: bool = False):
        require(0 < share < 1, f"share={share}", "between 0 and 1")
        require(isinstance(whole_words, bool), f"whole_words={whole_words}", "true or false")
        mask = None if field.tokenizer is None else mask_of(field.tokenizer, field.marks["special"])
        if mask is None:
            raise UsageError("its tokens have no mask", expected="a tokeniser with [MASK] or <mask>",
                             fix="give an encoder with its own: --model hf:FOLDER")  # fmt: skip
        self.model, self.field, self.share, self.whole_words, self.mask = model, field, share, whole_words, mask
        pieces = [field.bytes_of([number]) for number in range(field.input_shape[0])]
        self._hideable = torch.tensor([bool(piece) for piece in pieces])
        self._begins = torch.tensor([not piece or piece[:1].isspace() for piece in pieces])
        self.start_evaluation()

    @classmethod
    def classifier(cls, model: str, options: dict[str, Any], context: int) -> tuple[str, dict[str, Any]]:
        return model, {}

    @classmethod
    def suggests(cls, options: Mapping[str, Any], num_train: int) -> Mapping[str, tuple[Any, str]]:
        epochs = 10 if num_train < FEW else 3
        return {"learning_rate": (1e-4, "an encoder that goes on; Gururangan et al. 2020 took as much"),
                "epochs": (epochs, f"{num_train:,} windows, of which each epoch hides others")}  # fmt: skip

    # -- what is hidden -----------------------------------------------------------------------------------------

    def hidden(self, packed: Packed, key: int) -> Tensor:
        """Which tokens behind the first are hidden, bool (B, T): a pure function of the key and of each token, its row
        and its place, whatever else is in the batch."""
        tokens, device = packed.tokens, packed.device
        places = torch.arange(tokens.shape[1], device=device).expand_as(tokens)
        chance = hashed(key, packed.segments if packed.rows is None else packed.rows, places, tokens)
        if self.whole_words:
            begins = F.pad(packed.segments[:, 1:] != packed.segments[:, :-1], (1, 0), value=True)
            begins = begins | self._begins.to(device)[tokens]
            chance = chance.gather(1, places.where(begins, 0).cummax(1).values)
        return self._candidates(packed) & (chance < self.share)

    def _candidates(self, packed: Packed) -> Tensor:
        """Which may be: no marks, and not the first of a window, which was the last of that before."""
        known = self._hideable.to(packed.device)[packed.tokens]
        known[:, :1] = False
        return known if packed.counted is None else known & packed.counted

    def _replaced(self, tokens: Tensor, hidden: Tensor, key: int) -> Tensor:
        """What stands in the place of hidden tokens in training."""
        places = torch.arange(tokens.numel(), device=tokens.device).view_as(tokens)
        kind, other = hashed(key, places, tokens), hashed(key + 1, places, tokens)
        drawn = (other * len(self._hideable)).long()
        changed = torch.where(kind < MASKED, self.mask, torch.where(kind < MASKED + DRAWN, drawn, tokens))
        return torch.where(hidden, changed, tokens)

    def scores(self, packed: Packed, read: Tensor, hidden: Tensor) -> Tensor:
        """Scores (M, V) of hidden tokens, where `read` (B, T) stands in place of the tokens."""
        there, room = None, self.model.context or read.shape[1]
        if packed.counted is not None:  # what is behind the last that counts fills a window
            there = packed.counted.flip(1).cummax(1).values.flip(1)
            there = there[:, -room:] if bool(there.any()) else None
        return self.model(read[:, -room:], packed.segments[:, -room:], there, hidden[:, -room:])

    # -- training -----------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        packed: Packed = batch.input
        # of torch's randomness, as dropout: a resume goes on with it
        key = int(torch.randint(2**62, ())) if self.model.training else 0
        hidden = self.hidden(packed, key)
        scores = self.scores(packed, self._replaced(packed.tokens, hidden, key + 1), hidden)
        costs = F.cross_entropy(scores.float(), packed.tokens[hidden], reduction="sum")
        return costs / hidden.sum().clamp_min(1)

    def weight(self, batch: Batch) -> float:
        return max(1.0, float(self._candidates(batch.input).sum()))

    def num_parts(self, batch: Batch) -> int:
        return self._parts(batch.input)

    def _parts(self, packed: Packed) -> int:
        """So many that the scores of one are small."""
        return max(1, math.ceil(packed.tokens.numel() * self.share * len(self._hideable) * 4 / SCORES))

    # -- evaluation ---------------------------------------------------------------------------------------------

    def start_evaluation(self, detail: bool = False) -> None:
        self._measured = Named(self.field, detail)

    def evaluate(self, batch: Batch) -> None:
        packed: Packed = batch.input
        rows = batch.rows[:, None].expand_as(packed.tokens) if packed.rows is None else packed.rows
        packed = packed._replace(rows=rows)
        hidden = self.hidden(packed, 0)
        costs, right = self.costs(packed, hidden)
        self._measured.update(packed, costs[:, 1:], hidden[:, 1:], right[:, 1:])

    def costs(self, packed: Packed, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Nats of hidden tokens, each with a mask in its place, float32 (B, T), and whether the likeliest is right,
        bool; 0 of all others."""
        costs, right = torch.zeros(hidden.shape, device=packed.device), torch.zeros_like(hidden)
        for rows in torch.arange(len(hidden), device=packed.device).chunk(self._parts(packed)):
            part = Packed(*(None if one is None else one[rows] for one in packed))  # type: ignore[arg-type]
            asked, true = hidden[rows], packed.tokens[rows][hidden[rows]]
            scores = self.scores(part, part.tokens.masked_fill(asked, self.mask), asked).float()
            costs[rows] = costs[rows].masked_scatter(asked, F.cross_entropy(scores, true, reduction="none"))
            right[rows] = right[rows].masked_scatter(asked, scores.argmax(1) == true)
        return costs, right

    def predict(self, batch: Batch) -> Tensor:
        """Of each document pseudo bits a byte, nats a token, and its tokens, float (B, 3)."""
        packed: Packed = batch.input
        sums = torch.zeros(len(packed.tokens), 3, dtype=torch.float64)  # nats, bytes, tokens
        sizes = self.field.sizes[:, 0]
        with torch.inference_mode():
            for part, rows in windows_of(packed, self.field.length):
                for hidden in self._in_turn(part):
                    costs, _ = self.costs(part, hidden)
                    measured = (costs.double().cpu(), sizes[part.tokens.cpu()] * hidden.cpu(), hidden.cpu())
                    sums.index_add_(0, rows, torch.stack([one.double().sum(1) for one in measured], 1))
        nats, size, tokens = sums.unbind(1)
        return torch.stack([nats / math.log(2) / size.clamp_min(1), nats / tokens.clamp_min(1), tokens], 1)

    def _in_turn(self, packed: Packed) -> Iterator[Tensor]:
        """Tokens to hide together, bool (B, T), so that each is hidden once."""
        candidates, times = self._candidates(packed), round(1 / self.share)
        number = candidates.cumsum(1) % times
        yield from (candidates & (number == turn) for turn in range(times))

    def programs(self) -> dict[str, Program]:
        raise UsageError("a masked language model is read by transformers, not by a program",
                         fix="flambeau export RUN --format hf, or train a classifier that begins with it")  # fmt: skip

    def describe(self) -> str:
        of = "words" if self.whole_words else "tokens"
        return f"negative log-likelihood of {self.share:.0%} of the {of}, hidden, from up to {self.field.length} around"


class Named(Likelihoods):
    """Hidden tokens: their likelihood, and how many are named rightly."""

    columns = 5  # those of likelihoods, and what is right

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        mean, right = (sums[:, column] / sums[:, 0].clamp_min(1) for column in (1, 4))
        return {"loss": mean, "perplexity": mean.exp(), "accuracy": right}
