"""Findings from the tokens of texts: what is cut off, what training never sees, and what gives the label away."""

from __future__ import annotations

import copy
import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flambeau.check.labels import class_names
from flambeau.check.plain import draw, of_a_draw
from flambeau.check.wording import counted
from flambeau.core.errors import FlambeauError
from flambeau.core.findings import Finding, Severity
from flambeau.core.reporter import Bar
from flambeau.data.dataset import Dataset
from flambeau.data.split import TRAIN, VALID
from flambeau.fields import Text
from flambeau.fields.language.tokenizers import HF, UNKNOWN, cutter, suited, vocabulary_of

SLOW_CHARACTERS = 1_000_000
"""How much text at most is cut by a tokeniser that takes its time: about as much as one cuts in five seconds."""
FAST = ("words", "characters")
TRUNCATED, LOST = 0.05, 0.2
"""Share of truncated texts from which it is noted, and of lost tokens from which it is a warning."""
NEW, MANY_NEW = 0.1, 0.3
IN_CLASS, ELSEWHERE, LEAST, OTHERS = 0.6, 0.01, 20, 50
"""A token gives a class away where it is in so large a share of its rows and in at least so many of them, and where
its share in the others, of which there are at least so many, is a hundredth of that. Words of a subject come near:
of BBC's news "users" is in 43 % of those about technology and in 0.3 % of the others."""
IN_PART, NOWHERE, MANY_OTHERS = 0.4, 0.001, 100
"""A lower share of a class of at least so many rows, against as many others of which hardly one has the token. Words
of a subject may reach it ("labour" is in 48 % of BBC's news about politics and in none about sport), but never alone:
there are others in half as many rows (here "tory", in 33 %). Then nothing is told."""
NEARLY_ALL, PHRASE = 0.9, 3
"""A word of the language is a mark that was left only where it is in nearly all of its class and in none of the others,
or where it comes with others in the same rows, as in a heading: a subject has its words too ("grain" is in most of
Reuters' news about grain)."""
CHUNK = 1024


