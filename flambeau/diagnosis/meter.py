"""What is measured of one training step: numbers that stay on the device until somebody reads them.

A step costs a pass over its gradients and, of each parameter, over at most `MOST` values that stand for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

MOST = 4096
"""Values of a parameter that its update is measured on."""
UNITS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # whose weight has a row for each unit
COUNTING = nn.modules.batchnorm._BatchNorm


@dataclass
class Weight:
    """One weight with two dimensions or more, in a step.

    Attributes:
        gradient, update: their norms over that of the weight.
        rate: the learning rate of the optimizer that holds it; None where none does.
        dead: share of the units that no sample of this batch, nor of the two sampled before, sent a gradient to.
    """

    gradient: float
    update: float
    rate: float | None = None
    dead: float = 0.0


@dataclass
class Sample:
    """One step.

    Attributes:
        step: its number, from 0.
        rate: the highest learning rate.
        gradient: the norm of all gradients.
        slope: the cosine between this step's update and the gradient of the next batch: above 0 the step went beyond
            the lowest point on its way, far below 0 it might have gone further.
        weights: by name of the module.
        shifts: of each layer that counts statistics, how far this batch's means are from the running ones, in standard
            deviations, the mean over channels.
        predicted, wanted: the most frequent class in the batch and its share, where outputs are of classes.
        training: whether the model was in training mode.
    """

    step: int
    rate: float
    gradient: float = 0.0
    slope: float | None = None
    weights: dict[str, Weight] = field(default_factory=dict)
    shifts: dict[str, float] = field(default_factory=dict)
    predicted: tuple[int, float] | None = None
    wanted: tuple[int, float] | None = None
    training: bool = True


def few(tensor: Tensor) -> Tensor:
    """At most about `MOST` values of a tensor, evenly spread, float32 (N); a view where it can be one."""
    flat = tensor.detach().reshape(-1)
    return flat[:: max(1, -(-flat.numel() // MOST))].float()


class Meter:
    """Measures steps of one model.

    Args:
        model: its parameters that require a gradient are looked at.
        looks_inside: whether hooks may be put on modules; not where the model is compiled, which would be done anew.
    """

    def __init__(self, model: nn.Module, looks_inside: bool = True):
        self.model, self._looks_inside = model, looks_inside
        self._handles: list[RemovableHandle] = []
        self._dead: dict[str, list[Tensor]] = {}
        self._open: _Open | None = None

    def watch(self) -> None:
        """Before the forward pass of a step that is measured."""
        self.leave()
        self._open = open_ = _Open()
        if not self._looks_inside:
            return
        for name, module in self.model.named_modules():
            if isinstance(module, COUNTING) and module.running_mean is not None:
                self._handles.append(module.register_forward_pre_hook(_counts(name, open_)))
        self._handles.append(self.model.register_forward_hook(_outputs(open_)))

    def leave(self) -> None:
        """Takes the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @torch.no_grad()
    def before(self, step: int, optimizers: Iterable[Optimizer], target: Any = None) -> None:
        """When the gradients are there and the weights are not yet changed."""
        self.leave()
        open_ = self._open = self._open or _Open()
        open_.step, open_.target, open_.training = step, target, self.model.training
        open_.rates = {id(p): float(g["lr"]) for o in optimizers for g in o.param_groups for p in g["params"]}
        named = [(n, p) for n, p in self.model.named_parameters()
                 if p.requires_grad and p.is_floating_point() and p.numel()]  # fmt: skip
        open_.parameters = [parameter for _, parameter in named]
        open_.weights = [few(parameter).clone() for parameter in open_.parameters]
        with_gradient = [p.grad for _, p in named if p.grad is not None and not p.grad.is_sparse]
        norms = iter(torch._foreach_norm(with_gradient) if with_gradient else ())
        for number, (name, parameter) in enumerate(named):
            gradient = parameter.grad
            if gradient is None or gradient.is_sparse:
                continue
            norm = next(norms).float()
            open_.norms.append(norm)
            layer, _, own = name.rpartition(".")
            if parameter.ndim < 2:
                continue
            open_.layers.append((layer or own, number, norm))
            module = self.model.get_submodule(layer)
            if own == "weight" and isinstance(module, UNITS) and parameter.shape[0] > 1:
                kept = self._dead.setdefault(layer, [])
                kept.append(gradient.flatten(1).any(1))
                del kept[:-3]

    @torch.no_grad()
    def after(self) -> None:
        """When the weights are changed."""
        if (open_ := self._open) is None or open_.step < 0:
            return
        pairs = zip(open_.parameters, open_.weights, strict=True)
        open_.updates = [few(parameter) - before for parameter, before in pairs]

    @torch.no_grad()
    def next_gradients(self) -> None:
        """When the gradients of the step behind are there."""
        if (open_ := self._open) is None or not open_.updates:
            return
        there = [(p.grad, u, p.numel()) for p, u in zip(open_.parameters, open_.updates, strict=True)
                 if p.grad is not None and not p.grad.is_sparse]  # fmt: skip
        if not there:
            return
        gradients, updates = [few(g) for g, _, _ in there], [u for _, u, _ in there]
        # each value stands for so many
        weights = [n / u.numel() for u, (_, _, n) in zip(updates, there, strict=True)]
        dots = torch.stack([torch.dot(g, u) for g, u in zip(gradients, updates, strict=True)])
        scale = dots.new_tensor(weights)
        norms = [torch.stack(torch._foreach_norm(each)) for each in (gradients, updates)]
        lengths = [(norm.square() * scale).sum().sqrt() for norm in norms]
        open_.slope = (dots * scale).sum() / (lengths[0] * lengths[1]).clamp_min(1e-30)

    def take(self) -> Callable[[], Sample] | None:
        """The step that was measured last, to be read later: reading waits for the device."""
        open_, self._open = self._open, None
        self.leave()
        if open_ is None or open_.step < 0 or not open_.updates:
            return None
        return open_.packed(self._dead)


