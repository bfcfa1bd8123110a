"""check: looking for mistakes in a dataset before it is trained on."""

from __future__ import annotations

import numpy as np

from flambeau.check.duplicates import Twins, may_coincide, row_digests
from flambeau.check.files import scan
from flambeau.check.labels import column_findings, split_findings
from flambeau.check.near import near_duplicates, num_trees
from flambeau.check.pictures import picture_findings
from flambeau.check.sounds import sound_findings
from flambeau.check.tables import table_findings
from flambeau.check.tagged import tagged_findings
from flambeau.check.texts import text_findings
from flambeau.core.findings import Finding, worst_first
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.threads import usable_processors
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import lacking
from flambeau.fields import Audio, Image, Text

__all__ = ["check"]


def check(dataset: Dataset, *, reporter: Reporter = QUIET, threads: int | None = None) -> list[Finding]:
    """Looks for mistakes in a dataset, worst first. It changes nothing, and needs no fitted fields.

    Errors, which make training pointless: no training rows (`no-training-rows`), only one class (`one-class`), no
    readable picture (`nothing-readable`), values of the wrong kind (`wrong-kind`), a constant number to predict.

    Warnings: `unreadable` and `too-large` pictures, `missing` values, an `unseen-class`, `similar-classes`,
    `few-samples`, `imbalance`, `blank`, `tiny`, `extreme-aspect`; samples that are equal or, as pictures or texts,
    alike (`near-…`) but have different labels (`label-conflict`) or are on different sides of the split (`leakage`).

    Of texts, warnings: `unreadable`, `empty`, `numbers-as-text`, `mojibake`, `lost-characters`, a token that gives the
    label away (`giveaway`), `truncation` and `unknown-tokens` where they are grave; notes: `near-empty`,
    `telling-word` (a word of the language that is in most of a class and hardly elsewhere), `extreme-length`, `markup`,
    `invisible-characters`, `mixed-language`; an error where none can be read or cut (`tokeniser`). Texts are equal
    whatever their capitals and spaces. Of more than 300,000 texts a draw is looked at for languages, tokens and near-
    duplicates, and the findings say so.

    Of tagged sentences, warnings: `unreadable` (a token or a tag is empty) and `truncation`, which costs tags.

    Of sounds, warnings: `unreadable`, `silent`, `silent-class`, `clipping`, `short`, `long`, classes that their level
    (`level-giveaway`) or the form of their files (`format-giveaway`) tells apart, recordings on both sides of the split
    (`same-recording`, and `leakage` by what is heard); notes: `dc-offset`, `mixed-rates`, `mixed-channels`.

    Of numbers, categories and dates of a table, warnings: `not-a-number` and `not-a-date`, whose rows are left out, an
    `empty-column`, an `identifier`, a `duplicate-column`, `target-leakage` of a column that alone tells the target,
    `drift` between the sides of the split; notes: `missing-values`, `constant`, `outlier`, `unseen-category`.

    Notes: rows that lack one of several inputs (`missing-input`), `wrong-extension`, exotic pictures (`cmyk`, `16-bit`,
    `float`, `1-bit`, `palette`, `alpha`, `animated`, `exif-rotated`), `huge`, `mixed-colour`, `duplicate` and
    `near-duplicate` inside a class, `nothing-held-out`; of whole series `mixed-lengths`, and those that are `flat`.

    What the source of the dataset found is in `dataset.findings`, and not here again: rows that it left out are not
    told of as missing. In findings about pairs, `rows` holds first and second row of each pair in turn.

    Args:
        reporter: shows progress.
        threads: threads that read pictures; as many as there are processors if not given.
    """
    threads = threads or usable_processors()
    findings = split_findings(dataset)
    usable = np.ones(len(dataset), bool)
    twins = Twins(dataset)
    pictures = [name for name, field in dataset.fields.items() if isinstance(field, Image)]
    for name in pictures:
        with reporter.bar(f"checking {name}", len(dataset)) as bar:
            seen = scan(dataset.columns[name], threads, bar)
        findings += picture_findings(dataset, name, seen.facts)
        readable = np.asarray([not fact.error for fact in seen.facts])
        readable[lacking(dataset, name)] = True
        usable &= readable
        if name not in dataset.inputs:
            continue
        # blank pictures are told of as such: that they are equal says no more
        groups = twins.groups([b"" if fact.blank else fact.pixels for fact in seen.facts])
        findings += twins.equal(groups, "picture")
        for rows in groups:
            seen.grey[rows[1:]] = 0  # the first stands for its equals
        with reporter.bar("looking for near-duplicates", num_trees(len(dataset))) as bar:
            pairs, _ = near_duplicates(seen.grey, seen.colour, threads, bar)
        findings += twins.alike(pairs, groups, "picture")
    heard = sound_findings(dataset, twins, threads, reporter)
    for told, readable in (heard, text_findings(dataset, twins, reporter)):
        findings += told
        usable &= readable
    if dataset.inputs and not any(isinstance(dataset.fields[name], (Audio, Image, Text)) for name in dataset.inputs):
        findings += twins.equal(twins.groups(row_digests(dataset)), "row", may_coincide(dataset))
    told, in_tables = table_findings(dataset)
    return worst_first(
        [*findings, *told, *tagged_findings(dataset), *column_findings(dataset, usable, told_of=in_tables)]
    )
