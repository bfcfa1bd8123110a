"""The forms that values have once they are encoded, and gathered into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Ragged(NamedTuple):
    """A gathered ragged column: padded values (B, T, …) with zeros behind each row's end, and lengths (B)."""

    values: Tensor
    lengths: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Ragged:
        """The same on another device."""
        return Ragged(
            self.values.to(device, non_blocking=non_blocking), self.lengths.to(device, non_blocking=non_blocking)
        )


class Windows(NamedTuple):
    """Prepared samples of several windows each, whose outputs are to be averaged: values (sum of counts, …) of all
    windows, sample by sample, and counts (B)."""

    values: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Encoding:
    """The form of one encoded value: its dtype and shape; ragged ones grow along a first axis of any length.

    `padded` says whether a model sees ragged values as long as the longest of their batch, so that those of like length
    belong together; where `prepare` cuts them to one length, batches are better mixed.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    ragged: bool = False
    padded: bool = True

    @property
    def is_row(self) -> bool:
        """Whether a value is one flat row of numbers."""
        return self.dtype.kind == "f" and len(self.shape) <= 1 and not self.ragged

    @property
    def is_picture(self) -> bool:
        """Whether a value is a picture of bytes (H, W, C)."""
        return self.dtype == np.uint8 and len(self.shape) == 3

    @property
    def nbytes(self) -> int:
        """Bytes of one value (of one item, where ragged)."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True)
class Sample:
    """Some training rows, drawn: what an augmentation may be chosen by.

    Attributes:
        count: how many training rows there are in all.
        values: the encoded values of those that were drawn.
        targets: their encoded targets; None where there are none, or such as move with the values.
        classes: the names that targets number.
    """

    count: int
    values: Any
    targets: Any = None
    classes: Sequence[str] | None = None
