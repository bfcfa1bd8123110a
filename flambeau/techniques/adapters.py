"""Adapters of LoRA as peft has them: `adapter_model.safetensors` and `adapter_config.json` in a folder, which
`peft.PeftModel.from_pretrained(model, folder)` loads."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from flambeau.core.errors import ModelError
from flambeau.core.files import read_json, write_atomic, write_json
from flambeau.models.weights import read_weights

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX, DOWN, UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
UNREAD = ("use_dora", "lora_bias", "modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication")
"""Settings of peft's that stand for more than two matrices of one rank a layer."""


@dataclass(frozen=True)
class Adapter:
    """What is added to some layers.

    Attributes:
        folder: that it was read from.
        rank: of each product.
        scale: that each is multiplied by.
        matrices: (down (rank, in), up (out, rank)) by the names of the layers in the model.
    """

    folder: Path
    rank: int
    scale: float
    matrices: Mapping[str, tuple[Tensor, Tensor]]

    def check(self, layers: set[str]) -> None:
        """Raises ModelError where it is for a layer that is not among a model's."""
        if missing := [name for name in self.matrices if name not in layers]:
            found = (
                f"it is for {len(missing)} layers that the model does not have before its head, such as {missing[0]}"
            )
            raise ModelError(found, where=self.folder, fix="give the model that it was trained for")


def is_transposed(module: nn.Module) -> bool:
    """Whether a layer is a linear one of transformers whose matrix is (in, out)."""
    conv1d = getattr(sys.modules.get("transformers.pytorch_utils"), "Conv1D", None)
    return conv1d is not None and isinstance(module, conv1d)


def network(model: nn.Module) -> tuple[str, Any] | None:
    """The outermost network of transformers in a model, and its path with a dot behind it; None where there is none."""
    known = getattr(sys.modules.get("transformers.modeling_utils"), "PreTrainedModel", None)
    if known is None:
        return None
    found = ((name, module) for name, module in model.named_modules() if isinstance(module, known))
    return next(((f"{name}." if name else "", module) for name, module in found), None)


def found_in(folder: Path) -> tuple[Path, str | None] | None:
    """The folder of the adapter that a folder, or a run, holds, and what model it says that it is for; None where it
    holds none."""
    for place in (folder, folder / "adapter"):
        if (place / CONFIG).is_file():
            return place, read_json(place / CONFIG).get("base_model_name_or_path")
    return None


def read(folder: Path, model: nn.Module) -> Adapter:
    """The adapter in a folder, for a model.

    Raises:
        ModelError: there is none, it is damaged, or it holds what is more than LoRA.
    """
    if not (folder / CONFIG).is_file():
        raise ModelError("there is no adapter", where=folder, expected=f"a folder with {CONFIG}, as peft leaves it")
    config = read_json(folder / CONFIG)
    if config.get("peft_type") != "LORA":
        raise ModelError(f"it is of the type {config.get('peft_type')}", where=folder / CONFIG, expected="LORA")
    if more := [name for name in UNREAD if config.get(name)]:
        raise ModelError(f"it sets {more[0]}, which is not read here", where=folder / CONFIG, expected="plain LoRA")
    if config.get("bias", "none") != "none":
        raise ModelError("it trained biases, which are not read here", where=folder / CONFIG, expected="plain LoRA")
    state = read_weights(folder / WEIGHTS)
    path = (network(model) or ("", model))[0]
    names = [key.removeprefix(PREFIX).removesuffix(DOWN) for key in state if key.endswith(DOWN)]
    try:
        matrices = {path + name: (state[f"{PREFIX}{name}{DOWN}"], state[f"{PREFIX}{name}{UP}"]) for name in names}
        rank = int(config["r"])
        scale = float(config["lora_alpha"]) / (rank**0.5 if config.get("use_rslora") else rank)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(f"the adapter is damaged ({error!r})", where=folder) from None
    if not names or any(down.shape[0] != rank or up.shape[1] != rank for down, up in matrices.values()):
        raise ModelError(f"it has no matrices, or some of another rank than {rank}", where=folder / WEIGHTS)
    return Adapter(folder, rank, scale, matrices)


def write(
    folder: Path, model: nn.Module, matrices: Mapping[str, tuple[Tensor, Tensor]], scale: float, dropout: float
) -> None:
    """Writes an adapter of a model's network of transformers; nothing where there is none, or some layer is not in it.

    Args:
        matrices: as in `Adapter`.
    """
    found = network(model)
    if found is None or not all(name.startswith(found[0]) for name in matrices):
        return
    path, net = found
    names = [name.removeprefix(path) for name in matrices]
    tensors = {}
    for name, (down, up) in zip(names, matrices.values(), strict=True):
        tensors[f"{PREFIX}{name}{DOWN}"], tensors[f"{PREFIX}{name}{UP}"] = (
            part.detach().cpu().contiguous() for part in (down, up)
        )
    rank = next(iter(matrices.values()))[0].shape[0]
    last = {name.rpartition(".")[2] for name in names}
    alike = [n for n, _ in net.named_modules() if n.rpartition(".")[2] in last]
    alpha, writes = scale * rank, "SEQ_2_SEQ_LM" if net.config.is_encoder_decoder else "CAUSAL_LM"
    folder.mkdir(exist_ok=True)
    write_atomic(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    write_json(folder / CONFIG, {
        "peft_type": "LORA",
        "task_type": writes if net.can_generate() else None,
        "base_model_name_or_path": net.config.name_or_path or None,
        "r": rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": dropout,
        "target_modules": sorted(last if len(alike) == len(names) else names),
        "bias": "none",
        "fan_in_fan_out": any(is_transposed(net.get_submodule(name)) for name in names),
        "inference_mode": True,
    })  # fmt: skip
