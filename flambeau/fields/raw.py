"""What raw values of a kind are: the half of the contract of a Field that is about the data as people have them, in
tables, files and JSON."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.core.files import read_bytes
from flambeau.core.findings import Finding
from flambeau.fields.traits import Traits

if TYPE_CHECKING:
    from flambeau.fields.base import Field
    from flambeau.fields.numerals import Numerals


class RawValues(Traits):
    """How values of a kind come in and are told apart."""

    answers_as_files: ClassVar[bool] = False
    """Whether answers of this kind are files, which `write` makes; as JSON they are what `portable` gives."""
    asked_as: ClassVar[str] = "json"
    """How a form asks for a raw value: `number`, `category`, `date`, `text`, `file`, `rows` of a series, or `json`."""
    read_as: str | None = None
    """How texts that are its values are written, once that is known."""
    one_class: ClassVar[bool] = False
    """Whether a value is of one class: a split keeps the values of such a target in equal shares on every side."""
    in_table: ClassVar[str] = ""
    """Whether it is gathered into a Table where it is an input: `always`, `beside` others of these, or never."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        cls.reads_files = bool(cls.suffixes) and not cls.holds_content
        if cls.reads_files and cls.asked_as == RawValues.asked_as:
            cls.asked_as = "file"

    @classmethod
    def read(cls, path: str) -> Any:
        """The raw value that a file of this kind holds: its path, which `encode` opens, or its content."""
        return path

    def values_in(
        self, path: Path, *, encoding: str | None = None, column: int | None = None
    ) -> Iterator[tuple[str, Any]]:
        """The raw values that a file holds, each with what it is called in messages; here one, what `read` gives.

        Args:
            encoding: of texts; found out if not given.
            column: of files with several columns, such as CoNLL's, the one that is read.

        Raises:
            DataError: the file cannot be read.
        """
        yield str(path), self.read(str(path))

    def from_portable(self, value: Any) -> Any:
        """A raw value from what JSON says, such as `portable` gives: of files base64 as bytes, never a path.

        Raises:
            DataError: it is not base64.
        """
        if not self.reads_files:
            return value
        try:
            return base64.b64decode(value.encode("ascii"), validate=True)
        except (AttributeError, UnicodeEncodeError, binascii.Error):
            raise DataError("the value is not base64 text") from None

    @classmethod
    def from_reading(cls, text: str) -> Field:
        """The field of this kind that a user means by `kind:text`, text by text (`--read COLUMN=KIND:TEXT`).

        Raises:
            UsageError: there is only one way to read this kind.
        """
        if text:
            raise UsageError(f"'{cls.kind}:{text}' is no way to read a column", fix=f"say {cls.kind}")
        return cls()  # type: ignore[return-value]

    def decided(self, values: Sequence[Any]) -> Field:
        """This field, or a copy of it, that knows how raw values are read."""
        return self  # type: ignore[return-value]

    @property
    def reading(self) -> str:
        """How the texts of a table are read as this kind: what `--read` takes."""
        return self.kind

    @property
    def reading_words(self) -> str:
        """The same in words, where it is not plain."""
        return ""

    def read_text(self, text: str) -> Any:
        """What a text of a table is read as, for people.

        Raises:
            ValueError: it cannot be.
        """
        return text

    @classmethod
    def begins_so(cls, head: bytes) -> bool:
        """Whether a file whose first 16 bytes are these is of this kind."""
        return False

    @property
    def numerals(self) -> Numerals | None:
        """How texts that are its values are written, where these are numbers."""
        return None

    def written_as(self, numerals: Numerals) -> Field:
        """A copy of it whose texts are written so, where it has numbers."""
        raise UsageError(f"values of the kind {self.kind} are not numbers")

    @property
    def time_format(self) -> str | None:
        """How texts that are its values are written as times, as `timeline` takes it; None where they are no times."""
        return None

    def as_parts(self) -> Field | None:
        """The field of the same values taken in parts, each of which is a word or is said of one; None where they have
        none."""
        return None

    def as_whole(self) -> Field | None:
        """The field of the same values where their parts are only a way of writing; None where that loses something."""
        return None

    def rewritten(self, value: Any) -> Any:
        """A raw value in the form that this kind has for it, after `as_parts` or `as_whole`."""
        return value

    def unseen(self, column: str, values: Sequence[Any]) -> list[Finding]:
        """What raw values of other data have that the training rows had not, once fitted."""
        return []

    @property
    def gathers(self) -> list[str]:
        """The columns of a dataset that its values are put together from; empty where they are one column."""
        return []

    def asks(self, column: str) -> list[dict[str, Any]]:
        """What a form asks for: the name of each column that a value is of, how it is asked for, and the choices."""
        return [{"name": column, "kind": self.asked_as, "choices": []}]

    def answer_memory(self, pixels: int) -> int:
        """Bytes that making an answer of this kind takes at most, for a picture of so many pixels; 0 for a few."""
        return 0

    def portable(self, value: Any) -> Any:
        """A raw value as JSON that is read back as the same; of a file its bytes, or those of a smaller one, as base64.

        Raises:
            DataError: the value cannot be read.
        """
        if self.reads_files and isinstance(value, (str, Path, bytes)):
            content = value if isinstance(value, bytes) else read_bytes(value)
            return base64.b64encode(content).decode()
        value = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
        return value if isinstance(value, (str, int, float, list, dict, type(None))) else str(value)
