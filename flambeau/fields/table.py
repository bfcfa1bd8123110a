"""Table: the numbers, categories and dates of a row together, as one value."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, nearest
from flambeau.core.shapes import Float32
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition
from flambeau.fields.category import Category, class_name
from flambeau.fields.columns import Rows, counts_of, mapped
from flambeau.fields.date import Date
from flambeau.fields.heat import Heat, Site, listed
from flambeau.fields.number import Number
from flambeau.fields.numerals import PLAIN, as_numbers, looks_like_numbers
from flambeau.fields.recognition import recognise
from flambeau.robustness import Corruption
from flambeau.robustness.numbers import NUMBERS, spread_of

RARE = 2  # a category of fewer training rows is unknown, so that the unknown one is learned too


class Row(NamedTuple):
    """A prepared batch of rows: numbers float32 (B, D), of which the last say what is missing; codes int64 (B, C)."""

    numbers: Tensor
    codes: Tensor


@FIELDS.register("table")
class Table(Field):
    """Numbers, categories and dates of one row. Encoded as one float32 (W): the numbers, standardised, NaN where one is
    missing, and behind them the number of each category, 0 for one that is unknown or missing.

    So a whole table is one array, and a batch of it one gather. Prepared as `Row`: a missing number is 0, the mean, and
    where a column has missing ones among the training rows, one more number says so.

    Args:
        columns: the field of each column: Number, Category or Date; recognised from the rows if not given.
    """

    input_only = True
    settings = ("columns",)
    fitted = ("gaps",)

    def __init__(self, columns: Mapping[str, Any] | None = None):
        self.columns = _checked({
            name: Field.from_dict(field) if isinstance(field, Mapping) else field
            for name, field in (columns or {}).items()
        })  # fmt: skip
        self._given = bool(columns)
        self.gaps: list[str] = []
        """Columns with missing numbers or dates among the training rows."""

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        if len(values) and all(isinstance(v, Mapping) and v for v in values):
            return Recognition(0.95, f"values are rows of {len(values[0])} columns")
        return Recognition(0.0, "values are not rows")

    def fit(self, values: Sequence[Any]) -> None:
        columns = _columns_of(values)
        if not self._given:
            self.columns = _checked({name: recognise_column(column)[0] for name, column in columns.items()})
        self.gaps = []
        for name, field in self.columns.items():
            column = columns.get(name, [None] * len(values))
            if isinstance(field, Category):
                _fit_category(field, column)
                continue
            if isinstance(field, Number):
                numbers, _ = as_numbers(column, field.numerals_of(column))
                field.fit(numbers)  # type: ignore[arg-type]
                missing = ~np.isfinite(numbers)
            else:
                assert isinstance(field, Date)
                field.fit(column)
                missing = ~np.isfinite(field.days(column)[0])
            if missing.any():
                self.gaps.append(name)
        self.__dict__.pop("column_places", None)

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        columns, numbers = _columns_of(values), {*self.of(Number)}
        written = {n: self.columns[n].numerals or PLAIN for n in numbers}
        spread = {n: float(spread_of(as_numbers(columns[n], written[n])[0])) for n in numbers}

        def opened(row: Mapping[str, Any]) -> np.ndarray:  # what is no number is 0
            return np.asarray([
                as_numbers([row[n]], written[n])[0][0] / spread[n] if n in numbers else 0.0
                for n in self.columns
            ])  # fmt: skip

        def closed(row: Mapping[str, Any], changed: np.ndarray) -> dict[str, Any]:
            return {n: None if x != x else float(x * spread[n]) if n in numbers else row[n]
                    for n, x in zip(self.columns, changed, strict=True)}  # fmt: skip

        found = NUMBERS.within(opened, closed)
        return found if numbers else {"missing": found["missing"]}

    def of(self, *kinds: type[Field]) -> list[str]:
        """The columns of some kinds, in order."""
        return [name for name, field in self.columns.items() if isinstance(field, kinds)]

    @property
    def gathers(self) -> list[str]:
        return [*self.columns]

    def columns_of(self, name: str) -> dict[str, Field]:
        return dict(self.columns)

    @property
    def category_sizes(self) -> dict[int, int]:
        return dict(enumerate(self.input_shape[1:], self.num_numbers))

    @cached_property
    def column_places(self) -> dict[str, slice]:
        """Where each column lies in an encoded row: numbers and dates first, then categories."""
        at, places = 0, {}
        for name in (*self.of(Number, Date), *self.of(Category)):
            width = self.columns[name].encoding.shape[0] if isinstance(self.columns[name], Date) else 1
            places[name] = slice(at, at + width)
            at += width
        return places

    @property
    def num_numbers(self) -> int:
        """How many of the encoded numbers are no category."""
        return sum(self.column_places[name].stop - self.column_places[name].start for name in self.of(Number, Date))

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (self.num_numbers + len(self.of(Category)),))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(D, K1, K2, …): prepared numbers, then how many codes each category has."""
        sizes = [len(self.columns[name].classes) + 1 for name in self.of(Category)]
        return (self.num_numbers + len(self.gaps), *sizes)

    def encode(self, value: Any) -> np.ndarray:
        if not isinstance(value, Mapping):
            raise DataError(f"a {type(value).__name__} is not a row", expected=f"a mapping of {self._names()}")
        self.check_names(value)
        array, errors = self._encode({name: [value[name]] for name in self.columns}, 1)
        if errors:
            raise DataError(errors[0])
        return array[0]

    def check_names(self, names: Mapping[str, Any]) -> None:
        """Raises DataError where a column is missing, or is one that the model does not know."""
        for name in self.columns:
            if name not in names:
                raise DataError(f"the row has no column '{name}'", expected=f"a row of {self._names()}")
        for name in names:
            if name not in self.columns:
                fix = f"leave it out; {nearest(name, self.columns)}"
                raise DataError(f"the row has a column '{name}' that the model does not know", fix=fix)

    def _names(self) -> str:
        return ", ".join([*self.columns][:12]) + (", …" if len(self.columns) > 12 else "")

    def encode_batch(self, values: Sequence[Any]) -> list[np.ndarray | DataError]:
        if not isinstance(values, Rows):
            return super().encode_batch(values)
        array, errors = self._encode(values.columns, len(values))
        return [DataError(errors[row]) if row in errors else array[row] for row in range(len(array))]

    def encode_all(self, values: Sequence[Any]) -> np.ndarray | None:
        if not isinstance(values, Rows):
            return None
        array, errors = self._encode(values.columns, len(values))
        return None if errors else array

    def _encode(self, columns: Mapping[str, Sequence[Any]], rows: int) -> tuple[np.ndarray, dict[int, str]]:
        """Columns to float32 (N, W), and what is wrong with rows that cannot be encoded."""
        out = np.zeros((rows, *self.encoding.shape), np.float32)
        errors: dict[int, str] = {}
        for name, at in self.column_places.items():
            field, values = self.columns[name], columns[name]
            if isinstance(field, Category):
                out[:, at.start] = mapped(values, partial(_code, field))
                continue
            if isinstance(field, Number):
                numbers, bad = as_numbers(values, field.numerals)
                out[:, at.start] = field.standard(numbers)
                expected = "a number"
            else:
                assert isinstance(field, Date)
                days, bad = field.days(values)
                out[:, at] = field.features(days)
                expected = f"a date such as {field.example()}"
            for row in bad.tolist():
                errors.setdefault(row, f"the column '{name}' has {values[row]!r}; expected {expected}")
        return out, errors

    @property
    def restores(self) -> bool:
        return True

    def restore(self, prepared: Row) -> list[dict[str, Any]]:
        """Rows by column: numbers in natural units, None where one is missing; of an unknown category None too."""
        numbers = prepared.numbers.double().cpu().numpy()
        flags = dict(zip(self.gaps, (numbers[:, self.num_numbers :] > 0.5).T, strict=True))
        codes = iter(prepared.codes.cpu().numpy().T)
        columns: dict[str, list[Any]] = {}
        for name, at in self.column_places.items():
            field = self.columns[name]
            if isinstance(field, Category):
                columns[name] = [field.classes[code - 1] if code else None for code in next(codes)]
                continue
            assert isinstance(field, Number | Date)
            natural, gaps = field.natural(numbers[:, at.start]), flags.get(name, np.zeros(len(numbers), bool))
            columns[name] = [None if gap else value for value, gap in zip(natural.tolist(), gaps, strict=True)]
        return [{name: columns[name][row] for name in self.columns} for row in range(len(numbers))]

    def prepare(
        self, gathered: Float32[Tensor, "B D"], training: bool = False, generator: torch.Generator | None = None
    ) -> Row:
        count = self.num_numbers
        numbers = gathered[:, :count]
        filled = torch.nan_to_num(numbers)
        if self.gaps:
            # the first place of a column tells for all of them
            flags = torch.isnan(numbers[:, [self.column_places[name].start for name in self.gaps]])
            filled = torch.cat((filled, flags.to(filled.dtype)), 1)
        return Row(filled, gathered[:, count:].long())

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        if encoded is None:
            return {}
        found: dict[str, float | str | None] = {}
        for column, at in self.column_places.items():
            number = encoded[at] if isinstance(self.columns[column], Date) else encoded[at.start]
            found |= self.columns[column].signals(column, value.get(column), number)
        return found

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        """Of each column its kind, the share of rows that lack it, and what its field says of it."""
        if not isinstance(values, Rows):
            return {}
        columns = {}
        for name, field in self.columns.items():
            column = values.columns[name]
            numbers: Any = as_numbers(column, field.numerals)[0] if isinstance(field, Number) else column
            lacking = float(np.mean([value is None or value != value for value in numbers])) if len(column) else 0.0
            columns[name] = {"kind": field.kind, "missing": lacking, **field.describe(numbers)}
        return {"columns": columns}

    def render(self, value: Any) -> str:
        """Its columns and values, the first twelve: a name and a value in turn."""
        if not isinstance(value, Mapping):
            return super().render(value)
        shown = [
            f"<span class=name>{html.escape(str(n))}</span> <span>{html.escape(_short(v))}</span>"
            for n, v in [*value.items()][:12]
        ]
        return " ".join(shown) + (" <span class=name>…</span>" if len(value) > 12 else "")

    def sites(self, prepared: Row) -> list[Site]:
        """Parts are columns, in the order of `column_places`: what says that one is missing is hidden with it."""
        numbers, codes = prepared
        places, count = self.column_places, self.num_numbers
        of = [part for part, place in enumerate(places.values()) for _ in range(place.stop - place.start)]
        flags = [list(places).index(name) for name in self.gaps]
        owners = torch.tensor([*of[:count], *flags, *of[count:]], device=numbers.device)[None]
        sites = [Site(numbers, 0.0, owners[:, : numbers.shape[1]]), Site(codes, 0, owners[:, numbers.shape[1] :])]
        return [site for site in sites if site.values.numel()]

    def heat(self, value: Any, weights: Sequence[np.ndarray]) -> Heat:
        """Its columns, the heaviest first, each marked by its weight."""
        flat, places = np.concatenate([part[0] for part in weights]), self.column_places
        gaps, count = len(self.gaps), self.num_numbers
        sums = {
            name: float(flat[at.start + gaps * (at.start >= count) :][: at.stop - at.start].sum())
            for name, at in places.items()
        }
        for name, flag in zip(self.gaps, flat[count : count + gaps], strict=True):
            sums[name] += float(flag)
        return listed([(name, _short(value.get(name)), weight) for name, weight in sums.items()])

    def asks(self, column: str) -> list[dict[str, Any]]:
        return [entry for name, field in self.columns.items() for entry in field.asks(name)]

    def portable(self, value: Any) -> Any:
        return {name: field.portable(value.get(name)) for name, field in self.columns.items()}

    def example(self) -> dict[str, Any]:
        """A row that could be asked about: the middle of the training rows, as plain JSON."""
        return {name: field.example() for name, field in self.columns.items()}

    def to_dict(self) -> dict[str, Any]:
        columns = {name: field.to_dict() for name, field in self.columns.items()}
        return {"kind": self.kind, "columns": columns, "gaps": list(self.gaps)}

    @property
    def identity(self) -> dict[str, Any]:
        return {**super().identity, "columns": {name: field.identity for name, field in self.columns.items()}}


