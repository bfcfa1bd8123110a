"""The largest batch that fits into memory, where it is asked for."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.learner import preflight
from flambeau.learner.feeds import FieldFeed
from flambeau.objectives import Objective
from flambeau.training.engine import Engine

if TYPE_CHECKING:
    from flambeau.learner.learner import Learner

TRIED = 8  # samples that the memory of one is told by
SHARE = 0.5  # of the free memory that activations may take: their gradients and what libraries hold come on top


def settle(learner: Learner) -> str:
    """Puts the largest power of two in the place of the batch size; says so in a sentence. What activations of a few
    samples take tells which is tried first, and it is halved until a step goes through.

    Raises:
        UsageError: batches are bounded by tokens, or are those of the user's own loader.
        TrainingError: not even one sample fits.
    """
    feed, objective, engine, settings = learner.feed, learner.objective, learner.engine, learner.recipe.training
    if not isinstance(feed, FieldFeed):
        raise UsageError("the batches of your own data are its own", fix="give it another batch size")
    if learner.processes.count > 1:
        raise UsageError("each of several processes has memory of its own", fix="give a batch size")
    if settings.max_tokens is not None and feed.store.lengths() is not None:
        raise UsageError(
            "batches of this data are bounded by tokens, not by samples", fix="set max_tokens=, such as 65536"
        )
    rows, free = feed.samples("train") or 1, free_memory(engine.device)
    sample = max(1.0, _bytes_of(objective, engine, feed.largest_batch()[2](TRIED)) / min(TRIED, rows))
    size = 1 << max(0, min(rows, int(free * SHARE / sample)).bit_length() - 1)
    settings.batch_size, settings.largest_batch = size, False
    feed.make_batches(settings, objective, engine)
    fits = preflight.largest_that_fits(objective, engine, feed.largest_batch()[2], 2 * size)
    if not fits:
        raise preflight.out_of_memory(objective, engine, settings, *feed.largest_batch())
    if fits < size:
        settings.batch_size = fits
        feed.make_batches(settings, objective, engine)
    return (f"batch_size {fits}: the largest power of two that fits, where a sample's activations take "
            f"{sample / 2**20:.2g} MiB, {free / 2**30:.1f} GiB are free, and {rows:,} rows are trained on")  # fmt: skip


def free_memory(device: torch.device) -> int:
    """Bytes that a device has left; of the processor's, what this process may still take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limit, found = resource.getrlimit(resource.RLIMIT_AS)[0], 1 << 32
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = (line.split() for line in meminfo.read_text(encoding="ascii").splitlines())
        found = next((int(line[1]) * 1024 for line in lines if line[0] == "MemAvailable:"), found)
    if limit != resource.RLIM_INFINITY and (statm := Path("/proc/self/statm")).exists():
        found = min(found, limit - int(statm.read_text(encoding="ascii").split()[0]) * resource.getpagesize())
    return max(found, 1)


def _bytes_of(objective: Objective, engine: Engine, batch: Batch) -> int:
    """What the forward pass of a batch keeps for its backward pass."""
    kept: dict[int, int] = {parameter.data_ptr(): 0 for parameter in objective.model.parameters()}

    def keep(tensor: Tensor) -> Any:
        if tensor.layout is torch.strided:
            kept.setdefault(tensor.data_ptr(), tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), engine.autocast():
        loss = objective.loss(batch, objective.phases[0])
    del loss
    return sum(kept.values())
