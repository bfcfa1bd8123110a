"""Activations and normalisations by name, for our own models, so that they can be compared; and layers of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError, check_known
from flambeau.core.shapes import Float

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
}
NORMS: Mapping[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,  # Ioffe & Szegedy 2015, arXiv:1502.03167
    "group": lambda channels: nn.GroupNorm(groups(channels), channels),  # Wu & He 2018, arXiv:1803.08494
    "layer": lambda channels: nn.GroupNorm(1, channels),  # Ba et al. 2016, arXiv:1607.06450
    "none": lambda channels: nn.Identity(),
}
GROUPS = 32


def activation(name: str, inplace: bool = True) -> nn.Module:
    """The activation of a name. Raises UsageError, with the nearest name, where there is none.

    Args:
        inplace: whether it may change its input, which saves memory where it can.
    """
    check_known("no activation is called", [name], ACTIVATIONS)
    return nn.ReLU(inplace) if name == "relu" else ACTIVATIONS[name]()


def normalisation(name: str, channels: int) -> nn.Module:
    """The normalisation of a name for maps (B, channels, H, W): over the `batch`, over each sample in `group`s of
    channels or as one `layer`, or `none`. Raises UsageError, with the nearest name, where there is no such."""
    check_known("no normalisation is called", [name], NORMS)
    return NORMS[name](channels)


def conv_norm(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """A convolution of 3×3, batch normalisation and ReLU."""
    convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def groups(channels: int) -> int:
    """The largest number of equal groups of channels up to 32, and of at least two channels each.

    >>> groups(64), groups(16), groups(24), groups(7)
    (32, 8, 12, 1)
    """
    return next((count for count in range(min(GROUPS, channels // 2), 1, -1) if channels % count == 0), 1)


class StochasticDepth(nn.Module):
    """Leaves out what a residual block adds, for each sample with the probability `p` in training: Huang et al. 2016,
    arXiv:1603.09382. (B, …) to the same; what is kept is scaled up by 1 / (1 - p)."""

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise UsageError(f"a stochastic depth of {p} does not fit", expected="0 or more, below 1")
        self.p = p

    def forward(self, x: Float[Tensor, " B *shape"]) -> Float[Tensor, " B *shape"]:
        if not self.training or not self.p:
            return x
        kept = torch.empty(len(x), *(1,) * (x.ndim - 1), device=x.device, dtype=x.dtype).bernoulli_(1 - self.p)
        return x * (kept / (1 - self.p))
