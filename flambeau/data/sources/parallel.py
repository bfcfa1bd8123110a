"""Texts in two languages: two files line by line, a folder of such, or a translation memory (TMX)."""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from flambeau.core.errors import DataError, first_line, nearest
from flambeau.core.findings import Finding, Severity
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source, described
from flambeau.data.split import ALIASES, Split, as_files_say
from flambeau.fields import Field, Text, TextTarget
from flambeau.fields.language.charsets import read_texts
from flambeau.fields.language.tagged import split_lines

CODES = frozenset(
    re.findall(
        "..",
        "aaabafakamanarasavayazbabebgbibmbnbobrbscacechcocrcscucvcydadedvdzeeeleneoeseteufafffifjfofrfygagdglgngu"
        "gvhahehihohrhthuhyhziaidieigiiikioisitiujajvkakgkikjkkklkmknkokrkskukvkwkylalblglilnloltlulvmgmhmimkmlmn"
        "mrmsmtmynanbndnengnlnnnonrnvnyocojomorospapiplpsptqurmrnrorurwsascsdsesgsiskslsmsnsosqsrssstsusvswtatetg"
        "thtitktltntotrtstttwtyugukuruzvevivowawoxhyiyozazhzu",
    )
)
"""Languages, as ISO 639-1 has them."""
NAMED = re.compile(r"(.*?)(?:^|[-_. ])([a-z]{2}(?:[-_][a-z]{2,4})?)(?:\.txt)?")
UNTRANSLATED = 0.1  # of the pairs, from which it is a warning
NO_TEXT = ("bpt", "ept", "ph", "it", "ut")  # of TMX: what formats a text, in its own code
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


class Line(NamedTuple):
    """A text and its translation, where they stand, and the part of the split that the file says, if it does."""

    first: str
    second: str
    place: str
    part: int | None


def from_parallel(
    path: str | Path, *, beside: str | Path | None = None, inputs: Sequence[str] | None = None,
    target: str | None = None, fields: Mapping[str, Field] | None = None, split: Split | str = "auto",
    encoding: str | None = None,
) -> Dataset:  # fmt: skip
    """Texts and their translations, a column for each language. A text that comes again is in one part of the split.

    Args:
        path: a file of lines, with `beside`; a folder of files `train.en`, `train.de`, …, of which those called train,
            valid and test are these parts; or a TMX file.
        beside: the file whose lines go with those of `path`.
        inputs, target: which language is read and which is written; English, or the first of the alphabet, is read if
            nothing is said. Of several languages both are to be said; `en` is `en-GB` and `en-US` together.
        encoding: of the files of lines; found out if not given.

    Raises:
        DataError: there is no such file, a line has no partner, or the languages are not two; with file and line.
    """
    root = Path(path)
    if not root.exists():
        raise DataError("there is no such file or folder", where=path, code="not-found")
    inputs, target = [name.lower() for name in inputs or ()], target and target.lower()
    said, findings = [*inputs, *([target] if target else [])], list[Finding]()
    if beside is not None:
        other = Path(beside)
        for file in (root, other):
            if not file.is_file():
                raise DataError("there is no such file", where=file, expected="two files of lines", code="not-found")
        if root.samefile(other):
            raise DataError("both are one file", where=path, expected="a file of texts, and one of their translations")
        called = [_named(file.name) for file in (root, other)]
        names = [one[1] if one else role for one, role in zip(called, ("source", "target"), strict=True)]
        names = ["source", "target"] if names[0] == names[1] else names
        lines = _beside(root, other, encoding, None, findings)
    elif root.is_file():
        names, lines = _memory(root, said)
    else:
        names, lines = _folder(root, said, encoding, findings)
    for name in said:
        if name not in names:
            raise DataError(f"there are no texts in '{name}'", where=path, fix=nearest(name, names))
    goal = target or next((name for name in names if name not in (inputs or names[:1])), names[1])
    asked = next(name for name in names if name != goal)
    kept = [line for line in lines if line.first.strip() and line.second.strip()]
    if not kept:
        raise DataError("there is no pair of texts", where=path)
    empty = [line.place for line in lines if bool(line.first.strip()) != bool(line.second.strip())]
    if empty:
        told = f"{len(empty)} pair{'s' * (len(empty) > 1)} left out, of which one text is empty"
        fix = "fill in or remove both"
        findings.append(Finding("empty-text", Severity.WARNING, told, places=empty, count=len(empty), fix=fix))
    if same := [line.place for line in kept if line.first.strip() == line.second.strip()]:
        severity = Severity.WARNING if len(same) > UNTRANSLATED * len(kept) else Severity.NOTE
        told = f"{len(same)} text{'s' * (len(same) > 1)} and translation alike, letter by letter"
        fix = "take them out, unless they are names: of them a model learns to copy"
        findings.append(Finding("untranslated", severity, told, places=same, count=len(same), fix=fix))
    columns = dict(zip(names, ([line.first for line in kept], [line.second for line in kept]), strict=True))
    kinds: dict[str, Field] = {asked: Text(), goal: TextTarget()}
    source = described("parallel", root, beside=Path(beside) if beside else None, inputs=inputs or None, target=target,
                       fields=fields, split=Split.of(split), encoding=encoding)  # fmt: skip
    places = [line.place for line in kept]
    how = as_files_say([line.part for line in kept], places, Split.of(split))
    return Dataset(columns, inputs=[asked], target=goal, fields={**kinds, **(fields or {})}, split=how, source=source,
                   keys=places, places=places.__getitem__, findings=findings)  # fmt: skip


