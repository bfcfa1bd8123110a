"""Which form the times of a column are written in: decided once, by all of its values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.fields.time.times import LONGEST, offsets, parsed, pattern, texts_of
from flambeau_onnx.times import DAY, ISO, UNIX, ZONES, TimeForm

DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%m.%d.%Y",
    "%d %m %Y", "%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d", "%y/%m/%d",
    "%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%d/%b/%y", "%d. %b %Y", "%d %b %Y", "%d %b, %Y", "%d %b %y", "%b %d, %Y",
    "%b %d %Y", "%Y-%b-%d", "%Y %b %d", "%a %b %d %Y", "%a, %d %b %Y", "%a %d %b %Y", "%a, %b %d, %Y", "%d de %b de %Y",
    "%Y年%m月%d日", "%Y年%m月", "%Y-%m", "%Y/%m", "%m/%Y", "%m-%Y", "%m.%Y", "%YM%m", "%Y-M%m", "%b %Y", "%b, %Y",
    "%b-%Y", "%b-%y", "%b %y", "%Y %b", "%Y-%b", "%YQ%q", "%Y-Q%q", "%Y Q%q", "Q%q %Y", "Q%q-%Y", "Q%q/%Y", "%G-W%V",
    "%GW%V", "%G-W%V-%u", "%GW%V%u", "%Y-%j", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z", "%Y%m%dT%H%M", "%Y%m%d",
    "%a %b %d %H:%M:%S %Y", "%H:%M %d.%m.%Y", "%H:%M:%S %d.%m.%Y", "%H:%M %d/%m/%Y", "%H:%M %m/%d/%Y", "%Y%m%d %H%M",
    "%Y-%m-%d_%H:%M", "%Y-%m-%d_%H:%M:%S", "%Y-%m-%d_%H-%M-%S", "%Y-%m-%d %H", "%Y-%m-%dT%H", "%m/%d/%Y %I %p",
    "%d/%m/%Y %H.%M", "%d.%m.%Y %H.%M", "%Y年%m月%d日%H时%M分", "%b %d, %y", "%d. %m. %Y", "%Y. %m. %d.", "%d/%m-%Y",
    "%a %d.%m.%Y", "%a, %d.%m.%Y", "%Y년 %m월 %d일", "%b/%Y", "%qQ%y", "%qQ%Y", "%Y/Q%q", "Q%q-%y", "Q%q '%y",
    "%Y-%qQ", "W%V %G", "%G/W%V", "W%V/%G",
)  # fmt: skip
"""The forms of days that are tried, each with any clock time after it; of equals the first."""
DIGITS = {
    6: ("%Y%m", "%y%m%d", "%d%m%y", "%m%d%y", "%G%V"), 7: ("%Y%j", "%-d%m%Y", "%-m%d%Y"), 10: ("%Y%m%d%H",),
    8: ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%-d%m%Y", "%-m%d%Y"), 12: ("%Y%m%d%H%M",), 14: ("%Y%m%d%H%M%S",),
}  # fmt: skip
"""The forms of whole numbers of at most so many digits; unasked the first alone is tried."""
FEWEST = {6: 12, 8: 5, 10: 12, 12: 5, 14: 5}
"""Different whole numbers of so many digits that must all be times for them to be taken as such unasked."""
YEARS = 1800, 2200  # what numbers may say
UNIX_YEARS = 631_152_000, 4_102_444_800  # seconds: 1990 to 2100
EXCEL_YEARS = 946_684_800, 2_524_608_000  # 2000 to 2050: its days are small numbers
NUMBERS = {
    "%Y.%m": "a year and a month", "%Y.%q": "a year and a quarter", "excel": "days of Excel (since 1899-12-30)",
} | {unit: f"Unix time ({unit[5:]} since 1970, UTC)" for unit in UNIX if unit != "excel"}  # fmt: skip
TRIED = 50  # texts, to find the forms that may fit at all
_CLOCK = re.compile(
    r"(T|t|[,:]?\s+|:)(\d{1,2}):(\d{2})(?::(\d{2})([.,]\d+)?)?(\s*)([ap])?(\.?m\.?)?(\s*)"
    rf"(z|utc|gmt|(?:utc|gmt)?[+-]\d{{2}}(?::?\d{{2}})?|{'|'.join(ZONES)})?(?:\s*[(\[].*)?$",
    re.I,
)


class Note(NamedTuple):
    """What a person should know of how times are read: which check, a message, and another format that may be right."""

    check: str
    message: str
    other: str | None = None


class Found(NamedTuple):
    """The form of a column, the share of its values that are times in it, and what there is to say of it."""

    form: TimeForm
    share: float
    notes: list[Note]


def find_form(values: Sequence[Any], format: str | None = None, time_column: bool = False) -> Found:
    """The form that reads most of some raw values.

    Where several read as many, the order of the rows decides, and then how regular the steps are; where neither tells
    them apart, the first of `DAYS` is taken and a Note says so.

    Args:
        format: what is known of it already.
        time_column: whether the values are known to be times, so that numbers may be Unix seconds too.

    >>> find_form(["12/31/2023 2:00 PM", "1/5/2024 11:30 AM"]).form.format
    '%-m/%-d/%Y %-I:%M %p'
    """
    if isinstance(values, np.ndarray) and values.dtype.kind == "M":
        return Found(TimeForm(), 1.0, [])
    column = texts_of(values)
    known = column.drop_nulls()
    if not len(known):
        return Found(TimeForm(format), 0.0, [])
    numbers = format is None and known.str.contains(r"^-?[0-9]+(\.[0-9]+)?$").all()
    if format is not None:
        candidates = [format]
    elif numbers:
        candidates = _of_numbers(known, time_column)
    elif not any(isinstance(v, str) for v in values):
        candidates = [ISO]
    else:
        candidates = _candidates(known)
    read = {f: parsed(known, TimeForm(f, "Z")) for f in candidates}
    shares = {f: 1 - float(np.isnat(times).mean()) for f, times in read.items()}
    most = max(shares.values(), default=0.0)
    if most == 0.0:
        return Found(TimeForm(None if numbers else format or ISO), 0.0, [])
    best = [f for f in candidates if shares[f] == most]
    chosen, notes = _decided(best, read, known)
    if numbers:
        notes.append(Note("numbers-as-times", f"numbers such as {known[0]} are read as {NUMBERS.get(chosen, chosen)}"))
    since = _since(chosen, known, read[chosen]) if "%y" in chosen else TimeForm.since
    zone = None
    if chosen not in UNIX:
        groups = known.str.extract_groups(pattern(chosen)).struct.unnest()
        if "z" in groups.columns:
            zone, more = _zone(groups["z"], parsed(known, TimeForm(chosen)))
            notes += more
        spelled = chosen if format is not None or numbers else _spelled(chosen, groups, known)
        texts = numbers or format is not None or any(isinstance(v, str) for v in values)
    else:
        spelled, texts = chosen, True
    form = TimeForm(spelled if texts else None, zone, since)
    if "%y" in chosen:
        years = np.sort(parsed(known, form)[~np.isnat(read[chosen])]).astype("datetime64[Y]")
        notes.append(Note("two-digit-years", f"years of two digits are read as {years[0]} to {years[-1]}"))
    return Found(form, most, notes)


def _candidates(known: Any) -> list[str]:
    """The formats of `DAYS` that fit some of the texts as they look."""
    drawn = known.gather(np.unique(np.linspace(0, len(known) - 1, TRIED).astype(np.int64))).to_list()
    drawn = [text for text in drawn if len(text) <= LONGEST and any(c.isdigit() for c in text)]
    return [f for f in DAYS if any(re.match(pattern(f), text) for text in drawn)]


def _decided(best: Sequence[str], read: dict[str, np.ndarray], known: Any) -> tuple[str, list[Note]]:
    """One of the formats that read equally many, and whether the others were as likely."""
    left = [f for i, f in enumerate(best) if not any(np.array_equal(read[f], read[e], True) for e in best[:i])]
    for doubt in (_disorder, _irregularity):
        if len(left) > 1:
            doubts = {f: doubt(read[f][~np.isnat(read[f])]) for f in left}
            least = min(doubts.values())
            left = [f for f in left if doubts[f] <= max(2 * least, 1e-9)]
    if len(left) == 1:
        return left[0], []
    first, other = left[:2]
    row = int(np.argmax(read[first] != read[other]))
    said, would = (str(read[f][row].astype("datetime64[D]")) for f in (first, other))
    message = f"days and months cannot be told apart by the values: {known[row]!r} is read as {said}, not {would}"
    return first, [Note("day-or-month", message, other)]


def _disorder(times: np.ndarray) -> float:
    """How much a column goes to and fro, 0 to 0.5."""
    steps = np.diff(times.astype(np.int64))
    steps = steps[steps != 0]
    return min((steps < 0).mean(), (steps > 0).mean()) if len(steps) else 0.0


def _irregularity(times: np.ndarray) -> float:
    """The share of the steps, in order of time, that are not the most common one, in months or in time."""
    times = np.unique(times)
    if len(times) < 3:
        return 0.0
    months = times.astype("datetime64[M]")
    steps = [np.diff(times.astype(np.int64))]
    if len(np.unique(times - months)) == 1:
        steps.append(np.diff(months.astype(np.int64)))
    return 1 - max(Counter(s.tolist()).most_common(1)[0][1] / len(s) for s in steps)


def _since(format: str, known: Any, times: np.ndarray) -> int:
    """The first year of two-digit ones: as POSIX has it, unless only another keeps the rows in order."""
    good = ~np.isnat(times)
    if _disorder(times[good]) == 0:
        return TimeForm.since
    ends = times[good][[0, -1]].astype("datetime64[Y]").astype(np.int64) % 100 + 70
    for since in (1900 + int(year) % 100 for year in ends):
        if _disorder(parsed(known, TimeForm(format, "Z", since))[good]) == 0:
            return since
    return TimeForm.since


def _zone(zones: Any, times: np.ndarray) -> tuple[str | None, list[Note]]:
    """The clock that times are kept in: the one that all are written in; none where all are at one time of their own
    days, as those of a place with summer time; else UTC."""
    minutes = offsets(zones)
    different = np.unique(minutes[~np.isnan(minutes)])
    if not len(different):
        return None, []
    written = zones.drop_nulls()
    if len(different) == 1:
        return written[0], []
    if np.ptp(times[~np.isnat(times)].astype(np.int64) % DAY) == 0:
        return None, []
    some = ", ".join(written.unique(maintain_order=True).head(3).to_list())
    return "+00:00", [Note("offsets", f"times have different offsets from UTC ({some}): they are taken in UTC")]


def _spelled(format: str, groups: Any, known: Any) -> str:
    """A format of days with the clock after it, and without leading zeros, as most texts have it."""
    for name, group in (("m", "m"), ("d", "d"), ("V", "V"), ("I", "H")):
        if group in groups.columns and f"%{name}" in format and (groups[group].str.len_chars() == 1).any():
            format = format.replace(f"%{name}", f"%-{name}")
    if "%b" in format and (groups["b"].drop_nulls().str.len_chars() > 4).any():
        format = format.replace("%b", "%B")
    if format.startswith("%a") and known.str.contains(r"^\s*[^\W\d_]{4,}").any():
        format = format.replace("%a", "%A", 1)
    if "%H" in format or "H" not in groups.columns:
        return format
    there = groups["H"].is_not_null().arg_true()
    clock = _CLOCK.search(known[int(there[0])]) if len(there) else None
    if clock is None:
        return format
    between, _, _, second, part, gap, half, _, space, zone = clock.groups()
    hour = ("-" if (groups["H"].str.len_chars() == 1).any() else "") + ("I" if half else "H")
    seconds = "" if second is None else ":%S" + ("" if part is None else "%.3f" if len(part) == 4 else "%.f")
    said = "" if not half else gap + ("%p" if half.isupper() else "%P")
    offset = "" if not zone else (space if half else gap) + "%z"
    return f"{format}{between}%{hour}:%M{seconds}{said}{offset}"


def _of_numbers(known: Any, time_column: bool) -> list[str]:
    """The forms in which digits are YYYYMMDD and such, or what has passed since 1970; none for plain numbers."""
    digits = int(known.str.len_chars().max())
    formats = DIGITS.get(digits, ()) if not known.str.contains(".", literal=True).any() else ()
    if not time_column:
        formats = formats[: digits in FEWEST and known.n_unique() >= FEWEST[digits]]
    elif len(known) >= FEWEST[6] and known.str.contains(r"^(1[89]|2[01])[0-9]{2}\.(0[1-9]|1[0-2])$").all():
        formats = ("%Y.%m",)
    elif len(known) >= FEWEST[6] and known.str.contains(r"^(1[89]|2[01])[0-9]{2}\.[1-4]$").all():
        formats = ("%Y.%q",)
    plausible = [format for format in formats if _in_years(parsed(known, TimeForm(format)))]
    if plausible or not time_column:
        return plausible
    for unit in UNIX:
        seconds = parsed(known, TimeForm(unit)).astype("datetime64[s]").astype(np.int64)
        first, end = EXCEL_YEARS if unit == "excel" else UNIX_YEARS
        if (seconds >= first).all() and (seconds < end).all():
            return [unit]
    return []


def _in_years(times: np.ndarray) -> bool:
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    return not np.isnat(times).any() and years.min() >= YEARS[0] and years.max() <= YEARS[1]
