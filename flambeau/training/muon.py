"""Muon: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; scaled as in Liu et al. 2025,
arXiv:2502.16982, so that AdamW's rate and decay suit it.

Costs fifteen products of matrices for each matrix and step: of a GPT of 0.8 M parameters on a processor a tenth of the
time with batches of 2,048 tokens, a sixth with 1,024. Measured on the characters of five novels of Jane Austen, such a
GPT, 50 seconds of processor time each, bits a character of the novels' ends:

- 2,048 tokens a batch: 2.42, 2.34, 2.41 at rates of 3e-3, 8e-3, 2e-2; AdamW 2.22, 2.26, 2.51 at 2e-3, 4e-3, 8e-3.
- 1,024, the vectors of tokens at 2e-3: 2.18, 2.54 at 8e-3, 2e-2; AdamW 2.16 at 2e-3.

So it is taken only where it is named.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from flambeau.core.errors import UsageError
from flambeau.training.adamw import AdamW


class Muon(torch.optim.Optimizer):
    """Groups that say `hidden` are hidden matrices, float (out, in), and are moved by torch's Muon; the rest by AdamW.

    Raises:
        UsageError: there is no hidden matrix.
    """

    def __init__(
        self, params: Any, lr: float = 1e-3, momentum: float = 0.95, nesterov: bool = True, ns_steps: int = 5,
        betas: tuple[float, float] = (0.9, 0.999), weight_decay: float = 0.0,
    ):  # fmt: skip
        groups = list(params)
        hidden, rest = ([g for g in groups if bool(g.get("hidden")) is wanted] for wanted in (True, False))
        if not hidden:
            raise UsageError(
                "the model has no matrix between its first and its last layer that Muon could move",
                fix="take adamw, which moves all else",
            )
        matrices = torch.optim.Muon(hidden, lr, weight_decay, momentum, nesterov, ns_steps=ns_steps,
                                    adjust_lr_fn="match_rms_adamw")  # fmt: skip
        self._parts: list[torch.optim.Optimizer] = [matrices]
        if rest:
            fused = all(p.is_floating_point() for g in rest for p in g["params"])
            self._parts.append(AdamW(rest, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused))
        super().__init__([group for part in self._parts for group in part.param_groups], {"lr": lr})
        self._share()

    def _share(self) -> None:
        """The parts hold the very groups and states that this one has: rates, saving and loading are as elsewhere."""
        first = len(self._parts[0].param_groups)
        for part, groups in zip(self._parts, (self.param_groups[:first], self.param_groups[first:]), strict=False):
            part.param_groups, part.state = groups, self.state
            if isinstance(part, AdamW):
                part._lists = None

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of all groups."""
        for part in self._parts:
            part.step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()
