"""Times as people write them: forms, as `strptime` has them, and one value at a time by one of them. Flambeau finds out
which form a column has, and reads whole columns; both have the forms from here."""

from __future__ import annotations

import datetime
import functools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

ISO = "%Y-%m-%d"
DAY = 86_400_000_000  # microseconds
UNIX = {"unix s": 1_000_000, "unix ms": 1_000, "unix us": 1, "unix ns": 0.001, "excel": DAY}
"""What numbers count since 1970, and how many microseconds one is; Excel's are days since 1899-12-30."""
EXCEL_1970 = 25_569  # 1970-01-01 in Excel
CYCLES = {"year": 365.2425, "week": 7.0, "day": 1.0}
"""Days of each cycle that a date has a place in."""
PIVOT = 1969  # of two-digit years, as POSIX has it: 69 to 99 are of the 20th century
MISSING = ("", "nan", "nat", "none", "null", "na", "n/a", "0000-00-00", "0000-00-00 00:00:00")
PERIOD = r"^([0-9]{4}-[0-9]{2}-[0-9]{2})/[0-9]{4}-[0-9]{2}-[0-9]{2}$"  # of pandas
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
        ValueError: the format has a code that is not known.
    """
    format = _spelled_out(format)
    clock = _TAIL.search(format)
    day = format[: clock.start()] if clock else format
    out, at, before = [], 0, ""
    codes = list(_CODE.finditer(day))
    if not codes or "%" in _CODE.sub("", day):
        raise ValueError(format)
    for i, code in enumerate(codes):
        out.append(_literal(day[at : code.start()]))
        name = _SAME.get(code[1], code[1])
        if name and name not in _CODES:
            raise ValueError(format)
        regex = _CODES.get(name, "")
        after = codes[i + 1].start() == code.end() if i + 1 < len(codes) else False
        if (after or (before and at == code.start())) and code[0][1] not in "-_":
            regex = regex.replace(r"\d{1,2}", r"\d{2}")  # nothing parts the digits
        if regex and regex in out:
            raise ValueError(format)
        out.append(regex)
        at, before = code.end(), name
    out.append(_literal(day[at:]))
    body = "".join(out)
    regex = rf"(?i)^\s*{body}{'' if '(?P<H>' in body or '(?P<z>' in body else CLOCK}\s*$"
    return regex.replace(r"\d{", "[0-9]{").replace(r"\d+", "[0-9]+")  # digits that numbers are made of


def _literal(text: str) -> str:
    return "".join(r"\s*" if c.isspace() else re.escape(c) for c in re.sub(r"\s+", " ", text))


NAT = np.datetime64("NaT", "us")


def text_of(value: Any) -> str | None:
    """A raw value that is no text as one: numbers in digits, times as ISO has them; None where there is none."""
    if value is None or value != value or isinstance(value, (bool, np.bool_)):
        return None if value is None or value != value else str(value)
    if isinstance(value, np.datetime64):
        return str(value.astype("datetime64[us]")).replace("T", " ")
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def read(value: Any, form: TimeForm) -> np.datetime64:
    """One raw value as datetime64[us] on the form's clock, NaT where there is none. What is not written in the form is
    taken as ISO 8601.

    >>> print(read("31.1.2024 14:00", TimeForm("%d.%m.%Y")), read("", TimeForm()))
    2024-01-31T14:00:00.000000 NaT

    Raises:
        ValueError: it is no time.
    """
    text = value if isinstance(value, str) else text_of(value)
    text = None if text is None else re.sub(PERIOD, r"\1", text.strip())
    if text is None or text.lower() in MISSING:
        return NAT
    forms = [(text, form)]
    if re.fullmatch(r"(%[A-Za-z])+", form.format or ""):  # numbers lose the zeros before them
        forms.append((text.zfill(len(form.written(np.datetime64("2024-12-31")))), form))
    if form.format not in (None, ISO):
        forms.append((text, TimeForm(ISO, form.zone)))
    for written, one in forms:
        if not np.isnat(time := _counted(written, one) if one.format in UNIX else _composed(written, one)):
            return time
    raise ValueError(text)


def _counted(text: str, form: TimeForm) -> np.datetime64:
    """A number of `UNIX`."""
    assert form.format is not None
    try:
        if form.format == "excel":  # whole seconds, for finer parts of a day are lost in digits
            micros: float = round((float(text) - EXCEL_1970) * 86_400) * 1e6
        else:
            micros = (int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else float(text)) * UNIX[form.format]
    except ValueError:
        return NAT
    known = abs(micros) < 2**62
    return np.datetime64(int(micros), "us") + np.timedelta64(form.offset, "m") if known else NAT


def _composed(text: str, form: TimeForm) -> np.datetime64:
    """The named groups of `pattern` put together."""
    match = re.search(pattern(form.format or ISO), text)
    if match is None:
        return NAT
    groups = {name: part for name, part in match.groupdict().items() if part is not None}

    def number(name: str, default: int) -> int:
        return int(groups.get(name, default))

    year, month, day = number("Y", 1970), number("m", 1), number("d", 1)
    if "y" in groups:
        year = form.since + (number("y", 0) - form.since) % 100
    if "b" in groups:
        month = MONTHS.get(groups["b"].lower(), 0)
    if "q" in groups:
        month = 3 * number("q", 1) - 2
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return NAT
    first = np.datetime64((year - 1970) * 12 + month - 1, "M")
    date = first.astype("datetime64[D]") + np.timedelta64(day - 1, "D")
    valid = date.astype("datetime64[M]") == first
    if "j" in groups:
        date = first.astype("datetime64[Y]").astype("datetime64[D]") + np.timedelta64(number("j", 1) - 1, "D")
        valid &= date.astype("datetime64[Y]") == first.astype("datetime64[Y]")
    if "V" in groups:
        of, week = number("G", 1970) if "G" in groups else year, number("V", 1)
        january = np.datetime64(of - 1970, "Y")
        fourth = int(january.astype("datetime64[D]").astype(np.int64)) + 3  # always of the first week
        monday = fourth - (fourth + 3) % 7 + (week - 1) * 7
        valid &= bool(np.datetime64(monday + 3, "D").astype("datetime64[Y]") == january) and week >= 1
        date = np.datetime64(monday + number("u", 1) - 1, "D")
    hour, minute, seconds = number("H", 0), number("M", 0), float(groups.get("S", "0").replace(",", "."))
    if "p" in groups and hour <= 12:
        hour = hour % 12 + 12 * (groups["p"].lower() == "p")
    midnight = hour == 24 and minute == 0 and seconds == 0
    if not (valid and (hour < 24 or midnight) and minute < 60 and seconds < 61):
        return NAT
    micros = (hour * 60 + minute) * 60_000_000 + round(seconds * 1e6)
    if "z" in groups and form.zone is not None:
        micros += (form.offset - offset_minutes(groups["z"])) * 60_000_000
    return date.astype("datetime64[us]") + np.timedelta64(micros, "us")


def date_features(days: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Days since 1970 (…) to float32 (…, 7): standardised, then sine and cosine of the place in each of `CYCLES`."""
    angles = [2 * np.pi * (days / cycle) for cycle in CYCLES.values()]
    return np.stack([(days - mean) / std, *(f(a) for a in angles for f in (np.sin, np.cos))], -1).astype(np.float32)
