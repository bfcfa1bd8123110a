"""Probes of what learns: the optimizer and what it holds, frozen layers, and whether one small batch can be learnt."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from flambeau.core.findings import Finding, Severity
from flambeau.diagnosis.layers import Layer
from flambeau.diagnosis.patient import Patient, Trial
from flambeau.diagnosis.probe import PROBES, error, warning

TRIED = 3  # steps of the user's optimizer
GONE = 10.0  # times the loss before, after them
WHOLE = 1.0  # a step's update over the weights
NOTHING = 1e-8  # the same
STEPS, SECONDS = 50, 1.5  # to learn one batch in; what they may take
LEARNT = 0.005  # of the loss, that is gone then
RATES = 1e-3, 1e-2  # of Adam; the second is tried where the first does not do


@PROBES.register("optimizer")
def optimizer(patient: Patient) -> Iterator[Finding]:
    """The optimizer holds what is to be trained, and its steps are of a size with the weights."""
    if patient.optimizer is None:
        return
    held = {id(p): p for group in patient.optimizer.param_groups for p in group["params"]}
    named = {name: p for name, p in patient.model.named_parameters() if p.requires_grad}
    missing = [name for name, p in named.items() if id(p) not in held]
    known = {id(p) for p in patient.model.parameters()} | _of_criterion(patient)
    stale = sum(1 for key in held if key not in known)
    if missing and stale:
        yield error(
            "optimizer-stale",
            f"the optimizer holds {stale} parameters that the model has no more, and not {len(missing)} that it has",
            missing,
            fix="make the optimizer after the model is complete: replaced, moved or copied layers have new parameters",
        )
    elif len(missing) == len(named) and missing:
        yield error(
            "optimizer-misses",
            "the optimizer holds no parameter of the model",
            missing,
            fix="give it model.parameters()",
        )
    elif missing:
        last = _is_behind(patient, missing)
        yield Finding(
            "optimizer-misses",
            Severity.WARNING if last else Severity.NOTE,
            f"the optimizer does not hold {len(missing)} trainable parameters",
            missing,
            fix="give it model.parameters(); if they are to stay as they are, requires_grad_(False) saves time",
        )
    yield from _steps(patient)


def _of_criterion(patient: Patient) -> set[int]:
    return {id(p) for p in patient.criterion.parameters()} if isinstance(patient.criterion, nn.Module) else set()


def _is_behind(patient: Patient, names: list[str]) -> bool:
    """Whether parameters belong to layers behind some that are trained: they are no body kept as it is."""
    layers = [layer for layer in patient.start.layers if any(True for _ in layer.module.parameters(recurse=False))]
    owners = {name.rpartition(".")[0] for name in names}
    trained = [i for i, layer in enumerate(layers) if layer.name not in owners]
    return bool(trained) and any(i > trained[0] for i, layer in enumerate(layers) if layer.name in owners)


def _steps(patient: Patient) -> Iterator[Finding]:
    step = patient.start
    rates = (
        [float(group["lr"]) for group in patient.optimizer.param_groups if "lr" in group] if patient.optimizer else []
    )
    trial = Trial(patient)
    if (
        not rates
        or trial.optimizer is None
        or _wants_closure(trial.optimizer)
        or not step.loss.requires_grad
        or not bool(torch.isfinite(step.loss))
    ):
        return
    begun = any("initial_lr" in group for group in trial.optimizer.param_groups)  # a schedule may begin at nothing
    if max(rates) == 0 and not begun:
        yield error("learning-rate", "the learning rate is 0", ["the optimizer"], fix="set lr=")
        return
    before = [p.detach().clone() for p in trial.model.parameters()]
    first = trial.learn(1, trial.optimizer)[0]
    moved = [
        float((p.detach() - b).norm() / b.norm())
        for p, b in zip(trial.model.parameters(), before, strict=True)
        if b.ndim > 1 and float(b.norm()) > 1e-6 and p.requires_grad
    ]
    moved = sorted(m for m in moved if not math.isnan(m))
    flows = any(g is not None and bool(g.any()) for g in step.gradients.values())
    if moved and flows and moved[-1] < NOTHING and not begun:
        yield warning(
            "learning-rate",
            f"a step changes weights by {moved[-1]:.1g} of their size at most",
            ["the optimizer"],
            fix=f"raise the learning rate ({max(rates):g}): 1e-3 of their size is usual",
        )
        return
    losses = [first, *trial.learn(TRIED, trial.optimizer)]
    rate = f"lower the learning rate ({max(rates):g})"
    if not all(map(math.isfinite, losses)) or losses[-1] > GONE * max(abs(first), 0.1):
        yield error(
            "learning-rate",
            f"the loss goes from {first:.4g} to {losses[-1]:.4g} within {TRIED} steps",
            ["the optimizer"],
            fix=f"{rate}, and look at the scale of inputs and targets",
        )
    elif moved and moved[len(moved) // 2] > WHOLE:
        yield warning(
            "learning-rate",
            f"a step changes weights by {moved[len(moved) // 2]:.2g} times their size",
            ["the optimizer"],
            fix=f"{rate}: 1e-3 of their size is usual",
        )


def _wants_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step calls the loss itself, as that of L-BFGS does."""
    arguments = inspect.signature(type(optimizer).step).parameters
    return "closure" in arguments and arguments["closure"].default is inspect.Parameter.empty


