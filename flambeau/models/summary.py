"""What a model is made of and what it costs: layers, parameters, FLOPs, memory."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.utils.rnn import PackedSequence
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from flambeau.core.errors import ModelError, first_line
from flambeau.fields import PastFuture, Ragged, Row
from flambeau.models.spec import InputSpec


@dataclass(frozen=True)
class Layer:
    """One layer that computes: its place, its type, (B, …) of its output, and its own parameters and FLOPs."""

    name: str
    type: str
    output: tuple[int, ...]
    parameters: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """What `summary` measured. Sizes are in bytes, FLOPs and memory per sample.

    Attributes:
        layers: in the order of their execution; `output` without the batch.
        parameters, trainable: how many numbers.
        flops: multiplications and additions of one forward pass, counted apart (twice the MACs), of convolutions,
            matrix products, recurrent layers and attention; normalisation, activation and pooling are not counted.
        weight_bytes: parameters and buffers.
        activation_bytes: all layers' outputs.
        training_bytes: what one more sample in the batch takes while training: all that the backward pass needs, and
            the largest output's gradient.
    """

    layers: list[Layer]
    parameters: int
    trainable: int
    flops: int
    weight_bytes: int
    activation_bytes: int
    training_bytes: int

    def training_memory(self, batch_size: int, optimizer_states: int = 2) -> int:
        """Bytes for training with this batch size: weights, gradients, the optimiser's states (2: Adam), samples."""
        trainable_share = self.trainable / max(self.parameters, 1)
        fixed = self.weight_bytes * (1 + trainable_share * (1 + optimizer_states))
        return int(fixed) + batch_size * self.training_bytes

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    def __str__(self) -> str:
        head = ("layer", "type", "output", "parameters", "MFLOPs")
        rows = [
            (
                layer.name,
                layer.type,
                "×".join(map(str, layer.output)),
                f"{layer.parameters:,}" if layer.parameters else "",
                f"{layer.flops / 1e6:,.2f}" if layer.flops else "",
            )
            for layer in self.layers
        ]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

        def line(row: tuple[str, ...]) -> str:
            cells = [
                cell.rjust(w) if i > 2 else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        totals = (
            f"parameters   {self.parameters:,} ({self.trainable:,} trainable), {mebibytes(self.weight_bytes)}\n"
            f"forward      {self.flops / 1e6:,.1f} MFLOPs a sample\n"
            f"activations  {mebibytes(self.activation_bytes)} a sample\n"
            f"training     {mebibytes(self.training_bytes)} a sample, and "
            f"{mebibytes(self.training_memory(0))} with Adam"
        )
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([line(head), rule, *map(line, rows), rule, totals])


def mebibytes(count: int) -> str:
    """A number of bytes for reading: `44.7 MiB`."""
    return f"{count / 2**20:,.1f} MiB" if count >= 2**17 else f"{count / 2**10:,.1f} KiB"


def summary(model: nn.Module, spec: InputSpec) -> Summary:
    """Sends samples through a copy of the model and counts: of zeros, or texts of `EXAMPLE_TOKENS` tokens.

    The model itself, its batch statistics and the global random state stay as they are. Needs twice the weights' memory
    for the moment that it takes.

    Raises:
        ModelError: the model cannot take inputs of `spec`.
    """
    parameter = next(model.parameters(), torch.zeros(()))
    twin = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[parameter.device] if parameter.is_cuda else []):
        try:
            layers, activation_bytes, largest = _trace(twin.eval(), spec.example(1, parameter.device, parameter.dtype))
            training_bytes = largest + _saved_bytes(twin.train(), spec.example(2, parameter.device, parameter.dtype))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            raise ModelError(f"it cannot take {spec} ({first_line(error)})", where=type(model).__name__) from error
    parameters = list(model.parameters())
    return Summary(
        layers=layers,
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        flops=sum(layer.flops for layer in layers),
        weight_bytes=sum(t.numel() * t.element_size() for t in [*parameters, *model.buffers()]),
        activation_bytes=activation_bytes,
        training_bytes=training_bytes,
    )


def _trace(
    model: nn.Module, example: Tensor | Ragged | dict[str, Ragged] | Row | PastFuture
) -> tuple[list[Layer], int, int]:
    """The layers in order of execution, the bytes of their outputs, and of the largest one.

    A module with FLOPs or parameters of its own beside its children's (attention that multiplies matrices itself)
    is a layer too, with only what is its own.
    """
    # The attention kernel of CPUs is the one that the counter does not know.
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    counter = FlopCounterMode(display=False, custom_mapping={attention: _attention_flops})
    order: list[tuple[str, nn.Module, Tensor]] = []

    def remember(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not isinstance(output, PackedSequence) and isinstance(output, (tuple, list)) and output:
                output = output[0]
            tensor = output.data[None] if isinstance(output, PackedSequence) else output
            if isinstance(tensor, Tensor):
                order.append((name, module, tensor))

        return module.register_forward_hook(hook)

    names = {name: module for name, module in model.named_modules()}
    handles = [remember(name, module) for name, module in names.items()]
    with torch.no_grad(), counter:
        model(example)
    for handle in handles:
        handle.remove()
    counted = {name: sum(of.values()) for name, of in counter.get_flop_counts().items()}
    root = type(model).__name__
    layers, total, largest, seen = [], 0, 0, set()
    for name, module, tensor in order:
        inclusive = counted.get(f"{root}.{name}" if name else root, 0)
        children = list(module.children())
        own_flops = inclusive - _flops_below(module, f"{root}.{name}" if name else root, counted)
        if isinstance(module, nn.RNNBase):  # one kernel, which the counter knows on some devices only
            steps = tensor.shape[0] * tensor.shape[1]
            own_flops = 2 * steps * sum(p.numel() for p in module.parameters() if p.ndim == 2)
        own_parameters = sum(p.numel() for p in module.parameters(recurse=False))
        repeated = name in seen
        seen.add(name)
        nothing = not own_flops and not own_parameters
        if nothing and (children or isinstance(module, nn.Identity)):
            continue
        layers.append(
            Layer(
                name or root,
                type(module).__name__,
                tuple(tensor.shape[1:]),
                0 if repeated else own_parameters,
                0 if repeated else own_flops,
            )
        )
        if not getattr(module, "inplace", False) and not isinstance(module, (nn.Flatten, nn.Dropout)):
            size = tensor.numel() * tensor.element_size()
            total, largest = total + size, max(largest, size)
    return layers, total, largest


def _flops_below(module: nn.Module, prefix: str, counted: dict[str, int]) -> int:
    """What was counted in a module's children; a list of modules is never called itself, so its items count."""
    total = 0
    for name, child in module.named_children():
        inner = f"{prefix}.{name}"
        total += counted[inner] if inner in counted else _flops_below(child, inner, counted)
    return total


def _attention_flops(query: Any, key: Any, value: Any, *_rest: Any, **_more: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _saved_bytes(model: nn.Module, examples: Tensor | Ragged | dict[str, Ragged] | Row | PastFuture) -> int:
    """Bytes a sample that a training forward pass keeps for the backward pass, weights and buffers left out."""
    fixed = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    kept: dict[int, Tensor] = {}  # holds each tensor, so that no address is used twice

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in fixed:
            kept[address] = tensor
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(examples)
    size = sum(t.untyped_storage().nbytes() for t in kept.values())
    del output
    return size // len(examples[0] if isinstance(examples, tuple) else examples)
