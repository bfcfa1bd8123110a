"""Probes of the loss: what it makes of outputs that are right, wrong, all alike or of another shape."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.findings import Finding, Severity
from flambeau.diagnosis.layers import operation
from flambeau.diagnosis.patient import Patient, Trial
from flambeau.diagnosis.probe import PROBES, error, told, warning

FAR = 8.0  # times the loss of chance, at the start
RARELY = 3.0  # the same, that is told as a note
FAR_NUMBERS = 30.0  # the same of numbers, whose squares grow fast
DISTANT = 10.0  # between numbers and targets, that steps of a usual rate take long to go
FAR_SPREAD = 1000.0  # of targets over outputs
SURE = 20.0  # a logit that leaves no doubt
REACH = {
    "Relu": (0.0, math.inf),
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Softplus": (0.0, math.inf),
    "Exp": (0.0, math.inf),
    "LogSoftmax": (-math.inf, 0.0),
    "LogSigmoid": (-math.inf, 0.0),
}
"""What an operation can give."""


@dataclass
class Compared:
    """A loss as a function of an output and a target of one batch."""

    trial: Trial
    output: Tensor
    target: Tensor
    last: str
    """The operation that the output comes from."""
    place: str
    """The last layer."""

    @classmethod
    def of(cls, patient: Patient) -> Compared | None:
        """None where the loss is no function of one output tensor and one target tensor."""
        step = patient.start
        output, target = step.outputs, patient.target
        if patient.criterion is None or output is None or not isinstance(target, Tensor):
            return None
        if not output.ndim or not target.ndim or len(output) != len(target) or len(output) < 2:
            return None
        last = next((str(layer) for layer in reversed(step.layers) if layer.output is not None), "the model")
        return cls(step.trial, output.detach().float(), target.detach(), operation(output), last)

    def __call__(self, output: Tensor | None = None, target: Tensor | None = None) -> float:
        """The loss; NaN where it does not take them."""
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                given = self.output if output is None else output
                return float(self.trial.loss(given, self.target if target is None else target).float().mean())
        except Exception:  # noqa: BLE001 -- a user's loss may raise anything on an output that is ours
            return math.nan

    @property
    def noisy(self) -> Tensor:
        """Outputs like those of the model, no two alike."""
        noise = torch.randn(self.output.shape, generator=torch.Generator().manual_seed(0)).to(self.output.device)
        return self.output + noise * self.output.std().clamp_min(0.1)

    @property
    def has_classes(self) -> bool:
        """Whether targets are class numbers of the output's second axis."""
        o, t = self.output, self.target
        whole = not t.is_floating_point() and t.dtype != torch.bool
        fits = o.ndim >= 2 and t.shape == (len(o), *o.shape[2:]) and bool((t < o.shape[1]).all())
        return whole and fits and o.shape[1] > 1 and bool((t >= 0).any())

    @property
    def alike(self) -> bool:
        """Whether output and target are numbers of one shape."""
        return self.output.shape == self.target.shape

    @property
    def best(self) -> Tensor | None:
        """The target as an output would be: one-hot of classes; None where that is not known."""
        if self.alike:
            return self.target.float()
        if self.has_classes:
            return F.one_hot(self.target.clamp_min(0), self.output.shape[1]).movedim(-1, 1).float()
        return None

    @property
    def wants_logits(self) -> bool:
        """Whether the loss applies softmax or sigmoid itself: it is least at infinity, and not at the target."""
        best = self.best
        if best is None or not bool(((best == 0) | (best == 1)).all()):
            return False
        near, far = self(best), self(SURE * (2 * best - 1))
        return math.isfinite(near) and math.isfinite(far) and 0 <= far < 0.2 * near

    @property
    def wants_log_probabilities(self) -> bool:
        """Whether the loss takes what it is given for log-probabilities: it is linear, and falls without end."""
        if not self.has_classes:
            return False
        one, two, moved = self(self.noisy), self(2 * self.noisy), self(self.noisy + 3)
        return math.isclose(two, 2 * one, rel_tol=1e-3, abs_tol=1e-5) and math.isclose(moved, one - 3, abs_tol=1e-3)


