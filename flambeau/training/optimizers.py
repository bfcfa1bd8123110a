"""Optimisers by name: AdamW and SGD with momentum by default settings that work, Muon, schedule-free AdamW, any
class of torch.optim, and any other by `module.Class`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from flambeau.core.errors import UsageError, first_line, nearest, shown
from flambeau.models import Undecayed
from flambeau.objectives import Objective
from flambeau.training.adamw import AdamW
from flambeau.training.muon import Muon
from flambeau.training.schedulefree import ScheduleFree
from flambeau.training.settings import AUTO, USUAL, Settings
from flambeau.training.sgd import SGD

DEFAULTS: dict[str, dict[str, Any]] = {"sgd": {"momentum": 0.9, "nesterov": True}}


def known() -> dict[str, Any]:
    """The optimisers of torch.optim by lower-case name, less those that need a closure or sparse gradients."""
    classes = {
        n.lower(): c
        for n, c in vars(torch.optim).items()
        if inspect.isclass(c) and issubclass(c, torch.optim.Optimizer) and n not in ("Optimizer", "LBFGS", "SparseAdam")
    }
    return {**classes, "adamw": AdamW, "muon": Muon, "schedulefree": ScheduleFree, "sgd": SGD}


def named(name: str) -> Any:
    """The class of an optimiser: of torch.optim by its name in any case, or of an installed package by `module.Class`;
    the usual one of auto.

    Raises:
        UsageError: there is none of that name.
    """
    classes, name = known(), USUAL["optimizer"] if name == AUTO else name
    if "." in name:
        return _imported(name)
    if name.lower() == "lbfgs":
        found = "no optimiser is called 'lbfgs' here: it looks at the loss of all rows several times a step"
        raise UsageError(found, fix="take adamw, or sgd")
    if name.lower() not in classes:
        raise UsageError(f"no optimiser is called '{name}'", fix=nearest(name.lower(), classes))
    return classes[name.lower()]


def _imported(path: str) -> Any:
    """The optimiser `module.Class` of an installed package."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"there is no optimiser '{path}' ({first_line(error)})", expected="module.Class") from None
    if not (inspect.isclass(found) and issubclass(found, torch.optim.Optimizer)):
        raise UsageError(f"'{path}' is no optimiser", expected="a class derived from torch.optim.Optimizer")
    return found


def check_phases(objective: Objective, settings: Settings) -> None:
    """Raises UsageError where settings are given for a phase that there is not, or no phase is updated in each step."""
    for phase in settings.phases:
        if phase not in objective.phases:
            raise UsageError(f"the objective has no phase '{phase}'", fix=nearest(phase, objective.phases))
    if all(settings.of_phase(phase).every > 1 for phase in objective.phases):
        raise UsageError("no phase is updated in each step", fix="leave every=1 to one of them")


def build_all(
    objective: Objective, settings: Settings, rates: Mapping[nn.Parameter, float]
) -> dict[str, torch.optim.Optimizer]:
    """An optimiser for each phase of an objective; `rates` are shares of the learning rate, of some parameters."""
    return {phase: _of_phase(objective, phase, settings.of_phase(phase), rates) for phase in objective.phases}


def _of_phase(
    objective: Objective, phase: str, settings: Settings, rates: Mapping[nn.Parameter, float]
) -> torch.optim.Optimizer:
    return build(
        settings.optimizer, objective.parameters(phase), settings.rate, settings.decay,
        head=objective.head_parameters(), backbone_lr_scale=settings.backbone_lr_scale or 1.0, rates=rates,
        options=settings.optimizer_options, outer=_embeddings(objective.model),
        undecayed=objective.model.undecayed() if isinstance(objective.model, Undecayed) else (),
    )  # fmt: skip


def _embeddings(model: nn.Module) -> list[nn.Parameter]:
    """Tables of vectors, which are matrices in form only."""
    tables = [m for m in model.modules() if isinstance(m, (nn.Embedding, nn.EmbeddingBag))]
    return [parameter for table in tables for parameter in table.parameters()]


def build(
    name: str,
    parameters: list[nn.Parameter],
    learning_rate: float,
    weight_decay: float,
    *,
    head: list[nn.Parameter] | None = None,
    backbone_lr_scale: float = 1.0,
    rates: Mapping[nn.Parameter, float] | None = None,
    options: dict[str, Any] | None = None,
    outer: list[nn.Parameter] | None = None,
    undecayed: Iterable[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """The optimiser, fused where torch has it. Biases and norms (fewer than two axes) are not decayed.

    Args:
        head: parameters that learn at the full rate where the others learn at `backbone_lr_scale` of it.
        rates: further shares of the learning rate, of some parameters.
        options: further arguments of the class.
        outer: matrices that Muon leaves to AdamW, beside those of the head; without a head the last one too.
        undecayed: further parameters that are not decayed.

    Raises:
        UsageError: no such optimiser, or no such argument.
    """
    optimizer = named(name)
    accepted = inspect.signature(optimizer).parameters
    arguments: dict[str, Any] = {**DEFAULTS.get(name.lower(), {}), **(options or {})}
    for option in arguments:
        if option in ("lr", "weight_decay", "params"):
            setting = {"lr": "learning_rate"}.get(option, option)
            raise UsageError(f"'{option}' is no option of the optimiser", fix=f"set {setting} instead")
        if option not in accepted:
            raise UsageError(f"{optimizer.__name__} takes no argument '{option}'", fix=nearest(option, accepted))
    in_head = {id(p) for p in head or ()}
    matrices = [id(p) for p in parameters if p.ndim == 2] if optimizer is Muon else []
    hidden = {*matrices} - {id(p) for p in outer or ()} - (in_head or {*matrices[-1:]})
    left_alone = {id(p) for p in undecayed}
    groups: dict[tuple[bool, bool, float, bool], list[nn.Parameter]] = {}
    for p in parameters:
        if p.requires_grad:
            rate = (rates or {}).get(p, 1.0)
            decayed, full = p.ndim >= 2 and id(p) not in left_alone, not in_head or id(p) in in_head
            groups.setdefault((decayed, full, rate, id(p) in hidden), []).append(p)
    if not groups:
        raise UsageError("no parameter is left to train", fix="unfreeze some")
    decays = "weight_decay" in accepted
    listed = [
        {"params": ps, "lr": learning_rate * rate * (1.0 if full else backbone_lr_scale)}
        | ({"weight_decay": weight_decay if decayed else 0.0} if decays else {})
        | ({"hidden": True} if of_muon else {})
        for (decayed, full, rate, of_muon), ps in groups.items()
    ]
    if "fused" in accepted and "fused" not in arguments:
        floats = all(p.is_floating_point() for p in parameters)
        arguments["fused"] = floats and parameters[0].device.type in ("cpu", "cuda", "mps")
    try:
        return optimizer(listed, lr=learning_rate, **arguments)
    except (TypeError, ValueError) as error:
        if not options:
            raise
        told = ", ".join(f"{option}={shown(value)}" for option, value in options.items())
        raise UsageError(f"{optimizer.__name__} does not take {told} ({first_line(error)})") from None
