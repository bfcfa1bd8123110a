"""Reading the items of a user's own Dataset: what fails is named by its row, and can be left out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import default_collate

from flambeau.core.errors import DataError, shown
from flambeau.core.randomness import isolated, mix

OF_DATA = (OSError, EOFError, ValueError, RuntimeError, SyntaxError)  # what a damaged file raises; Pillow the last, too
MANY = 4  # like parts of a value, that are told one by one
SAID = 3  # failures that are told when they come
FEW = 5, 0.1  # rows that may fail, or this share of those read


@dataclass
class Failure:
    """Why a row could not be read.

    Attributes:
        told: the kind of error and its first line.
        ours: whether the row is at fault, as with a damaged file, and the others are read without it.
        error: the error itself, where it was raised in this process.
    """

    row: Any
    told: str
    ours: bool
    error: Exception | None = None


class Loaded(NamedTuple):
    """A collated batch: of which of its rows, and what failed."""

    places: list[int]
    collated: Any
    failures: list[Failure]


def told(error: BaseException) -> str:
    """An error in one line; of one that a worker passed on, the line that counts."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    name = type(error).__name__
    if len(lines) > 1 and "Traceback" in str(error):
        return lines[-1].strip()[:200]
    return f"{name}: {lines[0][:200]}" if lines else name


class Items(TorchDataset):
    """A map-style dataset whose failures are values. What it draws is a pure function of `seed` and the batch's rows,
    in whichever process it is read."""

    def __init__(self, dataset: Any, seed: int, nones: bool):
        self.dataset, self.seed, self.nones = dataset, seed, nones

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: Any) -> Any:
        try:
            item = self.dataset[row]
        except Exception as error:  # noqa: BLE001 -- a user's code may raise anything
            ours = isinstance(error, OF_DATA) and not isinstance(error, NotImplementedError)
            return Failure(row, told(error), ours, error)
        if item is None and not self.nones:
            return Failure(row, "__getitem__ gives None", True)
        return item

    def __getitems__(self, rows: Sequence[Any]) -> list[Any]:
        with isolated(mix(self.seed, str(rows[0]), str(rows[-1]), len(rows))):
            together = getattr(self.dataset, "__getitems__", None)
            if together is not None:
                with contextlib.suppress(Exception):  # one by one then, so that the row is named
                    return list(together(rows))
            return [self[row] for row in rows]


class Collate:
    """A collate function over items of which some may have failed; what it raises is a value, too."""

    def __init__(self, collate: Callable[[list[Any]], Any] | None, in_process: bool):
        self.collate, self.in_process = collate or default_collate, in_process

    def __call__(self, items: list[Any]) -> Loaded:
        failures = [item for item in items if isinstance(item, Failure)]
        places = [i for i, item in enumerate(items) if not isinstance(item, Failure)]
        if not self.in_process:  # an error may hold what cannot be sent
            for failure in failures:
                failure.error = None
        good = [items[i] for i in places]
        if not good:
            return Loaded(places, None, failures)
        try:
            return Loaded(places, self.collate(good), failures)
        except Exception as error:  # noqa: BLE001
            own = self.collate is not default_collate
            at, why = (0, told(error)) if own else _odd(good, told(error))
            kept = error if self.in_process else None
            fix = "mend the collate_fn" if own else "give a DataLoader with a collate_fn that puts them together"
            if not own and re.search(r"\bImage\b", form(good[at])):
                fix = "make tensors of the pictures: transform=torchvision.transforms.ToTensor(), and of one size"
            return Loaded([], None, [Failure(_At(places[at], own, fix), why, False, kept)])


class _At(NamedTuple):
    """A place in the batch, in place of a row that only the reader of the batch knows; and what to do."""

    place: int
    own: bool
    fix: str


def _odd(items: list[Any], why: str) -> tuple[int, str]:
    """(place, words) of the first item that does not go with the first."""
    first = form(items[0])
    for i, item in enumerate(items):
        if form(item) != first:
            return i, f"the item is {form(item)}, and others are {first}"
    return 0, f"the item is {first} ({why})"


def form(value: Any) -> str:
    """What a value is made of, in a few words."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype)[6:]} {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {form(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        parts = [form(v) for v in value]
        same = len(parts) > MANY and len(set(parts)) == 1
        return f"({len(parts)} × {parts[0]})" if same else "(" + ", ".join(parts) + ")"
    shape = getattr(value, "shape", None)
    return shown(value) if isinstance(shape, tuple) and shape else type(value).__name__


class Reader:
    """Keeps account of what could not be read: names it, leaves out a few rows, and stops where there are many."""

    def __init__(self, dataset: Any):
        self.name = type(dataset).__name__
        self.dataset = dataset
        self.failed: dict[Any, str] = {}
        self.say: Callable[[str], None] | None = None  # told of the first failures
        self.read = 0

    def take(self, rows: Sequence[Any], loaded: Loaded) -> list[int] | None:
        """The places of a batch's rows that could be read; None if none could.

        Raises:
            DataError: a row fails for a reason of the code, or too many fail.
        """
        self.read += len(rows)
        for failure in loaded.failures:
            if not failure.ours:
                raise self._error(rows, failure)
            if self.say is not None and failure.row not in self.failed and len(self.failed) < SAID:
                self.say(f"row {failure.row} of {self.name} is left out: {failure.told}")
            self.failed[failure.row] = failure.told
        failures = loaded.failures
        most = max(FEW[0], FEW[1] * self.read)
        if failures and (len(self.failed) > most or 1 < len(self.failed) == self.read):
            raise self._error(rows, failures[0], len(self.failed))
        return loaded.places or None

    def _error(self, rows: Sequence[Any], failure: Failure, count: int = 1) -> DataError:
        row, fix, why = failure.row, None, failure.told
        if isinstance(row, _At):
            fix = row.fix
            why = f"collate_fn fails with {why}" if row.own else why
            row = rows[row.place]
        elif why.startswith("IndexError") and isinstance(row, int):
            fix = f"its __len__ says {len(self.dataset)}"
        more = f" (and {count - 1} more rows fail of {self.read} read)" if count > 1 else ""
        error = DataError(f"{why}{more}", where=f"row {row} of {self.name}", fix=fix)
        error.__cause__ = failure.error
        return error


def length(dataset: Any) -> int:
    """Samples of a map-style dataset.

    Raises:
        DataError: it does not say, or has none.
    """
    name = type(dataset).__name__
    try:
        count = len(dataset)
    except Exception as error:
        fix = "say how many samples there are, or derive from torch's IterableDataset"
        raise DataError(f"the __len__ of {name} fails ({told(error)})", fix=fix) from error
    if count == 0:
        raise DataError("the dataset has no samples")
    return count
