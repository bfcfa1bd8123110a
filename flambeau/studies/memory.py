"""The memory of a training's step, without and with gradient checkpointing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from flambeau.core.errors import UsageError
from flambeau.diagnosis.memory import StepMemory, step_memory
from flambeau.learner import Learner
from flambeau.techniques.base import HOOKS
from flambeau.techniques.gradient_checkpointing import GradientCheckpointing
from flambeau.training.updates import Updates


def memory(learner: Learner, snapshot: Path | None = None) -> dict[str, Any]:
    """Measures a step of a training that is not to be gone on with, on its largest batch.

    Args:
        snapshot: on CUDA, a file for https://pytorch.org/memory_viz.

    Returns:
        plain JSON: {batch_size, device, model, plain, checkpointed}, the last two as `StepMemory.to_dict`;
        `checkpointed` is None where the training checkpoints already. On CUDA `allocated` is the allocator's peak.

    Raises:
        UsageError: a snapshot is asked for elsewhere than on CUDA. Else as `Learner.build`.
    """
    learner.build()
    objective, device = learner.objective, learner.engine.device
    if snapshot is not None and device.type != "cuda":
        raise UsageError(f"the allocator of {device} has no snapshot", expected="a training on CUDA")
    size, _, made = learner.feed.largest_batch()
    batch, phase = made(size), objective.phases[0]
    hooks = {h: [getattr(t, h) for t in learner.techniques if t.overridden(h)] for h in HOOKS}
    updates = Updates(objective, learner.engine, learner.recipe.training, learner.own_steps, hooks, 1)
    for technique in learner.techniques:
        technique.on_fit_start(objective)

    def loss() -> torch.Tensor:
        with learner.engine.autocast():
            return objective.loss(batch, phase)

    def measured() -> StepMemory:
        objective.model.train()
        return step_memory(objective.model, loss, [updates.optimizers[phase]])

    result: dict[str, Any] = {
        "batch_size": size, "device": str(device), "model": learner.recipe.model.name, "checkpointed": None,
    }  # fmt: skip
    if snapshot is not None:
        torch.cuda.memory._record_memory_history()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    result["plain"] = measured().to_dict()
    if device.type == "cuda":
        result["allocated"] = torch.cuda.max_memory_allocated(device)
    if snapshot is not None:
        torch.cuda.memory._dump_snapshot(str(snapshot))
        torch.cuda.memory._record_memory_history(enabled=None)
        result["snapshot"] = str(snapshot)
    if not any(isinstance(technique, GradientCheckpointing) for technique in learner.techniques):
        checkpointing = GradientCheckpointing()
        checkpointing.on_fit_start(objective)
        result["checkpointed"] = measured().to_dict()
        checkpointing.on_fit_end(objective)
    return result
