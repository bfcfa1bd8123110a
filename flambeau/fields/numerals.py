"""Numbers as people write them: with a decimal comma, marks between thousands, a currency or a unit, as hours and
minutes; and what stands for a missing one."""

from __future__ import annotations

import contextlib
import datetime
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flambeau.core.errors import UsageError

_WORDS = "na n/a n.a. n/d k.a. nan nil null (null) \\n none <na> missing unknown 缺失"
_SIGNS = "- -- – — . .. ... * ? #n/a #div/0! #value! #ref! #num! #name?"
MISSING = frozenset(["", *_WORDS.split(), *_SIGNS.split()])
"""What stands for a missing number in a text, in lower case."""
MOST = 0.9
"""Share of a column's values that must be numbers for it to be one of numbers."""
TIME = "time"
"""The unit of durations and times of the day, such as 12:30:00, which are read as hours."""
MARKS = {"en": ".", "de": ",", "fr": ",", "ch": "."}
"""Decimal marks, as `number:de` names them; what else stands between digits, spaces too, parts thousands."""
MONEY = re.compile(
    "USD|EUR|GBP|CHF|JPY|CNY|RMB|INR|KRW|BRL|CAD|AUD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|TRY|MXN|ZAR|HKD|Rs\\.?|[Kk]r\\.?|Fr\\.?"
)
_WIDE = "０１２３４５６７８９．，－"
_BETWEEN = r"\s'’\x{00a0}\x{202f}"
_HOURS = r"^(-?)(?:(\d+) days?,? )?\+?(\d{1,4}):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?$"
_AFFIXED = re.compile(
    r"\(?[-+−]?\s*((?:[^\d\s.,()+−-]+\.?)?)\s*[-+−(]?(?:[\d.,][\d.,'’\s\u00a0\u202f]*)?\d(?:[eE][-+]?\d+)?"
    r"\s*([^\d.,]*?\.?)\)?"
)
LONGEST_UNIT = 12