def _beside(first: Path, second: Path, encoding: str | None, part: int | None, findings: list[Finding]) -> list[Line]:
    (ours, more), (theirs, others) = (_lines(file, encoding) for file in (first, second))
    findings += [*more, *others]
    for longer, shorter in ((ours, theirs), (theirs, ours)):
        while len(longer) > len(shorter) and not longer[-1].strip():
            longer.pop()  # blank lines at the end are none
    if len(ours) != len(theirs):
        longest, other = (first, second) if len(ours) > len(theirs) else (second, first)
        at = min(len(ours), len(theirs)) + 1
        raise DataError(
            f"{first.name} has {len(ours):,} lines and {second.name} {len(theirs):,}: line {at:,} of {longest.name} "
            f"has no partner in {other.name}",
            where=first.parent, expected="as many lines in both", fix="look for a line that is missing or split in two",
        )  # fmt: skip
    return [Line(one, other, f"{first.name}, line {number}", part)
            for number, (one, other) in enumerate(zip(ours, theirs, strict=True), 1)]  # fmt: skip


def _lines(file: Path, encoding: str | None) -> tuple[list[str], list[Finding]]:
    (text,), findings = read_texts([str(file)], encoding)
    return split_lines(text or ""), findings


def _named(file: str) -> tuple[str, str] | None:
    """What a file of lines is called but for its language, and that: of `news.en`, `en.txt`, `train-de.txt`."""
    found = NAMED.fullmatch(file.lower())
    return (found[1], found[2]) if found and found[2][:2] in CODES else None


def _ordered(names: Sequence[str]) -> list[str]:
    return sorted(names, key=lambda name: (not name.lower().startswith("en"), name))


def _pairs(folder: Path, asked: Sequence[str] = ()) -> tuple[list[str], list[tuple[Path, Path]]]:
    """The languages of a folder, and the files of the two, or of those that are asked for, that belong together; none
    where there are no such."""
    by_name: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    try:
        with os.scandir(folder) as entries:
            files = sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_file())
    except OSError:
        return [], []
    for file in files:
        if named := _named(file):
            by_name[named[0]][named[1]] = folder / file
    several = {name: found for name, found in by_name.items() if len(found) > 1}
    languages = {tuple(_ordered([*found])) for found in several.values()}
    if len(languages) != 1:
        return [], []
    names = [*languages.pop()]
    if len(names) > 2 and set(asked) <= {*names} and len({*asked}) == 2:
        names = _ordered([*asked])
    pairs = [(found[names[0]], found[names[1]]) for _, found in sorted(several.items())]
    return names, pairs if len(names) == 2 else []


