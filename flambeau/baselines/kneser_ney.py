"""The rival of language models: n-grams with interpolated modified Kneser-Ney smoothing.

A token's probability is its share among those that followed the same n - 1 tokens, less a discount, and what the
discounts left goes to the same of n - 2 tokens, and so on down to all tokens alike. Below the longest n-grams what
counts is not how often one stands there but behind how many different tokens. Discounts are of three kinds, for counts
of 1, 2 and more: Chen and Goodman, "An empirical study of smoothing techniques for language modeling", 1999; as in
Heafield and others, "Scalable modified Kneser-Ney language model estimation", ACL 2013, n-grams at the beginning of a
document, which nothing can stand before, count as often as they are there.

An n-gram is a number: (number of its first n - 1 tokens) · (V + 1) + last token, found by bisection in a sorted array
of each order. So counting is a sort for each order, and scoring a look-up for all tokens at once; nothing is hashed, so
nothing is mistaken.

At order 8, one processor counts the 3.1 million characters of five novels by Jane Austen in 3 s, in some 350 MB, and
scores the 0.9 million of the sixth in 0.7 s: 1.84 bits a character of Emma.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

CHUNK = 2**18  # tokens that are scored at once
FALLBACK = np.asarray([0.0, 0.5, 1.0, 1.5])
"""Discounts where too few n-grams say what they should be, as KenLM has them."""


class Order(NamedTuple):
    """The G different n-grams of one order, in the order of their keys.

    Attributes:
        keys: int64 (G), as told above; empty for single tokens, which are their own numbers.
        shares: of each among those with the same beginning, discounted, float32 (G).
        left: by the number of a beginning, what the discounts left for shorter n-grams, float32; 1 where nothing
            followed.
    """

    keys: np.ndarray
    shares: np.ndarray
    left: np.ndarray


class KneserNey:
    """A language model of n-grams.

    Args:
        flat: the tokens of D documents, one after the other, integers below `vocabulary`.
        lengths: tokens of each, int64 (D).
        vocabulary: V, how many different tokens there are.
        order: n, the longest n-grams.
        more: whether there is time to count those of another order, after so many; where there is none, the longest
            are those of the last that was counted.
    """

    def __init__(
        self, flat: np.ndarray, lengths: np.ndarray, vocabulary: int, order: int,
        more: Callable[[int], bool] = lambda done: True,
    ):  # fmt: skip
        self.vocabulary = vocabulary
        tokens, since = _begun(flat, lengths, vocabulary)
        numbers, counts = tokens, np.bincount(tokens, minlength=vocabulary + 1)
        keys, starts = np.zeros(0, np.int64), np.zeros(vocabulary + 1, bool)
        starts[vocabulary] = True  # the sign that a document begins
        self.orders: list[Order] = []
        before = np.zeros(vocabulary + 1, np.int64)  # the number of each n-gram's beginning
        for n in range(1, order + 1):
            longer = _counted(tokens, numbers, since, n + 1, vocabulary) if n < order and more(n) else None
            weights = counts
            if longer is not None:
                weights = np.where(starts, counts, np.bincount(numbers[longer.first], minlength=len(counts)))
            if n == 1:
                weights[vocabulary] = 0  # nothing predicts a beginning
            beginnings = len(self.orders[-1].shares) if self.orders else 1
            self.orders.append(_discounted(keys, weights, before, beginnings))
            if longer is None:
                break
            before = numbers[longer.first - 1]
            starts = since[longer.first] == n
            keys, counts, numbers = longer.keys, longer.counts, longer.numbers
        self.order = len(self.orders)

    def log_probabilities(self, flat: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Of each token, given those of its document before it, in nats: float32, as `flat`."""
        tokens, since = _begun(flat, lengths, self.vocabulary)
        found = np.empty(len(tokens), np.float32)
        for start in range(0, len(tokens), CHUNK):
            ahead = min(start, self.order)  # tokens of the chunk before, which are looked back at
            part = slice(start - ahead, start + CHUNK)
            found[start : start + CHUNK] = self._scored(tokens[part], since[part])[ahead:]
        return found[since > 0]

    def distribution(self, context: np.ndarray) -> np.ndarray:
        """The probability of each token behind those of a document's beginning, float32 (V)."""
        each = np.concatenate([np.tile(context, (self.vocabulary, 1)), np.arange(self.vocabulary)[:, None]], 1)
        flat = each.reshape(-1).astype(np.int64)
        logs = self.log_probabilities(flat, np.full(self.vocabulary, each.shape[1]))
        return np.exp(logs[each.shape[1] - 1 :: each.shape[1]])

    def _scored(self, tokens: np.ndarray, since: np.ndarray) -> np.ndarray:
        first = self.orders[0]
        chances = first.shares[tokens] + first.left[0] / self.vocabulary
        numbers = tokens
        for n, order in enumerate(self.orders[1:], 2):
            behind = np.r_[-1, numbers[:-1]]  # the number of the n - 1 tokens before each
            behind[since < n - 1] = -1
            seen = np.flatnonzero(behind >= 0)
            of = behind[seen]
            keys = of * (self.vocabulary + 1) + tokens[seen]
            at = np.minimum(np.searchsorted(order.keys, keys), max(len(order.keys) - 1, 0))
            there = order.keys[at] == keys if len(order.keys) else np.zeros(len(keys), bool)
            numbers = np.full(len(tokens), -1)
            numbers[seen[there]] = at[there]
            chances[seen] *= order.left[of]
            chances[seen[there]] += order.shares[at[there]]
        with np.errstate(divide="ignore"):  # of the sign of a beginning
            return np.log(chances)


