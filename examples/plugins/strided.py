"""A model of one's own, by its name.

flambeau train photos/ --plugin examples/plugins/strided.py --model strided --set model.options.width=24
"""

from __future__ import annotations

from torch import Tensor, nn

from flambeau.models import OWN


@OWN.register("strided", of=lambda spec: (spec.channels,))
class Strided(nn.Sequential):
    """Convolutions that halve the picture, and the mean of what is left. Shapes: (B, C, H, W) to (B, K)."""

    def __init__(self, channels: int, num_outputs: int, width: int = 16):
        super().__init__(
            nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, num_outputs),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)
