"""Probes of scales: inputs, activations and gradients of a size that training can work with, and units that live."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from flambeau.core.findings import Finding
from flambeau.diagnosis.layers import Layer, operation
from flambeau.diagnosis.patient import Patient
from flambeau.diagnosis.probe import PROBES, error, warning
from flambeau.diagnosis.values import samples_of, tensors

LARGE, SMALL = 30.0, 3e-3  # root mean square of what enters the first layer; it is made for 1
GROWN = 1e3  # times what enters the first layer
FADED = 1e-5  # share of the last layers' gradient, relative to the weights, that reaches the first
TORN = 1e4  # gradient over weights
MOST = 0.9  # share of units, or of samples
DEAD_AFTER = ("Relu", "LeakyRelu", "Hardtanh")  # clamps to 0…6 are hard tanhs


@PROBES.register("inputs")
def inputs(patient: Patient) -> Iterator[Finding]:
    """The samples of a batch are finite, differ from one another, and each within itself."""
    size = samples_of(patient.input)
    values = [part for part in tensors(patient.input) if part.ndim and len(part) == size]
    for part in values:
        if part.is_floating_point() and not bool(torch.isfinite(part).all()):
            rows = (~torch.isfinite(part).reshape(len(part), -1).all(1)).nonzero().flatten().tolist()
            yield error(
                "input-not-finite",
                "inputs are NaN or infinite",
                [f"sample {r} of the batch" for r in rows],
                fix="mend or leave out these samples",
            )
            return
    if size is None or size < 4 or not values:
        return
    equal = [all(bool(torch.isclose(part[i], part[0]).all()) for part in values) for i in range(size)]
    if sum(equal) > MOST * size and size > 1:
        yield error(
            "inputs-alike",
            f"{sum(equal)} of {size} inputs of a batch are equal",
            ["the input"],
            fix="look for a transform that wipes them out, an index that is always the same, or a scale that "
            "rounds to one value",
        )
        return
    part = values[0]
    if part.is_floating_point() and part[0].numel() >= 16:
        flat = part.reshape(size, -1).float()
        scale = float(flat.abs().max()) or 1.0
        if int((flat.std(1) < 1e-6 * scale).sum()) > MOST * size:
            yield error(
                "inputs-wiped",
                "each input has one value throughout",
                ["the input"],
                fix="look for a transform that wipes the inputs out",
            )
        elif float(flat.std(0).mean()) < 1e-4 * float(flat.square().mean().sqrt()):
            yield warning(
                "inputs-alike",
                "the inputs hardly differ from one another",
                ["the input"],
                fix="subtract their mean and divide by their standard deviation",
            )


@PROBES.register("input-scale")
def input_scale(patient: Patient) -> Iterator[Finding]:
    """What enters the first layer with weights is of the size that its initial weights are made for."""
    first = next((la for la in patient.start.layers if la.weighs and la.input is not None), None)
    if first is None or not first.finite[0] or not _is_first(patient, first):
        return
    if first.scale_in > LARGE:
        how = "divide pictures by 255, or subtract the mean and divide by the standard deviation, column by column"
        yield warning(
            "input-scale", f"the inputs are large: {first.scale_in:.4g} in the root mean square", [str(first)], fix=how
        )
    elif 0 < first.scale_in < SMALL:
        yield warning(
            "input-scale",
            f"the inputs are tiny: {first.scale_in:.2g} in the root mean square",
            [str(first)],
            fix="standardise them; look for a division by 255 that is done twice",
        )


def _is_first(patient: Patient, layer: Layer) -> bool:
    """Whether nothing with weights came before, an embedding among it."""
    before = patient.start.layers[: patient.start.layers.index(layer)]
    return not any(True for la in before for _ in la.module.parameters(recurse=False))


@PROBES.register("activations")
def activations(patient: Patient) -> Iterator[Finding]:
    """Activations neither grow from layer to layer, nor are most units dead or saturated."""
    layers = patient.start.layers
    weighing = [la for la in layers if la.weighs and la.input is not None and not isinstance(la.module, nn.Embedding)]
    if not weighing:
        return
    begin = max(weighing[0].scale_in, 1.0)
    grown = next((la for la in weighing if la.scale_out > GROWN * begin), None)
    if grown is not None:
        start = next(la for la in weighing if la.scale_out > 2 * la.scale_in)
        yield warning(
            "activations-explode",
            f"activations grow to {grown.scale_out:.3g} in {grown}",
            [str(start)],
            fix="begin it with smaller weights (torch's own initialisation), or put a normalisation behind it",
        )
    for layer in weighing[1:]:
        assert layer.input is not None
        came_from = operation(layer.input)
        if came_from.startswith(DEAD_AFTER) and (share := _dead(layer)) >= MOST:
            yield warning(
                "dead-units",
                f"{share:.0%} of the units before {layer} are zero for every sample",
                [str(_before(layers, layer))],
                fix="their inputs are below zero throughout: look at its bias and "
                "initialisation and at the inputs' scale",
            )
            return
        if came_from.startswith(("Sigmoid", "Tanh")) and (share := _saturated(layer.input, came_from)) >= MOST:
            yield warning(
                "saturated-units",
                f"{share:.0%} of the units before {layer} are saturated",
                [str(_before(layers, layer))],
                fix="the values before it are too large: smaller weights, standardised inputs, or a normalisation",
            )
            return


def _before(layers: list[Layer], layer: Layer) -> Layer:
    """The last layer with weights before another."""
    return next((la for la in reversed(layers[: layers.index(layer)]) if la.weighs), layer)


def _dead(layer: Layer) -> float:
    """The share of units that are zero for all samples and places."""
    value = layer.input
    assert value is not None
    axis = 1 if isinstance(layer.module, nn.modules.conv._ConvNd) else value.ndim - 1
    units = value.detach().movedim(axis, 0).flatten(1)
    return float((units == 0).all(1).float().mean())


def _saturated(value: Tensor, operation: str) -> float:
    """The share of values at an end of what the operation gives."""
    value = value.detach()
    edge = (value.abs() > 0.99) if operation == "Tanh" else (value < 0.01) | (value > 0.99)
    return float(edge.float().mean())


@PROBES.register("gradient-scale")
def gradient_scale(patient: Patient) -> Iterator[Finding]:
    """Gradients neither fade nor explode on the way back; and units of a layer do not all learn the same."""
    step = patient.start
    parameters = dict(step.trial.model.named_parameters())
    ratios = []
    for layer in step.layers:
        for name, weight in layer.module.named_parameters(recurse=False):
            gradient = step.gradients.get(f"{layer.name}.{name}" if layer.name else name)
            if (
                weight.ndim > 1
                and gradient is not None
                and bool(torch.isfinite(gradient).all())
                and bool(gradient.any())
            ):
                ratios.append((layer, float(gradient.norm() / weight.detach().norm().clamp_min(1e-12))))
    if len(ratios) >= 4 and (end := max(r for _, r in ratios[-2:])) > 0:
        first = max(ratio for _, ratio in ratios[:2])
        if first < FADED * end:
            start = next(layer for layer, ratio in reversed(ratios) if ratio < 0.1 * end)
            yield warning(
                "gradients-vanish",
                f"gradients fade: {ratios[0][0]} gets {first / end:.1g} of what the last layers get",
                [str(start)],
                fix="use ReLU or GELU in place of sigmoids, a normalisation, residual connections, "
                "or fewer layers; initialise by the layer's size (He, Xavier)",
            )
    torn = [(layer, ratio) for layer, ratio in ratios if ratio > TORN and bool(_weight(layer).norm() > 1e-6)]
    if torn:
        layer, ratio = torn[-1]
        yield warning(
            "gradients-explode",
            f"the gradient is {ratio:.2g} times the weights of {layer}",
            [str(layer)],
            fix="look at the scale of targets, inputs and initial weights; a loss that is a sum; clip gradients",
        )
    alike = [
        name
        for name, gradient in step.gradients.items()
        if gradient is not None
        and gradient.ndim > 1
        and len(gradient) > 1
        and _same_rows(gradient)
        and _same_rows(parameters[name])
        and bool(gradient.any())
    ]
    if alike:
        yield warning(
            "units-alike",
            "all units of a layer begin alike and learn the same",
            alike,
            fix="initialise its weights at random (torch does by itself)",
        )


def _weight(layer: Layer) -> Tensor:
    return next(p for p in layer.module.parameters(recurse=False) if p.ndim > 1).detach()


def _same_rows(value: Tensor) -> bool:
    """Whether the rows are equal and finite."""
    value = value.detach()
    return bool(((value - value[:1]).abs() <= 1e-6 * value.abs().max()).all())
