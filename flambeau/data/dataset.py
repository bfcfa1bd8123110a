"""The Dataset: a table whose columns are typed fields, one of them (or none) the target, and a split."""

from __future__ import annotations

import copy
import functools
import importlib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core.display import as_html
from flambeau.core.errors import DataError, UsageError, nearest, shown
from flambeau.core.findings import Finding, Findings, Severity
from flambeau.core.hints import check_options
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data import copies
from flambeau.data.sources.coding import plain_targets
from flambeau.data.sources.matching import match_parts
from flambeau.data.split import AUTO, DRAWN, KEPT, NAMES, NEAR, TEST, TRAIN, VALID, Split, split_of
from flambeau.fields import Date, Field, Views, recognise
from flambeau.fields.columns import taken
from flambeau.fields.placement import following

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.data.made import Made
    from flambeau.data.sources import arrays, folders, series, sharp, tabular, tagged
    from flambeau.notebook.figures import Drawn

Values = Sequence[Any]
RECOGNISE_SAMPLE = 1000
MANY_INPUTS = 12


class Reader:
    """A way to make a Dataset: a function of `flambeau.data.sources`, imported when it is first looked at, with its own
    arguments; an option that it does not take is told with the nearest."""

    def __init__(self, room: str, name: str):
        self.room, self.name = room, name

    def __get__(self, instance: Any, owner: type) -> Callable[..., Dataset]:
        function = getattr(importlib.import_module(f"flambeau.data.sources.{self.room}"), self.name)

        @functools.wraps(function)
        def read(*given: Any, **options: Any) -> Dataset:
            check_options(function, options)
            return function(*given, **options)

        return read


LEAST_KEPT = 0.5
"""Share of the rows that were drawn to be held out which must be so once rows that look alike are put together."""


def _held_out(split: np.ndarray) -> int:
    return int(np.isin(split, (VALID, TEST)).sum())


