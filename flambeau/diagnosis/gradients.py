"""Probes of the gradients: whether each parameter gets one, is held by the optimizer, and is registered at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.core.findings import Finding, Severity
from flambeau.diagnosis.patient import Patient, Step
from flambeau.diagnosis.probe import PROBES, error, note, told, warning

LOOK_FOR = "look there for detach(), no_grad(), .data, item(), numpy, argmax or a new torch.tensor(…)"
DEEP = 3  # levels of lists, dicts and objects in which modules are looked for


@PROBES.register("gradients")
def gradients(patient: Patient) -> Iterator[Finding]:
    """Each trainable parameter gets a gradient that is neither missing, nor zero, nor NaN."""
    step = patient.start
    if not step.gradients:
        yield error(
            "nothing-trains",
            "no parameter of the model is trainable",
            ["the model"],
            fix="set requires_grad_(True) on those that are to learn",
        )
        return
    if not step.loss.requires_grad:
        yield _broken(step)
        return
    if bad := [name for name, g in step.gradients.items() if g is not None and not bool(torch.isfinite(g).all())]:
        yield error(
            "gradient-not-finite", "gradients are NaN or infinite at the first step", bad, fix=_not_finite(patient)
        )
        return
    called = {id(layer.module) for layer in step.layers}
    modules = dict(step.trial.model.named_modules())
    missing = [name for name, g in step.gradients.items() if g is None]
    unused = [name for name in missing if not _is_called(modules, name, called)]
    cut = [name for name in missing if name not in unused]
    if cut:
        place = _where_cut(step, cut)
        yield warning("no-gradient", f"the loss sends no gradient to {_count(cut)}{place}", cut, fix=LOOK_FOR)
    if unused:
        yield note(
            "unused",
            f"layers that forward does not call have {_count(unused)}",
            unused,
            fix="call them in forward, or remove them",
        )
    zero = [name for name, g in step.gradients.items() if g is not None and g.numel() and not bool(g.any())]
    if zero:
        later = patient.later.gradients
        zero = [name for name in zero if (g := later.get(name)) is None or not bool(g.any())]
    if zero:
        owners = {name.rpartition(".")[0] for name in set(step.gradients) - set(zero)}
        whole = [name for name in zero if name.rpartition(".")[0] not in owners]
        yield told(  # of an RNN that is read at one place, say, some weights have nothing to do
            Severity.WARNING if whole else Severity.NOTE,
            "zero-gradient",
            f"the gradient of {_count(zero)} is zero",
            whole or zero,
            fix="what they lead to is dead (a ReLU below zero, a saturated sigmoid), multiplied by zero, "
            "constant or rounded: look at the layers behind them",
        )


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} parameters" if len(names) > 1 else "one parameter"


def _is_called(modules: Mapping[str, nn.Module], parameter: str, called: set[int]) -> bool:
    """Whether a parameter's module or one around it, which may use the weights itself, was called."""
    owner = parameter.rpartition(".")[0]
    while True:
        module = modules[owner]
        if id(module) in called and (owner or any(True for _ in module.parameters(recurse=False))):
            return True
        if not owner:
            return False
        owner = owner.rpartition(".")[0]


def _broken(step: Step) -> Finding:
    """Nothing gets a gradient: where the graph ends."""
    flowing = [layer for layer in step.layers if layer.flows]
    if step.outputs is not None and step.outputs.requires_grad:
        place, fix = "the loss", "compute it from the output itself, without argmax, item(), detach() or a new tensor"
    else:
        place = f"behind {flowing[-1]}" if flowing else "the model"
        fix = LOOK_FOR
    return error("no-gradient", "the loss does not depend on any parameter: nothing is learnt", [place], fix=fix)


def _where_cut(step: Step, cut: Sequence[str]) -> str:
    """Between which layers the graph is cut: behind the last whose parameters get nothing though it was called."""
    layers = step.layers
    owners = {name.rpartition(".")[0] for name in cut}
    last = max((i for i, layer in enumerate(layers) if layer.name in owners), default=None)
    if last is None:
        return ""
    if not layers[last].flows:
        return f": {layers[last]} runs without a graph"
    follower = next((layer for layer in layers[last + 1 :] if layer.gradient is not None), None)
    return f": the graph is cut behind {layers[last]}" + (f", before {follower}" if follower else "")


def _not_finite(patient: Patient) -> str:
    step = patient.start
    broken = next((layer for layer in step.layers if layer.finite == (True, False)), None)
    if broken is not None:
        return f"{broken} makes them of finite numbers: look for a logarithm or a root of zero, or a division by it"
    last = next((la for la in reversed(step.layers) if la.gradient is not None and not _finite(la.gradient)), None)
    where = f"behind {last}" if last is not None else "in the loss"
    return f"look {where} for a root, a norm, a logarithm or a division at zero; add an eps inside it"


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())


@PROBES.register("registered")
def registered(patient: Patient) -> Iterator[Finding]:
    """Whatever the loss would train is a parameter of the model, the loss or the optimizer, and is there to stay."""
    step = patient.start
    trial = step.trial
    held = {id(p) for p in trial.model.parameters()} | {id(p) for p in patient.model.parameters()}
    for group in getattr(trial.optimizer, "param_groups", ()):
        held |= {id(p) for p in group["params"]}
    strays = [leaf for leaf in step.leaves if id(leaf) not in held]
    modules = trial.model.named_modules()
    named = {id(value): name for module, m in modules for name, value in _inside(vars(m), module)}
    if hidden := sorted({named[id(leaf)] for leaf in strays if id(leaf) in named}):
        yield warning(
            "not-registered",
            f"{_count(hidden)} in use, not registered: "
            "the optimizer does not train them and state_dict does not save them",
            hidden,
            fix="use nn.ModuleList, nn.ModuleDict or nn.Parameter for a list, a dict or a tensor",
        )
    criterion = {id(p) for _, p in _inside({"criterion": trial.criterion, "call": trial.call}, "", closures=True)}
    strange = [leaf for leaf in strays if id(leaf) not in named and id(leaf) not in criterion]
    again = {id(leaf) for leaf in trial.step().leaves} if strange else set()
    fresh = [f"parameter of shape {tuple(leaf.shape)}" for leaf in strange if id(leaf) not in again]
    if fresh:
        yield warning(
            "made-in-forward",
            "forward makes new layers at each call, which never learn",
            sorted(set(fresh)),
            fix="make them once, in __init__",
        )


def _inside(
    attributes: Mapping[str, Any], path: str, *, depth: int = DEEP, closures: bool = False
) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of all that an object holds and its module has not registered, in lists, dicts and objects too."""
    for key, value in attributes.items():
        if key in ("_parameters", "_buffers", "_modules") or key.endswith("_hooks"):
            continue
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, nn.Module):
            yield from ((f"{name}.{n}", p) for n, p in value.named_parameters())
            if depth:
                for inner in value.modules():
                    yield from _inside(vars(inner), name, depth=depth - 1)
        elif not depth:
            continue
        elif isinstance(value, Mapping):
            yield from _inside({str(k): v for k, v in value.items()}, name, depth=depth - 1, closures=closures)
        elif isinstance(value, (list, tuple, set)):
            yield from _inside({str(i): v for i, v in enumerate(value)}, name, depth=depth - 1, closures=closures)
        elif closures and getattr(value, "__closure__", None):
            cells = dict(zip(value.__code__.co_freevars, value.__closure__, strict=True))
            yield from _inside({k: c.cell_contents for k, c in cells.items()}, name, depth=depth - 1, closures=True)
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            yield from _inside(vars(value), name, depth=depth - 1, closures=closures)
