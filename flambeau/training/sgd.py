"""SGD with momentum, whose parameters need not all learn from the first step on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class SGD(torch.optim.SGD):
    """torch's own. Its fused kernel fails where some parameters have a momentum and others none yet, as when a layer is
    unfrozen: those begin with a momentum of nothing, which gives the first gradient as torch's first step does."""

    def _init_group(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        momentum_buffer_list: list[Tensor | None],
    ) -> bool:
        sparse: bool = super()._init_group(group, params, grads, momentum_buffer_list)  # type: ignore[misc]
        if any(buffer is not None for buffer in momentum_buffer_list):
            for i, buffer in enumerate(momentum_buffer_list):
                if buffer is None:
                    momentum_buffer_list[i] = torch.zeros_like(grads[i])
        return sparse
