"""Where the memory of a training step goes, measured on one batch: by layer, at the end of the forward pass, and at the
peak."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

TIMED = 3  # steps, of which the shortest counts


@dataclass
class LayerMemory:
    """Bytes of one module's own: parameters, their gradients, what the optimizer keeps for them, and the activations
    that its forward pass keeps for the backward pass and no module before it has kept."""

    name: str
    kind: str
    parameters: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.parameters + self.gradients + self.optimizer + self.activations


@dataclass
class StepMemory:
    """Bytes of a training step.

    Attributes:
        layers: modules that hold any, in the order of the model; loss and functions outside of modules are `(loss)`.
        buffers: such as running statistics.
        activations: all that is alive at the end of the forward pass and was not before it.
        peak: the most at once, with parameters, buffers and the optimizer's state; of tensors, not of what an
            allocator holds beside them.
        seconds: that a step takes.
    """

    layers: list[LayerMemory] = field(default_factory=list)
    buffers: int = 0
    activations: int = 0
    peak: int = 0
    seconds: float = 0.0

    def sum(self, what: str) -> int:
        """Of all layers: `parameters`, `gradients` or `optimizer`."""
        return sum(getattr(layer, what) for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        sums = {what: self.sum(what) for what in ("parameters", "gradients", "optimizer")}
        return {**sums, "buffers": self.buffers, "activations": self.activations, "peak": self.peak,
                "seconds": self.seconds, "layers": [asdict(layer) for layer in self.layers]}  # fmt: skip


class Live(TorchDispatchMode):
    """Follows the storages that are made while it is entered: bytes alive `now`, and the most, `peak`. It sees each
    operation, so what it measures is the same on every device, and a step is slower under it."""

    def __init__(self, before: Sequence[Tensor]):
        super().__init__()
        self.now = self.peak = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in before}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for value in tree_leaves(output):
            if isinstance(value, Tensor) and value.layout is torch.strided:
                self._see(value.untyped_storage())
        return output

    def _see(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self._known:
            self._known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, key, size).atexit = False

    def _gone(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def step_memory(model: nn.Module, loss: Callable[[], Tensor], optimizers: Sequence[Optimizer]) -> StepMemory:
    """Takes a few training steps and measures them; the weights move.

    Args:
        loss: the mean loss of a batch with its graph, by a forward pass of the model.
        optimizers: that have all its trainable parameters.

    >>> net = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 1))
    >>> x = torch.rand(8, 100)
    >>> memory = step_memory(net, lambda: net(x).mean(), [torch.optim.SGD(net.parameters(), lr=0.1)])
    >>> [(layer.name, layer.parameters, layer.activations) for layer in memory.layers]
    [('0', 20200, 3200), ('1', 0, 1600), ('2', 204, 0)]
    """

    def step() -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss().backward()
        for optimizer in optimizers:
            optimizer.step()

    memory = StepMemory()
    step()  # optimizers make their state in the first
    for _ in range(TIMED):
        begun = time.perf_counter()
        step()
        seconds = time.perf_counter() - begun
        memory.seconds = min(memory.seconds or seconds, seconds)
    layers = {module: LayerMemory(name, type(module).__name__) for name, module in model.named_modules()}
    outside = LayerMemory("(loss)", "")
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    state = {p: values for optimizer in optimizers for p, values in optimizer.state.items()}
    kept = [v for values in state.values() for v in values.values() if isinstance(v, Tensor)]
    before = [*model.parameters(), *model.buffers(), *kept]
    live = Live(before)
    with live:
        with _saved(layers, outside, before):
            value = loss()
        memory.activations = live.now
        value.backward()
        del value
        owners = {p: layer for module, layer in layers.items() for p in module.parameters(recurse=False)}
        gradients = {p: p.grad.nbytes for p in owners if p.grad is not None}
        for optimizer in optimizers:
            optimizer.step()
    for parameter, layer in owners.items():
        layer.parameters += parameter.nbytes
        layer.gradients += gradients.get(parameter, 0)
        layer.optimizer += sum(v.nbytes for v in state.get(parameter, {}).values() if isinstance(v, Tensor))
    memory.buffers = sum(buffer.nbytes for buffer in model.buffers())
    memory.peak = live.peak + sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in before}.values())
    memory.layers = [layer for layer in (*layers.values(), outside) if layer.total]
    return memory


@contextlib.contextmanager
def _saved(layers: dict[nn.Module, LayerMemory], outside: LayerMemory, before: Sequence[Tensor]) -> Iterator[None]:
    """Counts each tensor that is saved for the backward pass to the module that is called when it is saved first."""
    known = {tensor.untyped_storage()._cdata for tensor in before}
    alive: list[torch.UntypedStorage] = []  # so that no other takes the place of one that was counted
    called: list[nn.Module] = []

    def pack(tensor: Tensor) -> Tensor:
        if tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            if storage._cdata not in known:
                known.add(storage._cdata)
                alive.append(storage)
                layer = layers[called[-1]] if called else outside
                layer.activations += storage.nbytes()
        return tensor

    handles = []
    for module in layers:
        handles.append(module.register_forward_pre_hook(lambda m, args: called.append(m)))
        handles.append(module.register_forward_hook(lambda m, args, output: called.remove(m)))
    try:
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            yield
    finally:
        for handle in handles:
            handle.remove()