class _Open:
    """A step while it is measured; every number is a tensor on the device."""

    def __init__(self) -> None:
        self.training, self.step = True, -1
        self.rates: dict[int, float] = {}
        self.parameters: list[nn.Parameter] = []
        self.weights: list[Tensor] = []
        self.updates: list[Tensor] = []
        self.norms: list[Tensor] = []
        self.layers: list[tuple[str, int, Tensor]] = []
        self.shifts: dict[str, Tensor] = {}
        self.slope: Tensor | None = None
        self.output: Any = None
        self.target: Any = None

    @torch.no_grad()
    def packed(self, dead: dict[str, list[Tensor]]) -> Callable[[], Sample]:
        zero = torch.zeros((), device=self.updates[0].device)
        told: dict[tuple[str, ...], Tensor] = {}
        if self.norms:
            told["gradient",] = torch.stack(self.norms).norm()
        if self.slope is not None:
            told["slope",] = self.slope
        names = [name for name, _, _ in self.layers]
        for (name, number, norm), update, weight in zip(
            self.layers,
            torch._foreach_norm([self.updates[n] for _, n, _ in self.layers]) if names else (),
            torch._foreach_norm([self.weights[n] for _, n, _ in self.layers]) if names else (),
            strict=True,
        ):
            # both norms are over the same few values: their quotient is that of the whole
            parameter = self.parameters[number]
            share = (parameter.numel() / self.weights[number].numel()) ** 0.5
            told["weight", name], told["update", name] = weight * share, update * share
            told["norm", name] = norm
            if len(kept := dead.get(name, [])) == 3:
                told["dead", name] = (~torch.stack(kept).any(0)).float().mean()
        for name, shift in self.shifts.items():
            told["shift", name] = shift
        if classes := _classes(self.output, self.target):
            for which, (index, share) in zip(("predicted", "wanted"), classes, strict=True):
                told[which, "index"], told[which, "share"] = index, share
        packed = torch.stack([value.float().to(zero.device) for value in told.values()] or [zero])
        step, training = self.step, self.training
        rates = [self.rates.get(id(self.parameters[number])) for _, number, _ in self.layers]
        highest = max(self.rates.values(), default=0.0)

        def read() -> Sample:
            values = dict(zip(told, packed.tolist(), strict=False))
            layers = {}
            for name, rate in zip(names, rates, strict=True):
                weight = max(values["weight", name], 1e-30)
                layers[name] = Weight(values["norm", name] / weight, values["update", name] / weight, rate,
                                     values.get(("dead", name), 0.0))  # fmt: skip
            most = [(int(values[w, "index"]), values[w, "share"]) if (w, "index") in values else None
                    for w in ("predicted", "wanted")]  # fmt: skip
            return Sample(step, highest, values.get(("gradient",), 0.0), values.get(("slope",)), layers,
                          {n: values["shift", n] for n in self.shifts}, most[0], most[1], training)  # fmt: skip

        return read


def _counts(name: str, open_: _Open) -> Callable[..., None]:
    @torch.no_grad()
    def hook(module: Any, given: tuple[Any, ...]) -> None:
        values = given[0] if given and module.training and open_.step < 0 else None
        if not isinstance(values, Tensor) or values.ndim < 2 or values.numel() <= values.shape[1]:
            return
        mean = values.detach().float().mean([d for d in range(values.ndim) if d != 1])
        spread = (module.running_var + module.eps).sqrt()
        open_.shifts[name] = ((mean - module.running_mean).abs() / spread).mean()

    return hook


def _outputs(open_: _Open) -> Callable[..., None]:
    def hook(module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        output = getattr(output, "logits", output) if torch.is_grad_enabled() else None
        if isinstance(output, Tensor) and output.ndim == 2 and output.shape[1] > 1 and len(output) > 1:
            open_.output = output.detach()

    return hook


def _classes(output: Any, target: Any) -> list[tuple[Tensor, Tensor]] | None:
    """The most frequent class and its share among answers and among targets."""
    whole = isinstance(target, Tensor) and target.ndim == 1 and not target.is_floating_point()
    if not isinstance(output, Tensor) or not whole or len(target) != len(output) or len(output) < 8:
        return None
    answers = output.argmax(1)
    most = [each.mode().values for each in (answers, target)]
    return [(m, (each == m).float().mean()) for m, each in zip(most, (answers, target), strict=True)]