@PROBES.register("frozen")
def frozen(patient: Patient) -> Iterator[Finding]:
    """What is frozen has been trained before."""
    layers = patient.start.layers
    held = [la for la in layers if la.weighs and not any(p.requires_grad for p in la.module.parameters(recurse=False))]
    if not held or len(held) == len([la for la in layers if la.weighs]):
        return
    random = [la for la in held if _is_untrained(la.module)]
    if not random:
        return
    trained = [i for i, la in enumerate(layers) if la.weighs and la not in held]
    behind = any(layers.index(la) > trained[0] for la in random)
    yield Finding(
        "frozen-at-random",
        Severity.WARNING if behind else Severity.NOTE,
        f"{len(random)} frozen layers have the random weights they began with",
        [str(la) for la in random],
        fix="load trained weights before freezing them, or set requires_grad_(True)",
    )


def _is_untrained(module: nn.Module) -> bool:
    """Whether weights are spread as the module's own initialisation spreads them."""
    reset = getattr(module, "reset_parameters", None)
    weight = next((p.detach().float() for p in module.parameters(recurse=False) if p.ndim > 1), None)
    if not callable(reset) or weight is None or weight.numel() < 100:
        return False
    fresh = copy.deepcopy(module)
    fresh.reset_parameters()  # type: ignore[operator]
    anew = next(p.detach().float() for p in fresh.parameters(recurse=False) if p.ndim > 1)
    near = 6 / math.sqrt(weight.numel())
    return all(abs(float(of(weight) / of(anew)) - 1) < near for of in (torch.std, _mean_size)) and (
        abs(float(weight.mean())) < near * float(weight.std())
    )


def _mean_size(value: Tensor) -> Tensor:
    return value.abs().mean()


@PROBES.register("one-batch")
def one_batch(patient: Patient) -> Iterator[Finding]:
    """The loss of one small batch falls when nothing else is learnt; of models whose steps are quick."""
    step = patient.start
    if not step.loss.requires_grad or not bool(torch.isfinite(step.loss)) or step.seconds * STEPS > SECONDS:
        return
    for rate in RATES:
        losses = Trial(patient).learn(STEPS, rate=rate)
        start, end = max(losses[:2]), min(losses[-5:])
        if end < start - LEARNT * abs(start):
            return
    yield warning(
        "one-batch",
        f"one batch cannot be learnt: its loss goes from {losses[0]:.4g} to {end:.4g} in {STEPS} steps of Adam",
        [str(_last(step.layers) or "the model")],
        fix="look at what else is told; else at the labels, at the last layer and at what forward leaves out",
    )


def _last(layers: list[Layer]) -> Layer | None:
    return next((la for la in reversed(layers) if la.weighs), None)