@PROBES.register("loss")
def loss(patient: Patient) -> Iterator[Finding]:
    """The loss is one finite number."""
    step, given = patient.start, patient.start.shape
    if given:
        yield error(
            "loss-shape",
            f"the loss has the shape {given}: one number a sample",
            ["the loss"],
            fix='return loss.mean(), or leave reduction="none" out',
        )
    if not bool(torch.isfinite(step.loss)):
        broken = next((la for la in step.layers if not la.finite[1]), None)
        place = (
            "the input" if broken and not broken.finite[0] and broken is step.layers[0] else str(broken or "the loss")
        )
        yield error(
            "loss-not-finite",
            f"the loss is {float(step.loss.detach())} before the first step",
            [place],
            fix="look there for NaN in the data, a logarithm or root of zero or less, or a division by zero",
        )


@PROBES.register("shapes")
def shapes(patient: Patient) -> Iterator[Finding]:
    """Output and target are compared one by one, and not each with each."""
    compared = Compared.of(patient)
    if compared is None or compared.output.shape == compared.target.shape or not compared.target.is_floating_point():
        return
    o, t = tuple(compared.output.shape), tuple(compared.target.shape)
    if compared.output.numel() == compared.target.numel():
        noisy = compared.noisy
        as_is, reshaped = compared(noisy), compared(noisy.reshape(t))
        if math.isnan(as_is) or math.isnan(reshaped) or math.isclose(as_is, reshaped, rel_tol=1e-4, abs_tol=1e-7):
            return
    elif len(o) == len(t) or torch.broadcast_shapes(o, t) == o if _broadcasts(o, t) else True:
        return
    cure = (
        "output.squeeze(1)" if o == (*t, 1) else f"output.reshape({t})" if math.prod(o) == math.prod(t) else "one shape"
    )
    yield error(
        "broadcast",
        f"the output {o} and the target {t} are broadcast against one another: "
        "each answer is compared with the targets of all samples",
        ["the loss"],
        fix=f"give the loss {cure}",
    )


def _broadcasts(one: tuple[int, ...], two: tuple[int, ...]) -> bool:
    try:
        torch.broadcast_shapes(one, two)
    except RuntimeError:
        return False
    return True


@PROBES.register("loss-of-output")
def loss_of_output(patient: Patient) -> Iterator[Finding]:
    """The loss hangs on the output and on the target, and falls as the output moves towards the target."""
    compared = Compared.of(patient)
    if compared is None or patient.start.shape:
        return
    output = compared.noisy.requires_grad_()
    try:
        value = compared.trial.loss(output, compared.target).mean()
    except Exception:  # noqa: BLE001 -- it takes probabilities alone, say
        output = compared.output.clone().requires_grad_()
        value = compared.trial.loss(output, compared.target).mean()
    if patient.start.loss.requires_grad and (not value.requires_grad or not _moves(value, output)):
        yield error(
            "loss-ignores-output",
            "the loss does not change with the output",
            ["the loss"],
            fix="compute it from the output; of one output alone a softmax is always 1: "
            "use nn.BCEWithLogitsLoss there, or an output for each class",
        )
        return
    swapped = compared.target.roll(1, 0)
    if torch.equal(swapped, compared.target) or _passes_over_target(patient.criterion):
        return
    near = output.detach()
    if compared.alike:
        near = compared.noisy - compared.output + compared.target  # a far output would hide the difference
    if math.isclose(compared(near), compared(near, swapped), rel_tol=1e-6, abs_tol=1e-9):
        yield warning(
            "loss-ignores-target",
            "the loss is the same whichever sample has which target",
            ["the loss"],
            fix="compare each answer with its own target; look for shapes that are broadcast and "
            "for a mean that is taken before the two are compared",
        )
        return
    if (best := compared.best) is None or any(True for _ in _own_parameters(patient.criterion)):
        return
    right, wrong = (compared(_towards(compared.output, best, n)) for n in (0, 1))
    step = 1e-3 * max(abs(right), abs(wrong), 1e-6)
    if right > wrong + step and compared(compared.output) < right:
        yield error(
            "loss-upside-down",
            "the loss grows as the output moves towards the target",
            ["the loss"],
            fix="minimise what is least when all is right: look for a missing minus, or an accuracy for a loss",
        )


def _moves(value: Tensor, output: Tensor) -> bool:
    gradient = torch.autograd.grad(value, output, allow_unused=True)[0]
    return gradient is not None and bool(gradient.any())


def _towards(output: Tensor, best: Tensor, shift: int) -> Tensor:
    """Halfway from an output to the targets, or to those of other samples."""
    return output + 0.5 * (best.roll(shift, 0) - output)


def _own_parameters(criterion: Any) -> Iterator[Tensor]:
    if isinstance(criterion, torch.nn.Module):
        yield from criterion.parameters()


