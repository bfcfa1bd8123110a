"""LoRA: Hu et al. 2021, arXiv:2106.09685. Trains a few per cent of the parameters, so that the optimiser's state is
small. Costs two narrow products for each layer and pass, and saves the gradients of what is frozen. Gain: SmolLM2
(135 M) on Jane Austen's novels (300,000 characters, once): from 1.279 to 1.213 bits a character of Emma's end.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from flambeau.core.errors import ModelError, UsageError, require, shown
from flambeau.models.added import Added
from flambeau.techniques import adapters
from flambeau.techniques.base import TECHNIQUES, Technique, Training
from flambeau.techniques.freeze import check_pattern, rest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flambeau.models import Group
    from flambeau.objectives import Objective

MATRICES = ("weight", "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""What linear layers and torch's attention call the matrices that they multiply by."""
OTHER = "the weights are not those that the adapter was trained for"


class LowRank(Added):
    """A matrix (out, in), and what is added to it: scale · up (out, rank) · down (rank, in), which begins as nothing.

    Args:
        dropout: the probability that a number of the layer's input counts as zero for the addition; where the matrix is
            read and no layer is called, a column of the addition for a batch.
        based: whether to remember which matrix it is for.
        transposed: whether the matrix is (in, out), as in GPT-2 of transformers.
    """

    base: Tensor | None

    def __init__(
        self, matrix: Tensor, rank: int, scale: float, dropout: float = 0.0, based: bool = False,
        transposed: bool = False,
    ):  # fmt: skip
        super().__init__()
        outputs, inputs = reversed(matrix.shape) if transposed else matrix.shape
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.scale, self.dropout, self.transposed, self.removable = scale, dropout, transposed, based
        self.register_buffer("base", checksum(matrix) if based else None)

    def forward(self, matrix: Tensor) -> Tensor:
        down: Tensor = self.down
        if self.training and self.dropout:
            down = down * F.dropout(torch.ones_like(down[0]), self.dropout)
        with torch.autocast(matrix.device.type, enabled=False):  # what is merged at the end is what was trained
            addition = self.scale * (self.up @ down)
            return matrix + (addition.T if self.transposed else addition)

    def added(self, x: Tensor) -> Tensor:
        """What is added to the layer's output (…, out) for its input (…, in)."""
        x = F.dropout(x, self.dropout, self.training)
        return F.linear(self.scale * F.linear(x, self.down), self.up)


def called(layer: Any, x: Tensor) -> Tensor:
    """A layer with a `LowRank`, called: two narrow products in place of the sum of the matrices, of which no gradient
    is needed then; a third of a step's arithmetic."""
    original, low = layer.parametrizations.weight.original, layer.parametrizations.weight[0]
    return F.linear(x, original.T if low.transposed else original, layer.bias) + low.added(x)