def _folder(
    root: Path, asked: Sequence[str], encoding: str | None, findings: list[Finding]
) -> tuple[list[str], list[Line]]:
    names, pairs = _pairs(root, asked)
    _check_two(names, root)
    parts = [
        next((ALIASES[p] for p in re.split(r"[\W_]+", one.stem.lower()) if p in ALIASES), None) for one, _ in pairs
    ]
    found = [_beside(one, other, encoding, part, findings) for (one, other), part in zip(pairs, parts, strict=True)]
    return names, [*itertools.chain(*found)]


def _check_two(names: Sequence[str], where: Path) -> None:
    """Raises DataError where languages are not two."""
    if len(names) < 2:
        raise DataError(f"the texts are in {'one language, ' + names[0] if names else 'no language that is said'}",
                        where=where, expected="two")  # fmt: skip
    if len(names) > 2:
        raise DataError(f"the texts are in {len(names)} languages: {', '.join(names)}", where=where, expected="two",
                        fix=f"choose with inputs= and target= (--input {names[0]} --target {names[1]})")  # fmt: skip


def _memory(path: Path, asked: Sequence[str]) -> tuple[list[str], list[Line]]:
    """The two languages of a TMX file, of several those that are asked for, and its units."""
    units: list[dict[str, str]] = []
    try:
        for _, element in ElementTree.iterparse(path, events=("end",)):
            if element.tag.rpartition("}")[2] != "tu":
                continue
            said = {}
            for variant in element.findall(".//{*}tuv"):
                segment = variant.find("{*}seg")
                language = variant.get(XML_LANG) or variant.get("lang") or ""
                said[language.lower()] = "".join(_texts(segment)).strip() if segment is not None else ""
            units.append(said)
            element.clear()
    except (ElementTree.ParseError, OSError) as error:
        raise DataError(f"it cannot be read as TMX ({first_line(error)})", where=path,
                        fix="look there; the encoding is what its first line says, or UTF-8") from None  # fmt: skip
    known = list(dict.fromkeys(name for said in units for name in said if name))
    plain = {name: name.partition("-")[0] for name in known}
    if ({*asked} - {*known} or (len(known) > 2 and not asked)) and len({*plain.values()}) > 1:  # en-GB and en-US are en
        units = [{plain.get(name, name): said[name] for name in reversed(said)} for said in units]
        known = list(dict.fromkeys(plain.values()))
    names = [name for name in known if name in asked] if len(known) > 2 and len({*asked}) == 2 else known
    names = _ordered(names)
    _check_two(names, path)
    return names, [
        Line(said.get(names[0], ""), said.get(names[1], ""), f"{path.name}, unit {number}", None)
        for number, said in enumerate(units, 1)
        if names[0] in said or names[1] in said
    ]


def _texts(segment: ElementTree.Element) -> Iterator[str]:
    """What of a segment is text, without the code that formats it."""
    if segment.tag.rpartition("}")[2] not in NO_TEXT:
        yield segment.text or ""
        for part in segment:
            yield from _texts(part)
            yield part.tail or ""


@SOURCES.register("parallel")
class ParallelSource(Source):
    """Texts in two languages."""

    of, sign = "texts in two languages", "two files of lines, a folder with train.en and train.de, or a TMX file"
    read = staticmethod(from_parallel)

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        if options.get("beside") is not None:
            return 0.99
        if path.is_file():
            return 0.95 * (path.suffix.lower() == ".tmx")
        return 0.85 * (path.is_dir() and len(_pairs(path)[0]) > 1)
