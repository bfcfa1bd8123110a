"""From what is known of each picture to Findings: unreadable, misnamed, exotic, extreme or blank ones."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.check.base import Case, looks_at
from flambeau.check.files import TOO_LARGE, Facts, scan
from flambeau.check.near import near_duplicates, num_trees
from flambeau.check.wording import findings_at, missing_input
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import lacking
from flambeau.fields import Image

SMALLEST_SIDE = 8
LARGEST = 50_000_000
LONGEST = 8
TRAITS = {
    "cmyk": "in CMYK, converted to RGB",
    "16-bit": "of more than 8 bits, scaled to 8",
    "float": "of floating-point pixels, scaled to 8 bits",
    "1-bit": "of 1 bit a pixel, read as grey",
    "palette": "with a palette, read as RGB",
    "alpha": "with transparency, laid on a background (white, unless set)",
    "animated": "of several frames, the first one used",
    "exif-rotated": "stored turned, put upright as EXIF says",
}
SAME_FORMAT = {"MPO": "JPEG", "DIB": "BMP"}  # a telephone's .jpg is often an MPO; a .dib is a .bmp


@looks_at(Image)
def look_at_pictures(case: Case, fields: Mapping[str, Image]) -> list[Finding]:
    """Findings about columns of pictures: each on its own, and those that are equal or look alike."""
    dataset, findings = case.dataset, list[Finding]()
    for name, field in fields.items():
        with case.reporter.bar(f"checking {name}", len(dataset)) as bar:
            seen = scan(dataset.columns[name], case.threads, bar)
        findings += picture_findings(dataset, name, field, seen.facts)
        readable = np.asarray([not fact.error for fact in seen.facts])
        readable[lacking(dataset, name)] = True
        case.usable &= readable
        case.told.add(name)
        if name not in dataset.inputs:
            continue
        case.compared.add(name)
        # blank pictures are told of as such: that they are equal says no more
        groups = case.twins.groups([b"" if fact.blank else fact.pixels for fact in seen.facts])
        findings += case.twins.equal(groups, "picture")
        for rows in groups:
            seen.grey[rows[1:]] = 0  # the first stands for its equals
        with case.reporter.bar("looking for near-duplicates", num_trees(len(dataset))) as bar:
            pairs, _ = near_duplicates(seen.grey, seen.colour, case.threads, bar)
        findings += case.twins.alike(pairs, groups, "picture")
    return findings


def picture_findings(dataset: Dataset, column: str, field: Image, facts: Sequence[Facts]) -> list[Finding]:
    """Findings about the N pictures of a column, one by one."""
    good = [row for row, fact in enumerate(facts) if not fact.error]
    without = lacking(dataset, column)
    findings = missing_input(dataset, column, without) + _unreadable(dataset, facts, good, set(without.tolist()))
    findings += _wrong_extensions(dataset, dataset.columns[column], facts)
    for trait, what in TRAITS.items():
        rows = [row for row in good if trait in facts[row].traits]
        findings += findings_at(dataset, trait, Severity.NOTE, rows, "picture", what)
    rows = [row for row in good if facts[row].blank]
    findings += findings_at(
        dataset, "blank", Severity.WARNING, rows, "picture", "blank, all pixels alike", fix="remove what shows nothing"
    )
    findings += _sizes(dataset, facts, good)
    return findings + (_colours(dataset, facts, good) if field.colour != "grey" else [])


def _unreadable(dataset: Dataset, facts: Sequence[Facts], good: list[int], without: set[int]) -> list[Finding]:
    reasons: dict[str, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if fact.error and row not in without:
            reasons[fact.error].append(row)
    findings = []
    for reason, rows in reasons.items():
        check = "too-large" if reason == TOO_LARGE else "unreadable"
        what = f"left out: {reason}"
        findings += findings_at(dataset, check, Severity.WARNING, rows, "picture", what, fix="remove or replace")
    if reasons and not np.isin(dataset.rows("train"), good).any():
        findings.append(
            Finding("nothing-readable", Severity.ERROR, "none of the training pictures can be read",
                    count=len(facts) - len(good), fix="look at the reasons")
        )  # fmt: skip
    return findings


def _wrong_extensions(dataset: Dataset, values: Sequence[Any], facts: Sequence[Facts]) -> list[Finding]:
    from PIL import Image as PILImage

    formats = PILImage.registered_extensions()
    misnamed: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row, (value, fact) in enumerate(zip(values, facts, strict=True)):
        if not fact.format or not isinstance(value, (str, os.PathLike)):
            continue
        suffix = os.path.splitext(value)[1].lower()
        promised = formats.get(suffix)
        actual = SAME_FORMAT.get(fact.format, fact.format)
        if promised and SAME_FORMAT.get(promised, promised) != actual:
            misnamed[suffix, actual].append(row)
    findings = []
    for (suffix, actual), rows in misnamed.items():
        what = f"called {suffix} with {actual} inside, read as {actual}"
        findings += findings_at(
            dataset, "wrong-extension", Severity.NOTE, rows, "file", what,
            fix="rename, so that other programs can read them too",
        )  # fmt: skip
    return findings


def _sizes(dataset: Dataset, facts: Sequence[Facts], good: list[int]) -> list[Finding]:
    if not good:
        return []
    sizes = np.asarray([facts[row].size for row in good], np.int64)
    shorter, longer, rows = sizes.min(1), sizes.max(1), np.asarray(good)
    findings = []
    # pictures that are nearly all tiny, or all long, are so by nature
    if np.median(shorter) >= SMALLEST_SIDE:
        findings += findings_at(
            dataset, "tiny", Severity.WARNING, rows[shorter < SMALLEST_SIDE], "picture",
            f"with a side under {SMALLEST_SIDE} pixels, where half of all have {np.median(shorter):.0f} or more",
            fix="remove what shows nothing",
        )  # fmt: skip
    if np.median(longer / shorter) <= LONGEST:
        findings += findings_at(
            dataset, "extreme-aspect", Severity.WARNING, rows[longer > LONGEST * shorter], "picture",
            f"over {LONGEST} times as long as wide", fix="crop, or train with resize='pad'",
        )  # fmt: skip
    findings += findings_at(
        dataset, "huge", Severity.NOTE, rows[sizes.prod(1) > LARGEST], "picture",
        f"of over {LARGEST // 10**6} million pixels, slow to decode", fix="make them smaller",
    )  # fmt: skip
    return findings


def _colours(dataset: Dataset, facts: Sequence[Facts], good: list[int]) -> list[Finding]:
    grey = [row for row in good if facts[row].grey]
    if not grey or len(grey) == len(good):
        return []
    fewer, what = grey, "in grey, the others in colour"
    if 2 * len(grey) > len(good):
        fewer, what = [row for row in good if not facts[row].grey], "in colour, the others in grey"
    return findings_at(dataset, "mixed-colour", Severity.NOTE, fewer, "picture", what)
