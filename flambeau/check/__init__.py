"""check: looking for mistakes in a dataset before it is trained on."""

from __future__ import annotations

import numpy as np

from flambeau.check import corpora, leaks, pictures, tables, tagged, texts  # noqa: F401  each enters what it looks at
from flambeau.check.base import CHECKS, Case, looks_at
from flambeau.check.duplicates import Twins
from flambeau.check.labels import column_findings, split_findings
from flambeau.check.sounds import recordings
from flambeau.check.together import alike_firsts, seen_firsts
from flambeau.core.findings import Finding, worst_first
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.threads import usable_processors
from flambeau.data.copies import may_coincide, row_digests
from flambeau.data.dataset import Dataset

__all__ = ["Case", "alike_firsts", "check", "looks_at", "seen_firsts"]


def check(dataset: Dataset, *, reporter: Reporter = QUIET, threads: int | None = None) -> list[Finding]:
    """Looks for mistakes in a dataset, worst first. It changes nothing, and needs no fitted fields.

    Errors, which make training pointless: no training rows (`no-training-rows`), only one class (`one-class`), no
    readable picture (`nothing-readable`), values of the wrong kind (`wrong-kind`), a constant number to predict.

    Warnings: `unreadable` and `too-large` pictures, `missing` values, an `unseen-class`, `similar-classes`,
    `few-samples`, `imbalance`, `blank`, `tiny`, `extreme-aspect`; samples that are equal or, as pictures or texts,
    alike (`near-…`) but have different labels (`label-conflict`) or are in different splits (`leakage`).

    Of texts, warnings: `unreadable`, `empty`, `numbers-as-text`, `mojibake`, `lost-characters`, a token that gives the
    label away (`giveaway`), `truncation` and `unknown-tokens` where they are grave; notes: `near-empty`,
    `telling-word` (a word of the language that is in most of a class and hardly elsewhere), `extreme-length`, `markup`,
    `invisible-characters`, `mixed-language`; an error where none can be read or cut (`tokeniser`). Texts are equal
    whatever their capitals and spaces. Of more than 300,000 texts a draw is looked at for languages, tokens and near-
    duplicates, and the findings say so.

    Of a corpus as of texts, but for what is told of tokens and classes; warnings too: `secrets` (keys and card numbers;
    e-mail addresses and phone numbers as a note), `boilerplate` lines, held-out text that stands in training texts
    (`contamination`), and a tokeniser that does not suit (`tokens-per-byte`); notes: texts `longer-than-context` and
    `shorter-than-context`. Of more than 50 million characters a draw is looked at.

    Of tagged sentences, warnings: `unreadable` (a token or a tag is empty) and `truncation`, which costs tags.

    Of sounds, warnings: `unreadable`, `silent`, `silent-class`, `clipping`, `short`, `long`, classes that their level
    (`level-giveaway`) or the form of their files (`format-giveaway`) tells apart, recordings in several splits
    (`same-recording`, and `leakage` by what is heard), `mostly-silent` ones, and an `empty-band` of few, which a higher
    rate was made for; notes: `dc-offset`, `mixed-rates`, `mixed-channels`, an `empty-band` of most.

    Of numbers, categories and dates of a table, warnings: `not-a-number` and `not-a-date`, whose rows are left out, an
    `empty-column`, an `identifier`, a `duplicate-column`, `target-leakage` of a column that alone tells the target,
    `drift` or a `unit-change` between splits; notes: `missing-values`, `constant`, `outlier`, `unseen-category`.

    Of pictures, warnings: a split that is `inverted` or has `swapped-channels`. Of series that are forecast, warnings:
    a `future-leak` of a column that is the target of later steps.

    Notes: rows that lack one of several inputs (`missing-input`), `wrong-extension`, exotic pictures (`cmyk`, `16-bit`,
    `float`, `1-bit`, `palette`, `alpha`, `animated`, `exif-rotated`), `huge`, `mixed-colour`, `duplicate` and
    `near-duplicate` inside a class, `nothing-held-out`; of whole series `mixed-lengths`, and those that are `flat`.

    What the source of the dataset found is in `dataset.findings`, and not here again: rows that it left out are not
    told of as missing. In findings about pairs, `rows` holds first and second row of each pair in turn.

    Args:
        reporter: shows progress.
        threads: threads that read pictures; as many as there are processors if not given.
    """
    findings = split_findings(dataset)
    case = Case(dataset, Twins(dataset), threads or usable_processors(), reporter, usable=np.ones(len(dataset), bool))
    for kinds, look in CHECKS:
        if fields := {name: field for name, field in dataset.fields.items() if isinstance(field, kinds)}:
            findings += look(case, fields)
    if dataset.inputs and not case.compared & {*dataset.inputs}:
        equal = case.twins.groups(row_digests(dataset))
        findings += case.twins.equal(equal, "row", may_coincide(dataset))
    return worst_first([*findings, *recordings(dataset), *column_findings(dataset, case.usable, told_of=case.told)])
