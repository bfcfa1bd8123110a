"""LoRA: Hu et al. 2021, arXiv:2106.09685. Trains a few per cent of the parameters, so that the optimiser's state is
small. Costs a product of two narrow matrices for each layer and pass. Gain: not measured yet.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from flambeau.core.errors import ModelError, UsageError, require, shown
from flambeau.techniques.base import TECHNIQUES, Technique
from flambeau.techniques.freeze import check_pattern, rest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flambeau.models import Group
    from flambeau.objectives import Objective

MATRICES = ("weight", "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""What linear layers and torch's attention call the matrices that they multiply by."""


class LowRank(nn.Module):
    """A matrix (out, in), and what is added to it: scale · up (out, rank) · down (rank, in), which begins as nothing.

    Args:
        dropout: the probability that a column of the addition, so one number of the layer's input, counts as zero for a
            batch.
        based: whether to remember which matrix it is for.
    """

    base: Tensor | None

    def __init__(self, matrix: Tensor, rank: int, scale: float, dropout: float = 0.0, based: bool = False):
        super().__init__()
        outputs, inputs = matrix.shape
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.scale, self.dropout = scale, dropout
        self.register_buffer("base", checksum(matrix) if based else None)

    def forward(self, matrix: Tensor) -> Tensor:
        down: Tensor = self.down
        if self.training and self.dropout:
            down = down * F.dropout(torch.ones_like(down[0]), self.dropout)
        with torch.autocast(matrix.device.type, enabled=False):  # what is merged at the end is what was trained
            return matrix + self.scale * (self.up @ down)


@TECHNIQUES.register("lora")
class LoRA(Technique):
    """Freezes the model but for its head, and adds a small product of matrices to those of its linear and attention
    layers. At the end they are merged, and the model is as it was built.

    Args:
        rank: of what is added.
        alpha: what is added is multiplied by alpha / rank.
        dropout: see `LowRank`.
        pattern: a regular expression that is found in the names of the weights that get one; all before the head if not
            given.
        adapter: the run keeps what was trained alone, a few megabytes, and is loaded upon the pretrained weights.
    """

    settings = ("rank", "alpha", "dropout", "pattern", "adapter")

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        pattern: str | None = None,
        adapter: bool = False,
    ):
        require(isinstance(rank, int) and rank >= 1, f"rank={shown(rank)}", "1 or more")
        require(alpha > 0, f"alpha={shown(alpha)}", "a number above 0")
        require(0 <= dropout < 1, f"dropout={shown(dropout)}", "0 or more, and below 1")
        check_pattern(pattern, "weights")
        self.rank, self.alpha, self.dropout, self.pattern, self.adapter = rank, alpha, dropout, pattern, bool(adapter)
        self.needs_base = self.adapter
        self._frozen: list[Group] = []
        self._adapted: list[tuple[nn.Module, str, LowRank, RemovableHandle]] = []

    def describe(self) -> str:
        which = f"weights with {self.pattern} in their name" if self.pattern else "linear and attention layers"
        kept = "the run keeps what was trained alone" if self.adapter else "merged at the end"
        return f"{which} learn by what a product of rank {self.rank} adds, the rest but the head is frozen; {kept}"

    def decides(self) -> Mapping[str, tuple[Any, str]]:
        return {"backbone_lr_scale": (1.0, "what lora adds to pretrained layers begins as nothing")}

    def on_build(self, objective: Objective) -> None:
        body, model = objective.groups()[:-1], objective.model
        frozen = {id(parameter) for group in body for parameter in group.parameters.values()}
        targets = [
            (name, module, matrix)
            for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, nn.MultiheadAttention))
            for matrix in MATRICES
            if id(getattr(module, matrix, None)) in frozen
        ]
        chosen = [(m, matrix) for name, m, matrix in targets if re.search(self.pattern or "", f"{name}.{matrix}")]
        if not chosen:
            known = ", ".join(dict.fromkeys(f"{name}.{matrix}" for name, _, matrix in targets))
            what = f"with {self.pattern} in its name" if self.pattern and known else "before its head"
            raise UsageError(f"the model has no linear or attention layer {what}, which lora is for",
                             fix=f"its layers: {known}" if known else "leave lora out, or take freeze")  # fmt: skip
        for group in body:
            for parameter in group.parameters.values():
                parameter.requires_grad_(False)
        for module, matrix in chosen:
            weight = getattr(module, matrix)
            low = LowRank(weight, self.rank, self.alpha / self.rank, self.dropout, self.adapter).to(weight)
            parametrize.register_parametrization(module, matrix, low)
            handle = module.register_load_state_dict_pre_hook(take_merged)
            self._adapted.append((module, matrix, low, handle))
        self._frozen = [group.frozen() for group in objective.groups()[:-1]]  # now: others freeze for an epoch

    def on_freeze(self, objective: Objective, epoch: int) -> None:
        rest(objective.model, self._frozen)

    def on_done(self, objective: Objective) -> None:
        if self.adapter:
            self._check_base(objective.model)
            return
        for module, matrix, low, handle in self._adapted:
            handle.remove()
            low.eval()
            parametrize.remove_parametrizations(module, matrix, leave_parametrized=True)
        self._adapted = []

    def _check_base(self, model: nn.Module) -> None:
        """Raises ModelError where an adapter was loaded upon other weights than it was trained for."""
        names = {module: name for name, module in model.named_modules()}
        for module, matrix, low, _ in self._adapted:
            assert low.base is not None
            if int(low.base) != int(checksum(getattr(module.parametrizations, matrix).original)):
                where = f"{names[module]}.{matrix}"
                fix = "give the pretrained weights of its training"
                raise ModelError("the weights are not those that the adapter was trained for", where=where, fix=fix)


def checksum(matrix: Tensor) -> Tensor:
    """The CRC-32 of a tensor's bytes, int64 without axes."""
    data = matrix.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
    return torch.tensor(zlib.crc32(data))


def take_merged(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Lets a module with a `LowRank` load weights that were merged, as a finished run has them."""
    for matrix, listed in module.parametrizations.items():  # type: ignore[union-attr, operator]
        if f"{prefix}{matrix}" in state and isinstance(listed[0], LowRank):
            inside = f"{prefix}parametrizations.{matrix}."
            state[f"{inside}original"] = state.pop(f"{prefix}{matrix}")
            state[f"{inside}0.down"] = listed[0].down.detach()
            state[f"{inside}0.up"] = torch.zeros_like(listed[0].up)
