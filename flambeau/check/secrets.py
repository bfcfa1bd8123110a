"""What a text should not give away: keys, addresses and numbers of people, told by their form and, where they have one,
by their check digits. What is found is named by its kind and its line, and never printed.

A model that is trained on them may say them: Carlini and others, "Extracting training data from large language models",
USENIX Security 2021.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

KEY, API, CARD, EMAIL, PHONE = "private key", "API key or password", "card number", "e-mail address", "phone number"
BEGINNINGS = (
    "AKIA",
    "ASIA",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "sk-",
    "k_live_",
    "AIza",
    "xox",
    "hf_",
    "npm_",
    "pypi-",
    "eyJ",
)
NAMES = ("api", "secret", "token", "passw")
RANDOM = 3.5  # bits a character, of a value that nobody would write

_PRIVATE = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_ISSUED = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA)[A-Z0-9]{16}"  # Amazon
    r"|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20}"
    r"|sk-(?=[A-Za-z_-]{0,99}\d)[A-Za-z0-9_-]{32,}|[sr]k_live_[A-Za-z0-9]{20,}"  # OpenAI, Anthropic; Stripe
    r"|AIza[A-Za-z0-9_-]{35}|xox[abeprs]-\d[A-Za-z0-9-]{20,}"  # Google; Slack
    r"|hf_[A-Za-z0-9]{34}|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,}"
    r"|eyJ[A-Za-z0-9_-]{15,500}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,})(?![A-Za-z0-9])"  # a JSON web token
)
_NAMED = re.compile(
    r"(?i:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?token|passw(?:or)?d)"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"']?([A-Za-z0-9+/_\-]{16,200})(?![A-Za-z0-9])"
)
_BEFORE_AT = re.compile(r"[A-Za-z0-9._%+-]{1,64}$")
_BEHIND_AT = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}(?![A-Za-z0-9])")
_EXAMPLES = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net)|example|invalid|test|localhost)$", re.IGNORECASE)
_NUMBERS = re.compile(r"\d[\d ().-]{7,}\d")
_DIGITS = re.compile(r"(?<![\w.,/-])\d(?:[ -]?\d){12,18}(?![\w/-]|[.,]\d)")
_CARD = re.compile(
    r"4\d{12}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}"
)  # Visa, Mastercard (two ranges), American Express, Discover
_GROUPS = re.compile(r"\d{13,16}|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{5}")
_PHONE = re.compile(
    r"(?<![\w.+/-])(?:\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,5}\)?){2,6}"  # with the code of a country
    r"|\(0?\d{2,5}\)[ -]?\d{3,4}[ -]?\d{3,5}|\d{3}-\d{3}-\d{4})(?![\w/-]|[.,]\d)"
)


class Secret(NamedTuple):
    """What is in a text: of which kind, and in which line, from 1 on."""

    kind: str
    line: int


def secrets(text: str) -> list[Secret]:
    """What a text gives away, in order.

    >>> secrets("Dear Ann,\\nwrite to ann@austen.org or call +44 20 7946 0958.")
    [Secret(kind='e-mail address', line=2), Secret(kind='phone number', line=2)]
    >>> secrets("it costs 4111 1111 1111 1112, not @home, in 1811-1817; see example@example.com")
    []
    """
    places = sorted((at, kind) for kind, at in _places(text))
    found, line, seen = [], 1, 0
    for at, kind in places:
        line, seen = line + text.count("\n", seen, at), at
        found.append(Secret(kind, line))
    return found


def _places(text: str) -> Iterator[tuple[str, int]]:
    yield from ((KEY, match.start()) for match in _PRIVATE.finditer(text))
    issued = []
    if any(beginning in text for beginning in BEGINNINGS):  # far quicker than to look for the whole
        issued = [match.start() for match in _ISSUED.finditer(text)]
        yield from ((API, at) for at in issued)
    if _named_in(text):
        for match in _NAMED.finditer(text):
            if match.start(1) not in issued and _random(match[1]):
                yield API, match.start(1)
    at = text.find("@")
    while at >= 0:
        before, behind = _BEFORE_AT.search(text, max(0, at - 64), at), _BEHIND_AT.match(text, at + 1)
        if before and behind and not _EXAMPLES.search(behind[0]):
            yield EMAIL, before.start()
        at = text.find("@", at + 1)
    for match in _NUMBERS.finditer(text):
        yield from _numbers(text, max(0, match.start() - 2), match.end() + 2)


def _named_in(text: str) -> bool:
    lower = text.lower()
    return any(name in lower for name in NAMES)


def _numbers(text: str, start: int, end: int) -> Iterator[tuple[str, int]]:
    """Those of cards and of telephones in a part of a text."""
    cards = set()
    for match in _DIGITS.finditer(text, start, end):
        digits = match[0].replace(" ", "").replace("-", "")
        if _GROUPS.fullmatch(match[0]) and _CARD.fullmatch(digits) and luhn(digits):
            cards.add(match.start())
            yield CARD, match.start()
    for match in _PHONE.finditer(text, start, end):
        if match.start() not in cards and 9 <= sum(map(str.isdigit, match[0])) <= 15:
            yield PHONE, match.start()


def luhn(digits: str) -> bool:
    """Whether the last digit is what the others say it must be (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112"), luhn("0000000000000000")
    (True, False, False)
    """
    if len(set(digits)) == 1:
        return False
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits)))
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def _random(value: str) -> bool:
    """Whether a value is drawn by a machine: of letters and digits, hardly one twice."""
    counts, total = Counter(value).values(), len(value)
    bits = -sum(count / total * math.log2(count / total) for count in counts)
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value)) and bits >= min(RANDOM, 0.8 * math.log2(total))
