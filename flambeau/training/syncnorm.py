"""Batch normalisation over the batch of all processes: each layer's mean and variance are those of the whole batch.

Torch's SyncBatchNorm is for GPUs only. Costs two sums over processes a layer in each pass, of two numbers a channel.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.training.gradients import lost


class Normalised(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) by channel, times weight plus bias, of a mean and a variance over the batches
    of all processes; x (B, C, …), all else (C)."""

    @staticmethod
    def forward(
        context: Any, x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, count: float, eps: float
    ) -> Tensor:
        context.save_for_backward(x, weight, mean, variance)
        context.count, context.eps = count, eps
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = context.saved_tensors
        # as if mean and variance were constants; then what they owe to x
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, variance, None, None, False, context.eps, [True, True, True]
        )
        sums = torch.stack([dbias, dweight]).float()
        with lost():
            dist.all_reduce(sums)
        inverse = (variance + context.eps).rsqrt()
        slope = weight * inverse * inverse * sums[1] / context.count
        offset = weight * inverse * sums[0] / context.count - slope * mean
        shape = (1, -1, *(1,) * (x.ndim - 2))
        dx = dx.sub_(torch.addcmul(offset.view(shape).to(x.dtype), x, slope.view(shape).to(x.dtype)))
        return dx, dweight, dbias, None, None, None, None


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    """A layer of batch normalisation that counts over all processes while it trains."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.running_mean is None):
            return super().forward(x)
        self._check_input_dim(x)
        channels = x.shape[1]
        axes = [axis for axis in range(x.ndim) if axis != 1]
        with torch.no_grad():
            variance, mean = torch.var_mean(x.float(), axes, correction=0)
            count = x.numel() // channels
            # means and variances are joined: a sum of squares would lose digits
            every = torch.empty(dist.get_world_size(), 2 * channels + 1, device=x.device)
            with lost():
                own = torch.cat([mean, variance, mean.new_tensor([count])])
                dist.all_gather([*every.unbind()], own)
            means, variances, counts = every.split([channels, channels, 1], 1)
            total = counts.sum()
            mean = (means * counts).sum(0) / total
            variance = ((variances + (means - mean).square()) * counts).sum(0) / total
            total = float(total)
            if self.training and self.track_running_stats:
                self._count(mean, variance * total / max(total - 1, 1))
        ones, zeros = mean.new_ones(channels), mean.new_zeros(channels)
        weight, bias = (ones, zeros) if self.weight is None else (self.weight, self.bias)
        return Normalised.apply(x, weight, bias, mean, variance, total, self.eps)

    def _count(self, mean: Tensor, variance: Tensor) -> None:
        """The running statistics, as torch's layers count them."""
        share = 0.0 if self.momentum is None else self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                share = 1.0 / float(self.num_batches_tracked)
        assert self.running_mean is not None and self.running_var is not None
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


class _Synchronised1d(_Synchronised, nn.BatchNorm1d): ...


class _Synchronised2d(_Synchronised, nn.BatchNorm2d): ...


class _Synchronised3d(_Synchronised, nn.BatchNorm3d): ...


SYNCHRONISED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Synchronised1d,
    nn.BatchNorm2d: _Synchronised2d,
    nn.BatchNorm3d: _Synchronised3d,
}


def synchronise(model: nn.Module) -> None:
    """Lets torch's own layers of batch normalisation count over all processes while they train; in place, and with the
    same weights and names."""
    for module in model.modules():
        if type(module) in SYNCHRONISED:
            module.__class__ = SYNCHRONISED[type(module)]


def unsynchronise(model: nn.Module) -> None:
    """Leaves the layers as they were."""
    plain = {synchronised: layer for layer, synchronised in SYNCHRONISED.items()}
    for module in model.modules():
        if type(module) in plain:
            module.__class__ = plain[type(module)]
