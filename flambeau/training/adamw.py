"""AdamW (Loshchilov & Hutter 2019) by torch's fused kernel, without what torch does around it at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor

Lists = tuple[dict[str, Any], list[Tensor], list[Tensor], list[Tensor], list[Tensor]]
"""A group, and of its parameters: themselves, both running averages, the steps."""


class AdamW(torch.optim.AdamW):
    """torch's own, with its kernel, state and results. Its lists of tensors are made once, not at every step.

    Around a small model torch's `step` takes several times as long in Python as in the kernel, and once more for
    every group of parameters. Whatever is unusual (not fused, AMSGrad, a parameter without a gradient) goes torch's
    way. Hooks on the optimiser's step are not called.
    """

    _lists: list[Lists] | None = None

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step of all groups."""
        if self._lists is None or closure is not None:
            return self._slowly(closure)
        gradients = [[p.grad for p in parameters] for _, parameters, *_ in self._lists]
        if any(g is None for group in gradients for g in group):
            return self._slowly(closure)
        for (group, parameters, averages, squares, steps), grads in zip(self._lists, gradients, strict=True):
            torch._foreach_add_(steps, 1)
            beta1, beta2 = group["betas"]
            torch._fused_adamw_(
                parameters, grads, averages, squares, [], steps, lr=group["lr"], beta1=beta1, beta2=beta2,  # type: ignore[arg-type]
                weight_decay=group["weight_decay"], eps=group["eps"], amsgrad=False, maximize=group["maximize"],
                grad_scale=None, found_inf=None,
            )  # fmt: skip
        return None

    def _slowly(self, closure: Callable[[], float] | None) -> float | None:
        loss = super().step(closure)  # makes the state too, the first time
        usual = all(g["fused"] and not (g["amsgrad"] or g["differentiable"]) for g in self.param_groups)
        if usual and all(self.state.get(p) for g in self.param_groups for p in g["params"]):
            groups = [(g, g["params"], [self.state[p] for p in g["params"]]) for g in self.param_groups]
            self._lists = [
                (g, ps, [s["exp_avg"] for s in ss], [s["exp_avg_sq"] for s in ss], [s["step"] for s in ss])
                for g, ps, ss in groups
            ]
        return loss

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        self._lists = None
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._lists = None


AdamW.step.hooked = True  # type: ignore[attr-defined]  # else torch wraps it for its profiler, which takes as long again