@TECHNIQUES.register("lora")
class LoRA(Technique):
    """Freezes the model but for a head that begins fresh, and adds a small product of matrices to those of its linear
    and attention layers. At the end they are merged, and the model is as it was built.

    Args:
        rank: of what is added.
        alpha: what is added is multiplied by alpha / rank.
        dropout: see `LowRank`.
        pattern: a regular expression that is found in the names of the weights that get one; all before the head if not
            given.
        adapter: the run keeps what was trained alone, a few megabytes, and is loaded upon the pretrained weights. Of
            models of transformers it is also left as peft has it, in the run's folder `adapter`. So by default where
            the whole model was pretrained, as language models are.
        start: a folder as peft leaves it, to go on from; rank, alpha and layers are its own.
    """

    settings = ("rank", "alpha", "dropout", "pattern", "adapter", "start")

    def __init__(
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        pattern: str | None = None,
        adapter: bool | None = None,
        start: str | None = None,
    ):
        require(isinstance(rank, int) and rank >= 1, f"rank={shown(rank)}", "1 or more")
        require(alpha > 0, f"alpha={shown(alpha)}", "a number above 0")
        require(0 <= dropout < 1, f"dropout={shown(dropout)}", "0 or more, and below 1")
        check_pattern(pattern, "weights")
        self.rank, self.alpha, self.dropout, self.pattern, self.start = rank, alpha, dropout, pattern, start
        self.adapter = adapter if adapter is None else bool(adapter)
        self.needs_base = bool(adapter)
        self._frozen: list[Group] = []
        self._adapted: list[tuple[str, nn.Module, str, LowRank, RemovableHandle]] = []
        self._folder: Path | None = None
        self._checksum = 0

    def describe(self) -> str:
        which = f"weights with {self.pattern} in their name" if self.pattern else "linear and attention layers"
        which, rank = (f"layers of {self.start}", "its rank") if self.start else (which, f"rank {self.rank}")
        kept = "the run keeps what was trained alone" if self.adapter else "merged at the end"
        return f"{which} learn by what a product of {rank} adds, the rest but a fresh head is frozen; {kept}"

    def decides(self) -> Mapping[str, tuple[Any, str]]:
        return {"backbone_lr_scale": (1.0, "what lora adds to pretrained layers begins as nothing")}

    def left_open(self, whole: bool) -> Mapping[str, Any]:
        return {"adapter": True} if whole and self.adapter is None else {}

    def frozen(self) -> Iterable[nn.Parameter]:
        return [parameter for group in self._frozen for parameter in group.parameters.values()]

    def on_build(self, objective: Objective) -> None:
        groups, model = objective.groups(), objective.model
        *body, _ = groups
        within = {id(parameter) for group in body for parameter in group.parameters.values()}
        targets = [
            (name, module, matrix)
            for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, nn.MultiheadAttention)) or adapters.is_transposed(module)
            for matrix in MATRICES
            if id(getattr(module, matrix, None)) in within
        ]
        start = adapters.read(Path(self.start), model) if self.start else None
        rank, scale = (start.rank, start.scale) if start else (self.rank, self.alpha / self.rank)
        if start:
            chosen = [(name, module, matrix) for name, module, matrix in targets if name in start.matrices]
            start.check({name for name, *_ in chosen})
        else:
            chosen = [target for target in targets if re.search(self.pattern or "", f"{target[0]}.{target[2]}")]
        if not chosen:
            known = ", ".join(dict.fromkeys(f"{name}.{matrix}" for name, _, matrix in targets))
            what = f"with {self.pattern} in its name" if self.pattern and known else "before its head"
            raise UsageError(f"the model has no linear or attention layer {what}, which lora is for",
                             fix=f"its layers: {known}" if known else "leave lora out, or take freeze")  # fmt: skip
        for group in body if objective.fresh_head else groups:
            for parameter in group.parameters.values():
                parameter.requires_grad_(False)
        for name, module, matrix in chosen:
            weight, transposed = getattr(module, matrix), adapters.is_transposed(module)
            plain = transposed or type(module).forward is nn.Linear.forward  # others may do more with their matrix
            low = LowRank(weight, rank, scale, self.dropout, self.needs_base, transposed).to(weight)
            if start:
                with torch.no_grad():
                    low.down.copy_(start.matrices[name][0])
                    low.up.copy_(start.matrices[name][1])
            alone = not parametrize.is_parametrized(module)
            parametrize.register_parametrization(module, matrix, low)
            if plain and alone:
                type(module).forward = called  # of a class of its own, until it is merged
            handle = module.register_load_state_dict_pre_hook(take_merged)
            self._adapted.append((name, module, matrix, low, handle))
        now = objective.groups()  # others freeze for an epoch
        self._frozen = [group.frozen() for group in (now[:-1] if objective.fresh_head else now)]

    def on_training(self, training: Training) -> None:
        self._folder = training.folder

    def on_fit_start(self, objective: Objective) -> None:
        if self.needs_base:
            self._checksum = 0
            for parameter in self.frozen():
                self._checksum = zlib.crc32(bytes_of(parameter), self._checksum)

    def on_freeze(self, objective: Objective, epoch: int) -> None:
        rest(objective.model, self._frozen)

    def on_done(self, objective: Objective) -> None:
        if self.needs_base:
            self._check_base()
            if self._folder is not None:
                parts = {name: (low.down, low.up) for name, _, _, low, _ in self._adapted}
                low = self._adapted[0][3]
                adapters.write(self._folder / "adapter", objective.model, parts, low.scale, self.dropout)
            return
        for _, module, matrix, low, handle in self._adapted:
            handle.remove()
            low.eval()
            parametrize.remove_parametrizations(module, matrix, leave_parametrized=True)
        self._adapted = []

    def state_dict(self) -> dict[str, Any]:
        return {"frozen": self._checksum} if self.needs_base else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state.get("frozen", self._checksum) != self._checksum:
            raise ModelError(OTHER, fix="give the pretrained weights of its training")

    def _check_base(self) -> None:
        """Raises ModelError where an adapter was loaded upon other weights than it was trained for."""
        for name, module, matrix, low, _ in self._adapted:
            assert low.base is not None
            if int(low.base) != zlib.crc32(bytes_of(getattr(module.parametrizations, matrix).original)):
                raise ModelError(OTHER, where=f"{name}.{matrix}", fix="give the pretrained weights of its training")


def bytes_of(tensor: Tensor) -> Any:
    """A tensor's bytes, uint8 (N), without a copy where it is on the CPU."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()


def checksum(matrix: Tensor) -> Tensor:
    """The CRC-32 of a tensor's bytes, int64 without axes."""
    return torch.tensor(zlib.crc32(bytes_of(matrix)))


def take_merged(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Lets a module with a `LowRank` load weights that were merged, as a finished run has them."""
    for matrix, listed in module.parametrizations.items():  # type: ignore[union-attr, operator]
        if f"{prefix}{matrix}" in state and isinstance(listed[0], LowRank):
            inside = f"{prefix}parametrizations.{matrix}."
            state[f"{inside}original"] = state.pop(f"{prefix}{matrix}")
            state[f"{inside}0.down"] = listed[0].down.detach()
            state[f"{inside}0.up"] = torch.zeros_like(listed[0].up)