@dataclass(frozen=True)
class Numerals:
    """How the numbers of a column are written.

    Attributes:
        decimal: what stands before the decimals, "." or ","; the other one may part thousands.
        unit: what stands before or behind each number, such as €, % or kg; `time` for hours and minutes.
    """

    decimal: str = "."
    unit: str = ""

    @classmethod
    def parse(cls, text: str) -> Numerals:
        """The numerals that `str` wrote, or that a user did: `de`, `en:$`, `time`.

        >>> Numerals.parse("de:€")
        Numerals(decimal=',', unit='€')

        Raises:
            UsageError: the text has more parts than these.
        """
        parts = [part for part in text.split(":") if part]
        decimal = MARKS[parts.pop(0)] if parts and parts[0] in MARKS else "."
        if len(parts) > 1:
            raise UsageError(f"'{text}' does not say how numbers are written", expected="such as de, en or de:€")
        return cls(decimal, parts[0] if parts else "")

    def __str__(self) -> str:
        plain = self.unit == TIME or (self.decimal == "." and not self.unit)
        mark = "" if plain else "en" if self.decimal == "." else "de"
        return ":".join(part for part in (mark, self.unit) if part)

    def words(self) -> str:
        """How they are written, in words: "with a decimal comma and €"; empty for plain ones."""
        if self.unit == TIME:
            return "as hours"
        parts = ["a decimal comma"] * (self.decimal == ",") + [f"'{self.unit}'"] * bool(self.unit)
        return f"with {' and '.join(parts)}" if parts else ""

    def read(self, texts: Any) -> tuple[np.ndarray, np.ndarray]:
        """Of a polars column of texts: which are missing, or stand for a missing number; and the numbers, float64, NaN
        where there is none."""
        import polars as pl

        if self._plain:
            out = texts.cast(pl.Float64, strict=False).to_numpy(writable=True)
        else:
            out = np.full(len(texts), np.nan)
        missing = texts.is_null().to_numpy(writable=True)
        rest = np.flatnonzero(np.isnan(out) & ~missing)
        if len(rest):
            left = texts.gather(rest).str.strip_chars()
            words = left.str.to_lowercase().is_in(list(MISSING)).to_numpy()
            missing[rest[words]] = True
            out[rest[~words]] = self._written(left.filter(~words)).to_numpy()
        return missing, out

    def number(self, text: str) -> float:
        """The number that a text is; NaN for one that stands for a missing one.

        >>> Numerals().number("1,234.5"), Numerals(",", "€").number("€ 1.234,50"), Numerals(unit="time").number("1:30")
        (1234.5, 1234.5, 1.5)

        Raises:
            ValueError: it is none.
        """
        import polars as pl

        missing, numbers = self.read(pl.Series([text], dtype=pl.String))
        if not missing[0] and np.isnan(numbers[0]):
            raise ValueError(f"{text!r} is no number")
        return float(numbers[0])

    @property
    def _plain(self) -> bool:
        """Whether a number as programs write it is one of these."""
        return self.decimal == "." and not self._has_word

    @property
    def _has_word(self) -> bool:
        """Whether the unit is a word, which must then be there: 300 among kilometres may be metres."""
        return not MONEY.fullmatch(self.unit) and any(map(str.isalpha, self.unit))

    def _written(self, texts: Any) -> Any:
        import polars as pl

        texts = texts.str.replace_many(list(_WIDE), list("0123456789.,-")).str.replace(r"[.,][-–—]+$", "")
        texts = texts.str.replace_all("[−–]", "-")
        texts = texts.str.replace(r"^(\D*)\((.*)\)$", "-$1$2").str.replace(r"^([\d.,]*\d)-$", "-$1")
        if self.unit == TIME:
            sign, days, hours, minutes, seconds = (texts.str.extract(_HOURS, i + 1) for i in range(5))
            parts = [part.cast(pl.Float64) for part in (days.fill_null("0"), hours, minutes, seconds.fill_null("0"))]
            value = parts[0] * 24 + parts[1] + parts[2] / 60 + parts[3] / 3600
            return pl.select(pl.when(sign == "-").then(-value).otherwise(value)).to_series()
        point, comma = (re.escape(mark) for mark in (self.decimal, "," if self.decimal == "." else "."))
        whole = r"(?:0|[1-9]\d*)" if self.unit else r"\d+"  # 007b is a code
        between = f"[{comma}{_BETWEEN}]"
        whole = rf"(?:[1-9]\d{{0,2}}(?:{between}\d{{2,3}})*{between}\d{{3}}|{whole})"
        core = rf"{whole}(?:{point}\d*)?|{point}\d+"
        core = rf"((?:{core})(?:[eE][-+]?\d+)?)"
        unit = f"(?:{re.escape(self.unit)})" + "?" * (not self._has_word)
        ways = [rf"^([-+]?)\s*{unit}\s*([-+]?){core}$", rf"^([-+]?)()\s*{core}\s*{unit}$"]
        first, second, digits = (pl.coalesce(*(texts.str.extract(way, i) for way in ways)) for i in (1, 2, 3))
        digits = digits.str.replace_all(between, "").str.replace_all(point, ".")
        value = digits.cast(pl.Float64, strict=False)
        return pl.select(pl.when((first == "-") ^ (second == "-")).then(-value).otherwise(value)).to_series()


PLAIN = Numerals()


def find(texts: Any, decimal: str = ".", least: float = MOST) -> tuple[Numerals, bool] | None:
    """How the numbers of a sample of texts are written, and whether they could be read otherwise too; None where less
    than a share of them are numbers.

    Args:
        texts: a polars column.
        decimal: the mark that is taken where both suit.
    """
    missing, plain = PLAIN.read(texts)
    count = int((~missing).sum())
    if not count:
        return None
    known = texts.filter(~missing)
    if np.isfinite(plain).sum() == 0 and known.str.strip_chars().str.contains(_HOURS).sum() >= least * count:
        return Numerals(unit=TIME), False
    unit = "" if np.isfinite(plain).sum() >= MOST * count else _unit(known.head(1000).to_list())
    if unit is None:
        return None
    found = {mark: Numerals(mark, unit).read(known)[1] for mark in (".", ",")}
    good = {mark: int(np.isfinite(numbers).sum()) for mark, numbers in found.items()}
    other = "," if decimal == "." else "."
    best = decimal if good[decimal] >= good[other] else other
    if good[best] < least * count:
        return None
    both = np.isfinite(found["."]) & np.isfinite(found[","])
    unsure = good["."] == good[","] and bool((found["."][both] != found[","][both]).any())
    if unsure and unit and unit != "%" and not Numerals(best, unit)._has_word:  # nobody writes three decimals of money
        return Numerals("." if known.str.contains(",", literal=True).any() else ",", unit), False
    return Numerals(best, unit), unsure


