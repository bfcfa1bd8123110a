"""Batch normalisation's running statistics: left as they are while batches pass again, or counted anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from flambeau.data.batch import Batch

if TYPE_CHECKING:
    from flambeau.objectives import Objective


def counting(model: nn.Module) -> list[nn.modules.batchnorm._NormBase]:
    """The layers of a model that count running statistics while they train; not those that are frozen."""
    norms = [module for module in model.modules() if isinstance(module, _NormBase)]
    return [norm for norm in norms if norm.training and norm.track_running_stats and norm.running_mean is not None]


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Layers normalise by the batch as they do in training, and count nothing: for batches that have been counted."""
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in counting(model)]
    for norm, _, _ in kept:
        # not track_running_stats: a pass that keeps other tensors cannot be that of a checkpoint
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count


@contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Within it modules may be set to train or to evaluate; afterwards each is in the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def count_anew(objective: Objective, batches: Iterable[Batch]) -> None:
    """Sets the running statistics of a model in training mode to their means over some batches, for weights that no
    batch has passed: Izmailov et al. 2018, arXiv:1803.05407. Changes nothing else, random states included."""
    model = objective.model
    norms, momenta = counting(model), []
    if not norms:
        return
    for norm in norms:
        momenta.append(norm.momentum)
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    devices = {p.device for p in model.parameters() if p.is_cuda}
    try:
        with modes_kept(model), torch.random.fork_rng(devices=devices), torch.no_grad():
            model.eval()  # without dropout
            for norm in norms:
                norm.train()
            objective.start_evaluation()
            for batch in batches:
                objective.evaluate(batch)
            objective.start_evaluation()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