class Tokens(NamedTuple):
    """The tokens of M texts, one after the other: `ids` int32 into `pieces`; `lengths` int64 (M)."""

    ids: np.ndarray
    lengths: np.ndarray
    pieces: list[str]

    @property
    def owner(self) -> np.ndarray:
        """Which of the M texts each token is of."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def token_findings(
    dataset: Dataset, field: Text, rows: np.ndarray, texts: Sequence[str], length: np.ndarray, bar: Bar
) -> list[Finding]:
    """Findings about the tokens of texts.

    Args:
        rows: int64 (M), the rows of these texts.
        texts: M texts, of each not more than its beginning.
        length: int64 (N), the characters of each row's whole text.
        bar: counts on from M to 2 M.
    """
    field = copy.copy(field)
    max_length, field.max_length = field.max_length, 10**9  # so that nothing is cut off here
    if not len(rows):
        return []
    if field.tokens == "auto":
        field.cut = suited(texts[:: max(1, len(texts) // 1000)][:1000])
    if field.cut not in FAST:
        places = draw(np.asarray([len(text) for text in texts]), characters=SLOW_CHARACTERS)
        rows, texts = rows[places], [texts[place] for place in places.tolist()]
    training = dataset.split[rows] == TRAIN
    if not training.any():
        return []
    try:
        if field.cut not in (*FAST, "chinese"):
            field.fit(list(itertools.compress(texts, training)))
        tokens = _tokens(field, texts, bar)
    except FlambeauError as error:
        return [
            Finding("tokeniser", Severity.ERROR, f"the texts cannot be cut into tokens: {error.found}",
                    fix=error.fix or "choose another kind of token: tokens='words'")
        ]  # fmt: skip
    larger = length[rows] / [max(len(t), 1) for t in texts]
    findings = _truncated(dataset, rows, tokens, larger, max_length, pretrained=field.tokens.startswith(HF))
    findings += _unknown(dataset, rows, tokens, field)
    findings += _giveaways(dataset, rows[training], _of(tokens, training))
    return of_a_draw(findings, len(rows), int(np.count_nonzero(length)))


def _tokens(field: Text, texts: Sequence[str], bar: Bar) -> Tokens:
    numbers: dict[str, int] = defaultdict(itertools.count().__next__)
    parts, lengths = [np.zeros(0, np.int32)], []
    # the cutter itself where there is one: `tokenise` would look for it anew for each text
    cut = cutter(field.cut) if field.cut in (*FAST, "chinese") else field.tokenise
    lower = field.lower and field.tokenizer is None
    for start in range(0, len(texts), CHUNK):
        flat: list[int] = []
        for text in texts[start : start + CHUNK]:
            before = len(flat)
            flat += [numbers[piece] for piece in cut(text.lower() if lower else text)]
            lengths.append(len(flat) - before)
        parts.append(np.asarray(flat, np.int32))
        bar.update(len(texts) + len(lengths))
    return Tokens(np.concatenate(parts), np.asarray(lengths, np.int64), list(numbers))


def _of(tokens: Tokens, chosen: np.ndarray) -> Tokens:
    """The tokens of some of the texts: bool (M)."""
    return Tokens(tokens.ids[np.repeat(chosen, tokens.lengths)], tokens.lengths[chosen], tokens.pieces)


def _truncated(
    dataset: Dataset, rows: np.ndarray, tokens: Tokens, larger: np.ndarray, max_length: int, pretrained: bool
) -> list[Finding]:
    lengths = tokens.lengths * larger  # of texts of which only the beginning was read
    cut = lengths > max_length
    lost = float(np.maximum(lengths - max_length, 0).sum() / max(lengths.sum(), 1))
    if cut.mean() < TRUNCATED:
        return []
    places = np.flatnonzero(cut)
    places = places[np.argsort(-lengths[places], kind="stable")]
    covers = int(np.ceil(np.quantile(lengths, 0.99)))
    fix = f"max_length={covers} would cover 99 % of the texts"
    if pretrained:  # an encoder has so many positions and no more: BERT 512
        fix = (
            f"cut them into parts, or take an encoder that reads longer texts: 99 % of them have at most {covers} "
            "tokens; raise max_length only as far as the encoder reads"
        )
    return [
        Finding(
            "truncation", Severity.WARNING if lost > LOST else Severity.NOTE,
            f"{counted(int(cut.sum()), 'text')} ({cut.mean():.0%}) cut off at max_length {max_length}, "
            f"and {lost:.0%} of all tokens lost",
            places=[dataset.place(int(row)) for row in rows[places]], rows=rows[places].tolist(),
            fix=fix,
        )
    ]  # fmt: skip


def _unknown(dataset: Dataset, rows: np.ndarray, tokens: Tokens, field: Text) -> list[Finding]:
    """Tokens of the rows that validate that the vocabulary of the training rows does not have."""
    sides = dataset.split[rows]
    valid = _of(tokens, sides == VALID)
    if not len(valid.ids):
        return []
    if field.tokenizer is not None:
        known = np.asarray([piece not in (UNKNOWN, "[UNK]") for piece in tokens.pieces])
    else:
        counts = np.bincount(_of(tokens, sides == TRAIN).ids, minlength=len(tokens.pieces))
        trained = Counter(dict(zip(tokens.pieces, counts.tolist(), strict=True)))
        vocabulary = set(vocabulary_of(trained, most=field.max_vocabulary, min_count=field.min_count))
        known = np.asarray([piece in vocabulary for piece in tokens.pieces])
    new = ~known[valid.ids]
    share = float(new.mean())
    if share < NEW:
        return []
    often = np.bincount(valid.ids[new], minlength=len(tokens.pieces))
    examples = ", ".join(f"'{tokens.pieces[i]}'" for i in np.argsort(-often, kind="stable")[:5] if often[i])
    of_row = np.bincount(valid.owner[new], minlength=len(valid.lengths)) / np.maximum(valid.lengths, 1)
    order = np.argsort(-of_row, kind="stable")
    worst = rows[sides == VALID][order[of_row[order] >= MANY_NEW]]
    fix = (
        "pieces of words are known more often: tokens='bpe'" if field.tokenizer is None else "choose another tokeniser"
    )
    return [
        Finding(
            "unknown-tokens", Severity.WARNING if share >= MANY_NEW else Severity.NOTE,
            f"{share:.0%} of the tokens that validate are not in the vocabulary of the training rows, "
            f"such as {examples}",
            places=[dataset.place(int(row)) for row in worst], rows=worst.tolist(), fix=fix,
        )
    ]  # fmt: skip


def _giveaways(dataset: Dataset, rows: np.ndarray, tokens: Tokens) -> list[Finding]:
    """Classes that a single token tells: a label that has found its way into the text."""
    if not dataset.target or not (field := dataset.fields[dataset.target]).has_classes:
        return []
    names = class_names(field, dataset.take(dataset.target, rows))
    classes = sorted({name for labels in names for name in labels or ()})
    number = {name: i for i, name in enumerate(classes)}
    of_row = [(row, number[name]) for row, labels in enumerate(names) for name in labels or ()]
    if not of_row:
        return []
    row_of, class_of = np.asarray(of_row, np.int64).T
    size = np.bincount(class_of, minlength=len(classes))
    labelled = np.unique(row_of)
    # each token once a row, and only tokens of enough rows
    width = len(tokens.pieces)
    once = np.sort(tokens.owner * width + tokens.ids)
    once = once[np.r_[True, once[1:] != once[:-1]][: len(once)]]
    once = once[np.isin(once // width, labelled)]
    row, token = once // width, once % width
    rows_with = np.bincount(token, minlength=width)
    often = rows_with[token] >= LEAST
    row, token = row[often], token[often]
    # a row of several classes counts for each
    first, several = np.searchsorted(row_of, row), np.searchsorted(row_of, row, side="right")
    repeat = several - first
    at = np.repeat(first, repeat) + np.arange(repeat.sum()) - np.repeat(np.cumsum(repeat) - repeat, repeat)
    keys, together = np.unique(np.repeat(token, repeat) * len(classes) + class_of[at], return_counts=True)
    tokens_of, class_at = keys // len(classes), keys % len(classes)
    outside = len(labelled) - size[class_at]
    inside_share = together / size[class_at]
    outside_share = (rows_with[tokens_of] - together) / np.maximum(outside, 1)
    strong = (together >= LEAST) & (outside >= OTHERS) & (outside_share <= ELSEWHERE * inside_share)
    telling = strong & (inside_share >= IN_CLASS)
    many = (size[class_at] >= MANY_OTHERS) & (outside >= MANY_OTHERS)
    alone = strong & many & (inside_share >= IN_PART) & (outside_share <= NOWHERE)
    near = strong & (inside_share >= IN_PART / 2) & ~alone & ~telling
    telling |= alone & ~np.isin(class_at, class_at[near])
    findings = []
    for label in np.unique(class_at[telling]):
        places = np.flatnonzero(telling & (class_at == label))
        best, *rest = places[np.argsort(-inside_share[places], kind="stable")]
        having = np.unique(row[token == tokens_of[best]])
        having = rows[having[np.isin(having, row_of[class_of == label])]]
        more = [f"'{tokens.pieces[tokens_of[i]]}'" for i in rest]
        also = f"; so do {', '.join(more[:3])}{f' and {len(more) - 3} more' if len(more) > 3 else ''}" if more else ""
        piece, shares = (
            tokens.pieces[tokens_of[best]],
            f"in {inside_share[best]:.0%} of it, {outside_share[best]:.1%} of others",
        )
        sure = inside_share[best] >= NEARLY_ALL and outside_share[best] <= NOWHERE
        phrase = np.count_nonzero(np.abs(together[places] - together[best]) <= 0.02 * together[best]) >= PHRASE
        words = all(tokens.pieces[tokens_of[i]].strip("▁Ġ#'’-").isalpha() for i in places)
        if words and not sure and not phrase:
            check, severity = "telling-word", Severity.NOTE
            message = f"the word '{piece}' tells the class '{classes[label]}' ({shares}){also}"
            fix = "nothing, if it is a word of the subject; take it out if it was put there with the label"
        else:
            check, severity = "giveaway", Severity.WARNING
            message = f"the token '{piece}' gives the class '{classes[label]}' away ({shares}){also}"
            fix = "take it out, unless new data will have it too: a model learns it and little else"
        findings.append(
            Finding(
                check, severity, message, places=[dataset.place(int(r)) for r in having], rows=having.tolist(), fix=fix
            )
        )
    return findings
