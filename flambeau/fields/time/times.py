"""Times as people write them: texts and numbers to datetime64 and back, by one form for all of a column."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flambeau.core.errors import UsageError

ISO = "%Y-%m-%d"
DAY = 86_400_000_000  # microseconds
UNIX = {"unix s": 1_000_000, "unix ms": 1_000, "unix us": 1, "unix ns": 0.001, "excel": DAY}
"""What numbers count since 1970, and how many microseconds one is; Excel's are days since 1899-12-30."""
EXCEL_1970 = 25_569  # 1970-01-01 in Excel
PIVOT = 1969  # of two-digit years, as POSIX has it: 69 to 99 are of the 20th century
MISSING = ("", "nan", "nat", "none", "null", "na", "n/a")
LONGEST = 80  # characters of a time
_MONTHS = (
    "january jan janvier janv januar jänner enero ene gennaio gen janeiro januari",
    "february feb février févr fév fevrier fevr februar feber febrero febbraio fevereiro fev februari",
    "march mar mars märz mär maerz mrz marzo março maart mrt",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag maio mei maj",
    "june jun juin juni junio giugno giu junho",
    "july jul juillet juil juli julio luglio lug julho",
    "august aug août aou aout agosto ago augustus augusti",
    "september sep sept septembre septiembre settembre set setembro",
    "october oct octobre oktober okt octubre ottobre ott outubro out",
    "november nov novembre noviembre novembro",
    "december dec décembre déc decembre dezember dez diciembre dic dicembre dezembro",
)
MONTHS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
"""The names of months and their abbreviations, in lower case: English, French, German, Spanish, Italian, Portuguese,
Dutch, Swedish."""
ZONES = {"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "wet": 0, "west": 1,
         "bst": 1, "cet": 1, "cest": 2, "mez": 1, "mesz": 2, "eet": 2, "eest": 3, "msk": 3, "jst": 9}  # fmt: skip
"""Hours before UTC that names of zones say: those of RFC 2822, of Europe and of Japan."""
NAMES = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
         "December")  # fmt: skip
_WORD = r"[^\W\d_]"
_CODES = {
    "Y": r"(?P<Y>\d{4})", "y": r"(?P<y>\d{2})", "m": r"(?P<m>\d{1,2})", "d": r"(?P<d>\d{1,2})(?:st|nd|rd|th)?",
    "b": rf"(?P<b>{_WORD}{{3,}})\.?", "j": r"(?P<j>\d{3})", "q": r"(?P<q>[1-4])", "G": r"(?P<G>\d{4})",
    "V": r"(?P<V>\d{1,2})", "u": r"(?P<u>[1-7])", "a": rf"{_WORD}+\.?", "H": r"(?P<H>\d{1,2})",
    "M": r"(?P<M>\d{1,2})", "S": r"(?P<S>\d{1,2}(?:[.,]\d+)?)", "p": r"(?P<p>[ap])\.?m\.?",
    "z": rf"(?P<z>z|utc|gmt|(?:gmt|utc)?[+-]\d{{2}}(?::?\d{{2}})?|{'|'.join(ZONES)})",
    "%": "%", "n": r"\s+", "t": r"\s+",
}  # fmt: skip
_SAME = {"B": "b", "h": "b", "A": "a", "e": "d", "I": "H", "k": "H", "l": "H", "P": "p", "Z": "z", "f": "", ".f": "",
         ".3f": "", ".6f": "", ".9f": ""}  # fmt: skip
_WHOLE = {"%F": ISO, "%D": "%m/%d/%y", "%T": "%H:%M:%S", "%R": "%H:%M", "%r": "%I:%M:%S %p"}
_ZONE_NAME = r"(?:\s*[(\[][^\d()\[\]]+[)\]])?"  # behind an offset, as JavaScript and Java write it
CLOCK = (
    rf"(?:(?:t|[,:]?\s+|:){_CODES['H']}:(?P<M>\d{{2}})(?::{_CODES['S']})?"
    rf"\s*(?:{_CODES['p']})?\s*(?:{_CODES['z']})?{_ZONE_NAME})?"
)
"""What may follow a day: a time with or without seconds, a fraction of them, AM or PM, an offset; or nothing."""
_TAIL = re.compile(
    r"(?:T|[,:]?\s+|:)%[-_]?[HIkl]:%M(?::%S(?:[.,]?%[.\d]*f)?(?:\.0+)?)?\s*(?:%[pP])?\s*(?:%[zZ]|Z|UTC|GMT)?$"
)
_CODE = re.compile(r"%[-_#]?(\.?\d?[A-Za-z%])")


