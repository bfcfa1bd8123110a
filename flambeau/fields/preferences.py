"""Preferences: a prompt, an answer that people chose, and one that they rejected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError
from flambeau.fields.base import FIELDS, Encoding, Ragged, Recognition
from flambeau.fields.corpus import Corpus
from flambeau.fields.encoding import Packed
from flambeau.fields.language.chats import Messages, messages_of, pair_of


@FIELDS.register("preferences")
class Preferences(Corpus):
    """Messages of which the last but one was chosen, and the last, of the role `rejected`, was not; see `preference`.

    Encoded as (T, 2): the chosen chat as a document, the rejected one behind it. The second number is 1 where a token
    is of an answer, and 2 more in the rejected document. Prepared as `Packed`, whose segments are 0 and 1: each row is
    a window of its own. All else as of `Corpus`.
    """

    alone = "preference"

    @property
    def input_kind(self) -> str:
        return Corpus.kind

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        return Recognition(0.0, "what was chosen and rejected is told apart where it is said so")

    def fit(self, values: Sequence[Any]) -> None:
        pairs = ((value, _pair(value)) for value in values)  # a text alone is as good to learn tokens of
        super().fit([chat for value, pair in pairs for chat in ([value] if isinstance(pair, DataError) else pair)])

    def samples_in_epoch(self, rows: int) -> int:
        return rows

    @property
    def encoding(self) -> Encoding:
        return Encoding(super().encoding.dtype, (2,), ragged=True)

    def encode_batch(self, values: Sequence[Any]) -> list[np.ndarray | DataError]:
        pairs = [_pair(value) for value in values]
        chats = iter(super().encode_batch([chat for pair in pairs if not isinstance(pair, DataError) for chat in pair]))
        return [pair if isinstance(pair, DataError) else _together(next(chats), next(chats)) for pair in pairs]

    def prepare(
        self, gathered: Ragged | Packed, training: bool = False, generator: torch.Generator | None = None
    ) -> Packed:
        if isinstance(gathered, Packed):
            return gathered
        tokens, told = gathered.values.long().unbind(2)
        return Packed(tokens, told >> 1, gathered.there & (told & 1).bool())


def _pair(value: Any) -> tuple[Messages, Messages] | DataError:
    try:
        return pair_of(messages_of(value))
    except DataError as error:
        return error


def _together(chosen: np.ndarray | DataError, rejected: np.ndarray | DataError) -> np.ndarray | DataError:
    if isinstance(chosen, DataError) or isinstance(rejected, DataError):
        return chosen if isinstance(chosen, DataError) else rejected
    return np.concatenate([chosen, rejected + np.array([0, 2], rejected.dtype)])