def _checked(columns: dict[str, Field]) -> dict[str, Field]:
    for name, field in columns.items():
        if not isinstance(field, (Number, Category, Date)):
            raise UsageError(f"the column '{name}' is of the kind {field.kind}", expected="number, category or date")
        if isinstance(field, Number) and field.transform == "auto":
            field.transform = "quantile"
    return columns


def recognise_column(values: Sequence[Any]) -> tuple[Field, str]:
    """The field that suits a column of a table: a Number too where a few of its values are none, such as "n/a".

    Raises:
        UsageError: no kind suits.
    """
    if looks_like_numbers(values):
        return Number(), "values are numbers, but for a few"
    return recognise(values)


def _columns_of(values: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Rows as columns, those that most rows have; what is no row has missing values only."""
    if isinstance(values, Rows):
        return values.columns
    rows = [v if isinstance(v, Mapping) else {} for v in values]
    names = Counter(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name, count in names.items() if 2 * count > len(rows)}


def _fit_category(field: Category, values: Sequence[Any]) -> None:
    """The categories of RARE rows or more, unless the user gave them."""
    if field._given:
        return
    counts: dict[str, int] = {}
    for value, count in counts_of(values):
        name = _name(value)
        if name is not None:
            counts[name] = counts.get(name, 0) + count
    field.fit([name for name, count in counts.items() if count >= RARE])


def _code(field: Category, value: Any) -> int:
    try:
        place = field.place(value)
    except DataError:
        return 0
    return 0 if place is None else place + 1


def _name(value: Any) -> str | None:
    try:
        return class_name(value)
    except DataError:
        return None


def _short(value: Any) -> str:
    if value is None or value != value:
        return "–"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
