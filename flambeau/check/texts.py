"""From a column of texts to Findings: empty, extreme and damaged ones, mixed languages, copies and near-copies."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from flambeau.check.base import Case, looks_at
from flambeau.check.duplicates import Twins
from flambeau.check.language import languages
from flambeau.check.minhash import near_duplicate_texts
from flambeau.check.mojibake import NAMES, WESTERN, Garbled, mojibake
from flambeau.check.plain import READ, as_text, combined, digest, draw, few_words, groups_of, of_a_draw, squeezed
from flambeau.check.text_artifacts import LOST, invisible, markup
from flambeau.check.vocabulary import token_findings
from flambeau.check.wording import Telling
from flambeau.core.errors import DataError
from flambeau.core.findings import Finding, Severity
from flambeau.core.reporter import Bar, Reporter
from flambeau.data.copies import row_digests
from flambeau.data.dataset import Dataset
from flambeau.fields import Field, Text
from flambeau.fields.language.chats import is_chat, messages_of

NUMBERS = 0.9
EXTREME, LONG = 100, 10_000
"""Times the median, and characters, from which a text is extremely long."""
LANGUAGE = 0.02
CHUNK = 1024

_NUMBER = re.compile(r"\s*[-+]?(?:\d[\d ,._]*\d|\d)?(?:[.,]\d+)?(?:[eE][-+]?\d+)?\s*%?\s*")


class Seen(NamedTuple):
    """What one pass over N texts found.

    `length` int64 (N) in characters, 0 where there is no text; `digests` uint64 (N), equal for copies, 0 where there
    is no text; `errors` says why rows cannot be used; the rest are rows, or a text's telling bit by row.
    """

    length: np.ndarray
    digests: np.ndarray
    errors: dict[int, str]
    empty: list[int]
    few: list[int]
    numbers: list[int]
    wrong: dict[int, Garbled]
    lost: list[int]
    invisible: dict[int, str]
    markup: dict[int, str]


Further: TypeAlias = Callable[[Dataset, Any, np.ndarray, Sequence[str], np.ndarray, Bar], list[Finding]]
"""What is told of a kind of column beside what is told of all texts; arguments as of `token_findings`."""


@looks_at(Text)
def look_at_texts(case: Case, fields: Mapping[str, Text]) -> list[Finding]:
    """Findings about columns of texts."""
    return findings_of_columns(case, fields, token_findings)


def findings_of_columns(case: Case, fields: Mapping[str, Field], further: Further) -> list[Finding]:
    """Findings about columns: each on its own, and rows whose texts together are equal or alike."""
    dataset, reporter = case.dataset, case.reporter
    findings: list[Finding] = []
    scans: dict[str, Seen] = {}
    for name, field in fields.items():
        seen = scans[name] = scan(dataset, name, reporter)
        case.usable &= seen.length > 0
        case.usable[list(seen.errors)] = False
        own = _bad(dataset, name, seen) + _damaged(dataset, seen)
        rows = draw(seen.length)
        with reporter.bar(f"reading the words of {name}", 2 * len(rows)) as bar:
            texts = [(as_text(dataset.columns[name][row]) or "")[:READ] for row in rows]
            total = int(np.count_nonzero(seen.length))
            own += of_a_draw(_mixed(dataset, rows, texts), len(rows), total)
            bar.update(len(rows))
            own += further(dataset, field, rows, texts, seen.length, bar)
        findings += [_in_column(name, finding) for finding in own] if len(fields) > 1 else own
    if inputs := [name for name in fields if name in dataset.inputs]:
        case.compared |= {*inputs}
        findings += _copies(dataset, case.twins, inputs, scans, reporter)
    return findings


def scan(dataset: Dataset, name: str, reporter: Reporter) -> Seen:
    """One pass over the texts of a column."""
    values = dataset.columns[name]
    count = len(values)
    seen = Seen(np.zeros(count, np.int64), np.zeros(count, np.uint64), {}, [], [], [], {}, [], {}, {})
    with reporter.bar(f"checking {name}", count) as bar:
        for row, value in enumerate(values):
            if row % CHUNK == 0:
                bar.update(row)
            try:
                _look(value, row, seen)
            except DataError as error:
                seen.errors[row] = error.found
    return seen


def _look(value: Any, row: int, seen: Seen) -> None:
    text = as_text(value)
    if text is None:
        return  # told of as missing
    plain = squeezed(text)
    if not plain:
        seen.empty.append(row)
        return
    seen.length[row], seen.digests[row] = len(text), digest(plain)
    if is_chat(value):
        messages_of(value)
    elif not isinstance(value, str) and not hasattr(value, "__fspath__"):
        seen.errors[row] = f"a {type(value).__name__} is not a text"
    if len(plain) < 40 and plain[-1] in "0123456789.%" and _NUMBER.fullmatch(plain):
        seen.numbers.append(row)
    elif few_words(plain):
        seen.few.append(row)
    if (wrong := mojibake(text)) is not None:
        seen.wrong[row] = wrong
    elif not text.isascii() and LOST.search(text):
        seen.lost.append(row)
    elif unseen := invisible(text):  # in a text of a wrong encoding they are parts of letters
        seen.invisible[row] = unseen
    if left := markup(text):
        seen.markup[row] = left


def _in_column(name: str, finding: Finding) -> Finding:
    return dataclasses.replace(finding, message=f"in the column '{name}' {finding.message}")


def _bad(dataset: Dataset, name: str, seen: Seen) -> list[Finding]:
    """What is no text, or hardly one."""
    findings = Telling(dataset, "text")
    reasons: dict[str, list[int]] = defaultdict(list)
    for row, error in seen.errors.items():
        reasons[error].append(row)
    for reason, rows in reasons.items():
        findings.warn("unreadable", rows, f"left out: {reason}", "repair or remove them")
    findings.warn("empty", seen.empty, "left empty, and left out", "fill them in, or remove the rows")
    readable = seen.length > 0
    readable[list(seen.errors)] = False
    train = dataset.rows("train")
    if len(train) and not readable[train].any() and (seen.empty or seen.errors):
        findings.append(
            Finding("nothing-readable", Severity.ERROR, f"no training row has a text in the column '{name}'",
                    count=len(train), fix="look whether it is the right column")
        )  # fmt: skip
    there = int(np.count_nonzero(seen.length))
    if there and len(seen.numbers) >= NUMBERS * there:
        example = as_text(dataset.columns[name][seen.numbers[0]])
        fix = f"take them as numbers: fields={{'{name}': fb.fields.Number()}}; or choose another column"
        what = f"of {there} that looks like a number, such as {example!r}"
        findings.warn("numbers-as-text", seen.numbers, what, fix)
        return findings
    few = sorted(seen.few + seen.numbers)
    findings.note("near-empty", few, "of fewer than 2 words", "look whether they tell anything")
    if there:
        median = float(np.median(seen.length[seen.length > 0]))
        long = np.flatnonzero(seen.length > max(LONG, EXTREME * median))
        longest = int(seen.length.max())
        what = f"of up to {longest:,} characters, where half of all have {median:.0f} or fewer"
        fix = "look whether several texts, or a whole file, came into one"
        findings.note("extreme-length", long[np.argsort(-seen.length[long])], what, fix)
    return findings


def _damaged(dataset: Dataset, seen: Seen) -> list[Finding]:
    findings = _garbled(dataset, seen.wrong)
    what = "with characters that a wrong encoding has lost (� or 锟斤拷)"
    findings.warn("lost-characters", seen.lost, what, "make them again from the source")
    if seen.invisible:
        counts = Counter(character for unseen in seen.invisible.values() for character in unseen)
        listed = ", ".join(f"{_called(character)} ({count:,})" for character, count in counts.most_common(5))
        more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
        what = f"with characters that nobody sees: {listed}{more}"
        fix = "take them out: they cut words in two, and make others of equal ones"
        findings.note("invisible-characters", list(seen.invisible), what, fix)
    if seen.markup:
        often = [bit for bit, _ in Counter(seen.markup.values()).most_common(3)]
        examples = ", ".join(bit if len(bit) <= 40 else bit[:40] + "…" for bit in often)
        fix = "take it out, unless it tells something: html.unescape, and a pattern for the tags"
        findings.note("markup", list(seen.markup), f"with HTML left in, such as {examples}", fix)
    return findings


def _garbled(dataset: Dataset, wrong: dict[int, Garbled]) -> Telling:
    """A Finding for each way in which texts came into a wrong encoding."""
    sure = Counter(bit.read[0] for bit in wrong.values() if len(bit.read) == 1 and bit.read[0] in WESTERN)
    maybe = {bit.read[0] for bit in wrong.values() if bit.read[0] in WESTERN}
    likely = sure.most_common(1)[0][0] if sure else max(maybe, default="")  # of texts that both explain
    ways: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for row, bit in wrong.items():
        ways[bit.written, likely if likely in bit.read else bit.read[0], bit.times].append(row)
    findings = Telling(dataset, "text")
    for (written, read, times), rows in ways.items():
        (word, meant), _ = Counter(wrong[row][:2] for row in rows).most_common(1)[0]
        again = {1: "", 2: ", twice"}.get(times, f", {times} times over")
        what = "them" if all(wrong[row].whole for row in rows) else "what is garbled in them"
        undo = f"text.encode('{read}')"
        if not all(read in wrong[row].plain for row in rows):  # bytes that mean nothing in it were let pass
            undo = f"b''.join(c.encode('latin-1' if c < '\\xa0' else '{read}') for c in text)"
        anew = f"read the file with encoding='{written}'" if times == 1 else "read the source anew in its own encoding"
        garbled = f"in {NAMES[written]} that was read as {NAMES[read]}{again}: {word!r} should be {meant!r}"
        findings.warn("mojibake", rows, garbled, f"{anew}, or repair {what}: {undo}.decode('{written}'){again}")
    return findings


def _called(character: str) -> str:
    """A character by its number and its name, or by the sign that it was where Windows-1252 was read as Latin-1.

    >>> _called("\\u200b"), _called("\\x00"), _called("\\x96")
    ('U+200B zero width space', 'U+0000 control character', "U+0096, which is '–' in Windows-1252")
    """
    number = f"U+{ord(character):04X}"
    if "\x80" <= character < "\xa0" and (meant := character.encode("latin-1").decode("cp1252", "ignore")):
        return f"{number}, which is '{meant}' in Windows-1252"
    return f"{number} {unicodedata.name(character, 'control character').lower()}"


def _mixed(dataset: Dataset, rows: np.ndarray, texts: Sequence[str]) -> list[Finding]:
    chunks = (texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK))
    named = np.asarray([language for chunk in chunks for language in languages(chunk)], object)
    counts = Counter(named.tolist())
    recognised = sum(count for language, count in counts.items() if language)
    often = [(name, n) for name, n in counts.most_common() if name and n >= max(2, LANGUAGE * recognised)]
    if len(often) < 2:
        return []
    first = {name: int(rows[np.flatnonzero(named == name)[0]]) for name, _ in often}
    listed = ", ".join(f"{name} ({n / recognised:.0%}, such as {dataset.place(first[name])})" for name, n in often)
    others = rows[np.isin(named, [name for name, _ in often[1:]])]
    return [
        Finding("mixed-language", Severity.NOTE, f"texts in several languages: {listed}", rows=others.tolist(),
                places=[dataset.place(int(row)) for row in others],
                fix="look whether all belong; a model from scratch needs enough of each language")
    ]  # fmt: skip


def alike_texts(dataset: Dataset, inputs: Sequence[str], rows: np.ndarray, reporter: Reporter) -> np.ndarray:
    """Pairs (P, 2) of some rows (n) whose texts are alike in all of some columns, the most alike first; kept, for a
    split asks too."""
    columns, found = [dataset.columns[name] for name in inputs], dataset.seen.get("alike texts")
    known = found is not None and all(one is other for one, other in zip(found[0], columns, strict=False))
    if found is None or not known or len(found[0]) != len(columns) or not np.array_equal(found[1], rows):
        with reporter.bar("looking for near-duplicates", len(rows)) as bar:
            texts = [[(as_text(values[row]) or "")[:READ] for row in rows] for values in columns]
            found = dataset.seen["alike texts"] = columns, rows, rows[near_duplicate_texts(texts, bar)]
    return found[2]


def _copies(
    dataset: Dataset, twins: Twins, inputs: list[str], scans: dict[str, Seen], reporter: Reporter
) -> list[Finding]:
    """Findings about samples whose texts are equal, but for capitals and spaces, or alike."""
    digests = [scans[name].digests for name in inputs]
    others = [name for name in dataset.inputs if name not in inputs]
    noun = "text" if len(dataset.inputs) == 1 else "row"
    if others:
        rest = Dataset(
            {name: dataset.columns[name] for name in others},
            split="none",
            fields={n: dataset.fields[n] for n in others},
        )
        digests.append(np.asarray([int.from_bytes(d[:8], "little") for d in row_digests(rest)], np.uint64))
    both = combined(digests)
    groups = groups_of(both)
    findings = twins.equal(groups, noun)
    if others:
        return findings  # alike texts with other numbers beside them are other samples
    length = np.where(both > 0, np.sum([scans[name].length for name in inputs], 0), 0)
    for group in groups:
        length[group[1:]] = 0  # the first stands for its equals
    rows = draw(length)
    pairs = alike_texts(dataset, inputs, rows, reporter)
    return findings + of_a_draw(twins.alike(pairs, groups, noun), len(rows), int(np.count_nonzero(length)))
