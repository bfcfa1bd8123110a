"""A dense encoder and decoder: for tables, numbers, series and waves, and pictures as a baseline."""

from __future__ import annotations

import itertools
import math
from typing import Any

from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.models.generative.coder import Coder
from flambeau.models.spec import OWN, InputSpec


@OWN.register("dense-coder", ("image", "number", "table", "series", "audio"), layout="code")
class DenseCoder(Coder):
    """Every number of a sample to every unit; a category is one number for each of its codes.

    Args:
        spec: of the input.
        num_outputs: numbers of a code that the decoder takes.
        width: units of a hidden layer.
        depth: hidden layers of each half.
    """

    def __init__(self, spec: InputSpec, num_outputs: int, width: int = 256, depth: int = 2):
        super().__init__()
        self.spec, self.features = spec, width
        shape = spec.form.decoded_shape(spec.shape)
        size = math.prod(shape)
        self.encoder = nn.Sequential(nn.Flatten(), *_layers(size, width, depth))
        self.decoder = nn.Sequential(
            *_layers(num_outputs, width, depth), nn.Linear(width, size), nn.Unflatten(1, shape)
        )

    def forward(self, x: Any) -> Float[Tensor, "B F"]:
        return self.encoder(self.spec.form.as_decoded(x, self.spec.shape))

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code)


def _layers(before: int, width: int, depth: int) -> list[nn.Module]:
    sizes = [before, *[width] * depth]
    return [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.GELU())]
