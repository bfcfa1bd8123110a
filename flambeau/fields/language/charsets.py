"""From bytes to text: which encoding a file is in, and its text without surprises."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from pathlib import Path

from flambeau.core.errors import DataError, UsageError
from flambeau.core.files import read_bytes
from flambeau.core.findings import Finding, Severity

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins as UTF-16's does, so it is asked first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WESTERN = ("cp1252", "latin-1")
MOST_DAMAGED = 0.1  # of the lines or files that are in the encoding they are said to be in
HEAD = 1 << 20  # bytes that are looked at to tell one encoding from another
BEYOND_ASCII = re.compile(r"[^\x00-\x7f\ufffd]")
HIGH = re.compile(rb"[\x80-\xff]")
PAIRS = re.compile(rb"(?:[\xa1-\xf7][\xa1-\xfe])+")  # GB 2312, where all everyday letters of GB 18030 are
EVERYDAY = re.compile(rb"[\xa1-\xa3\xb0-\xd7]")  # first bytes of its punctuation and of its 3,755 commonest letters
DAMAGE = re.compile("\ufffd+")
# Thai in TIS-620: a vowel before its consonant, a consonant, the marks above and below it, a vowel after it
THAI = re.compile(rb"(?:[\xe0-\xe4]?[\xa1-\xce][\xd1\xd4-\xd9]?[\xe7-\xec]?[\xd0\xd2\xd3]?|[\xcf\xe6\xf0-\xf9])+")
THAI_MARKS = re.compile(rb"[\xd1\xd4-\xd9\xe7-\xec]")  # a fifth to a quarter of its letters
THAI_OFTEN = re.compile(
    rb"[\xa1\xa4\xa7\xb4\xb5\xb7\xb9\xba\xbb\xc1-\xc3\xc5\xc7\xca\xcb\xcd]"
)  # nine of ten consonants
THAI_CONSONANT = re.compile(rb"[\xa1-\xce]")


def detect(data: bytes) -> str:
    """The name of the encoding that bytes are most likely in.

    A byte order mark decides; then zeros at every other byte (UTF-16), then whether it is valid UTF-8 (but for a few
    damaged bytes among many good letters), then whether its letters are Thai syllables of TIS-620, or pairs of bytes as
    in GB 18030; what is left is cp1252, in which any byte but five means something.

    >>> detect("naïve".encode()), detect("naïve".encode("cp1252")), detect("你好，世界".encode("gb18030"))
    ('utf-8', 'cp1252', 'gb18030')
    """
    for mark, name in BOMS:
        if data.startswith(mark):
            return name
    head = data[:HEAD]
    if len(head) >= 4 and b"\x00" in head:
        odd, even = head[1::2].count(0), head[0::2].count(0)
        if max(odd, even) > len(head) // 4:
            return "utf-16-le" if odd > even else "utf-16-be"
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        lenient = data.decode("utf-8", errors="replace")
        # what is in another encoding has hardly a letter that is right by chance
        if len(BEYOND_ASCII.findall(lenient)) > 2 * len(DAMAGE.findall(lenient)):
            return "utf-8"
    if is_thai(head):
        return "cp874"
    return "gb18030" if _chinese(head) else _western(data)


def is_thai(data: bytes) -> bool:
    """Whether nearly all high bytes are Thai syllables of TIS-620, in runs as Thai has them: no spaces between words.

    >>> is_thai("ร้านนี้อร่อยมาก".encode("cp874")), is_thai("你好，世界很大".encode("gb18030")), is_thai(b"caf\\xe9")
    (True, False, False)
    """
    runs = [run for run in THAI.findall(data) if len(run) >= 3]
    covered, high = sum(map(len, runs)), len(HIGH.findall(data))
    marks, often, consonants = (len(p.findall(b"".join(runs))) for p in (THAI_MARKS, THAI_OFTEN, THAI_CONSONANT))
    fewest = 0.12 if covered < 24 else 0.06  # of a short text more is asked for: pairs of bytes may look so by chance
    return covered >= 8 and covered >= 0.9 * high and marks >= fewest * covered and often >= 0.75 * consonants


def _chinese(head: bytes) -> bool:
    """Whether high bytes come in pairs, several in a row, that are everyday letters: western letters stand alone among
    plain ones, and where two come together (Größe) they are no such pair."""
    runs = PAIRS.findall(head)
    high, pairs = len(HIGH.findall(head)), sum(map(len, runs)) // 2
    several = sum(len(run) for run in runs if len(run) >= 4)
    everyday = len(EVERYDAY.findall(b"".join(run[::2] for run in runs)))
    return pairs > 0 and 2 * pairs > 0.9 * high and 2 * several > high and everyday > 0.7 * pairs


def _western(data: bytes) -> str:
    """cp1252; latin-1 where a byte has no meaning in that."""
    return WESTERN[1] if any(byte in data for byte in (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")) else WESTERN[0]


def to_text(data: bytes, encoding: str | None = None, where: str | Path | None = None) -> tuple[str, str]:
    """The text of some bytes, and the encoding it was in.

    Raises:
        DataError: the bytes are not in the encoding given; it names the line.
        UsageError: there is no such encoding.
    """
    name = encoding or detect(data)
    try:
        return data.decode(name).removeprefix("\ufeff"), name
    except LookupError:
        raise UsageError(f"no encoding is called '{name}'", expected="utf-8, gb18030, cp1252, …") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"byte {data[error.start]:#04x} in line {line:,} is not {name}",
            where=where,
            fix=f"give the right encoding; it looks like {detect(data)}" if encoding else None,
        ) from None


def read_texts(paths: Sequence[str], encoding: str | None = None) -> tuple[list[str | None], list[Finding]]:
    """The texts of some files, None for one with bytes that are not in its encoding, and what was found out of their
    encodings: files that are not UTF-8 and bear no mark are looked at together, for a short one alone tells little.

    Raises:
        DataError: none can be read, or many are not in the encoding given.
    """
    undecided: dict[int, bytes] = {}
    names: dict[str, list[str]] = {}
    texts: list[str | None] = []
    wrong: dict[int, DataError] = {}
    lost: dict[int, DataError] = {}
    for i, path in enumerate(paths):
        try:
            data = read_bytes(path)
        except DataError as error:
            texts.append(None)
            lost[i] = error
            continue
        name = encoding or detect(data)
        if encoding is None and name in (*WESTERN, "gb18030", "cp874"):
            undecided[i] = data
            texts.append("")
        else:
            try:
                texts.append(to_text(data, name, path)[0])
                names.setdefault(name, []).append(path)
            except DataError as error:
                texts.append(None)
                wrong[i] = error
    if wrong and (len(wrong) == len(paths) or (encoding and len(wrong) > MOST_DAMAGED * len(paths))):
        raise next(iter(wrong.values()))
    if len(lost) == len(paths):
        raise next(iter(lost.values()))
    wrong |= lost
    together = detect(b"\n".join(undecided.values())) if undecided else ""
    for i, data in undecided.items():
        try:
            texts[i], name = data.decode(together), together
        except UnicodeDecodeError:
            texts[i], name = to_text(data, None, paths[i])
        names.setdefault(name, []).append(paths[i])
    check, first = ("unreadable" if lost else "undecodable"), next(iter(wrong.values()), None)
    damaged = [
        Finding(check, Severity.WARNING, f"{len(wrong)} file{'s' * (len(wrong) > 1)} left out; the first: "
                f"{first.found}", places=[paths[i] for i in wrong], rows=list(wrong), fix="mend them")
    ] if first else []  # fmt: skip
    return texts, damaged + [
        Finding("encoding", Severity.NOTE, f"{len(files)} file{'s' * (len(files) > 1)} read as {name}, as "
                f"{'asked' if encoding else 'their bytes look'}", places=files,
                fix="" if encoding else "if letters look wrong, give encoding= (--encoding)")
        for name, files in names.items() if name not in ("utf-8", "utf-8-sig")
    ]  # fmt: skip


def read_text(path: Path | str, encoding: str | None = None) -> str:
    """The text of a file.

    Raises:
        DataError: it is missing, cannot be read, or is not in the encoding given.
    """
    return to_text(read_bytes(path), encoding, path)[0]
