"""ResNet-18, -34 and -50, with torchvision's names, shapes and arithmetic, so that weights are interchangeable.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (2015), https://arxiv.org/abs/1512.03385.
The stride of a bottleneck sits on its 3×3 convolution ("ResNet v1.5").
"""

from __future__ import annotations

from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float
from flambeau.models.layers import activation as activation_of
from flambeau.models.layers import normalisation
from flambeau.models.spec import OWN, InputSpec

SMALL_PICTURE = 64  # up to this many pixels the stem that divides by four would leave too little


def shortcut(in_channels: int, out_channels: int, stride: int, norm: str) -> nn.Sequential | None:
    """The projection of a block's input where its shape differs from the output's; None where it does not."""
    if stride == 1 and in_channels == out_channels:
        return None
    projection = nn.Conv2d(in_channels, out_channels, 1, stride, bias=norm == "none")
    return nn.Sequential(projection, normalisation(norm, out_channels))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions around a shortcut. (B, C, H, W) to (B, planes, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, norm: str = "batch", activation: str = "relu"):
        super().__init__()
        bias = norm == "none"
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride, 1, bias=bias)
        self.bn1 = normalisation(norm, planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=bias)
        self.bn2 = normalisation(norm, planes)
        self.relu = activation_of(activation)
        self.downsample = shortcut(in_channels, planes, stride, norm)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        x += identity
        return self.relu(x)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions around a shortcut. (B, C, H, W) to (B, 4·planes, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, norm: str = "batch", activation: str = "relu"):
        super().__init__()
        bias = norm == "none"
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=bias)
        self.bn1 = normalisation(norm, planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=bias)
        self.bn2 = normalisation(norm, planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=bias)
        self.bn3 = normalisation(norm, 4 * planes)
        self.relu = activation_of(activation)
        self.downsample = shortcut(in_channels, 4 * planes, stride, norm)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H2 W2"]:
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        x += identity
        return self.relu(x)


@OWN.register("resnet50", block=Bottleneck, depths=(3, 4, 6, 3))
@OWN.register("resnet34", block=BasicBlock, depths=(3, 4, 6, 3))
@OWN.register("resnet18", block=BasicBlock, depths=(2, 2, 2, 2))
class ResNet(nn.Module):
    """A residual network of four stages.

    Args:
        spec: pictures (C, H, W).
        num_outputs: K.
        block: `BasicBlock` or `Bottleneck`.
        depths: blocks in each stage.
        stem: `large` divides the picture by four (7×7 stride 2, then pooling), as torchvision does; `small` is one
            3×3 convolution at full size, for pictures up to 64 px. By the picture's size, if not given.
        norm: `batch`, `group`, `layer` or `none`; weights of torchvision's fit `batch` alone.
        activation: a name of `flambeau.models.layers.ACTIVATIONS`.

    Shapes: (B, C, H, W) float to (B, K).
    """

    def __init__(
        self,
        spec: InputSpec,
        num_outputs: int,
        block: type[BasicBlock] | type[Bottleneck],
        depths: tuple[int, int, int, int],
        stem: str | None = None,
        norm: str = "batch",
        activation: str = "relu",
    ):
        super().__init__()
        stem = stem or ("small" if max(spec.size) <= SMALL_PICTURE else "large")
        if stem not in ("large", "small"):
            raise UsageError(f"no stem is called '{stem}'", expected="large or small")
        if stem == "large":
            self.conv1 = nn.Conv2d(spec.channels, 64, 7, 2, 3, bias=norm == "none")
        else:
            self.conv1 = nn.Conv2d(spec.channels, 64, 3, 1, 1, bias=norm == "none")
        self.bn1 = normalisation(norm, 64)
        self.relu = activation_of(activation)
        self.maxpool: nn.Module = nn.MaxPool2d(3, 2, 1) if stem == "large" else nn.Identity()
        width = 64
        stages = []
        for planes, depth, stride in zip((64, 128, 256, 512), depths, (1, 2, 2, 2), strict=True):
            blocks = []
            for i in range(depth):
                blocks.append(block(width, planes, stride if i == 0 else 1, norm, activation))
                width = planes * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K"]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (B, 64, H/4, W/4) with the large stem
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)  # (B, width, H/32, W/32)
        return self.fc(self.avgpool(x).flatten(1))
