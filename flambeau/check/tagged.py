"""Findings about tagged sentences: those that cannot be used, and those that are cut off."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np

from flambeau.check.base import Case, looks_at
from flambeau.check.plain import draw, of_a_draw
from flambeau.check.wording import findings_at
from flambeau.core.arrays import missing
from flambeau.core.errors import DataError, FlambeauError
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.fields import Field, Tags, Tokens

SLOW_CHARACTERS = 1_000_000
"""How much text at most is cut by a pretrained tokeniser: about as much as one cuts in five seconds."""


@looks_at(Tokens, Tags)
def look_at_sentences(case: Case, fields: Mapping[str, Tokens | Tags]) -> list[Finding]:
    """Findings about the columns of tokens and of tags."""
    return [finding for name, field in fields.items() for finding in _unusable(case.dataset, name, field)]


@looks_at(Tokens)
def look_at_lengths(case: Case, fields: Mapping[str, Tokens]) -> list[Finding]:
    """Findings about sentences that are longer than what a tagger sees."""
    dataset = case.dataset
    tags = dataset.fields[dataset.target] if dataset.target else None
    if tags is None or not tags.has_parts:
        return []
    return [finding for name, field in fields.items() for finding in _cut_off(dataset, name, field, tags)]


def _unusable(dataset: Dataset, name: str, field: Tokens | Tags) -> list[Finding]:
    """Sentences with a token, or a tag, that is none, such as an empty string: they are left out."""
    reasons: dict[int, str] = {}
    for row, value in enumerate(dataset.columns[name]):
        if missing(value):
            continue  # told of as missing
        try:
            field.parts(value)
        except DataError as error:
            reasons[row] = error.found
    first = next(iter(reasons.values()), "")
    what = f"left out for what is in the column '{name}'; the first: {first}"
    return findings_at(dataset, "unreadable", Severity.WARNING, list(reasons), "sentence", what, fix="mend them")


def _cut_off(dataset: Dataset, name: str, given: Tokens, tags: Field) -> list[Finding]:
    """Sentences that are longer than `max_length`."""
    assert dataset.target
    field = copy.copy(given)
    sentences: dict[int, list[str]] = {}
    for row, (value, its) in enumerate(zip(dataset.columns[name], dataset.columns[dataset.target], strict=True)):
        try:
            words = field.parts(value)
            if len(tags.parts(its)) == len(words):
                sentences[row] = words
        except DataError:
            continue  # left out, and told of as such
    if not sentences:
        return []
    rows = np.asarray(list(sentences), np.int64)
    total = len(rows)
    lengths = np.asarray([len(words) for words in sentences.values()], np.int64)
    if not field.pretrained:
        seen = np.minimum(lengths, field.max_length)
    else:
        size = np.asarray([sum(map(len, words)) for words in sentences.values()], np.int64)
        chosen = draw(size, characters=SLOW_CHARACTERS)
        rows, lengths = rows[chosen], lengths[chosen]
        try:
            if field.tokenizer is None:
                field.fit([sentences[int(row)] for row in rows])
            seen = np.asarray([_seen(field, sentences[int(row)]) for row in rows], np.int64)
        except FlambeauError as error:
            return [
                Finding("tokeniser", Severity.ERROR, f"the sentences cannot be cut into tokens: {error.found}",
                        fix=error.fix or "choose another kind of token: tokens='words'")
            ]  # fmt: skip
    lost = lengths - seen
    cut = np.flatnonzero(lost)
    cut = cut[np.argsort(-lost[cut], kind="stable")]
    unit, fix = "words", f"max_length={lengths.max()} keeps them whole"
    if field.pretrained:  # an encoder has so many positions and no more: BERT 512
        unit = "pieces of words"
        fix = "cut them into parts, or take an encoder that reads longer sentences and raise max_length"
    tags_lost = f"{int(lost.sum()):,} of {int(lengths.sum()):,} tags lie behind it, and count as wrong"
    what = f"cut off at max_length {field.max_length} ({unit}): {tags_lost}"
    findings = findings_at(dataset, "truncation", Severity.WARNING, rows[cut], "sentence", what, fix=fix)
    return of_a_draw(findings, len(rows), total)


def _seen(field: Tokens, words: list[str]) -> int:
    """How many words of a sentence a pretrained model sees."""
    try:
        return int(field.encode(words)[:, 1].sum())
    except DataError:
        return len(words)  # left out when it is encoded, and named there
