"""What kinds share that can be augmented, and that look at some training rows to choose their settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from flambeau.core.errors import DataError

FIT_SAMPLE = 256
T = TypeVar("T")


class Varied:
    """The part of a Field whose values an augmentation changes in training; `augment` is among its settings."""

    varies = True
    augmentation: Any = None

    @property
    def augment(self) -> dict[str, Any] | None:
        """The augmentation as plain JSON, None if there is none."""
        return self.augmentation.to_dict() if self.augmentation else None

    @property
    def random(self) -> bool:
        return bool(self.augmentation)


def some(values: Sequence[Any]) -> Sequence[Any]:
    """Up to 256 raw values, the same ones each time, from all over the rows: they are often sorted by class."""
    return values[:: max(1, -(-len(values) // FIT_SAMPLE))][:FIT_SAMPLE]


def read_some(values: Sequence[Any], read: Callable[[Any], T], what: str) -> list[T]:
    """What each value is read as, without those that cannot be: they are named when the store is built.

    Raises:
        DataError: none can be.
    """
    found, why = list[T](), ""
    for value in values:
        try:
            found.append(read(value))
        except DataError as error:
            why = why or error.found
    if not found:
        fix = "run `flambeau check` to see all reasons"
        raise DataError(f"none of {len(values)} {what} could be read ({why})", fix=fix)
    return found
