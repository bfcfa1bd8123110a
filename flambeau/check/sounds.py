"""From a column of sounds to Findings: silent, clipped and odd ones, mixed formats, giveaways, copies."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from flambeau.check.base import Case, looks_at
from flambeau.check.duplicates import Twins
from flambeau.check.hearing import Heard, hear, low_wave, same_recording
from flambeau.check.near import neighbours, num_trees
from flambeau.check.wording import Telling, counted, unreadable
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import lacking
from flambeau.fields import Audio
from flambeau.fields.sound.files import MOST_SECONDS

CLIPPED = 0.001
OFFSET = 0.01
SHORT, SHORT_SHARE = 0.1, 0.2
LONG, LONG_TIMES = 10.0, 10.0
MOSTLY = 0.9  # of the time
MOST_PAIRS = 5_000
GIVEAWAY = 0.5
"""Share of the variance of levels that classes explain, from which the level gives the class away."""
APART = 6.0
RECORDING_COLUMNS = ("recording", "clip", "session", "source", "speaker", "original")
"""Columns whose values say which clips were cut from one recording, or spoken by one voice."""


@looks_at(Audio)
def look_at_sounds(case: Case, fields: Mapping[str, Audio]) -> list[Finding]:
    """Findings about columns of sounds."""
    dataset, twins, threads, reporter = case.dataset, case.twins, case.threads, case.reporter
    findings: list[Finding] = []
    for name in fields:
        values = dataset.columns[name]
        with reporter.bar(f"checking {name}", len(dataset)) as bar:
            facts, grey = hear(values, threads, bar)
        good = [row for row, heard in enumerate(facts) if not heard.error]
        errors, without = [heard.error for heard in facts], lacking(dataset, name)  # told of with all other columns
        readable = np.asarray([not error for error in errors])
        readable[without] = True
        case.usable &= readable
        findings += unreadable(dataset, errors, without, "sound") + _bad(dataset, twins, facts, good)
        findings += _formats(dataset, facts, good) + _giveaways(twins, facts, good)
        if name not in dataset.inputs:
            continue
        case.compared.add(name)
        groups = twins.groups([heard.samples for heard in facts])
        findings += twins.equal(groups, "sound")
        for rows in groups:
            grey[rows[1:]] = 0  # the first stands for its equals
        with reporter.bar("looking for near-duplicates", num_trees(len(dataset))) as bar:
            pairs = neighbours(grey, threads, bar)[:MOST_PAIRS]
        # spectrograms of short knocks are alike; their waves are not
        low = {row: low_wave(values[row]) for row in np.unique(pairs).tolist()}
        same = [same_recording(low[a], low[b]) for a, b in pairs.tolist()]
        findings += twins.alike(pairs[np.asarray(same, bool)], groups, "sound")
    return findings


def _bad(dataset: Dataset, twins: Twins, facts: Sequence[Heard], good: list[int]) -> list[Finding]:
    """What can be heard, but is not as it should be."""
    findings = Telling(dataset, "sound")
    silent = [row for row in good if facts[row].silent]
    findings.warn("silent", silent, "with nothing louder than -60 dB", "remove what holds nothing")
    of_class: dict[str, list[int]] = defaultdict(list)
    for row in good:
        if (label := twins.labels[row]) is not None:
            of_class[label].append(row)
    quiet = [row for row in good if facts[row].quiet > MOSTLY and not facts[row].silent]
    if len(quiet) < len(good) / 2:  # short calls in long recordings are so by nature
        what = f"of which over {MOSTLY:.0%} is silence"
        findings.warn("mostly-silent", quiet, what, "cut them to what sounds, or look whether a recorder stopped")
    mute = [label for label, rows in of_class.items() if all(facts[row].silent for row in rows)]
    if mute and len(mute) < len(of_class):
        listed = ", ".join(f"'{label}' ({len(of_class[label])})" for label in mute[:10])
        findings.append(
            Finding("silent-class", Severity.WARNING, f"{counted(len(mute), 'class')} of silent sounds only: {listed}",
                    rows=[row for label in mute for row in of_class[label]], places=mute,
                    fix="record them again: a model would learn that silence is this class")
        )  # fmt: skip
    clipped = [row for row in good if facts[row].clipped > CLIPPED]
    findings.warn("clipping", clipped, "cut off at the loudest value (clipping)", "record them softer")
    offset = [row for row in good if abs(facts[row].offset) > OFFSET]
    what = f"whose mean is over {OFFSET:.0%} of full scale away from 0 (DC offset)"
    findings.note("dc-offset", offset, what, "take the mean off, or look at the recorder")
    if good:
        _add_lengths(findings, facts, good)
    return findings


def _add_lengths(findings: Telling, facts: Sequence[Heard], good: list[int]) -> None:
    seconds, rows = np.asarray([facts[row].seconds for row in good]), np.asarray(good)
    median = float(np.median(seconds))
    short = rows[(seconds < SHORT) & (seconds < SHORT_SHARE * median)]
    what = f"of under {SHORT:g} s, where half of all have {median:.2g} s or more"
    findings.warn("short", short, what, "look whether they were cut off")
    long = rows[(seconds > LONG) & (seconds > LONG_TIMES * median)]
    longest = float(seconds.max())
    limit_note = f"; {MOST_SECONDS // 60} minutes of it are read" if longest > MOST_SECONDS else ""
    what = f"of up to {longest:,.0f} s, where half of all have {median:.2g} s or less{limit_note}"
    findings.warn("long", long, what, "cut them, or look whether several came into one file")


def _formats(dataset: Dataset, facts: Sequence[Heard], good: list[int]) -> list[Finding]:
    """Rates and channels that are mixed."""
    findings = Telling(dataset, "sound")
    rates = Counter(facts[row].rate for row in good)
    if len(rates) > 1:
        usual = rates.most_common(1)[0][0]
        lower = [row for row in good if facts[row].rate < usual]
        listed = ", ".join(f"{rate:,} Hz ({count})" for rate, count in rates.most_common(6))
        others = lower or [row for row in good if facts[row].rate != usual]
        what = f"at another rate than most: {listed}"
        fix = f"all are brought to one; nothing over {min(rates) // 2:,} Hz is in those of {min(rates):,} Hz"
        findings.note("mixed-rates", others, what, fix)
    cut = [row for row in good if facts[row].band < 1 and not facts[row].silent]
    if cut:
        bands = Counter((facts[row].rate, facts[row].band) for row in cut)
        rate, band = bands.most_common(1)[0][0]
        what = f"with nothing above {band * rate / 2:,.0f} Hz at {rate:,} samples a second, as after a lower rate"
        if len(cut) < len(good) / 2:
            fix = "record or convert all at one rate: a model may tell them by what is missing"
            findings.warn("empty-band", cut, what, fix)
        else:
            findings.note("empty-band", cut, what, "a lower rate of the sounds loses nothing")
    channels = Counter(facts[row].channels for row in good)
    if len(channels) > 1:
        usual = channels.most_common(1)[0][0]
        listed = ", ".join(f"{number} ({count})" for number, count in channels.most_common(6))
        others = [row for row in good if facts[row].channels != usual]
        what = f"with another number of channels than most: {listed}"
        findings.note("mixed-channels", others, what, "all are averaged to one")
    return findings


def _giveaways(twins: Twins, facts: Sequence[Heard], good: list[int]) -> list[Finding]:
    """What tells the class without being heard: the level, or the form of the file."""
    rows = [row for row in good if twins.labels[row] is not None and not facts[row].silent]
    labels = [str(twins.labels[row]) for row in rows]
    sizes = Counter(labels)
    if len(sizes) < 2 or min(sizes.values()) < 5:
        return []
    findings = []
    levels = np.asarray([facts[row].decibels for row in rows])
    names = np.asarray(labels)
    means = {label: float(levels[names == label].mean()) for label in sizes}
    between = sum(sizes[label] * (mean - levels.mean()) ** 2 for label, mean in means.items())
    explained = between / max(float(((levels - levels.mean()) ** 2).sum()), 1e-9)
    soft, loud = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
    if explained > GIVEAWAY and means[loud] - means[soft] > APART:
        findings.append(
            Finding("level-giveaway", Severity.WARNING,
                    f"the level alone tells much of the class ({explained:.0%} of its variance): from "
                    f"{means[soft]:.0f} dB of '{soft}' to {means[loud]:.0f} dB of '{loud}'", count=len(rows),
                    fix="if recording made it so, bring them to one level, or train with augment.gain=12")
        )  # fmt: skip
    forms = [(facts[row].rate, facts[row].channels, facts[row].subtype) for row in rows]
    form_counts = Counter(zip(forms, labels, strict=True))
    best: dict[object, int] = {}
    for (form, _), count in form_counts.items():
        best[form] = max(best.get(form, 0), count)
    share, majority = sum(best.values()) / len(rows), max(sizes.values()) / len(rows)
    if share - majority > GIVEAWAY * (1 - majority):
        findings.append(
            Finding("format-giveaway", Severity.WARNING,
                    f"rate, channels and coding of the files tell the class of {share:.0%} (guessing {majority:.0%})",
                    count=len(rows), fix="a coder or a low rate leaves its mark on a sound: bring all to one form")
        )  # fmt: skip
    return findings


def recordings(dataset: Dataset) -> list[Finding]:
    """Recordings, by a column that names them, whose clips are in several splits."""
    findings = []
    for name, values in dataset.columns.items():
        if name.lower() not in RECORDING_COLUMNS or name in dataset.inputs or name == dataset.target:
            continue
        rows_of: dict[str, list[int]] = defaultdict(list)
        for row, value in enumerate(values):
            rows_of[str(value)].append(row)
        both = {key: rows for key, rows in rows_of.items() if len(set(dataset.split[rows].tolist())) > 1}
        if both:
            rows = [row for some in both.values() for row in some]
            findings.append(
                Finding("same-recording", Severity.WARNING,
                        f"{counted(len(both), name)}s with clips in several splits", rows=rows,
                        places=[dataset.place(row) for row in rows], count=len(both),
                        fix=f"keep each in one split: --split grouped --by {name}")
            )  # fmt: skip
    return findings