class Dataset:
    """A table: rows are samples, columns are typed fields.

    Made by `from_folder`, `from_table`, `from_frame` or `from_arrays`; by this constructor from plain columns:

    >>> data = Dataset({"x": [0.1, 0.2, 0.3, 0.4], "y": ["a", "b", "a", "b"]}, target="y", split="none")
    >>> data.fields["y"].kind, len(data)
    ('category', 4)

    Args:
        columns: raw values by column name, all of one length.
        target: the column to predict; None for data without one.
        inputs: the columns to predict from; all others than the target if not given.
        fields: kinds set by hand, by column name; the rest is recognised from the values.
        split: a `Split`, the name of one of its methods, or the split of each row ("train", "valid" or "test").
        source: how to make this dataset again, as plain JSON.
        keys: what identifies each row for the split.
        places: where each row came from, for messages.
        findings: what the source noticed.
    """

    _repr_html_ = as_html

    def __init__(
        self,
        columns: Mapping[str, Values],
        *,
        target: str | None = None,
        inputs: Sequence[str] | None = None,
        fields: Mapping[str, Field] | None = None,
        split: Split | str | Sequence[Any] = "auto",
        source: dict[str, Any] | None = None,
        keys: Sequence[str] | None = None,
        places: Callable[[int], str] | None = None,
        findings: Sequence[Finding] = (),
    ):
        lengths = {name: len(values) for name, values in columns.items()}
        if not lengths:
            raise DataError("the dataset has no columns")
        if len(set(lengths.values())) > 1:
            raise DataError(f"the columns have different lengths: {lengths}", expected="one length")
        if next(iter(lengths.values())) == 0:
            raise DataError("the dataset has no rows")
        for name in [target, *(inputs or ())]:
            if name is not None and name not in columns:
                raise DataError(f"there is no column '{name}'", fix=nearest(name, columns))
        for name in fields or ():
            if name not in columns:
                raise DataError(
                    f"a field is given for '{name}', but there is no such column", fix=nearest(name, columns)
                )
        if twice := next((name for name, count in Counter(inputs or ()).items() if count > 1), None):
            raise DataError(f"the input '{twice}' is given twice", fix="give it once")
        if target is not None and target in (inputs or ()):
            raise DataError(f"the target '{target}' is among its own inputs", fix="leave it out of inputs")
        self.columns: dict[str, Values] = dict(columns)
        self.target = target
        self.inputs = list(inputs) if inputs is not None else [c for c in columns if c != target]
        self.source = source or {"kind": "memory"}
        self.findings = Findings(findings)
        self._places = places
        self.keys = list(keys) if keys is not None else None
        self.examples: dict[str, str] = {}
        """Of columns of texts, one of them as the file has it."""
        self.optional: frozenset[str] = frozenset()
        """Inputs that a row may lack; see `flambeau.data.grouping`."""
        self.fields: dict[str, Field] = {}
        self.reasons: dict[str, str] = {}
        fields = dict(fields or {})
        if target is not None:
            self.columns[target], coded, found = plain_targets(self.columns[target], fields.get(target))
            self.findings += found
            fields |= {} if coded is None else {target: coded}
        for name in [*self.inputs, *([target] if target else [])]:
            given = fields.get(name)
            self.fields[name] = given if given is not None else self._recognise(name)
            self.fields[name].look(self.columns[name])
        match_parts(self)
        self.made: Made | None = None
        """Of the last rows, where they were made of others: what they were made of."""
        self.together: bool | str = AUTO
        """Which rows a split that is drawn keeps together; see `Split`."""
        self.seen: dict[str, Any] = {}
        """What comparing the inputs found, so that a split and `check` look at them once; see `flambeau.check`."""
        self.split = self._split(split, fields)
        self._knows_split = not isinstance(split, str | Split)

    def _recognise(self, name: str) -> Field:
        values = self.columns[name]
        step = max(1, len(values) // RECOGNISE_SAMPLE)
        try:
            field, why = recognise(values[::step][:RECOGNISE_SAMPLE], target=name == self.target)
            if len(values) > RECOGNISE_SAMPLE:
                why = field.why(values, f"{why} ({RECOGNISE_SAMPLE:,} of {len(values):,} rows looked at)")
        except UsageError as error:
            raise DataError(f"column '{name}': {error.found}", fix=error.fix) from None
        self.reasons[name] = f"{field.kind}: {why}"
        return field

    def _split(self, split: Split | str | Sequence[Any], given: Mapping[str, Field]) -> np.ndarray:
        split = Split(split) if isinstance(split, str) else split
        if self.made is not None and isinstance(split, Split):
            return self.made.divide(self, split, given)
        if not isinstance(split, Split):
            splits = np.asarray([split_of(s, i) for i, s in enumerate(split)], np.int8)
            if len(splits) != len(self):
                raise DataError(f"the split has {len(splits)} rows", expected=f"{len(self)}, one for each row")
            return splits
        if split.method == "given":
            raise DataError(
                "the data does not say which rows train and which validate",
                fix="put it into folders train/ and valid/, or into a column 'split'; or take another kind of split",
            )
        self.together = split.together
        by: Any = None
        if split.method == "auto" and split.by is not None and split.together and split.folds is None:
            split = replace(split, method="grouped")
        if split.by is not None:
            if split.by not in self.columns:
                raise DataError(f"there is no column '{split.by}' to split by", fix=nearest(split.by, self.columns))
            by = self.columns[split.by]
            if split.method == "time":
                by = self._times(split.by, given)
        labels = None
        if self.target and split.method in ("auto", "stratified") and self.fields[self.target].one_class:
            labels = self.columns[self.target]
        drawn = split.assign(self.keys or range(len(self)), labels, by)
        self.findings = Findings(finding for finding in self.findings if finding.check != KEPT)
        if not split.together or split.method not in DRAWN:
            return drawn
        self.split = drawn
        firsts, unseen = self.firsts, ""
        if split.together == NEAR:
            firsts = self.firsts_alike
        elif split.together == AUTO:
            firsts, unseen = self.firsts_seen
        kept = split.with_copies(drawn, firsts, labels)
        few = split.together == AUTO and _held_out(kept) < LEAST_KEPT * _held_out(drawn)
        if firsts is not self.firsts and (few or kept is drawn):
            kept, firsts = split.with_copies(drawn, self.firsts, labels), self.firsts
            unseen = "too many rows look alike for them to be in one part of the split"
        if unseen:
            fix = "say what belongs together: by= (--by)"
            fix += "" if split.together == NEAR else "; or together='near' (--split-near)"
            self.findings.append(Finding(KEPT, Severity.NOTE, unseen, fix=fix))
        count, moved = int((firsts != np.arange(len(self))).sum()), int((kept != drawn).sum())
        alike = firsts is not self.firsts
        if moved or (alike and count):
            what = "copies of other rows, and rows like them" if alike else "copies of other rows"
            told = f"{what} ({count:,}) are in the same part of the split as these; {moved:,} were moved"
            self.findings.append(Finding(KEPT, Severity.NOTE, told, count=moved))
        return kept

    @functools.cached_property
    def firsts(self) -> np.ndarray:
        """The first row that each row is a copy of, int64 (N); see `flambeau.data.copies`."""
        return copies.firsts(self)

    @functools.cached_property
    def firsts_alike(self) -> np.ndarray:
        """The first row that each row is a copy of or alike, int64 (N); see `flambeau.check.together`."""
        from flambeau.check import alike_firsts

        return alike_firsts(self, self.firsts)

    @functools.cached_property
    def firsts_seen(self) -> tuple[np.ndarray, str]:
        """The same of pictures and texts alone, and why they were not looked at where they are too many."""
        from flambeau.check import seen_firsts

        return seen_firsts(self, self.firsts)

    def divide(self, split: Split) -> None:
        """Splits the rows anew; where the data says which split each is of, only if that is not wanted."""
        if not (self._knows_split and split.keeps_given):
            self.split = self._split(split, self.fields)

    def _times(self, column: str, given: Mapping[str, Field]) -> np.ndarray:
        """What rows are put in the order of time by."""
        values, field = self.columns[column], self.fields.get(column, given.get(column))
        date = field if isinstance(field, Date) else Date()
        times, bad = date.in_time(values)
        bad = np.union1d(bad, np.flatnonzero(np.isnan(times)))
        if len(bad):
            row = int(bad[0])
            value = values[row]
            raise DataError(
                "the time is missing" if value is None or value != value else f"{shown(value)} is not a time",
                where=f"column '{column}', {self.place(row)}",
                fix="mend or remove the row, or say how times are written: "
                f"read={{'{column}': 'date:%d/%m/%Y'}} (--read)",
            )
        if column not in self.inputs:  # else it is said with the input's own findings
            self.findings += [replace(f, message=f"column '{column}': {f.message}") for f in date.check(values)]
        return times

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def rows(self, split: int | str) -> np.ndarray:
        """Row numbers, int64, of one split ("train", "valid", "test")."""
        if isinstance(split, str) and split not in NAMES:
            raise UsageError(f"no split is called '{split}'", fix=nearest(split, NAMES))
        code = NAMES.index(split) if isinstance(split, str) else split
        return np.flatnonzero(self.split == code)

    @property
    def evaluation_split(self) -> str:
        """The split that an evaluation is made on: test where there is one, else valid, else train."""
        for split in (TEST, VALID):
            if (self.split == split).any():
                return NAMES[split]
        return NAMES[TRAIN]

    def place(self, row: int) -> str:
        """Where a row came from: its file, or its number."""
        return self._places(row) if self._places else f"row {row}"

    def rename(self, column: str, name: str) -> None:
        """Calls a column by another name."""
        self.columns = {name if key == column else key: values for key, values in self.columns.items()}
        self.fields = {name if key == column else key: field for key, field in self.fields.items()}
        self.reasons = {name if key == column else key: why for key, why in self.reasons.items()}
        self.target = name if self.target == column else self.target
        self.inputs = [name if each == column else each for each in self.inputs]

    def narrowed(self, inputs: Sequence[str]) -> Dataset:
        """The same rows in the same splits, with some of the inputs only."""
        out = copy.copy(self)
        out.inputs = [name for name in self.inputs if name in inputs]
        out.fields = {name: field for name, field in self.fields.items() if name in (*out.inputs, self.target)}
        out.source = {**self.source, "inputs": out.inputs} if "inputs" in self.source else self.source
        return out

    def take(self, column: str, rows: Sequence[int] | np.ndarray) -> Values:
        """Raw values of some rows of a column."""
        return taken(self.columns[column], rows)

    def fit(self, alike: Sequence[str] = ()) -> None:
        """Fits every field on the training rows. Rows without a value are left to the store to name.

        Args:
            alike: columns of one kind, each of which is fitted on the values of all of them.
        """
        rows = self.rows(TRAIN)
        if len(rows) == 0:
            raise DataError("no row is left to train on", fix="check the split")
        sharing = self._sharing()
        for name, field in self.fields.items():
            if name in sharing and name != self.target:
                continue
            together = next((group for group in (alike, sharing) if name in group), [name])
            try:
                values = [self.take(n, rows) for n in together]
                field.fit(values[0] if len(values) == 1 else list(itertools.chain(*values)))
            except DataError as error:
                raise DataError(error.found, where=f"column '{name}'", expected=error.expected, fix=error.fix) from None
        for name in sharing:
            if name != self.target:
                self.fields[name].share(self.fields[self.target or ""])
        if self.target is not None and self.inputs:
            self.fields[self.target].reads(self.fields[self.inputs[0]])
        leader, followers = following(self.fields, self.inputs, self.target)
        for name in followers:
            self.fields[name].beside(self.fields[leader or ""])

    def _sharing(self) -> list[str]:
        """Columns whose texts are cut into the same pieces, the target among them; none where none say so.

        Raises:
            UsageError: one says so alone, or none of them is written.
        """
        sharing = [name for name, field in self.fields.items() if field.shares]
        if sharing and (len(sharing) == 1 or self.target not in sharing):
            raise UsageError(
                f"tokens=shared is said of {' and '.join(sharing)} alone",
                expected="a text that is read and one that is written, which share their pieces",
                fix="use bpe, or say it of both: --tokens shared",
            )
        return sharing

    def folds(
        self, count: int | None = None, *, by: str | None = None, seed: int = 0, method: str = "auto",
        valid: float | None = None,
    ) -> Iterator[Dataset]:  # fmt: skip
        """This data for cross-validation: once for each fold, which then validates while the others train.

        Args:
            count: how many folds; if not given one for each value of `by`, else 5.
            by: a column that keeps rows together, such as the folds that ESC-50 gives. Classes are dealt evenly if not
                given.
            seed: another seed, other folds.
            method: of a `Split`; `time` for folds each of which is later than all that trains, by the times in `by`.
            valid: the share of the other rows that validates and chooses the epoch; the fold is then the test.

        Raises:
            DataError: there is no such column. UsageError: fewer rows or groups than folds, or rows that are rewritings
                of others, or windows of series, which would be held out beside what they came from.
        """
        if self.source.get("made") == "rewritten":
            raise UsageError("rows that are rewritten from others cannot be dealt into folds",
                             fix="make the folds first, and rewrite the training rows of each")  # fmt: skip
        if any(isinstance(self.columns[name], Views) for name in self.inputs):
            raise UsageError("windows of series overlap, so they cannot be dealt into folds",
                             fix="hold the last steps out, as training does")  # fmt: skip
        if by is not None and by not in self.columns:
            raise DataError(f"there is no column '{by}' to split by", fix=nearest(by, self.columns))
        method = "grouped" if by is not None and method == "auto" else method
        if count is None:
            count = len({str(value) for value in self.columns[by]}) if by and method == "grouped" else 5
        if count > len(self):
            raise UsageError(f"{count:,} folds of {len(self):,} rows", expected="a row for each fold, at least")
        for fold in range(count):
            together = self.together if method in DRAWN else True
            split = Split(method, valid, by=by, seed=seed, folds=count, fold=fold, together=together)
            data = copy.copy(self)
            data.findings = Findings(self.findings)
            data.split = data._split(split, data.fields)
            data.source = {**self.source, "split": vars(split).copy()} if "split" in self.source else self.source
            yield data

    def check(self, *, reporter: Reporter = QUIET, threads: int | None = None) -> Findings:
        """Looks for what is wrong with the data; see `flambeau.check.check`."""
        from flambeau.check import check

        return Findings(check(self, reporter=reporter, threads=threads))

    def show(self, count: int = 12, *, split: str | None = None, seed: int = 0) -> Drawn:
        """A few rows with their targets, as a matplotlib Figure; `frame()` of it says which they are.

        Args:
            split: draw them from "train", "valid" or "test" only.
            seed: another seed, other rows.

        Raises:
            UsageError: there is no such split. MissingExtra: matplotlib is not installed.
        """
        from flambeau.notebook import plots

        return plots.samples(self, count, split, seed)

    def readings(self) -> list[dict[str, Any]]:
        """How each input and the target are read: the column, its `form` as `--read` takes it, what that means in
        words, and of a column of texts an example and its value."""
        found = []
        for name in [*self.inputs, *([self.target] if self.target else [])]:
            field = self.fields[name].decided(self.columns[name])
            known: dict[str, Any] = {"column": name, "form": field.reading, "words": field.reading_words}
            if name in self.examples:
                text = self.examples[name]
                try:
                    known |= {"example": text, "value": field.read_text(text)}
                except ValueError:
                    known |= {"example": text, "value": None}
            found.append(known)
        return found

    def describe(self, choose: bool = True) -> str:
        """One line: rows, split, fields. `choose`: as `describe_split` takes it."""
        counts = self.describe_split(choose)
        kinds = " + ".join(f"{c} ({self.fields[c].kind})" for c in self.inputs[:MANY_INPUTS])
        if len(self.inputs) > MANY_INPUTS:
            kinds += f" + {len(self.inputs) - MANY_INPUTS} more"
        goal = f" → {self.target} ({self.fields[self.target].summary})" if self.target else ""
        return f"{len(self):,} rows ({counts}): {kinds}{goal}"

    def describe_split(self, choose: bool = True) -> str:
        """How many rows train, validate and test, what for, and how many went where the rows like them are.

        Args:
            choose: whether the validation rows choose the epoch; not where the last weights are kept.
        """
        counts = [int((self.split == s).sum()) for s in (TRAIN, VALID, TEST)]
        uses = ("train", "validate and choose the epoch" if choose else "validate", "test")
        moved = sum(finding.count for finding in self.findings if finding.check == KEPT)
        told = f"; {moved:,} of them put with their copies" if moved else ""
        return ", ".join(f"{count:,} {use}" for count, use in zip(counts, uses, strict=True) if count) + told

    if TYPE_CHECKING:
        from_folder = staticmethod(folders.from_folder)
        from_table = from_csv = staticmethod(tabular.from_table)
        from_tagged = staticmethod(tagged.from_tagged)
        from_series = staticmethod(series.from_series)
        from_frame = staticmethod(tabular.from_frame)
        from_arrays = staticmethod(arrays.from_arrays)
        from_sharp = staticmethod(sharp.from_sharp)
    else:
        from_folder = Reader("folders", "from_folder")
        from_table = from_csv = Reader("tabular", "from_table")
        from_tagged = Reader("tagged", "from_tagged")
        from_series = Reader("series", "from_series")
        from_frame = Reader("tabular", "from_frame")
        from_arrays = Reader("arrays", "from_arrays")
        from_sharp = Reader("sharp", "from_sharp")

    @classmethod
    def from_source(cls, source: Mapping[str, Any]) -> Dataset:
        """The dataset that a recipe's `data` section describes."""
        from flambeau.data.sources.opening import from_source

        return from_source(source)
