"""What the rooms above the fields ask of a kind, in place of asking which it is; with the answers of most kinds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding
from flambeau.fields.columns import Strings

if TYPE_CHECKING:
    from PIL import Image as PILImage
    from torch import Tensor

    from flambeau.fields.base import Field
    from flambeau.robustness import Corruption


class Traits:
    """The part of a Field's contract that a kind overrides where it differs from most."""

    kind: ClassVar[str]
    suffixes: ClassVar[frozenset[str]] = frozenset()
    """File name endings, lower case, that files of this kind have."""
    holds_content: ClassVar[bool] = False
    """Whether raw values are the content of such files (see `read`), and not their paths."""
    places_in_input: ClassVar[bool] = False
    """Whether its values are places in the first input, which move where that changes."""
    reads_files: ClassVar[bool] = False
    """Whether raw values are such files: paths or bytes. Follows from the two above."""
    measures: ClassVar[bool] = False
    """Whether values are measurements, whose distances mean something; `check` tells of missing ones itself."""
    has_classes: ClassVar[bool] = False
    """Whether a value is of classes as a whole; see `names`."""
    has_parts: ClassVar[bool] = False
    """Whether a value has parts that stand for themselves; see `parts`."""
    noun: ClassVar[str] = "value"
    """What one value of a column is called in messages."""
    classes: Sequence[str] = ()
    """The classes in order, where it has some, once they are known."""
    annotates: ClassVar[bool] = False
    """Whether a raw value is a list of boxes, as formats of annotations write them."""
    over_time: ClassVar[bool] = False
    """Whether an encoded value (C, L) is the course of C quantities over L steps."""

    @property
    def answer_shape(self) -> tuple[int, ...] | None:
        """The shape of the numbers that the `label` of an answer is, where it is the target; None where it is none."""
        return None

    extent_of: ClassVar[tuple[str, str] | None] = None
    """What `extent` measures and its unit, such as ("length", "characters"); None where values have no extent."""

    named_views: ClassVar[Mapping[str, int]] = {}
    """Views of a sample that test-time augmentation has by name, and how many there are; see `named_view`."""

    @cached_property
    def index(self) -> dict[str, int]:
        """From the name of a class to its number."""
        return {name: i for i, name in enumerate(self.classes)}

    @property
    def input_bounds(self) -> tuple[Tensor, Tensor] | None:
        """Where values lie in bounds that a small change of them is measured by: what the lower and the upper one are
        in the model's input, float32 (C, 1, 1) each, linear in between. None for any other."""
        return None

    @property
    def token_names(self) -> Sequence[str | None]:
        """What each token number says, None of one that is no word; empty where an encoded value is no such numbers."""
        return ()

    def reworded(self, value: Any, numbers: Sequence[int]) -> Any:
        """A raw value that says what other token numbers than its own do, which are as many; what is alike stays as it
        was read. Called where there are `token_names`."""
        raise UsageError(f"values of the kind {self.kind} have no words")

    @property
    def random(self) -> bool:
        """Whether `prepare` uses its generator in training."""
        return False

    @property
    def outside(self) -> str:
        """What is done to a raw value before a deployed model gets it, in a clause."""
        return f"encoded as a {self.kind}, by what fields.json says of it"

    @property
    def deployed_shape(self) -> tuple[int | str, ...]:
        """Of an encoded value as a deployed model takes it; an axis that may have any size has a name."""
        return cast("Field", self).encoding.shape

    def received(self, value: Tensor) -> Tensor:
        """A batch of such, (B, …), as `prepare` takes it; in a graph."""
        return value

    def extent(self, value: Any) -> float:
        """How long or large a raw value is, from its head where it is a file.

        Raises:
            DataError: it cannot be read.
        """
        raise UsageError(f"values of the kind {self.kind} have no extent")

    @property
    def has_views(self) -> bool:
        """Whether a sample looks different each time it is drawn for training, or has several `parts_of`."""
        return self.random

    def named_view(self, name: str, number: int) -> Field:
        """The field that prepares one of the views that `named_views` counts."""
        raise UsageError(f"values of the kind {self.kind} have no views called '{name}'")

    def parts_of(self, value: Any, count: int) -> list[Any]:
        """A raw value that is longer than a model sees at once as `count` raw values that lie all over it, the first of
        them what is seen otherwise; any other alone."""
        return [value]

    def names(self, value: Any) -> list[str]:
        """The classes of a raw value.

        Raises:
            DataError: they are missing, or cannot be read.
        """
        raise UsageError(f"values of the kind {self.kind} have no classes")

    def parts(self, value: Any) -> list[str]:
        """The parts of a raw value: the words of a sentence, or what is said of each of them.

        Raises:
            DataError: they are missing, or cannot be read.
        """
        raise UsageError(f"values of the kind {self.kind} have no parts")

    def numbered(self, values: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """The values of a table's column as float64 (N), NaN where there is none, equal for equal ones; and the rows of
        those that cannot be read."""
        raise UsageError(f"values of the kind {self.kind} are not cells of a table")

    def may_name_rows(self, numbers: np.ndarray) -> bool:
        """Whether such numbers, nearly all of which differ, may be the names of rows and not what was measured."""
        return True

    def columns_of(self, name: str) -> dict[str, Field]:
        """The columns of a table that a value of the input `name` is read from, and how each is."""
        return {name: cast("Field", self)}

    @property
    def column_places(self) -> dict[str, slice]:
        """Where each of several columns lies in an encoded row; empty where it is made of one."""
        return {}

    @property
    def category_sizes(self) -> dict[int, int]:
        """Where in an encoded row a number stands for a category, and how many numbers such a one may be."""
        return {}

    @property
    def token_key(self) -> Any:
        """What two fields have in common that number their tokens alike; None where an encoded value is no tokens."""
        return None

    @property
    def source_options(self) -> dict[str, Any]:
        """What a source that has these options is told, so that it reads other data as that which this was fitted to:
        of sources of pictures `target` is what they call a column of this kind."""
        return {}

    @property
    def endings(self) -> frozenset[str]:
        """File name endings, lower case, that files of a folder have where `values_in` reads them."""
        return self.suffixes

    @property
    def apart_by(self) -> str | None:
        """The column by which rows of a table are put into raw values of several rows; None where each is its own."""
        return None

    def apart(self, values: Any) -> tuple[list[Any], bool]:
        """The raw values of a list, an array, a column of a frame, or of rows of which each takes several; and whether
        several were meant, and not one alone.

        Raises:
            DataError: they are nothing that this kind could be read from.
        """
        if isinstance(values, Strings) or (isinstance(values, np.ndarray) and values.dtype.kind in "UO"):
            values = list(values)
        elif hasattr(values, "to_list"):
            values = values.to_list()
        many = isinstance(values, list) or (isinstance(values, np.ndarray) and self.holds_many(values))
        return list(values) if many else [values], many

    @abstractmethod
    def holds_many(self, array: np.ndarray) -> bool:
        """Whether an array is of several raw values, along its first axis."""

    @property
    def past_steps(self) -> int:
        """How many steps of a window (…, L + H, C), raw or encoded, are past; its first channel is what is forecast."""
        return 0

    def ahead(self, value: Any) -> tuple[str | None, list[str], list[Finding]] | None:
        """Whose course a raw value is, when the steps behind it are, and what was noticed; None where it says no times.

        Raises:
            DataError: the value cannot be read.
        """
        return None

    def qualities(self, value: Any) -> dict[str, float | bool]:
        """What can be said of a raw value in a word and a number, such as its brightness, or in a word alone, which is
        True; to find what values have in common.

        Raises:
            DataError: it cannot be read.
        """
        return {}

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        """What drift of a raw value of the column `name` is seen by: numbers (NaN where missing) and names (None where
        missing), by what each is called.

        Args:
            encoded: the same encoded; None for an answer of a model, which is not.
        """
        if encoded is None or self.extent_of is None:
            return {}
        return {f"{self.extent_of[0]} of {name}": float(self.extent(value))}

    scored_by: ClassVar[str] = ""
    """What `score` is called, as metrics are; empty where one answer cannot be put beside the right one."""

    def score(self, answer: Any, truth: Any) -> float:
        """One answer beside the right one, both as JSON: 1 for right and 0 for wrong, or how far off."""
        raise UsageError(f"an answer of the kind {self.kind} has no score")

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        """How raw values are spoilt outside the laboratory, by name; each changes a raw value to another.

        Args:
            values: those that are measured, by which a kind of numbers knows their spread.
        """
        return {}

    def sheet(self, values: Sequence[Any], columns: int = 8) -> PILImage.Image | None:
        """Raw values side by side in one small picture, row by row; None for what is no picture."""
        return None

    def table_rows(self, value: Any, name: str) -> list[dict[str, Any]]:
        """The rows of a table that a restored value is, by the name of the sample where it has several; none where
        values of this kind are no rows."""
        return [value] if isinstance(value, dict) else []

    def pictured(self) -> Field | None:
        """The same sounds, prepared as pictures (B, 1, bands, frames); None for what is no sound."""
        return None

    def settle(self, dataset: Any, target: str) -> None:
        """Settles what hangs on other columns, where it is the target of a dataset that is being made.

        Raises:
            UsageError, DataError: these do not suit.
        """

    def reads(self, field: Any) -> None:
        """Takes over what it needs of the first input's field, where it is the target: after all are fitted."""

    @property
    def shares(self) -> bool:
        """Whether its texts are cut into pieces that are found in the texts of all columns that say so."""
        return False

    def share(self, written: Any) -> None:
        """Is fitted by taking over the pieces that the target's field has found in the texts of both."""
        raise UsageError(f"values of the kind {self.kind} have no pieces to share")

    def example(self) -> Any:
        """A raw value that could be asked about, as plain JSON: the middle of the training rows where it is known."""
        return "base64 …" if self.reads_files else "…"


def readable(read: Callable[[Any], list[str]], values: Iterable[Any]) -> Iterator[list[str]]:
    """What each raw value is read as; nothing of one that cannot be, which is named when the store is built."""
    for value in values:
        try:
            yield read(value)
        except DataError:
            yield []