@dataclass(frozen=True)
class TimeForm:
    """How the times of a column are written.

    Attributes:
        format: as for `strptime`, with `%q` for a quarter too, or one of `UNIX`; None where they are no texts.
        zone: the offset of the clock that times are kept in, as it is written ("+01:00", "Z"); None where none is.
        since: the first of the hundred years that two-digit ones are of.
    """

    format: str | None = None
    zone: str | None = None
    since: int = PIVOT

    @property
    def offset(self) -> int:
        """Minutes that its clock is before UTC."""
        return offset_minutes(self.zone) if self.zone else 0

    def written(self, time: Any, otherwise: str = ISO) -> str:
        """A time, datetime64, in this form.

        >>> TimeForm("%-m/%-d/%Y %-I:%M %p").written(np.datetime64("2024-01-05T14:00"))
        '1/5/2024 2:00 PM'
        """
        if self.format in UNIX:
            at = time.astype("datetime64[us]").astype(np.int64) - self.offset * 60_000_000
            if self.format == "excel":
                return f"{at / DAY + EXCEL_1970:.11g}"
            return str(int(at // UNIX[self.format]) if self.format != "unix ns" else int(at) * 1000)
        moment: datetime.datetime = time.astype("datetime64[us]").item()
        return _CODE.sub(lambda code: _written(code, moment, self.zone), _spelled_out(self.format or otherwise))


def offset_minutes(zone: str) -> int:
    """Minutes before UTC that a written offset says.

    >>> offset_minutes("+01:00"), offset_minutes("-0530"), offset_minutes("Z")
    (60, -330, 0)
    """
    digits = re.sub(r"\D", "", zone)
    if not digits:
        return 60 * ZONES.get(zone.strip().lower(), 0)
    return (int(digits[:2]) * 60 + int(digits[2:4] or 0)) * (-1 if "-" in zone else 1)


def _written(code: re.Match[str], moment: datetime.datetime, zone: str | None) -> str:
    name = code[1]
    hour = moment.hour % 12 or 12
    year, week, weekday = moment.isocalendar()
    number = {
        "m": (moment.month, 2), "d": (moment.day, 2), "e": (moment.day, 2), "H": (moment.hour, 2), "I": (hour, 2),
        "M": (moment.minute, 2), "S": (moment.second, 2), "y": (moment.year % 100, 2), "Y": (moment.year, 4),
        "j": (moment.timetuple().tm_yday, 3), "q": ((moment.month + 2) // 3, 1), "G": (year, 4), "V": (week, 2),
        "u": (weekday, 1), "k": (moment.hour, 2), "l": (hour, 2),
    }.get(name)  # fmt: skip
    if number is not None:
        return str(number[0]) if code[0][1] in "-_" else f"{number[0]:0{number[1]}}"
    day = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"][weekday - 1]
    micro = f"{moment.microsecond:06}"
    words = {
        "B": NAMES[moment.month - 1], "b": NAMES[moment.month - 1][:3], "h": NAMES[moment.month - 1][:3], "A": day,
        "a": day[:3], "p": "AM" if moment.hour < 12 else "PM", "P": "am" if moment.hour < 12 else "pm", "z": zone or "",
        "Z": zone or "", "f": micro, ".f": f".{micro}" if moment.microsecond else "", ".3f": f".{micro[:3]}",
        ".6f": f".{micro}", ".9f": f".{micro}000", "%": "%", "n": "\n", "t": "\t",
    }  # fmt: skip
    return words[name]


def _spelled_out(format: str) -> str:
    for short, long in _WHOLE.items():
        format = format.replace(short, long)
    return format


@functools.cache
def pattern(format: str) -> str:
    """The regular expression of a format, whole texts; after a day any clock time is taken, or none.

    Raises:
        UsageError: the format has a code that is not known.
    """
    format = _spelled_out(format)
    clock = _TAIL.search(format)
    day = format[: clock.start()] if clock else format
    out, at, before = [], 0, ""
    codes = list(_CODE.finditer(day))
    if not codes or "%" in _CODE.sub("", day):
        raise _no_format(format)
    for i, code in enumerate(codes):
        out.append(_literal(day[at : code.start()]))
        name = _SAME.get(code[1], code[1])
        if name and name not in _CODES:
            raise _no_format(format)
        regex = _CODES.get(name, "")
        after = codes[i + 1].start() == code.end() if i + 1 < len(codes) else False
        if (after or (before and at == code.start())) and code[0][1] not in "-_":
            regex = regex.replace(r"\d{1,2}", r"\d{2}")  # nothing parts the digits
        if regex and regex in out:
            raise _no_format(format)
        out.append(regex)
        at, before = code.end(), name
    out.append(_literal(day[at:]))
    body = "".join(out)
    regex = rf"(?i)^\s*{body}{'' if '(?P<H>' in body or '(?P<z>' in body else CLOCK}\s*$"
    return regex.replace(r"\d{", "[0-9]{").replace(r"\d+", "[0-9]+")  # digits that numbers are made of


def _literal(text: str) -> str:
    return "".join(r"\s*" if c.isspace() else re.escape(c) for c in re.sub(r"\s+", " ", text))


def _no_format(format: str) -> UsageError:
    return UsageError(
        f"'{format}' is not a format of times", expected="such as %Y-%m-%d, %d/%m/%Y %H:%M, %YQ%q, unix s; or auto"
    )


def texts_of(values: Sequence[Any]) -> Any:
    """Raw values as a polars series of texts, null where one is missing: numbers in digits, times as ISO has them."""
    import polars as pl

    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return pl.Series(values).cast(pl.String)
    listed = [v if isinstance(v, str) else _text(v) for v in values]
    try:
        column = pl.Series(listed, dtype=pl.String)
    except UnicodeEncodeError:  # a file name of any bytes is no time, but must not stop the asking
        column = pl.Series([v and v.encode("utf-8", "replace").decode() for v in listed], dtype=pl.String)
    column = column.str.strip_chars().str.replace(r"^(\d{4}-\d\d-\d\d)/\d{4}-\d\d-\d\d$", "$1")  # a period of pandas
    return column.set(column.str.to_lowercase().is_in([*MISSING, "0000-00-00", "0000-00-00 00:00:00"]), None)


def _text(value: Any) -> str | None:
    if value is None or value != value or isinstance(value, (bool, np.bool_)):
        return None if value is None or value != value else str(value)
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[us]")).replace("T", " ")
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def parsed(column: Any, form: TimeForm) -> np.ndarray:
    """A polars series of texts as datetime64[us] on the clock of a form, NaT where one is not written so."""
    import polars as pl

    if form.format in UNIX:
        counts = column.cast(pl.Int64, strict=False)
        if form.format == "excel":  # whole seconds, for finer parts of a day are lost in digits
            days = column.cast(pl.Float64, strict=False).to_numpy() - EXCEL_1970
            micros = np.round(days * 86_400) * 1e6
        elif counts.is_null().sum() > column.is_null().sum():
            micros = column.cast(pl.Float64, strict=False).to_numpy() * UNIX[form.format]
        else:
            micros = counts.to_numpy() * UNIX[form.format]
        known = np.isfinite(micros) & (np.abs(micros) < 2**62)
        times = np.where(known, micros, 0).astype(np.int64).astype("datetime64[us]")
        times += np.timedelta64(form.offset, "m")
        return np.where(known, times, np.datetime64("NaT", "us"))
    groups = column.str.extract_groups(pattern(form.format or ISO)).struct.unnest()
    return _composed(groups, form)


def _composed(groups: Any, form: TimeForm) -> np.ndarray:
    """The named groups of `pattern` as datetime64[us], NaT where they are no time."""
    import polars as pl

    def number(name: str, default: int) -> np.ndarray:
        if name not in groups.columns:
            return np.full(groups.height, default, np.int64)
        return groups[name].cast(pl.Int64, strict=False).fill_null(default).to_numpy()

    matched = ~groups.select(pl.all_horizontal(pl.all().is_null())).to_series().to_numpy()
    valid = matched.copy()
    year = number("Y", 1970)
    if "y" in groups.columns:
        short = number("y", 0)
        year = form.since + (short - form.since) % 100
    month, day = number("m", 1), number("d", 1)
    if "b" in groups.columns:
        names = groups["b"].str.to_lowercase()
        month = names.replace_strict(MONTHS, default=0, return_dtype=pl.Int64).fill_null(0).to_numpy()
    if "q" in groups.columns:
        month = 3 * number("q", 1) - 2
    valid &= (month >= 1) & (month <= 12) & (day >= 1)
    first = ((year - 1970) * 12 + np.clip(month, 1, 12) - 1).astype("datetime64[M]")
    date = first.astype("datetime64[D]") + (np.clip(day, 1, 31) - 1)
    valid &= (date.astype("datetime64[M]") == first) & (day <= 31)
    if "j" in groups.columns:
        date = first.astype("datetime64[Y]").astype("datetime64[D]") + (number("j", 1) - 1)
        valid &= date.astype("datetime64[Y]") == first.astype("datetime64[Y]")
    if "V" in groups.columns:
        date, fits = _of_week(number("G", 1970) if "G" in groups.columns else year, number("V", 1), number("u", 1))
        valid &= fits
    hour, minute = number("H", 0), number("M", 0)
    if "p" in groups.columns:
        half = groups["p"].str.to_lowercase()
        said, later = half.is_not_null().to_numpy(), (half == "p").fill_null(False).to_numpy()
        hour = np.where(said & (hour <= 12), hour % 12 + 12 * later, hour)
    seconds = np.zeros(groups.height)
    if "S" in groups.columns:
        seconds = groups["S"].str.replace(",", ".", literal=True).cast(pl.Float64, strict=False).fill_null(0).to_numpy()
    midnight = (hour == 24) & (minute == 0) & (seconds == 0)
    valid &= ((hour < 24) | midnight) & (minute < 60) & (seconds < 61)
    micros = (hour * 60 + minute) * 60_000_000 + np.round(seconds * 1e6).astype(np.int64)
    if "z" in groups.columns and form.zone is not None:
        offset = offsets(groups["z"])
        micros = (
            micros + np.where(np.isnan(offset), 0, form.offset - np.nan_to_num(offset)).astype(np.int64) * 60_000_000
        )
    times = date.astype("datetime64[us]") + micros.astype("timedelta64[us]")
    return np.where(valid, times, np.datetime64("NaT", "us"))


def offsets(zones: Any) -> np.ndarray:
    """Written offsets, a polars series, as minutes before UTC, float64 (N), NaN where none is written."""
    import polars as pl

    known = {zone: float(offset_minutes(zone)) for zone in zones.drop_nulls().unique().to_list()}
    if not known:
        return np.full(len(zones), np.nan)
    return zones.replace_strict(known, default=None, return_dtype=pl.Float64).to_numpy()


def _of_week(year: np.ndarray, week: np.ndarray, weekday: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days of ISO weeks, and which of these there are."""
    fourth = (year - 1970).astype("datetime64[Y]").astype("datetime64[D]") + 3  # always of the first week
    monday = fourth - (fourth.astype(np.int64) + 3) % 7 + (week - 1) * 7
    same = (monday + 3).astype("datetime64[Y]").astype(np.int64) + 1970 == year
    return monday + (weekday - 1), same & (week >= 1)


def read(values: Sequence[Any], form: TimeForm) -> tuple[np.ndarray, np.ndarray]:
    """Raw values as datetime64[us] on the form's clock, NaT where there is none; and the rows that are no time.

    What is not written in the form is taken as ISO 8601, which no form contradicts.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return values.astype("datetime64[us]"), np.zeros(0, np.int64)
    column = texts_of(values)
    times = parsed(column, form)
    wrong = np.flatnonzero(np.isnat(times) & column.is_not_null().to_numpy())
    if len(wrong) and re.fullmatch(r"(%[A-Za-z])+", form.format or ""):  # numbers lose the zeros before them
        width = len(form.written(np.datetime64("2024-12-31")))
        times[wrong] = parsed(column.gather(wrong).str.zfill(width), form)
        wrong = wrong[np.isnat(times[wrong])]
    if len(wrong) and form.format not in (None, ISO):
        times[wrong] = parsed(column.gather(wrong), TimeForm(ISO, form.zone))
        wrong = wrong[np.isnat(times[wrong])]
    return times, wrong
