"""Text of any origin, made fit for a terminal or a table: what is shown is what is there, and commands nothing."""

from __future__ import annotations

import re
import shlex
from typing import Any

# controls (of them ESC and CSI begin a terminal's commands), other line ends, and marks that turn the order of letters
# round; the marks that right-to-left text and emoji need are none of these
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: object, lines: bool = False) -> str:
    """Text as a terminal may have it: control characters and turned writing as their escapes.

    Args:
        lines: keep its line ends; else it stays on one line.

    >>> printable("cat\\x1b[2J.png"), printable("a\\nb"), printable("猫 👩‍🚀 שלום")
    ('cat\\\\x1b[2J.png', 'a\\\\nb', '猫 👩‍🚀 שלום')
    """
    text = _UNSEEN.sub(_escaped, str(text))
    return text if lines else text.replace("\n", "\\n")


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def quoted(word: object) -> str:
    """A word of a command as a shell takes it, for commands that a message says to type.

    >>> quoted("runs/photos"), quoted("runs/my photos")
    ('runs/photos', "'runs/my photos'")
    """
    return shlex.quote(str(word))


def printable_json(text: str) -> str:
    """JSON text that says the same, with the unseen characters in its strings as JSON's own escapes."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def cell(value: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would take for a formula gets an apostrophe before it.

    >>> [cell(v) for v in ("=1+1", "-1.5", -1.5, "@home", "x=1")]
    ["'=1+1", '-1.5', -1.5, "'@home", 'x=1']
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(0.0213), duration(3.21), duration(75), duration(7500)
    ('21 ms', '3.2 s', '1 min 15 s', '2 h 05 min')
    """
    if 0 < seconds < 0.1:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
