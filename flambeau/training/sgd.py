"""SGD with momentum, whose parameters need not all learn from the first step on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SGD(torch.optim.SGD):
    """torch's own. Its fused kernel fails where some parameters have a momentum and others none yet, as when a layer is
    unfrozen: those begin with a momentum of nothing, which gives the first gradient as torch's first step does."""

    def _init_group(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], buffers: list[Tensor | None]
    ) -> bool:
        sparse: bool = super()._init_group(group, params, grads, buffers)
        if any(buffer is not None for buffer in buffers):
            buffers[:] = [torch.zeros_like(grads[i]) if buffer is None else buffer for i, buffer in enumerate(buffers)]
        return sparse
