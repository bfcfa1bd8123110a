"""The contract of networks of the layout `code`: an encoder, and a decoder from a code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from flambeau.core.shapes import Float


class Coder(nn.Module, ABC):
    """Called with a prepared input it is its encoder, whose features have no meaning yet: an objective makes of them
    the code, which may be told more, such as a class.

    Attributes:
        features: F, how many the encoder gives.
    """

    features: int

    @abstractmethod
    def forward(self, x: Any) -> Float[Tensor, "B F"]:
        """A prepared input of B samples to features (B, F)."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Codes (B, num_outputs) to samples (B, …), unbounded, in the shape of `Form.decoded_shape`."""
