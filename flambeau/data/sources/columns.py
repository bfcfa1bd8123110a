"""Columns of a data frame as raw values. What the texts of a column are, names, numbers or dates, is decided here,
once: by the field that is given or that a run has, else by what stands in them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.findings import Finding, Severity
from flambeau.data.sources.coding import LONGEST
from flambeau.fields import Category, Field, Number, Text, recognise
from flambeau.fields.columns import Names, Strings, Texts
from flambeau.fields.numerals import MOST, PLAIN, Numerals, find

SAMPLED = 10_000  # values of a column that are looked at first
FEW_ZEROS = 0.01
"""Share of whole numbers with a zero before them from which they are codes."""
FEW_NUMBERS = 20
"""Different numbers of a target, or a tenth of its rows, that may still be the names of classes."""
_MEASURED = r"^[^\w\s]{0,2}\s*\d(?:[\d.,]*\d)?\s*[a-zA-Z°µ]{0,3}$"
_DUPLICATED = re.compile(r"(.*)_duplicated_\d+")


class Columns(NamedTuple):
    """Raw values by column; fields that are known already; columns that hold nothing; what was noticed; and of columns
    of texts one of them."""

    values: dict[str, Sequence[Any]]
    fields: dict[str, Field]
    empty: list[str]
    findings: list[Finding]
    examples: dict[str, str]


def from_polars(
    frame: Any,
    target: str | None,
    fields: Mapping[str, Field] | None = None,
    *,
    decimal: str | None = None,
    as_written: Collection[str] = (),
) -> Columns:
    """The columns of a polars frame.

    Numbers and dates become arrays, missing numbers NaN. A column of texts nearly all of which are numbers, however
    people write them, is one of numbers: what stands for a missing one ("n/a") is NaN; where something else stands
    between them, the texts stay, its field is a Number, and those rows are named when the data is encoded. Codes such
    as 007 stay names.

    Args:
        fields: what columns are, where that is known: they are then read so.
        decimal: the decimal mark of a file whose cells are all texts, where nothing else tells it. If not given, values
            have types, and texts that programs would write as numbers have been kept as texts on purpose.
        as_written: columns whose texts are neither numbers nor dates, whatever they look like.
    """
    import polars as pl

    values: dict[str, Sequence[Any]] = {}
    empty: list[str] = []
    reader = _Reader(target, dict(fields or {}), decimal, as_written)
    reader.look([frame[name] for name in frame.columns if frame.schema[name] == pl.String])
    for name in frame.columns:
        series = frame[name]
        dtype, given = series.dtype, reader.given.get(name)
        if series.null_count() == len(series) > 0:
            empty.append(name)
        if (
            given is not None
            and given.asked_as == "text"
            and not (dtype.is_nested() or dtype in (pl.Binary, pl.Object))
        ):
            values[name] = _strings(series.cast(pl.String))  # numbers that are to be texts all the same
        elif dtype == pl.String:
            values[name] = reader.read(series)
        elif dtype == pl.Binary and (texts := _decoded(series)) is not None:
            values[name] = _strings(texts)
        elif dtype.is_numeric() and (not series.null_count() or name != target):
            values[name] = series.cast(pl.Float64).to_numpy() if series.null_count() else series.to_numpy()
        elif dtype in (pl.Date, pl.Datetime):
            values[name] = _naive(series).to_numpy().astype("datetime64[us]")
        elif dtype in (pl.Duration, pl.Time):
            values[name] = series.cast(pl.Duration("us")).dt.total_microseconds(fractional=True).to_numpy() / 3.6e9
            reader.tell("as hours", name)
        else:
            values[name] = series.to_list()
    return Columns(values, reader.fields, empty, [*_duplicated(frame.columns), *reader.findings()], reader.examples)


class _Reader:
    """Reads columns of texts."""

    def __init__(self, target: str | None, given: dict[str, Field], decimal: str | None, as_written: Collection[str]):
        self.target, self.given, self.as_written = target, given, as_written
        self.texts, self.decimal = decimal is not None, decimal or "."
        self.numerals: dict[str, tuple[Numerals, bool]] = {}
        self.fields: dict[str, Field] = {}
        self.examples: dict[str, str] = {}
        self._read_as: dict[str, list[str]] = {}
        self._findings: list[Finding] = []

    def look(self, columns: Sequence[Any]) -> None:
        """Finds how numbers are written by samples of all columns, so that one that is clear decides those that are
        not."""
        marks: set[str] = set()
        for series in columns:
            given = self.given.get(series.name)
            known = series.drop_nulls().head(1).to_list()
            if known:
                self.examples[series.name] = known[0]
            if series.name in self.as_written or (given is not None and given.numerals is None):
                continue
            sample = _sample(series)
            if given is not None and given.numerals is not None and given.read_as is not None:
                self.numerals[series.name] = self._as_given(sample, given.numerals), False
                continue
            found = find(sample, least=MOST / 2)
            if found is None:
                if given is not None:
                    self.numerals[series.name] = PLAIN, False
                continue
            self.numerals[series.name] = found
            if not found[1] and sample.str.contains(r"[.,]").any():
                marks.add(found[0].decimal)
        clear = marks.pop() if len(marks) == 1 else None
        for series in columns:
            numerals, unsure = self.numerals.get(series.name, (PLAIN, False))
            if unsure:
                commas = series.str.contains(",", literal=True).any()
                mark = clear or (self.decimal if commas else ".")
                self.numerals[series.name] = Numerals(mark, numerals.unit), commas or mark == ","

    def _as_given(self, sample: Any, given: Numerals) -> Numerals:
        """How a column is written of which that is known; otherwise, where most of it cannot be read so."""
        missing, numbers = given.read(sample)
        if np.isfinite(numbers).sum() >= MOST * (~missing).sum() or (found := find(sample)) is None:
            return given
        if found[0].decimal != given.decimal:
            example, ways = sample.filter(_mask(~missing))[0], [str(way) or "en" for way in (given, found[0])]
            self._findings.append(
                Finding("written-otherwise", Severity.WARNING,
                        f"the numbers of '{sample.name}', such as '{example}', are not written as number:{ways[0]}, as "
                        f"was expected, and are read as number:{ways[1]}", count=len(sample))
            )  # fmt: skip
        return found[0]

    def read(self, series: Any) -> Sequence[Any]:
        """The values of a column."""
        name = series.name
        given = self.given.get(name)
        if name in self.as_written:
            some = _sample(series).drop_nulls().to_list()
            names = name == self.target or Category.recognise(some).score > 0.5
            self.fields[name] = Category() if names else Text()
        if name not in self.numerals:
            if given is None and self.texts and name not in self.as_written:
                self._tell_measured(series)
            return _strings(series)
        numerals, unsure = self.numerals[name]
        missing, numbers = numerals.read(series)
        known = int((~missing).sum())
        good = np.isfinite(numbers)
        if given is None and good.sum() < MOST * known:
            self._tell_names(series, ~good & ~missing)
            return _strings(series)
        if given is None and (known == 0 or self._kept_as_texts(series, missing, good)):
            return _strings(series)
        marked = missing & series.is_not_null().to_numpy()
        if name == self.target and given is None and self._are_classes(series, numbers[good], missing):
            if marked.any():
                self._tell_missing(series, marked)
                series = series.set(_mask(marked), None)
            return _strings(series)
        if marked.any():
            self._tell_missing(series, marked)
        whole = _whole(series) if not missing.any() and good.all() and numerals == PLAIN else None
        self._tell_numbers(series, numerals, unsure, numbers)
        if str(numerals) or good.sum() < known:
            self.fields[name] = (given or Number()).written_as(numerals)
        if good.sum() < known:  # the others are named where they are encoded
            numbers = numbers.astype(object)
            numbers[~good & ~missing] = series.filter(_mask(~good & ~missing)).to_list()
            return [None if gone else value for value, gone in zip(numbers.tolist(), missing.tolist(), strict=True)]
        if name == self.target and missing.any():
            return [None if gone else value for value, gone in zip(numbers.tolist(), missing.tolist(), strict=True)]
        return whole if whole is not None else numbers  # type: ignore[return-value]

    def _kept_as_texts(self, series: Any, missing: np.ndarray, good: np.ndarray) -> bool:
        """Whether texts that are numbers are names all the same."""
        if not self.texts:
            plain = self.numerals[series.name][0] == PLAIN and bool((good | series.is_null().to_numpy()).all())
            return plain and series.str.contains(",", literal=True).sum() == 0
        known = series.filter(_mask(~missing)).str.strip_chars()
        some = _sample(known).unique() if series.name != self.target else known.head(0)
        if 0 < len(some) <= FEW_NUMBERS and self._written_twice(some):
            return True
        zeros = known.str.contains(r"^0\d+$")
        if not zeros.any():
            return False
        widths = known.str.len_chars()
        if zeros.mean() < FEW_ZEROS and widths.min() != widths.max():
            return False
        example = known.filter(zeros)[0]
        self._findings.append(
            Finding("read-as-names", Severity.NOTE,
                    f"the column '{series.name}' is read as names, for zeros stand before some, such as '{example}'",
                    fix=_fix(series.name, "number"))
        )  # fmt: skip
        return True

    def _are_classes(self, series: Any, numbers: np.ndarray, missing: np.ndarray) -> bool:
        """Whether the numbers of a target are names of classes: few whole ones, or few that are written differently."""
        drawn = numbers[:: max(1, len(numbers) // SAMPLED)]
        distinct = np.unique(numbers)
        if len(distinct) > max(FEW_NUMBERS, min(1000, len(numbers) // 10)):
            return False
        if self._written_twice(series.filter(_mask(~missing))):
            return True
        return isinstance(recognise(drawn, target=True)[0], Category)  # type: ignore[arg-type]

    def _written_twice(self, known: Any) -> bool:
        """Whether texts are written differently that are one number, as versions 1.1 and 1.10 are; says so."""
        texts = known.str.strip_chars().unique()
        plain = texts.filter(texts.str.contains(r"^[-+]?[\d.]+$"))
        if known.name != self.target:  # of a measurement, 1 and 1.0 are the same
            plain = plain.str.replace(r"\.0$", "").unique()
        twice = plain.filter(
            plain.cast(float, strict=False).is_duplicated() & plain.cast(float, strict=False).is_not_null()
        )
        if not len(twice):
            return False
        two = sorted(twice.to_list(), key=lambda text: (float(text), text))[:2]
        self._findings.append(
            Finding("read-as-names", Severity.WARNING,
                    f"'{known.name}' is read as names, for '{two[0]}' and '{two[1]}' are written differently and are "
                    "one number", fix=_fix(known.name, "number"))
        )  # fmt: skip
        return True

    def tell(self, way: str, column: str) -> None:
        """That a column is read in a way that is not plain."""
        self._read_as.setdefault(way, []).append(column)

    def _tell_numbers(self, series: Any, numerals: Numerals, unsure: bool, numbers: np.ndarray) -> None:
        if not (numerals.words() or unsure):
            return
        written = _mask(series.is_not_null().to_numpy() & np.isfinite(numbers))
        # one that shows the mark
        shown = series.filter(written)
        marked = shown.filter(shown.str.contains(r"[.,:]"))
        if not len(shown):
            return
        text = (marked if len(marked) else shown)[0]
        self.examples[series.name] = text
        way = f"as numbers {numerals.words()}" if numerals.words() and numerals.unit != "time" else numerals.words()
        way = way or "as numbers with a comma between thousands"
        value = numerals.number(text)
        if not unsure:
            self.tell(f"{way}, such as '{text}' as {value:g}" if len(self._read_as) < 1 else way, series.name)
            return
        other = "en" if numerals.decimal == "," else "de"
        self._findings.append(
            Finding("read-as-numbers", Severity.NOTE,
                    f"the column '{series.name}' is read {way}, such as '{text}' as {value:.12g}, which may be meant "
                    "otherwise", fix=_fix(series.name, f"number:{other}"))
        )  # fmt: skip

    def _tell_names(self, series: Any, words: np.ndarray) -> None:
        rows = np.flatnonzero(words)
        self._findings.append(
            Finding("read-as-names", Severity.WARNING,
                    f"the column '{series.name}' is read as names, for {len(rows)} of {len(series)} values, such as "
                    f"'{series[int(rows[0])]}', are no numbers", fix=_fix(series.name, "number"))
        )  # fmt: skip

    def _tell_measured(self, series: Any) -> None:
        """That many different texts are numbers in several units, if so."""
        known = _sample(series).drop_nulls()
        if known.n_unique() > FEW_NUMBERS and known.str.contains(_MEASURED).sum() >= MOST * len(known):
            self._findings.append(
                Finding("read-as-names", Severity.NOTE,
                        f"the column '{series.name}' is read as names, for its numbers, such as '{known[0]}', are not "
                        "all written alike", fix="if they are to be numbers, write them in one unit")
            )  # fmt: skip

    def _tell_missing(self, series: Any, marked: np.ndarray) -> None:
        rows = np.flatnonzero(marked).tolist()
        many = len(rows) > 1
        out = f", and {'are' if many else 'is'} left out" if series.name == self.target else ""
        self._findings.append(
            Finding("read-as-missing", Severity.NOTE,
                    f"{len(rows)} value{'s' * many} of the column '{series.name}' such as '{series[rows[0]]}' "
                    f"stand{'s' * (not many)} for a missing number{out}",
                    places=[f"row {row + 1}" for row in rows], rows=rows)
        )  # fmt: skip

    def findings(self) -> list[Finding]:
        """What was noticed."""
        ways = [
            Finding("read-as-numbers", Severity.NOTE, f"read {way}: the column{'s' * (len(names) > 1)} "
                    + ", ".join(f"'{name}'" for name in names[:10]) + ", …" * (len(names) > 10), count=len(names))
            for way, names in self._read_as.items()
        ]  # fmt: skip
        return [*self._findings, *ways]


def _fix(column: str, reading: str) -> str:
    return f"if that is wrong: read={{'{column}': '{reading}'}} (--read {column}={reading})"


def _mask(rows: np.ndarray) -> Any:
    import polars as pl

    return pl.Series(rows, dtype=pl.Boolean)


def _sample(series: Any) -> Any:
    """Some values: to look at each of millions of texts would need their memory once more."""
    if len(series) <= SAMPLED:
        return series
    drawn = np.random.default_rng(0).integers(len(series), size=SAMPLED)  # each n-th may be what comes every n rows
    return series.gather(drawn)


def _whole(series: Any) -> np.ndarray | None:
    """Texts as whole numbers, where all are."""
    import polars as pl

    if _sample(series).cast(pl.Int64, strict=False).null_count():
        return None
    whole = series.cast(pl.Int64, strict=False)
    return None if whole.null_count() else whole.to_numpy()


def _strings(series: Any) -> Strings:
    """A column of strings: the different ones once where they repeat."""
    import polars as pl

    if len(np.unique(series.hash().to_numpy())) > len(series) // 2:  # `n_unique` would keep a table of them all
        return Texts(series)
    names = series.unique(maintain_order=True)
    codes = series.replace_strict(names, pl.Series(range(len(names)), dtype=pl.Int32), return_dtype=pl.Int32)
    return Names(codes.to_numpy().astype(np.int32), names.to_list())


def _decoded(series: Any) -> Any:
    """Bytes as texts, where all are; None for those of files."""
    import polars as pl

    if (series.bin.size() > LONGEST).any():
        return None
    try:
        texts = series.cast(pl.String)
    except pl.exceptions.PolarsError:  # they are not UTF-8
        return None
    return None if texts.str.contains("\0", literal=True).any() else texts


def _naive(series: Any) -> Any:
    """Times without their zone, in UTC."""
    zone = getattr(series.dtype, "time_zone", None)
    return series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series


def _duplicated(names: Sequence[str]) -> list[Finding]:
    """Names that polars made different because the file has them twice."""
    twice = {n: m[1] for n in names if (m := _DUPLICATED.fullmatch(n)) and m[1] in names}
    return [
        Finding("same-name", Severity.WARNING, f"two columns are called '{first}'; the later one is read as '{name}'",
                places=[name], fix="give it a name of its own, or choose columns with inputs=")
        for name, first in twice.items()
    ]  # fmt: skip