def _unit(texts: Sequence[str]) -> str | None:
    """What stands before or behind nearly every number; None where there are others, which make names of them."""
    found: Counter[str] = Counter()
    for text in texts:
        match = _AFFIXED.fullmatch(re.sub("[.,][-–—]+$", "", text.strip()))  # as in CHF 5.–
        if match is None:
            continue
        before, behind = match[1].strip(), match[2].strip()
        if before and not (MONEY.fullmatch(before) or any(unicodedata.category(c) == "Sc" for c in before)):
            continue
        if not (before and behind):
            found[before or behind] += 1
    if not found:
        return ""
    unit, count = found.most_common(1)[0]
    return unit if count >= MOST * len(texts) and len(unit) <= LONGEST_UNIT else ""


def hours(value: Any) -> float:
    """A duration, or a time of the day, in hours.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, datetime.timedelta):
        return value.total_seconds() / 3600
    if isinstance(value, datetime.time):
        return value.hour + value.minute / 60 + (value.second + value.microsecond / 1e6) / 3600
    raise TypeError(f"{value!r} is no duration")


def looks_like_numbers(values: Sequence[Any]) -> bool:
    """Whether of texts and numbers nearly all are numbers, once those that stand for a missing one are left out.

    >>> looks_like_numbers(["12", "7.5", "n/a"]), looks_like_numbers(["12", "7.5"]), looks_like_numbers(["a", "b"])
    (True, False, False)
    """
    known = [v for v in values if v is not None]
    texts = [v for v in known if isinstance(v, str)]
    if not texts or any(isinstance(v, (bool, np.bool_)) or np.ndim(v) for v in known[:100]):
        return False
    given = [v for v in known if not (isinstance(v, str) and v.strip().lower() in MISSING)]
    _, bad = as_numbers(given)
    # where all are numbers, somebody has kept them as texts on purpose
    mixed = len(texts) < len(known) or len(given) < len(known) or len(bad)
    return bool(mixed) and len(given) > 0 and len(bad) <= (1 - MOST) * len(given)


def as_numbers(values: Sequence[Any], numerals: Numerals = PLAIN) -> tuple[np.ndarray, np.ndarray]:
    """Raw values as float64 (N), NaN where one is missing, and the rows whose value is no finite number.

    Args:
        numerals: how those that are texts are written.

    >>> as_numbers([1, "2.5", "n/a", None, "abc"])
    (array([1. , 2.5, nan, nan, nan]), array([4]))
    """
    array = None
    if numerals == PLAIN or isinstance(values, np.ndarray):
        with contextlib.suppress(TypeError, ValueError):
            array = np.asarray(values, dtype=np.float64)
    bad: list[int] = []
    if array is None or array.ndim != 1:
        array, bad = _one_by_one(values, numerals)
    infinite = np.isinf(array)
    if infinite.any():
        bad += np.flatnonzero(infinite).tolist()
        array = np.where(infinite, np.nan, array)
    return array, np.asarray(sorted(bad), np.int64)


def _one_by_one(values: Sequence[Any], numerals: Numerals) -> tuple[np.ndarray, list[int]]:
    import polars as pl

    array, bad, texts = np.full(len(values), np.nan), list[int](), list[int]()
    for row, value in enumerate(values):
        if isinstance(value, str):
            texts.append(row)
        elif value is not None:
            try:
                array[row] = value if isinstance(value, (float, int, np.number)) else _number(value)
            except (TypeError, ValueError):
                bad.append(row)
    if texts:
        # a text of any bytes is no number, but must not stop the asking
        readable = [values[row].encode("utf-8", "replace").decode() for row in texts]
        missing, numbers = numerals.read(pl.Series(readable, dtype=pl.String))
        array[texts] = numbers
        bad += np.asarray(texts)[np.isnan(numbers) & ~missing].tolist()
    return array, bad


def _number(value: Any) -> float:
    return hours(value) if isinstance(value, (datetime.timedelta, datetime.time)) else float(value)
