"""Looking into a model while it runs: what its layers give and what gradient comes back to them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError, nearest
from flambeau.diagnosis.values import tensors

KEPT = 64  # samples of a value that are kept, at most


class Statistics:
    """Mean, standard deviation, share of zeros and norm of all values seen so far. They are summed on the device, so
    that looking waits for nothing; reading them does.

    Attributes:
        count: how many numbers were seen.
        samples: how many first axes they were in.
    """

    def __init__(self) -> None:
        self.count = self.samples = 0
        self._sums: Tensor | None = None  # of values, of squares, of zeros

    def add(self, value: Tensor) -> None:
        """Counts a value (B, …) in."""
        exact = torch.float32 if value.device.type == "mps" else torch.float64
        squares = torch.linalg.vector_norm(value.float()).to(exact).square()
        sums = torch.stack([value.sum(dtype=exact), squares, (value == 0).sum().to(exact)])
        self._sums = sums if self._sums is None else self._sums + sums
        self.count += value.numel()
        self.samples += len(value) if value.ndim else 1

    def to_dict(self) -> dict[str, float]:
        """{mean, sd, zeros, norm}: the norm is that of a sample, in the mean of the squares over samples. Empty where
        nothing was seen."""
        if self._sums is None or not self.count:
            return {}
        total, squares, zeros = self._sums.tolist()
        mean = total / self.count
        spread = squares / self.count - mean * mean
        return {
            "mean": mean, "sd": math.sqrt(spread) if spread > 0 else spread * 0, "zeros": zeros / self.count,
            "norm": math.sqrt(squares / self.samples) if squares >= 0 else squares,
        }  # fmt: skip


class Watched:
    """One layer that is watched.

    Attributes:
        output: of its last call, at most `keep` samples (B, …), a copy without graph; None before the first.
        gradient: of what was differentiated last by that output, likewise.
        outputs, gradients: Statistics over all calls.
    """

    def __init__(self, module: nn.Module):
        self.module = module
        self.output: Tensor | None = None
        self.gradient: Tensor | None = None
        self.outputs, self.gradients = Statistics(), Statistics()


class Seen(Mapping[str, Watched]):
    """What `watch` sees, by the name of the layer; the model itself is called by its type."""

    def __init__(self, layers: Mapping[str, nn.Module], keep: int):
        self._layers = {name: Watched(module) for name, module in layers.items()}
        self._keep = keep
        self._open = False
        self._handles: list[Any] = []

    def __getitem__(self, name: str) -> Watched:
        if name not in self._layers:
            raise UsageError(f"no layer called '{name}' is watched", fix=nearest(name, self._layers))
        return self._layers[name]

    def __contains__(self, name: object) -> bool:
        return name in self._layers

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def __enter__(self) -> Seen:
        self._open = True
        for layer in self._layers.values():
            self._handles.append(layer.module.register_forward_hook(self._hook(layer)))
        return self

    def __exit__(self, *error: object) -> None:
        self._open = False  # a graph that is alive still holds hooks of gradients, which see nothing from here on
        while self._handles:
            self._handles.pop().remove()

    def _hook(self, layer: Watched) -> Any:
        def forward(module: nn.Module, inputs: Any, output: Any) -> None:
            value = next((t for t in tensors(output) if t.is_floating_point() and t.numel()), None)
            if value is None:
                return
            with torch.no_grad():
                layer.outputs.add(value)
                layer.output = self._kept(value)
            if value.requires_grad:
                value.register_hook(backward)

        @torch.no_grad()
        def backward(gradient: Tensor) -> None:
            if self._open:
                layer.gradients.add(gradient)
                layer.gradient = self._kept(gradient)

        return forward

    def _kept(self, value: Tensor) -> Tensor | None:
        """A copy: the layer after it may change it in place."""
        return value.detach()[: self._keep].clone() if self._keep and value.ndim else None

    def statistics(self) -> dict[str, dict[str, dict[str, float]]]:
        """{layer: {output: {mean, sd, zeros, norm}, gradient: …}}, of the layers that were called."""
        read = {n: {"output": w.outputs.to_dict(), "gradient": w.gradients.to_dict()} for n, w in self.items()}
        return {name: {k: v for k, v in both.items() if v} for name, both in read.items() if both["output"]}

    def __str__(self) -> str:
        """A line for each layer."""
        lines = [f"{'layer':32} {'':9}{'mean':>10}{'sd':>10}{'zeros':>8}{'norm':>10}"]
        for name, both in self.statistics().items():
            for what, values in both.items():
                mean, sd, zeros, norm = values.values()
                lines.append(f"{name:32} {what:9}{mean:10.3g}{sd:10.3g}{zeros:8.1%}{norm:10.3g}")
        return "\n".join(lines)


def watch(model: nn.Module, *patterns: str, keep: int = KEPT) -> Seen:
    """Watches layers of any model: what they give, and the gradient that comes back to it.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> with watch(net, "2", "ReLU") as seen:
    ...     net(torch.ones(5, 3)).sum().backward()
    >>> list(seen), seen["2"].output.shape, seen["2"].gradients.to_dict()["mean"]
    (['1', '2'], torch.Size([5, 2]), 1.0)

    Args:
        patterns: names of modules, such as `layer4` or `layer4.*`, or of their types, such as `Conv2d`; `*` and `?`
            stand for any text and any letter. All modules that have none inside, if none is given.
        keep: samples of each value that are kept, of the last call only; 0 to keep statistics alone.

    Raises:
        UsageError: a pattern fits no module.
    """
    return Seen(layers_of(model, patterns), keep)


def layers_of(model: nn.Module, patterns: tuple[str, ...]) -> dict[str, nn.Module]:
    """The modules whose names or types fit a pattern, in the order of the model. Raises UsageError where one fits
    none."""
    named = {name or type(model).__name__: module for name, module in model.named_modules()}
    fitting: set[str] = set()
    for pattern in patterns:
        fits = {n for n, m in named.items() if fnmatchcase(n, pattern) or fnmatchcase(type(m).__name__, pattern)}
        if not fits:
            known = [*named, *dict.fromkeys(type(module).__name__ for module in named.values())]
            raise UsageError(f"no layer of the model is called '{pattern}'", fix=nearest(pattern, known))
        fitting |= fits
    if patterns:
        return {name: module for name, module in named.items() if name in fitting}
    return {name: module for name, module in named.items() if next(module.children(), None) is None}
