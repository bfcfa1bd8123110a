"""From what is known of each picture to Findings: unreadable, misnamed, exotic, extreme or blank ones."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.check.base import Case, looks_at
from flambeau.check.duplicates import groups_by
from flambeau.check.files import Facts, Scan, scan
from flambeau.check.near import near_duplicates, num_trees
from flambeau.check.shifts import picture_changes
from flambeau.check.wording import Telling, missing_input, unreadable
from flambeau.core.findings import Finding
from flambeau.core.reporter import Reporter
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
        seen = scanned(dataset, name, case.threads, case.reporter)
        findings += picture_findings(dataset, name, field, seen.facts)
        readable = np.asarray([not fact.error for fact in seen.facts])
        findings += picture_changes(dataset, seen.grey, seen.colour, np.flatnonzero(readable).tolist())
        readable[lacking(dataset, name)] = True
        case.usable &= readable
        case.told.add(name)
        if name not in dataset.inputs:
            continue
        case.compared.add(name)
        # blank pictures are told of as such: that they are equal says no more
        groups, pairs = alike_pictures(dataset, name, case.threads, case.reporter)
        findings += case.twins.equal(groups, "picture")
        findings += case.twins.alike(pairs, groups, "picture")
    return findings


def scanned(dataset: Dataset, name: str, threads: int, reporter: Reporter) -> Scan:
    """What one look at the pictures of a column tells of them; kept, for a split asks too."""
    values, found = dataset.columns[name], dataset.seen.get(f"scan {name}")
    if found is None or found[0] is not values:
        with reporter.bar(f"checking {name}", len(dataset)) as bar:
            found = dataset.seen[f"scan {name}"] = values, scan(values, threads, bar)
    return found[1]


def alike_pictures(dataset: Dataset, name: str, threads: int, reporter: Reporter) -> tuple[list[list[int]], np.ndarray]:
    """Rows whose pictures are equal, two or more together, and pairs (P, 2) of rows that look alike, the most alike
    first; of equal ones the first stands for the others."""
    values, found = dataset.columns[name], dataset.seen.get(f"alike {name}")
    if found is None or found[0] is not values:
        seen = scanned(dataset, name, threads, reporter)
        groups, grey = groups_by([b"" if fact.blank else fact.pixels for fact in seen.facts]), seen.grey.copy()
        for rows in groups:
            grey[rows[1:]] = 0
        with reporter.bar("looking for near-duplicates", num_trees(len(dataset))) as bar:
            pairs, _ = near_duplicates(grey, seen.colour, threads, bar)
        found = dataset.seen[f"alike {name}"] = values, (groups, pairs)
    return found[1]


def picture_findings(dataset: Dataset, column: str, field: Image, facts: Sequence[Facts]) -> list[Finding]:
    """Findings about the N pictures of a column, one by one."""
    good = [row for row, fact in enumerate(facts) if not fact.error]
    without, findings = lacking(dataset, column), Telling(dataset, "picture")
    findings += missing_input(dataset, column, without)
    findings += unreadable(dataset, [fact.error for fact in facts], without, "picture")
    findings += _wrong_extensions(dataset, dataset.columns[column], facts)
    for trait, what in TRAITS.items():
        findings.note(trait, [row for row in good if trait in facts[row].traits], what)
    blank = [row for row in good if facts[row].blank]
    findings.warn("blank", blank, "blank, all pixels alike", "remove what shows nothing")
    if good:
        _add_sizes(findings, facts, good)
    if field.colour != "grey":
        _add_colours(findings, facts, good)
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
    findings = Telling(dataset, "file")
    for (suffix, actual), rows in misnamed.items():
        what = f"called {suffix} with {actual} inside, read as {actual}"
        findings.note("wrong-extension", rows, what, "rename, so that other programs can read them too")
    return findings


def _add_sizes(findings: Telling, facts: Sequence[Facts], good: list[int]) -> None:
    sizes = np.asarray([facts[row].size for row in good], np.int64)
    shorter, longer, rows = sizes.min(1), sizes.max(1), np.asarray(good)
    # pictures that are nearly all tiny, or all long, are so by nature
    if np.median(shorter) >= SMALLEST_SIDE:
        what = f"with a side under {SMALLEST_SIDE} pixels, where half of all have {np.median(shorter):.0f} or more"
        findings.warn("tiny", rows[shorter < SMALLEST_SIDE], what, "remove what shows nothing")
    if np.median(longer / shorter) <= LONGEST:
        what = f"over {LONGEST} times as long as wide"
        findings.warn("extreme-aspect", rows[longer > LONGEST * shorter], what, "crop, or train with resize='pad'")
    what = f"of over {LARGEST // 10**6} million pixels, slow to decode"
    findings.note("huge", rows[sizes.prod(1) > LARGEST], what, "make them smaller")


def _add_colours(findings: Telling, facts: Sequence[Facts], good: list[int]) -> None:
    grey = [row for row in good if facts[row].grey]
    if 2 * len(grey) <= len(good):
        findings.note("mixed-colour", grey, "in grey, the others in colour")
    else:
        colourful = [row for row in good if not facts[row].grey]
        findings.note("mixed-colour", colourful, "in colour, the others in grey")