class Counted(NamedTuple):
    """The different n-grams of some tokens: sorted `keys`, `counts`, and where each is first, all int64 (G); the number
    of the n-gram that ends at each token, -1 where none does, int64 (N)."""

    keys: np.ndarray
    counts: np.ndarray
    first: np.ndarray
    numbers: np.ndarray


def _begun(flat: np.ndarray, lengths: np.ndarray, sign: int) -> tuple[np.ndarray, np.ndarray]:
    """The tokens with a sign before each document, and how far each is behind it: int64, both."""
    begins = np.cumsum(lengths) - lengths
    tokens = np.insert(flat.astype(np.int64), begins, sign)
    at = begins + np.arange(len(lengths))
    since = np.arange(len(tokens)) - np.repeat(at, lengths + 1)
    return tokens, since


def _counted(tokens: np.ndarray, shorter: np.ndarray, since: np.ndarray, n: int, vocabulary: int) -> Counted:
    """The n-grams, of the numbers of those a token shorter at each place."""
    ends = np.flatnonzero(since >= n - 1)
    keys = shorter[ends - 1] * (vocabulary + 1) + tokens[ends]
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    new = np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)]
    starts = np.flatnonzero(new)
    numbers = np.full(len(tokens), -1)
    numbers[ends[order]] = np.cumsum(new) - 1
    return Counted(ordered[starts], np.diff(np.r_[starts, len(keys)]), ends[order[starts]], numbers)


def _discounted(keys: np.ndarray, weights: np.ndarray, before: np.ndarray, beginnings: int) -> Order:
    """An order, of what counts for each of its n-grams and the number of the beginning of each."""
    discounts = _discounts(weights)[np.minimum(weights, 3)]
    totals = np.bincount(before, weights, minlength=beginnings)
    left = np.bincount(before, discounts, minlength=beginnings) / np.maximum(totals, 1)
    left[totals == 0] = 1
    shares = (weights - discounts) / np.maximum(totals, 1)[before]
    return Order(keys, shares.astype(np.float32), left.astype(np.float32))


def _discounts(weights: np.ndarray) -> np.ndarray:
    """What is taken off weights of 0, 1, 2, and 3 or more (Chen and Goodman, equation 26)."""
    t = np.bincount(np.minimum(weights, 5), minlength=5)[1:5].astype(np.float64)
    if not t[:3].all():
        return FALLBACK
    j = np.arange(1, 4)
    found = j - (j + 1) * t[0] / (t[0] + 2 * t[1]) * t[1:] / t[:3]
    return np.r_[0.0, found] if ((found >= 0) & (found <= j)).all() else FALLBACK
