"""Text of one encoding that was read as another: which encodings these were, and what the text should be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from flambeau.fields.language.charsets import is_thai

NAMES = {
    "utf-8": "UTF-8", "gb18030": "GB 18030", "cp1252": "Windows-1252", "cp1251": "Windows-1251", "latin-1": "Latin-1",
    "cp874": "TIS-620 (Thai)",
}  # fmt: skip
MOST = 4  # times that a text is undone
CONTROLS = "\x80-\x9f"
UNDEFINED = {"cp1252": "\x81\x8d\x8f\x90\x9d", "cp1251": "\x98", "latin-1": ""}
AROUND = 20
"""Characters on each side that are shown with what is garbled."""

Runs = list[tuple[int, int, str]]
"""Where what is garbled begins and ends, and what it should be."""


class Garbled(NamedTuple):
    """The first word that is garbled, and what it should be.

    `written` is the encoding of its bytes; `read` those as which it may have been read, the likelier first; `plain`
    those of them that Python's codecs undo (browsers and Excel let bytes pass that have no meaning in an encoding);
    `times` how often; `whole` whether undoing it mends the whole text.
    """

    word: str
    meant: str
    written: str
    read: tuple[str, ...]
    plain: tuple[str, ...]
    times: int
    whole: bool


class Reading(NamedTuple):
    """Bytes in `written`, read as one of `read`: `find` the runs of a text that are, `undo` it wherever it can be."""

    written: str
    read: tuple[str, ...]
    find: Callable[[str], Runs]
    undo: Callable[[str], str]


def mojibake(text: str) -> Garbled | None:
    """The first word of a text that was read in a wrong encoding; None where there is none.

    >>> mojibake("a cafÃ© in the rain")[:4], mojibake("un café, déjà vu")
    (('cafÃ©', 'café', 'utf-8', ('cp1252', 'latin-1')), None)
    >>> [mojibake(text)[:2] for text in ("itâ€™s", "РїСЂРёРІРµС‚", "ÄãºÃ", "Ïðèâåò, ìèð")]
    [('itâ€™s', 'it’s'), ('РїСЂРёРІРµС‚', 'привет'), ('ÄãºÃ', '你好'), ('Ïðèâåò,', 'Привет,')]
    """
    if text.isascii():
        return None
    candidates = [(runs, reading) for reading in READINGS if (runs := reading.find(text))]
    if not candidates:
        return None
    # two bytes of GB 18030 may well be a letter of UTF-8: what explains most of the text is it
    runs, reading = max(candidates, key=lambda each: sum(end - start for start, end, _ in each[0]))
    return _described(text, runs, reading)


def _described(text: str, runs: Runs, reading: Reading) -> Garbled:
    start, end, _ = runs[0]
    before = re.search(r"\S*$", text[max(0, start - AROUND) : start])
    after = re.match(r"\S*", text[end : end + AROUND])
    assert before and after
    word = before.group() + text[start:end] + after.group()
    meant, times = reading.undo(word), 1
    while times < MOST and reading.find(meant):
        meant, times = reading.undo(meant), times + 1
    garbled = "".join(text[a:b] for a, b, _ in runs)
    written = reading.written
    plain = tuple(
        codec
        for codec in reading.read
        if _as_bytes(garbled, codec, "") is not None
        and (_mended(text, codec, "", written, times) or not _mended(text, codec, CONTROLS, written, times))
    )
    lenient = [c for c in reading.read if c not in plain and _as_bytes(garbled, c, UNDEFINED[c]) is not None]
    read = (*plain, *lenient) or reading.read[:1]
    return Garbled(word, meant, written, read, plain, times, _mended(text, read[0], CONTROLS, written, times))


def _as_bytes(text: str, codec: str, passed: str) -> bytes | None:
    """The bytes that were read as a text; None where it holds others. Some characters may stand for their own bytes."""
    parts = re.split(f"([{passed}]+)", text) if passed else [text]
    try:
        return b"".join(part.encode("latin-1" if i % 2 else codec) for i, part in enumerate(parts))
    except UnicodeEncodeError:
        return None


def _mended(text: str, read: str, passed: str, written: str, times: int) -> bool:
    for _ in range(times):
        data = _as_bytes(text, read, passed)
        if data is None:
            return False
        try:
            text = data.decode(written)
        except UnicodeDecodeError:
            return False
    return True


def _bytes_of_characters(codec: str) -> dict[str, int]:
    """From a character to the byte, 0x80…0xFF, that an encoding reads as it; a byte without a meaning in it stays."""
    byte_of = {chr(byte): byte for byte in range(0x80, 0x100 if codec == "cp1252" else 0xA0)}
    for byte in range(0x80, 0x100):
        if character := bytes([byte]).decode(codec, "ignore"):
            byte_of[character] = byte
    return byte_of


class _Utf8:
    """UTF-8 that was read as an encoding of one byte a character."""

    def __init__(self, codec: str, makes_sense: Callable[[str, str], bool]):
        self.bytes, self.makes_sense = _bytes_of_characters(codec), makes_sense

        def of(first: int, last: int) -> str:
            return "[" + re.escape("".join(c for c, byte in self.bytes.items() if first <= byte <= last)) + "]"

        then = of(0x80, 0xBF)
        two, three, four = of(0xC2, 0xDF) + then, of(0xE0, 0xEF) + then + "{2}", of(0xF0, 0xF4) + then + "{3}"
        self.sequences = re.compile(f"(?:{two}|{three}|{four})+")

    def meant(self, sequences: str) -> str:
        """What they should be; "" where they are no UTF-8."""
        try:
            return bytes(self.bytes[c] for c in sequences).decode("utf-8")
        except UnicodeDecodeError:
            return ""

    def find(self, text: str) -> Runs:
        runs = [(*match.span(), self.meant(match.group())) for match in self.sequences.finditer(text)]
        return [
            run for run in runs if run[2] and (self.makes_sense(text[slice(*run[:2])], run[2]) or self.find(run[2]))
        ]

    def undo(self, text: str) -> str:
        return self.sequences.sub(lambda match: self.meant(match.group()) or match.group(), text)


# characters that were meant, if a run of a few bytes stands alone: accented letters and signs of Western texts,
# punctuation, currencies, emoji; «là\xa0»», read as UTF-8, would be a letter of Samaritan
_MEANT = re.compile("[\u00a0-\u017f\u0192\u2000-\u206f\u20a0-\u20cf\u2100-\u27bf\ufeff\ufe0f\U0001f000-\U0001faff]+")
_FEW, _BYTES = 3, 6
_CONTROL = re.compile(f"[{CONTROLS}]")
_QUOTED = re.compile("[^ÂÃ][«»“”‘’‹›]")
"""A letter before a quotation mark, which would be "ī" and the like: only where there are several."""


def _western(run: str, meant: str) -> bool:
    enough = len(meant) >= _FEW or len(run) >= _BYTES
    return enough or _MEANT.fullmatch(meant) is not None or _CONTROL.search(run) is not None


_AS_WESTERN = _Utf8("cp1252", _western)


def _find_western(text: str) -> Runs:
    runs = _AS_WESTERN.find(text)
    # what is garbled lies among plain letters; among those of another code page, such as Thai's, it is there by chance
    inside = {i for start, end, _ in runs for i in range(start, end)}
    runs = [(a, b, meant) for a, b, meant in runs if not {a - 1, b} & _high_letters(text, a - 1, b) - inside]
    sequences = {text[start:end] for start, end, _ in runs}
    return [] if len(sequences) == 1 and _QUOTED.fullmatch(sequences.pop()) else runs


def _high_letters(text: str, *places: int) -> set[int]:
    """Those of the places in a text where there is a letter or sign of the upper half of Latin-1, but for spaces."""
    return {i for i in places if 0 <= i < len(text) and "\xa1" <= text[i] <= "\xff" and text[i] not in "«»"}


# as Windows-1251, UTF-8 is Cyrillic letters and signs, and so is real text: in Ukrainian, «дії» would be a Chinese
# character. So three letters of one script in a row are asked for, or two Chinese ones, or a sign, as in «вЂ”».
_SIGNS = "\u2010-\u203a\u20ac\u2116\u2122\U0001f300-\U0001faff"
_SIGN = re.compile(f"[{_SIGNS}]")
_ONE_SCRIPT = re.compile(
    f"[{_SIGNS}]*(?:[\u0400-\u045f\u0490\u0491{_SIGNS}]+|[\u0370-\u03ff{_SIGNS}]+|[\u05d0-\u05ea{_SIGNS}]+"
    f"|[\u0620-\u06ff{_SIGNS}]+|[\u3001-\u30ff\u3400-\u9fff\uff01-\uff5e{_SIGNS}]+|[\uac00-\ud7af{_SIGNS}]+)"
)


def _eastern(run: str, meant: str) -> bool:
    enough = len(meant) >= _FEW or len(run) >= _BYTES or _SIGN.search(meant) is not None
    return enough and _ONE_SCRIPT.fullmatch(meant) is not None


_AS_CYRILLIC = _Utf8("cp1251", _eastern)

# the 500 most frequent characters, 75 % of running text; by chance, 13 % of those that GB 2312 has for everyday use
_COMMON = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点"
    "正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿"
    "原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德"
    "资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交"
    "规万取拉格望觉术领共确传师观清今切院让识候带导争运"
)
_HIGH, _SEVERAL = re.compile("[\u00a1-\u00fe]+"), re.compile("[\u00a1-\u00ff]{3}")
_HAN = re.compile("[\u4e00-\u9fff]")
_CHINESE = re.compile("[\u3001-\u3011\u2014\u2018-\u201d\u2026\u4e00-\u9fff\uff01-\uff5e·]+")
_MIXED = re.compile("[\u00a1-\u00bf×÷].*[À-ÖØ-öø-þ]|[À-ÖØ-öø-þ].*[\u00a1-\u00bf×÷]")
"""A letter and a sign in one run, as most pairs of Chinese characters make them; alphabets do not."""
_LONG, _SHARE, _SHARE_OF_FEW, _BESIDES = 6, 0.3, 0.5, 0.25


def _chinese(run: str) -> str:
    """What a run of letters and signs should be, as pairs of bytes of GB 2312; "" where it is none."""
    data = run.encode("latin-1")
    try:
        meant = data.decode("gb2312")
    except UnicodeDecodeError:
        return ""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return meant if _CHINESE.fullmatch(meant) else ""
    return ""


def _find_chinese(text: str) -> Runs:
    if not _SEVERAL.search(text):  # as in nearly all texts, of which each accent would be looked at else
        return []
    runs = [(*match.span(), _chinese(match.group())) for match in _HIGH.finditer(text)]
    good = [run for run in runs if run[2]]
    if not any(len(_HAN.findall(meant)) > 1 and _MIXED.search(text[a:b]) for a, b, meant in good):
        return []
    characters = _HAN.findall("".join(meant for *_, meant in good))
    common = sum(c in _COMMON for c in characters)
    if len(set(characters)) < 2 or common < (_SHARE if len(characters) >= _LONG else _SHARE_OF_FEW) * len(characters):
        return []
    besides = sum(b - a for a, b, meant in runs if not meant)
    return good if besides <= _BESIDES * sum(b - a for a, b, _ in good) else []


def _undo_chinese(text: str) -> str:
    return _HIGH.sub(lambda match: _chinese(match.group()) or match.group(), text)


# whole words of accented letters, whose letters are, undone, those that are frequent in Russian (72 % of its text, and
# 34 % of the alphabet)
_ACCENTED = re.compile(r"(?<![^\W\d_])[À-ÖØ-öø-ÿ×÷¨¸]{3,}(?![^\W\d_])")
_RUSSIAN = re.compile("[А-ЯЁ]?[а-яё]+|[А-ЯЁ]+")
_FREQUENT, _ENOUGH, _WORDS = frozenset("оеаинтсрвлк"), 0.55, 2


def _find_russian(text: str) -> Runs:
    if not _SEVERAL.search(text):
        return []
    runs = [(*m.span(), m.group().encode("latin-1").decode("cp1251")) for m in _ACCENTED.finditer(text)]
    runs = [run for run in runs if _RUSSIAN.fullmatch(run[2]) and len(set(run[2].lower())) >= _FEW]
    letters = "".join(meant for *_, meant in runs).lower()
    frequent = sum(c in _FREQUENT for c in letters)
    several = len({meant for *_, meant in runs}) >= _WORDS
    return runs if several and frequent >= _ENOUGH * len(letters) else []


def _undo_russian(text: str) -> str:
    return re.sub("[À-ÿ¨¸]+", lambda match: match.group().encode("latin-1").decode("cp1251"), text)


_THAI_BYTES = re.compile("[\u00a1-\u00fb]{3,}")


def _find_thai(text: str) -> Runs:
    if not _SEVERAL.search(text) or not is_thai(text.encode("latin-1", "replace")):
        return []
    return [(*m.span(), m.group().encode("latin-1").decode("cp874", "replace")) for m in _THAI_BYTES.finditer(text)]


def _undo_thai(text: str) -> str:
    return re.sub("[\u00a1-\u00fb]+", lambda m: m.group().encode("latin-1").decode("cp874", "replace"), text)


WESTERN = ("cp1252", "latin-1")
READINGS = (
    Reading("utf-8", WESTERN, _find_western, _AS_WESTERN.undo),
    Reading("utf-8", ("cp1251",), _AS_CYRILLIC.find, _AS_CYRILLIC.undo),
    Reading("gb18030", WESTERN, _find_chinese, _undo_chinese),
    Reading("cp1251", WESTERN, _find_russian, _undo_russian),
    Reading("cp874", WESTERN, _find_thai, _undo_thai),
)
