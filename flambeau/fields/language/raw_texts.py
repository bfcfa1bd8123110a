"""Raw values of texts: strings, lists of words, or files, as one string."""

from __future__ import annotations

from os import PathLike
from typing import Any

from flambeau.core.errors import DataError
from flambeau.fields.language.charsets import read_text

LONGEST = 10_000_000  # characters of one text that are looked at


def joined_words(value: Any) -> Any:
    """A list of words as one text; anything else as it is.

    >>> joined_words(["a", "fine", "day"]), joined_words(3)
    ('a fine day', 3)
    """
    if isinstance(value, (list, tuple)) and all(isinstance(word, str) for word in value):
        return " ".join(value)
    return value


def text_of(value: Any) -> str | DataError:
    """The text of a raw value, or what is wrong with it."""
    if isinstance(value, PathLike):
        try:
            value = read_text(value)  # type: ignore[arg-type]
        except DataError as error:
            return error
    value = joined_words(value)
    if value is None:
        return DataError("the value is missing")
    if not isinstance(value, str):
        return DataError(f"a {type(value).__name__} is not a text", expected="a string")
    if not value or value.isspace():
        return DataError("the text is empty")
    return value[:LONGEST]


def usable(value: Any) -> str | None:
    """The text of a raw value; None where there is none."""
    text = text_of(value)
    return text if isinstance(text, str) else None