def _passes_over_target(criterion: Any) -> bool:
    """Whether a loss says by its second argument's name that it does not use it."""
    try:
        names = list(inspect.signature(criterion).parameters)
    except (TypeError, ValueError):
        return False
    return len(names) > 1 and names[1].startswith("_")


@PROBES.register("last-activation")
def last_activation(patient: Patient) -> Iterator[Finding]:
    """What ends the model is what the loss takes: logits, log-probabilities, or numbers in the target's range."""
    compared = Compared.of(patient)
    if compared is None:
        return
    o, last = compared.output, compared.last
    sums = o.ndim > 1 and bool((o >= 0).all()) and any(bool((o.sum(a) - 1).abs().max() < 1e-3) for a in {1, o.ndim - 1})
    if compared.wants_log_probabilities:
        if bool((o.logsumexp(1).abs() > 1e-2).any()):
            yield _end(
                "log-probabilities",
                "the loss takes log-probabilities, and the outputs are none",
                compared,
                "end the model with log_softmax(dim=1), or use nn.CrossEntropyLoss",
            )
    elif (compared.wants_logits and last == "Softmax") or (sums and o.shape[1] > 1 and _shifts(compared)):
        yield _end(
            "softmax-twice",
            "the model gives probabilities, and the loss applies softmax itself",
            compared,
            "leave the softmax out of the model: give the loss logits",
        )
    elif compared.wants_logits and last in ("Sigmoid", "Tanh", "Relu", "HardSigmoid", "Hardsigmoid"):
        twice = "a sigmoid" if "igmoid" in last else last.lower()
        yield _end(
            "activation-before-loss",
            f"the model ends with {twice}, and the loss takes logits of any size",
            compared,
            f"leave the {last.lower()} at the end out: give the loss logits",
        )
    elif compared.alike and last in REACH and not compared.wants_logits:
        low, high = REACH[last]
        outside = float(((compared.target < low - 1e-3) | (compared.target > high + 1e-3)).float().mean())
        if outside > 0.1:
            yield _end(
                "out-of-reach",
                f"{outside:.0%} of the targets lie outside of what {last.lower()} gives",
                compared,
                f"leave the {last.lower()} at the end out, or bring the targets into {low:g}…{high:g}",
            )


def _shifts(compared: Compared) -> bool:
    """Whether the loss is the same when all outputs of a sample grow alike, as a softmax inside it makes it."""
    return compared.has_classes and math.isclose(compared(), compared(compared.output + 3), rel_tol=1e-4)


def _end(check: str, message: str, compared: Compared, fix: str) -> Finding:
    return Finding(check, Severity.WARNING, message, [f"the end of the model, {compared.place}"], fix=fix)


@PROBES.register("chance")
def chance(patient: Patient) -> Iterator[Finding]:
    """The loss at the start is about that of chance: ln K of K classes, the variance of numbers."""
    compared = Compared.of(patient)
    if compared is None or compared.best is None:
        return
    o, t = compared.output, compared.target
    start = compared()
    if compared.has_classes:
        guesses = (
            [o.new_full((), -math.log(o.shape[1]))]
            if compared.wants_log_probabilities
            else [o.new_zeros(()), o.new_full((), 1 / o.shape[1])]
        )
    else:
        guesses = [o.new_zeros(()), t.float().mean(0, keepdim=True)]
    losses = [value for g in guesses if math.isfinite(value := compared(g.expand_as(o).clone())) and value > 0]
    if not losses or not math.isfinite(start) or min(losses) < 1e-6 * start:
        return
    level, times = min(losses), start / min(losses)
    said = f"the loss at the start is {start:.4g}, {times:.1f} times that of guessing ({level:.4g})"
    if compared.has_classes or compared.wants_logits:
        if times > RARELY:
            yield told(
                Severity.WARNING if times > FAR else Severity.NOTE,
                "loss-at-start",
                said,
                compared.place,
                fix="the logits are large: look for inputs, a layer or a product that make them so",
            )
    elif times > FAR_NUMBERS and float((o - t).square().mean().sqrt()) > DISTANT:
        fix = "the targets are far from what the model gives: standardise them, (y - mean) / std, or the outputs"
        yield warning("loss-at-start", said, compared.place, fix=fix)
    elif (spread := float(t.float().std())) > FAR_SPREAD * max(given := float(o.square().mean().sqrt()), 1.0):
        said = f"the targets spread by {spread:.3g}, the outputs by {given:.3g}"
        yield warning("target-scale", said, "the target", fix="standardise the targets, (y - mean) / std")
