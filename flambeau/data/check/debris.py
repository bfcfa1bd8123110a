"""What careless reading leaves in a text: characters of a wrong encoding, and HTML."""

from __future__ import annotations

import html
import re

LOST = re.compile("\ufffd|锟斤拷")
"""The sign for a byte that could not be read; and two of it, written as UTF-8 and read as GBK."""


def _bytes_of_characters() -> dict[str, int]:
    """From a character to the byte, 0x80…0xFF, that Windows-1252 or Latin-1 reads as it."""
    found = {chr(byte): byte for byte in range(0x80, 0x100)}
    for byte in range(0x80, 0x100):
        character = bytes([byte]).decode("cp1252", "ignore")
        if character:
            found[character] = byte
    return found


_BYTE = _bytes_of_characters()


def _class(first: int, last: int) -> str:
    return "[" + re.escape("".join(c for c, byte in _BYTE.items() if first <= byte <= last)) + "]"


_NEXT = _class(0x80, 0xBF)
_SEQUENCE = re.compile(
    f"(?:{_class(0xC2, 0xDF)}{_NEXT}|{_class(0xE0, 0xEF)}{_NEXT}{{2}}|{_class(0xF0, 0xF4)}{_NEXT}{{3}})+"
)
# characters that were meant, if a run of one or two bytes stands alone: accented letters and signs of Western texts,
# punctuation, currencies, emoji; «là\xa0»», read as UTF-8, would be a letter of Samaritan
_MEANT = re.compile("[\u00a0-\u017f\u0192\u2000-\u206f\u20a0-\u20cf\u2100-\u27bf\ufeff\ufe0f\U0001f000-\U0001faff]+")
_FEW = 3
_QUOTED = re.compile("[^ÂÃ][«»“”‘’‹›]")
"""A letter before a quotation mark, which would be "ī" and the like: only where there are several."""

TAGS = (
    "a abbr article aside b big blockquote body br button center code dd del div dl dt em embed fieldset figcaption "
    "figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins label li link main meta nav "
    "ol option p pre s script section select small span strike strong style sub sup table tbody td textarea tfoot th "
    "thead title tr tt u ul video"
)
_MARKUP = re.compile(
    rf"</?(?:{'|'.join(TAGS.split())})(?:\s[^<>]{{0,2000}})?/?>|<!--|<!DOCTYPE\b|&(?:#\d{{2,7}}|#x[\da-f]{{2,6}}|[a-z]\w{{1,30}});",
    re.IGNORECASE,
)


def mojibake(text: str) -> tuple[str, str] | None:
    """The first word that is UTF-8 read as Windows-1252 or Latin-1, and what it should be; None where there is none.

    >>> mojibake("a cafÃ© in the rain"), mojibake("itâ€™s"), mojibake("un café, déjà vu")
    (('cafÃ©', 'café'), ('itâ€™s', 'it’s'), None)
    """
    if text.isascii():
        return None
    found = [match for match in _SEQUENCE.finditer(text) if _spoilt(match.group())]
    if not found or (len({match.group() for match in found}) == 1 and _QUOTED.fullmatch(found[0].group())):
        return None
    start, end = found[0].span()
    before, after = (
        re.search(r"\S{0,20}$", text[max(0, start - 20) : start]),
        re.match(r"\S{0,20}", text[end : end + 20]),
    )
    assert before and after
    word = before.group() + found[0].group() + after.group()
    return word, _SEQUENCE.sub(lambda match: _meant(match.group()) or match.group(), word)


def _spoilt(sequence: str) -> bool:
    meant = _meant(sequence)
    return bool(meant) and (_MEANT.fullmatch(meant) is not None or len(meant) >= _FEW)


def _meant(sequence: str) -> str:
    try:
        return bytes(_BYTE[c] for c in sequence).decode("utf-8")
    except UnicodeDecodeError:
        return ""


def markup(text: str) -> str:
    """The first tag or entity of HTML in a text; "" where there is none.

    >>> markup("Great<br />film"), markup("Tom &amp; Jerry"), markup("if a < b and c > d: x &y; z")
    ('<br />', '&amp;', '')
    """
    if "<" not in text and "&" not in text:
        return ""
    for match in _MARKUP.finditer(text):
        found = match.group()
        if found[0] == "<" or html.unescape(found) != found:
            return found
    return ""
