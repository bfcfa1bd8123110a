"""What models want of fields, and what fields make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wanted:
    """What a model wants of the fields that it is given; see `Field.suit`.

    Attributes:
        model: its name.
        size: the side in pixels that its weights were trained at; None where any is as good.
        waves: whether it takes raw waves of sounds.
        tokenizer: whose pieces of texts it reads; None where it has no tokeniser of its own.
        positions: the most of them that it can take; None for any number.
        window: how many tokens of a text it wants to read at a time, where nothing is said of it; None for as many as
            are usual.
        words: whether tokens must be words, for which there are vectors.
        characters: how many characters of a text it looks at beside the words.
        pieces: how many pieces of words it wants to share between texts.
        written: how many pieces of texts it wants, at most, with all that is written: upper case too.
        masks: the side in cells of the mask that each box is to have; None where it learns boxes alone.
    """

    model: str = ""
    size: int | None = None
    waves: bool = False
    tokenizer: str | None = None
    positions: int | None = None
    window: int | None = None
    words: bool = False
    characters: int | None = None
    pieces: int | None = None
    written: int | None = None
    masks: int | None = None


class Suited:
    """The part of a Field's contract that models look at."""

    vocabulary: Sequence[str] = ()
    """The tokens that values are made of, by number, once fitted; none where they are not made of tokens."""
    tokenizer: str | None = None
    """The JSON of the tokeniser, where they are the pieces of one."""

    @classmethod
    def suit(cls, column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
        """What a model wants of the settings that are still open: {setting: (value, why)}.

        Args:
            column: the field's name, for messages.
            settings: of the field, as a recipe has them.

        Raises:
            UsageError: a setting that is given does not go with the model.
        """
        return {}

    def standardise_as(self, mean: Sequence[float], std: Sequence[float]) -> bool:
        """Prepared values are to have this mean and deviation for 0 and 1, a number a channel, which pretrained weights
        were trained with; whether this kind can."""
        return False

    @property
    def joint(self) -> dict[str, Any] | None:
        """How two values are put together for a model that reads them as one, where something says so."""
        return None
