"""What careless reading leaves in a text: signs for lost characters, invisible characters, and HTML."""

from __future__ import annotations

import html
import re

LOST = re.compile("\ufffd|锟斤拷")
"""The sign for a byte that could not be read; and two of it, written as UTF-8 and read as GBK."""

_JOINERS = "\u200c\u200d"
# between these a joiner says nothing: spaces; Latin, Greek, Cyrillic, Chinese, Japanese and Korean letters
_WITHOUT_JOINERS = r"\s0-9A-Za-z\u00c0-\u052f\u1e00-\u1fff\u3040-\u9fff\uac00-\ud7af"
_WITHOUT_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
"""Thai, Lao, Burmese and Khmer, in which U+200B stands between words."""
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u2060\ufeff]"
    f"|(?<![{_WITHOUT_SPACES}])\u200b(?![{_WITHOUT_SPACES}])"
    f"|(?<![^{_WITHOUT_JOINERS}])[{_JOINERS}](?![^{_WITHOUT_JOINERS}])"
)
_DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")

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


def invisible(text: str) -> str:
    """The characters of a text that show nothing and that it does not need: of control, but for tabs and ends of lines;
    of no width, but for joiners in scripts and emoji that they belong to; of direction, where all runs left to right.

    >>> invisible("a\\x00b\\u200bc\\td"), invisible("👩\\u200d🔬 می\\u200cشود")
    ('\\x00\\u200b', '')
    """
    if text.isprintable():  # which costs next to nothing, and is so of nearly all texts of one line
        return ""
    invisible = "".join(_INVISIBLE.findall(text))
    if not text.isascii() and _DIRECTION.search(text) and not _RIGHT_TO_LEFT.search(text):
        invisible += "".join(_DIRECTION.findall(text))
    return invisible


def markup(text: str) -> str:
    """The first tag or entity of HTML in a text; "" where there is none.

    >>> markup("Great<br />film"), markup("Tom &amp; Jerry"), markup("if a < b and c > d: x &y; z")
    ('<br />', '&amp;', '')
    """
    if "<" not in text and "&" not in text:
        return ""
    for match in _MARKUP.finditer(text):
        match_text = match.group()
        if match_text[0] == "<" or html.unescape(match_text) != match_text:
            return match_text
    return ""
