"""Layers: what flows through a model's modules in one forward pass, and where it flows on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.diagnosis.values import tensors


@dataclass
class Layer:
    """One call of a module that has parameters of its own, or no modules inside.

    Attributes:
        input, output: the first tensors in and out, with their graph.
        scale_in, scale_out: their root mean square.
        finite: whether the input and the output hold neither NaN nor infinity.
        gradient: of the loss by the output, where it was asked for.
    """

    name: str
    module: nn.Module
    input: Tensor | None
    output: Tensor | None
    scale_in: float
    scale_out: float
    finite: tuple[bool, bool]
    gradient: Tensor | None = None

    @property
    def weighs(self) -> bool:
        """Whether it has a weight matrix or kernel of its own."""
        return any(p.ndim > 1 for p in self.module.parameters(recurse=False))

    @property
    def flows(self) -> bool:
        """Whether a gradient can come back through the output."""
        return self.output is not None and self.output.requires_grad

    def __str__(self) -> str:
        return f"{self.name or 'the model'} ({type(self.module).__name__})"


@dataclass
class Seen:
    """What `watched` has seen.

    Attributes:
        layers: in the order they were called.
        open: names of modules that were entered and not left, the innermost first; where a forward pass fails.
    """

    layers: list[Layer] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


@contextlib.contextmanager
def watched(model: nn.Module) -> Iterator[Seen]:
    """Records the layers that are called meanwhile."""
    seen, handles = Seen(), []
    for name, module in model.named_modules():
        leaf = next(module.children(), None) is None or next(module.parameters(recurse=False), None) is not None
        handles.append(module.register_forward_pre_hook(lambda m, args, n=name: seen.open.insert(0, n)))
        handles.append(module.register_forward_hook(_recorder(seen, name, leaf), with_kwargs=True))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _recorder(seen: Seen, name: str, leaf: bool) -> Any:
    def record(module: nn.Module, args: Any, named: Any, output: Any) -> None:
        seen.open.remove(name)
        if not leaf:
            return
        first, last = _floating(args, named), _floating(output)
        scales = [float(t.detach().float().square().mean().sqrt()) if t is not None else 0.0 for t in (first, last)]
        finite = [bool(torch.isfinite(t).all()) if t is not None else True for t in (first, last)]
        seen.layers.append(Layer(name, module, first, last, scales[0], scales[1], (finite[0], finite[1])))

    return record


def _floating(*values: Any) -> Tensor | None:
    return next((t for t in tensors(values) if t.is_floating_point() and t.numel()), None)


SHAPING = (
    "View",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "TBackward",
    "Permute",
    "Clone",
    "Alias",
    "Select",
    "Slice",
    "Expand",
    "ToCopy",
    "UnsafeView",
    "Dropout",
    "MaxPool",
    "AvgPool",
    "Adaptive",
    "Max",
    "Mean",
)


def operation(value: Tensor, passed_over: tuple[str, ...] = SHAPING) -> str:
    """The operation that a tensor comes from, such as `Relu`, `Sigmoid` or `Softmax`, behind those that only shape it;
    empty where it comes from none."""
    node = value.grad_fn
    while node is not None:
        name = type(node).__name__
        if not name.startswith(passed_over):
            return name.removesuffix("0").removesuffix("Backward")
        node = node.next_functions[0][0] if node.next_functions else None
    return ""
