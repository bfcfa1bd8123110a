"""Word swaps: tokens exchanged for neighbours in the model's own table, greedily by the gradient (HotFlip: Ebrahimi et
al. 2018, arXiv:1712.06751; neighbours as in Alzantot et al. 2018, arXiv:1804.07998)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError


def swap_words(
    loss: Callable[[Tensor], Tensor], table: nn.Embedding, values: Tensor, open_: Tensor, fixed: Tensor, *,
    swaps: int, neighbours: int = 10,
) -> Tensor:  # fmt: skip
    """Token numbers (B, T) of which at most `swaps` in each text are exchanged so that a loss grows, to first order.

    Args:
        loss: of token numbers (B, T), a scalar in which texts do not mix; it looks them up in `table`.
        open_: which may be exchanged, bool (B, T).
        fixed: bool (V): numbers that none is exchanged for, and that are not exchanged.
        neighbours: the nearest by cosine that a token may be exchanged for.

    Raises:
        UsageError: the loss looks up other things in the table than each token.
    """
    weight = table.weight.detach()
    values, open_ = values.clone(), open_ & ~fixed[values]
    near = _nearest(weight, values[open_].unique(), fixed, neighbours)
    for _ in range(swaps):
        gradient = _gradient(loss, table, values)
        others = near[values]  # (B, T, n)
        gain = torch.einsum("btnd,btd->btn", weight[others], gradient) - (weight[values] * gradient).sum(2)[..., None]
        gain = gain.masked_fill(~open_[..., None], -torch.inf).flatten(1)
        most, at = gain.max(1)
        rows = (most > 0).nonzero()[:, 0]
        if not len(rows):
            break
        places, which = at[rows] // near.shape[1], at[rows] % near.shape[1]
        values[rows, places] = others[rows, places, which]
        open_[rows, places] = False
    return values


def _nearest(weight: Tensor, tokens: Tensor, fixed: Tensor, count: int) -> Tensor:
    """int64 (V, n): the neighbours of some tokens; of any other itself."""
    unit = F.normalize(weight, dim=1)
    count = min(count, len(weight) - 1)
    near = torch.arange(len(weight), device=weight.device)[:, None].repeat(1, count)
    for part in tokens.split(256):
        alike = unit[part] @ unit.T
        alike[:, fixed] = -2.0
        alike.scatter_(1, part[:, None], -2.0)
        found = alike.topk(count, 1)
        near[part] = torch.where(found.values > -2.0, found.indices, part[:, None])
    return near


def _gradient(loss: Callable[[Tensor], Tensor], table: nn.Embedding, values: Tensor) -> Tensor:
    """Of the loss by the vectors that are looked up for the tokens, (B, T, D)."""
    seen: list[Tensor] = []

    def watch(module: nn.Module, given: object, vectors: Tensor) -> Any:
        if vectors.shape[:2] != values.shape:
            return vectors
        seen.append(vectors.detach().requires_grad_())
        return seen[-1]

    handle = table.register_forward_hook(watch)
    try:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            value = loss(values)
    finally:
        handle.remove()
    if not seen:
        raise UsageError("the model looks up no vector for each token", fix="attack one that does, such as textcnn")
    return torch.autograd.grad(value, seen[0])[0]
