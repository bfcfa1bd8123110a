"""Activations and normalisations by name, for our own models, so that they can be compared; and layers of several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
NOT_SEEN = -1e9  # what is added to a score: finite, so that a token that sees nothing is no NaN
SHORT = 512
"""Tokens up to which attention by matrices is the faster way to train in bf16 on a processor."""


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


class RMSNorm(nn.RMSNorm):
    """torch's, of vectors (…, width); in a training on a processor in two thirds of its time, which is several passes
    over its input there (`benchmarks/attention.py`). Zhang & Sennrich 2019, arXiv:1910.07467."""

    def forward(self, x: Tensor) -> Tensor:
        fused = x.requires_grad and x.device.type == "cpu" and x.dtype == torch.float32
        if not fused or torch.compiler.is_compiling():
            return super().forward(x)
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        return cast(Tensor, _Scaled.apply(x, self.weight, eps))


class _Scaled(torch.autograd.Function):
    """Vectors over the root of their mean square, times weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        scaled = x * scale
        ctx.save_for_backward(scaled, scale, weight)
        return scaled * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        scaled, scale, weight = ctx.saved_tensors
        along = gradient * scaled
        mean = (along @ weight).div_(scaled.shape[-1])[..., None]
        of_x = torch.addcmul(gradient * weight, scaled, mean, value=-1).mul_(scale)
        return of_x, along.flatten(0, -2).sum(0), None


def attended(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0, causal: bool = False
) -> Tensor:
    """`F.scaled_dot_product_attention`; but a training in bf16 on a processor computes short texts by matrices, which
    takes a sixth to a half of the time up to 256 tokens: the backward pass of torch's own kernel is slow there
    (`benchmarks/attention.py`).

    Args:
        query: (B, H, T, d).
        key, value: (B, H, S, d).
        mask: bool (B or 1, 1 or H, T or 1, S): what is seen.
        dropout_p: of the shares.
        causal: each token sees those before it and itself; without `mask`, and T = S.

    Returns:
        (B, H, T, d).
    """
    by_matrices = (
        not torch.compiler.is_compiling()
        and query.requires_grad
        and query.device.type == "cpu"
        and max(query.shape[2], key.shape[2]) <= SHORT
        and (torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype) == torch.bfloat16
    )
    if not by_matrices:
        return F.scaled_dot_product_attention(query, key, value, mask, dropout_p, causal)
    B, H, T, d = query.shape
    seen = torch.ones(T, key.shape[2], dtype=torch.bool).tril() if causal else mask
    with torch.autocast("cpu", enabled=False):  # which would take the softmax in float32
        query, key, value = (part.bfloat16().flatten(0, 1) for part in (query * d**-0.5, key, value))
        if seen is None:
            scores = query @ key.transpose(1, 2)
        else:
            added = torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill_(~seen, NOT_SEEN)
            added = added.expand(B, H, T, key.shape[1]).reshape(B * H, T, -1) if seen.ndim == 4 else added
            scores = torch.baddbmm(added, query, key.transpose(1, 2))
        return (F.dropout(scores.softmax(-1), dropout_p) @ value).unflatten(0, (B, H))


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
