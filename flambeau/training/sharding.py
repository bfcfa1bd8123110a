"""Weights, gradients and the optimiser's state divided between processes: FSDP2 by `torch.distributed.fsdp.fully_shard`
(Zhao et al. 2023, arXiv:2304.11277).

Each process keeps every W-th part of each tensor. Blocks of the model are gathered whole while they compute, forward
and backward, and their gradients are summed where they are kept: so there is one block at a time in memory beside a
W-th of all else. Costs two gatherings and one sum of all weights a pass, where processes with whole weights sum once.
The model is whole in each process before the first step and after the last.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor, empty

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Windows
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import Technique
from flambeau.training.gradients import GradientSum, lost
from flambeau.training.processes import ProcessGroup
from flambeau.training.settings import Settings

SMALLEST, LARGEST = 0.01, 0.3  # share of the weights of a block that is gathered by itself
OPTIMIZERS = ("auto", "adamw", "adam", "sgd")
SEES_WEIGHTS = ("on_training", "on_fit_start", "on_freeze", "on_epoch_start", "on_gradients", "on_step_end",
                "on_evaluation", "on_fit_end", "on_done")  # fmt: skip


class ShardedSum(GradientSum):
    """Gradients are summed already, each where it is kept: what is left is to divide by the weight of all shares."""

    def __call__(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        mean = super().__call__((), loss)
        own = [p.grad.to_local() for p in parameters if isinstance(p.grad, DTensor)]
        if own:
            torch._foreach_div_(own, self.total())
        return mean


class ShardedGroup(ProcessGroup):
    """One of several processes, each of which keeps a part of all weights."""

    talks_in_passes = True

    def __init__(self, device: torch.device):
        super().__init__(device)
        self.mesh = init_device_mesh(device.type, (self.count,))
        self.shards = self
        self.writer = self.same(os.getpid())
        self._parted: list[tuple[nn.Module, str, nn.Parameter]] = []

    def refuse(self, objective: Objective, techniques: Sequence[Technique], settings: Settings) -> None:
        odd = next((t.name for t in techniques if not t.shards and any(map(t.overridden, SEES_WEIGHTS))), None)
        known = [settings.optimizer, settings.then.get("optimizer", "auto")]
        named = next((name for name in known if str(name).lower() not in OPTIMIZERS), None)
        if not isinstance(objective, Supervised) or type(objective).forward is not Supervised.forward:
            found = f"the objective {type(objective).__name__} does not call its model as a whole"
        elif odd is not None:
            found = f"the technique {odd} needs whole weights"
        elif named is not None:
            found = f"the optimiser {named} needs whole weights"
        elif settings.precision == "float16":
            found = "in float16 the loss is scaled, by all gradients"
        elif settings.compile:
            found = "a compiled model is whole"
        else:
            return
        raise UsageError(f"{found}, which --shard divides", fix="leave --shard out")

    def _new_sum(self) -> GradientSum:
        return ShardedSum(self.first)

    def start(self, objective: Objective, seed: int) -> None:
        super().start(objective, seed)
        model = objective.model
        self._parted = [(m, name, p) for m in model.modules() for name, p in m._parameters.items() if p is not None]
        for _, _, parameter in self._parted:
            parameter.data = parameter.data.contiguous()  # fully_shard takes no other
        for part in (*blocks(model), model):
            fully_shard(part, mesh=self.mesh)
        for part in model.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)  # gloo has no other
        objective.replace_parameters({whole: module.get_parameter(name) for module, name, whole in self._parted})
        for _, _, whole in self._parted:
            whole.data = whole.data.new_empty(0)

    def whole(self, objective: Objective) -> None:
        if not self._parted:
            return
        for part in [part for part in objective.model.modules() if isinstance(part, FSDPModule)]:
            part.reshard()
        back = {}
        for module, name, whole in self._parted:
            divided = module.get_parameter(name)
            if isinstance(divided, DTensor):  # not yet, where two modules share it
                with lost(), torch.no_grad():
                    whole.data = divided.full_tensor()
            back[divided] = module._parameters[name] = whole
            whole.requires_grad_(divided.requires_grad)
        objective.replace_parameters(back)
        self._let_go(objective)

    def _let_go(self, objective: Objective) -> None:
        """Takes out what fully_shard has put around the modules, which torch has no function for."""
        for part in [part for part in objective.model.modules() if isinstance(part, FSDPModule)]:
            state = part._get_fsdp_state()
            for handle in (state._pre_forward_hook_handle, state._post_forward_hook_handle):
                handle.remove()
            for group in state._fsdp_param_groups:
                for of_parameter in group.fsdp_params:
                    of_parameter._post_load_hook_handle.remove()
                for handles in (group._module_to_pre_save_state_dict_hook_handle,
                                group._module_to_pre_load_state_dict_hook_handle):  # fmt: skip
                    for handle in handles.values():
                        handle.remove()
            part.__class__ = type(part).__mro__[type(part)._orig_cls_mro_index]
        self._parted = []

    def _align(self, model: nn.Module) -> None:
        if not self._parted:
            super()._align(model)
            return
        self._broadcast(model.buffers())

    def share(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        if isinstance(batch.input, Windows):
            raise UsageError("with --shard all processes call the model as often, and inputs are taken in windows here",
                             fix="leave --shard out")  # fmt: skip
        return super().share(batch, generator)

    def placed(self, value: Tensor, like: Tensor) -> Tensor:
        if isinstance(like, DTensor) and not isinstance(value, DTensor):
            return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)
        return value

    def write(self, folder: Path, tensors: dict[str, Tensor]) -> dict[str, str]:
        """Its parts of those that are divided, which are taken out of `tensors`; as `checkpoint.Shards` has it."""
        divided = {name: tensors.pop(name) for name, tensor in [*tensors.items()] if isinstance(tensor, DTensor)}
        self.wait()  # until the first has made the folder
        writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
        with lost():
            dcp.save(divided, storage_writer=writer)
        files = [file for file in sorted(folder.iterdir()) if file.is_file()] if self.first else []
        return {file.name: _digest(file) for file in files}

    def empty(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Divided as the weights are."""
        return empty(shape, dtype=dtype, device_mesh=self.mesh, placements=[Shard(0)])


def blocks(model: nn.Module) -> list[nn.Module]:
    """Parts of a model that are gathered each by itself: of its lists and sequences of modules the outermost members
    that hold some of the weights and not most. None where modules share weights."""
    listed = [p for _, p in model.named_parameters(remove_duplicate=False)]
    if len(listed) != len({*map(id, listed)}):
        return []
    total = sum(p.numel() for p in listed)

    def within(module: nn.Module) -> list[nn.Module]:
        found: list[nn.Module] = []
        for child in module.children():
            share = sum(p.numel() for p in child.parameters()) / max(1, total)
            member = isinstance(module, (nn.Sequential, nn.ModuleList)) and type(child).forward is not nn.Module.forward
            if member and SMALLEST <= share <= LARGEST:
                found.append(child)
            elif share >= SMALLEST:
                found += within(child)
        return found

    return within(model)


def _digest(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
