"""A LeNet-like network for tiny pictures: two convolutions, two linear layers.

After LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition" (1998), with ReLU,
max pooling and batch normalisation, which make it train in a few epochs.
"""

from __future__ import annotations

from torch import Tensor, nn

from flambeau.core.errors import ModelError
from flambeau.core.shapes import Float
from flambeau.models import layers
from flambeau.models.spec import OWN


@OWN.register("lenet", of=lambda spec: (spec.channels, spec.size))
class LeNet(nn.Module):
    """Two 3×3 convolutions, each halving the picture, then a hidden linear layer.

    Args:
        channels: C.
        size: (H, W), each at least 4.
        num_outputs: K.
        width: channels of the first convolution; the second has twice as many.
        dropout: probability, before the last layer.
        norm: `batch`, `group`, `layer` or `none`.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: (B, C, H, W) float to (B, K). Pictures above 32 px are pooled to 8×8 before the linear layers, so that
    these do not grow with the picture.
    """

    def __init__(
        self, channels: int, size: tuple[int, int], num_outputs: int, width: int = 32, dropout: float = 0.25,
        norm: str = "batch", activation: str = "relu",
    ):  # fmt: skip
        super().__init__()
        if min(size) < 4:
            raise ModelError(
                f"it halves a picture twice, the picture has {size[0]}×{size[1]} px",
                where="lenet",
                fix="use larger pictures, or the model mlp",
            )
        pooled = [min(side // 4, 8) for side in size]
        bias = norm == "none"
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=bias),
            layers.normalisation(norm, width),
            layers.activation(activation),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=bias),
            layers.normalisation(norm, 2 * width),
            layers.activation(activation),
            nn.MaxPool2d(2),
        )
        # Nothing to do up to 32 px: then the maps have that size already.
        self.pool = nn.AdaptiveAvgPool2d((pooled[0], pooled[1])) if max(size) > 32 else nn.Identity()
        self.hidden = nn.Sequential(
            nn.Linear(2 * width * pooled[0] * pooled[1], 4 * width), layers.activation(activation), nn.Dropout(dropout)
        )
        self.head = nn.Linear(4 * width, num_outputs)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        x = self.pool(self.body(x))  # (B, 2·width, ≤8, ≤8)
        return self.head(self.hidden(x.flatten(1)))
