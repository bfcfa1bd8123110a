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

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.values.device

    @property
    def there(self) -> Tensor:
        """Which places are no padding, bool (B, T)."""
        return torch.arange(self.values.shape[1], device=self.device) < self.lengths[:, None]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Ragged:
        """The same on another device."""
        return Ragged(
            self.values.to(device, non_blocking=non_blocking), self.lengths.to(device, non_blocking=non_blocking)
        )


class Packed(NamedTuple):
    """Windows of texts that lie end to end, as a model of language gets them: what stands in a window before its last
    token is read, and what stands behind its first is foretold.

    Attributes:
        tokens: int64 (B, T).
        segments: int64 (B, T), the number of the document within the window: nothing is foretold from another.
        counted: bool (B, T), which tokens the loss counts where they are foretold; None for all.
        rows: int64 (B, T), the dataset's row that each token is of; None where that is not known.
    """

    tokens: Tensor
    segments: Tensor
    counted: Tensor | None = None
    rows: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where they lie."""
        return self.tokens.device

    @property
    def targets(self) -> Tensor:
        """Which tokens behind the first are foretold and counted, bool (B, T - 1)."""
        within = self.segments[:, 1:] == self.segments[:, :-1]
        return within if self.counted is None else within & self.counted[:, 1:]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Packed:
        """The same on another device."""
        tokens, segments, *rest = (
            None if part is None else part.to(device, non_blocking=non_blocking) for part in self
        )
        assert tokens is not None and segments is not None
        return Packed(tokens, segments, *rest)


class Windows(NamedTuple):
    """Prepared samples of several windows each, whose outputs are to be averaged: values (sum of counts, …) of all
    windows, sample by sample, and counts (B)."""

    values: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Encoding:
    """The form of one encoded value: its dtype and shape; ragged ones grow along a first axis of any length.

    `padded` says whether a model sees ragged values as long as the longest of their batch, so that those of like length
    belong together; where `prepare` cuts them to one length, batches are better mixed. `window` is how many items
    behind the first a model sees of values that are laid end to end, see `Packed`; 0 where each is a sample of its own.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    ragged: bool = False
    padded: bool = True
    window: int = 0

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
        things: whether the targets are of things in the values, such as boxes and masks.
    """

    count: int
    values: Any
    targets: Any = None
    classes: Sequence[str] | None = None
    things: bool = False
