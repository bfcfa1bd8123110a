"""Near-duplicates among texts: those that share at least four fifths of their shingles.

Shingles are runs of a few words or characters; the measure is the Jaccard index of two sets of them (Broder, "On the
resemblance and containment of documents", SEQUENCES 1997). Three steps, none of them quadratic:

1. A signature of each text: under each of 64 random permutations of all shingles, the smallest that it has. Two
   signatures agree in as large a share of their places as the sets have in common.
2. Locality-sensitive hashing (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3): texts that agree
   in all four places of one of 16 bands are candidates. Of pairs at 0.8 it misses 2 in 10,000.
3. Candidates whose signatures agree enough are compared in full.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from flambeau.check.plain import READ, squeezed
from flambeau.core.reporter import Bar
from flambeau.core.spans import mixed

JACCARD = 0.8
BANDS, BAND = 16, 4
PERMUTATIONS = BANDS * BAND
AGREE = 0.62
"""Share of a signature that two candidates must agree in: 0.8 less 3.6 standard deviations."""
NEIGHBOURS = 10
"""Texts that follow one in its bucket that it is compared with: a thousand of one mould are not all compared."""
ENOUGH = 3
"""Near-duplicates of a text after which no more are looked for."""
LONG = 60
"""Words in half of the texts from which shingles of words are told apart well enough, and taken less dearly."""
FEWEST = 12
"""Shingles under which a text says too little to be compared."""
CHUNK_CHARACTERS = 2_000_000

_WORD = re.compile(r"\w+")


class Shingling(NamedTuple):
    """How texts are cut: into runs of so many words, or of so many characters."""

    words: bool
    size: int

    def units(self, text: str) -> Sequence[str]:
        """The words or characters of a text, in lower case and without punctuation."""
        words = _WORD.findall(squeezed(text[:READ]))
        return words if self.words else " ".join(words)

    def shingles(self, text: str) -> set:
        """The set of shingles of a text."""
        units = self.units(text)
        if self.words:
            return set(zip(*(units[i:] for i in range(self.size)), strict=False))
        return {units[i : i + self.size] for i in range(len(units) - self.size + 1)}


def shingling(texts: Sequence[str]) -> Shingling:
    """How to cut texts such as these: words where they are long, else characters, fewer where words have no spaces."""
    sample = [text[:READ] for text in texts[:: max(1, len(texts) // 1000)]]
    words = np.asarray([len(text.split()) for text in sample] or [0])
    letters = np.asarray([len(text) for text in sample] or [0])
    if np.median(letters / np.maximum(words, 1)) > 15:
        return Shingling(False, 3)
    return Shingling(True, 3) if np.median(words) >= LONG else Shingling(False, 5)


def near_duplicate_texts(columns: Sequence[Sequence[str]], bar: Bar) -> np.ndarray:
    """Pairs of N samples that are near-duplicates in each of their texts, int64 (P, 2), the most alike first.

    Args:
        columns: one or more sequences of N texts.
        bar: counts to N.
    """
    cuts = [shingling(texts) for texts in columns]
    signatures, usable = _signatures(columns, cuts, bar)
    rows = np.flatnonzero(usable)
    pairs, agreement = _candidates(signatures[rows])
    pairs = rows[pairs[np.argsort(-agreement, kind="stable")]]
    return _verified(pairs, columns, cuts)


def _signatures(columns: Sequence[Sequence[str]], cuts: Sequence[Shingling], bar: Bar) -> tuple[np.ndarray, np.ndarray]:
    """Signatures uint32 (N, PERMUTATIONS), and which of the N say enough to be compared."""
    count = len(columns[0])
    signatures = np.full((count, PERMUTATIONS), np.iinfo(np.uint32).max, np.uint32)
    usable = np.zeros(count, bool)
    generator = np.random.default_rng(0)  # equal data, equal findings
    factors = generator.integers(0, 2**64, PERMUTATIONS, dtype=np.uint64) | np.uint64(1)
    terms = generator.integers(0, 2**64, PERMUTATIONS, dtype=np.uint64)
    numbers: dict[str, int] = {}
    start = 0
    while start < count:
        stop, size = start, 0
        while stop < count and (stop == start or size < CHUNK_CHARACTERS):
            size += sum(min(len(texts[stop]), READ) for texts in columns)
            stop += 1
        enough = np.zeros(stop - start, bool)
        for place, (texts, cut) in enumerate(zip(columns, cuts, strict=True)):
            units = [cut.units(texts[row]) for row in range(start, stop)]
            lengths = np.asarray([len(u) for u in units], np.int64) - cut.size + 1  # in shingles
            enough |= lengths >= FEWEST
            nonempty = np.flatnonzero(lengths > 0)
            if not len(nonempty):
                continue
            # the same shingle in another column is another one
            shingles = mixed(_numbered([units[k] for k in nonempty], cut, numbers) + np.uint64(place))
            firsts = np.r_[0, np.cumsum(lengths[nonempty])[:-1]]
            rows = start + nonempty
            for i in range(PERMUTATIONS):  # one by one: all at once would take 64 times the memory
                # multiply-shift hashing (Dietzfelbinger and others, 1997): the upper half of an odd multiple
                values = ((shingles * factors[i] + terms[i]) >> np.uint64(32)).astype(np.uint32)
                signatures[rows, i] = np.minimum(signatures[rows, i], np.minimum.reduceat(values, firsts))
        usable[start:stop] = enough
        start = stop
        bar.update(start)
    return signatures, usable


def _numbered(units: Sequence[Sequence[str]], cut: Shingling, numbers: dict[str, int]) -> np.ndarray:
    """A number uint64 for each shingle of these texts, one text after the other."""
    lengths = np.asarray([len(u) for u in units], np.int64)
    if cut.words:
        flat = np.asarray([numbers.setdefault(word, len(numbers)) for words in units for word in words], np.uint64)
    else:
        flat = np.frombuffer("".join(units).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)  # type: ignore[arg-type]
    total = len(flat) - cut.size + 1
    hashed = np.zeros(total, np.uint64)
    for place in range(cut.size):
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + flat[place : place + total] + np.uint64(1)
    # a window that begins less than its size before the end of a text reaches into the next one
    whole = np.ones(len(flat), bool)
    ends = np.cumsum(lengths)
    for place in range(1, cut.size):
        whole[ends - place] = False
    return hashed[whole[:total]]


def _candidates(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (P, 2) of signatures in one bucket of any band that agree enough, and in which share of their places."""
    count = len(signatures)
    keys = np.empty((BANDS, count), np.uint64)
    for band in range(BANDS):
        key = np.zeros(count, np.uint64)
        for place in range(band * BAND, (band + 1) * BAND):
            key = mixed(key * np.uint64(0x9E3779B97F4A7C15) + signatures[:, place])
        keys[band] = key
    codes_found, agreements = [np.zeros(0, np.int64)], [np.zeros(0)]
    for band in range(BANDS):
        # within a bucket by the next band, so that the neighbours in large buckets are the most alike
        order = np.lexsort((keys[(band + 1) % BANDS], keys[band]))
        ordered = keys[band][order]
        for step in range(1, min(NEIGHBOURS + 1, count)):
            places = np.flatnonzero(ordered[step:] == ordered[:-step])
            if not len(places):
                break
            for part in np.array_split(places, 1 + len(places) // 100_000):
                pairs = np.sort(np.stack([order[part], order[part + step]], 1), 1)
                agree = (signatures[pairs[:, 0]] == signatures[pairs[:, 1]]).mean(1)
                close = agree >= AGREE
                codes_found.append(pairs[close, 0] * count + pairs[close, 1])
                agreements.append(agree[close])
    codes, first = np.unique(np.concatenate(codes_found), return_index=True)
    return np.stack([codes // count, codes % count], 1) if count else np.zeros((0, 2), np.int64), np.concatenate(
        agreements
    )[first]


def _verified(pairs: np.ndarray, columns: Sequence[Sequence[str]], cuts: Sequence[Shingling]) -> np.ndarray:
    """Those pairs whose sets of shingles have at least JACCARD in common, in every column, the most alike first."""
    sets: list[Callable[[int], set]] = [
        lru_cache(20_000)(lambda row, texts=texts, cut=cut: cut.shingles(texts[row]))
        for texts, cut in zip(columns, cuts, strict=True)
    ]
    near: dict[int, int] = {}
    verified, alike = [], []
    for one, other in pairs.tolist():
        if near.get(one, 0) >= ENOUGH and near.get(other, 0) >= ENOUGH:
            continue
        index = min(_jaccard(shingles(one), shingles(other)) for shingles in sets)
        if index >= JACCARD:
            near[one], near[other] = near.get(one, 0) + 1, near.get(other, 0) + 1
            verified.append((one, other))
            alike.append(index)
    order = np.argsort(-np.asarray(alike), kind="stable")
    return np.asarray(verified, np.int64).reshape(-1, 2)[order]


def _jaccard(one: set, other: set) -> float:
    shared = len(one & other)
    union = len(one) + len(other) - shared
    return shared / union if union else 1.0
