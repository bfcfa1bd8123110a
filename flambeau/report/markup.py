"""HTML that cannot be broken by what is put into it: every text is escaped unless it is Markup already."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias

VOID = frozenset({"meta", "link", "img", "br", "hr", "col"})
# C0 controls, which HTML forbids, and lone surrogates, which file names that are not UTF-8 bring along
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# marks that turn the order of letters round: a name must not reach beyond itself
_TURNING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_RIGHT_TO_LEFT = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc"
_RUN = re.compile(f"[{_RIGHT_TO_LEFT}](?:[^A-Za-z0-9<>&]*[{_RIGHT_TO_LEFT}])*")
_FRAGMENT = re.compile(
    r'<img src="(data:image/(?:png|jpeg);base64,[A-Za-z0-9+/]+={0,2})" alt="([^"<>]*)">'
    r"|<span(?: class=(?:unreadable|(name|mark|for[1-4]|against[1-4])))?>([^<>]*)</span>"
    r'|<audio controls src="(data:audio/(?:mpeg|wav);base64,[A-Za-z0-9+/]+={0,2})"></audio>'
)


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Iterable[Child] | None"


def text(value: object) -> Markup:
    """Any value as escaped text, for content and for quoted attributes. Words from right to left are isolated, so that
    a number or a quotation mark beside them stays where it is.

    >>> text("<b>'"), text("שלום (3)") == "\u2068שלום\u2069 (3)"
    ('&lt;b&gt;&#x27;', True)
    """
    plain = _TURNING.sub("", _UNWRITABLE.sub("\ufffd", str(value)))
    if not plain.isascii():
        plain = _RUN.sub("\u2068\\g<0>\u2069", plain)
    return Markup(html.escape(plain))


def join(*children: Child) -> Markup:
    """Children one after the other; None is nothing, iterables are opened."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, (str, int, float)):
            parts.append(text(child))
        elif child is not None:
            parts.append(join(*child))
    return Markup("".join(parts))


def tag(name: str, *children: Child, **attributes: object) -> Markup:
    """An element. `class_` is written class and `stroke_width` stroke-width; None and False are left out.

    >>> tag("p", "1 < 2", class_="note", hidden=True)
    '<p class="note" hidden>1 &lt; 2</p>'
    """
    written = ""
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        written += f" {key}" if value is True else f' {key}="{text(value)}"'
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def _kind(source: str, alt: str) -> str | None:
    """A curve that a field drew in black on white, or a picture of few pixels."""
    return "drawn" if " steps, " in alt else "tiny" if source.startswith("data:image/png") and not alt else None


def fragment(rendered: object) -> Markup:
    """A thumbnail as a field rendered it: pictures and sounds with their bytes inside, or spans of text; several are
    separated by blanks. It is taken apart and written anew; whatever else it holds is shown as text.

    >>> fragment("<span>a &lt; b</span>"), fragment("<script>x</script>")
    ('<span>a &lt; b</span>', '&lt;script&gt;x&lt;/script&gt;')
    """
    rendered = str(rendered or "")
    if _FRAGMENT.sub("", rendered).strip():
        return text(rendered)
    return join(
        tag("img", src=m[1], alt=html.unescape(m[2]), class_=_kind(m[1], m[2]))
        if m[1] else tag("audio", controls=True, preload="metadata", src=m[5]) if m[5]
        else tag("span", html.unescape(m[4]), class_=m[3])
        for m in _FRAGMENT.finditer(rendered)
    )  # fmt: skip
