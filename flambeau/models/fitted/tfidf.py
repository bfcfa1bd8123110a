"""TF-IDF of words and phrases, and a linear support vector machine: Joachims, "Text categorization with support vector
machines", 1998; Fan et al., "LIBLINEAR: a library for large linear classification", 2008."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.fitted.base import Examples, FittedModel
from flambeau.models.fitted.linear import spread
from flambeau.models.spec import OWN, nothing
from flambeau.models.text.ngrams import FACTORS
from flambeau.models.text.parts import mask_padding

MOST_TEXTS = 60_000
MOST_PHRASES = 1 << 18
MANY = 200  # texts, from which a phrase of one of them is left out
LAST = torch.iinfo(torch.int64).max
LONGEST = 17  # bits of the length of a text, in phrases


@OWN.register("tfidf-linear", kinds=("text",), of=nothing, fitted=True)
class TfidfLinear(FittedModel):
    """How often a text has each word and phrase, by its logarithm and by how rare it is, at length 1: one linear
    support vector machine for each class against the others; ridge regression of numbers.

    Its logits of classes are the machines' margins, which the training's calibration makes probabilities of.

    Args:
        num_outputs: K.
        ngrams: tokens of the longest phrases.
        strength: inverse penalty.

    Attributes:
        keys: int64 (S), the phrases' numbers in rising order; rarity float64 (S).
        matrix: float32 (S, K), of which the first row is of no phrase; bias float64 (K).

    Shapes: Ragged (B, T) int64 to (B, K).

    Raises:
        UsageError: `ngrams` or `strength` is too small.
    """

    keys: Tensor
    rarity: Tensor
    matrix: Tensor
    bias: Tensor

    def __init__(self, num_outputs: int, ngrams: int = 2, strength: float = 1.0):
        super().__init__()
        if ngrams < 1 or strength <= 0:
            raise UsageError(f"ngrams={ngrams} and strength={strength} do not fit", expected="at least 1, and above 0")
        self.ngrams, self.strength, self.num_outputs = ngrams, strength, num_outputs
        self.register_buffer("keys", torch.full((1,), -LAST))
        self.register_buffer("rarity", torch.zeros(1, dtype=torch.float64))
        self.register_buffer("matrix", torch.zeros(1, num_outputs))
        self.register_buffer("bias", torch.zeros(num_outputs, dtype=torch.float64))

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        phrases, counts = self.counted(tokens)
        places = _last_at_most(self.keys, phrases)
        known = (self.keys[places] == phrases) & (counts > 0)
        values = (1 + counts.clamp_min(1).double().log()) * self.rarity[places] * known
        values = values / values.square().sum(1, keepdim=True).clamp_min(1e-24).sqrt()
        rows = self.matrix[places.masked_fill(~known, 0)]
        return ((values[:, None] @ rows.double()).squeeze(1) + self.bias).float()

    def counted(self, tokens: Ragged) -> tuple[Tensor, Tensor]:
        """Numbers of a text's phrases, int64 (B, N) in rising order, and where each comes first how often it comes,
        else 0."""
        values, _ = mask_padding(tokens)
        steps = torch.arange(values.shape[1], device=values.device)
        rest, found = values, []
        for more in range(self.ngrams):
            if more:
                rest = rest * FACTORS[0] + torch.nn.functional.pad(values, (0, more))[:, more:]
            inside = steps < (tokens.lengths - more)[:, None]
            found.append((rest * FACTORS[1]).masked_fill(~inside, LAST))
        ordered = torch.cat(found, 1).sort(dim=1).values
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        places = torch.arange(ordered.shape[1], device=ordered.device)
        counts = _behind(ordered) - places
        return ordered, counts.masked_fill(~first | (ordered == LAST), 0)

    def fit(self, train: Examples, valid: Examples | None) -> str:
        from sklearn.linear_model import Ridge

        texts = _Texts(self, train)
        x, y, w = texts.matrix()
        if train.numbers:
            fitted = Ridge(alpha=1 / self.strength, solver="sparse_cg").fit(x, y.reshape(len(y), -1), sample_weight=w)
            matrix, bias = np.atleast_2d(fitted.coef_).T, np.ravel(fitted.intercept_)
        elif y.ndim == 1:
            matrix, bias = self._machines(x, y, w, self.num_outputs)
        else:
            pairs = [self._machines(x, (y[:, k] > 0.5).astype(int), w, 2) for k in range(self.num_outputs)]
            matrix = np.stack([m[:, 1] - m[:, 0] for m, _ in pairs], 1)
            bias = np.asarray([b[1] - b[0] for _, b in pairs])
        rows = np.concatenate((np.zeros((1, self.num_outputs)), matrix))
        self.keep(keys=np.concatenate(([-LAST], texts.keys)), rarity=np.concatenate(([0.0], texts.rarity)),
                  matrix=rows, bias=bias)  # fmt: skip
        drawn = f", of {x.shape[0]:,} of {train.count:,} texts" if x.shape[0] < train.count else ""
        return f"{len(texts.keys):,} words and phrases{drawn}"

    def _machines(self, x: Any, y: np.ndarray, w: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
        from sklearn.svm import LinearSVC

        there = np.unique(y)
        if len(there) < 2:
            found = spread(np.zeros((1, x.shape[1])), np.zeros(1), there, num_classes, "")
        else:
            fitted = LinearSVC(C=self.strength, random_state=0).fit(x, y, sample_weight=w)
            found = spread(fitted.coef_, fitted.intercept_, there, num_classes, "")
        return found.matrix, found.bias


class _Texts:
    """Texts as sparse rows of TF-IDF.

    Attributes:
        keys: int64 (S), rising: the phrases of two texts or more, the most frequent ones. rarity: float64 (S).
    """

    def __init__(self, model: TfidfLinear, train: Examples):
        self.model = model
        self._counts = self._counted(train, MOST_TEXTS)
        phrases, texts = np.unique(self._counts[1], return_counts=True)
        number = int(self._counts[3][-1])
        kept = texts >= (2 if number > MANY else 1)
        phrases, texts = phrases[kept], texts[kept]
        if len(phrases) > MOST_PHRASES:
            most = np.sort(np.argpartition(-texts, MOST_PHRASES)[:MOST_PHRASES])
            phrases, texts = phrases[most], texts[most]
        self.keys, self.rarity = phrases, np.log((1 + number) / (1 + texts)) + 1

    def matrix(self) -> tuple[Any, np.ndarray, np.ndarray]:
        """Rows (N, S) of scipy, targets and weights."""
        from scipy.sparse import csr_matrix

        rows, phrases, counts, total, y, w = self._counts
        places = np.searchsorted(self.keys, phrases).clip(0, max(0, len(self.keys) - 1))
        good = self.keys[places] == phrases if len(self.keys) else np.zeros(len(phrases), bool)
        rows, places, counts = rows[good], places[good], counts[good]
        values = (1 + np.log(counts)) * self.rarity[places]
        lengths = np.sqrt(np.bincount(rows, values**2, int(total[-1])))
        values = values / np.maximum(lengths[rows], 1e-12)
        return csr_matrix((values, (rows, places)), (int(total[-1]), len(self.keys))), y, w

    def _counted(self, examples: Examples, most: int) -> tuple[np.ndarray, ...]:
        """(text, phrase, how often) of all phrases of some texts, how many texts there are (1), and their targets and
        weights."""
        found, y, w, number = [], [], [], 0
        for inputs, targets, weights, chosen in examples.drawn(most):
            phrases, counts = (part.cpu() for part in self.model.counted(inputs))
            places = (counts * chosen[:, None]).nonzero()
            numbers = torch.cumsum(chosen.long(), 0) - 1 + number
            found.append((numbers[places[:, 0]], phrases[places[:, 0], places[:, 1]],
                          counts[places[:, 0], places[:, 1]]))  # fmt: skip
            number += int(chosen.sum())
            y.append(targets[chosen])
            w.append(weights[chosen])
        parts = [torch.cat(part).numpy() for part in zip(*found, strict=True)]
        return *parts, np.asarray([number]), torch.cat(y).numpy(), torch.cat(w).double().numpy()


def _last_at_most(keys: Tensor, asked: Tensor) -> Tensor:
    """The last place of rising keys (S) that is no larger than each number (B, N); 0 where there is none."""
    if not torch.compiler.is_exporting():
        return (torch.searchsorted(keys, asked, right=True) - 1).clamp_min(0)
    places, size = torch.zeros_like(asked), keys.shape[0]
    for bit in reversed(range((size - 1).bit_length())):  # the same by steps that other programs have
        further = places + (1 << bit)
        fits = (further < size) & (keys[further.clamp_max(size - 1)] <= asked)
        places = torch.where(fits, further, places)
    return places


def _behind(ordered: Tensor) -> Tensor:
    """Of rising numbers (B, N), for each the first place behind all that are equal to it."""
    if not torch.compiler.is_exporting():
        return torch.searchsorted(ordered, ordered, right=True)
    places, size = torch.zeros_like(ordered), ordered.shape[1]
    for bit in reversed(range(LONGEST)):
        further = places + (1 << bit)
        fits = (further <= size) & (ordered.gather(1, (further - 1).clamp_max(size - 1)) <= ordered)
        places = torch.where(fits, further, places)
    return places


__all__ = ["TfidfLinear"]
