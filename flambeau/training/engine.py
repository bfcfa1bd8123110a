"""The engine: which device, which precision, which memory layout, and why. The one room that looks at the machine."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from flambeau.core.errors import UsageError, nearest

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = {"auto": None, "float32": None, "bf16": torch.bfloat16, "float16": torch.float16}
SMALL_MODEL = 100_000  # parameters under which casting costs more than bf16 arithmetic gains
# `depthwise_share` from which processors are mostly slower in bf16: benchmarks/precision.py
MOST_DEPTHWISE = 0.2


@dataclass
class Engine:
    """Where and how a model computes.

    Attributes:
        device: where.
        autocast_dtype: bfloat16 or float16, or None for float32 throughout.
        channels_last: whether pictures and convolutions are laid out with their channels together.
        compile: whether `torch.compile` is used.
        reasons: what was chosen and why, a sentence each.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    autocast_dtype: torch.dtype | None = None
    channels_last: bool = False
    compile: bool = False
    reasons: list[str] = field(default_factory=list)

    def place(self, model: nn.Module) -> None:
        """Moves the model to the device and layout, in place; compiles its forward if wanted."""
        model.to(self.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compile:
            model.compile()

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """A context for the forward pass and the loss."""
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.autocast_dtype)

    @property
    def scales(self) -> bool:
        """Whether small gradients would be lost, so that the loss is scaled."""
        return self.autocast_dtype is torch.float16

    def synchronise(self) -> None:
        """Waits for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


@dataclass(frozen=True)
class Machine:
    """What a plan depends on of a machine.

    Attributes:
        device: that a training computes on.
        why: why that one.
        bf16: whether it computes in bfloat16 by itself.
        bf16_why: how that was seen.
    """

    device: str = "cpu"
    why: str = "torch has no other device here"
    bf16: bool = False
    bf16_why: str = "the processor has no bf16 arithmetic"

    @classmethod
    def here(cls, device: str = "auto") -> Machine:
        """This machine, where a device was asked for, or `auto`.

        Raises:
            UsageError: there is no such device.
        """
        where = _device(device)
        why = cls.why if where.type == "cpu" else "the fastest here"
        return cls(str(where), why if device == "auto" else "as asked", *bf16_is_fast(where))


def decide_precision(
    asked: str, machine: Machine, exact: bool, size: int | None, depthwise: float = 0.0
) -> tuple[str, str] | None:
    """The precision of a training and why; None where it depends on a size that is not known. `auto` never takes
    float16, which overflows where bf16 does not, and which few processors compute in.

    Args:
        exact: the task wants float32 (regression), so `auto` does not choose bf16.
        size: how many parameters the model has, where that is known.
        depthwise: its `depthwise_share`.

    Raises:
        UsageError: there is no such precision.
    """
    if asked not in PRECISIONS:
        raise UsageError(f"no precision is called '{asked}'", fix=nearest(asked, PRECISIONS))
    if asked != "auto":
        return asked, "as asked" + (f", although {machine.bf16_why}" if asked == "bf16" and not machine.bf16 else "")
    if not machine.bf16:
        return "float32", machine.bf16_why
    if exact:
        return "float32", "numbers are predicted"
    if size is None:
        return None
    if size < SMALL_MODEL:
        return "float32", f"the model has {size:,} parameters only"
    if depthwise > MOST_DEPTHWISE and torch.device(machine.device).type == "cpu":
        return (
            "float32",
            f"{depthwise:.0%} of its channels are of depthwise convolutions, mostly slower in bf16 on processors",
        )
    return "bf16", machine.bf16_why


def depthwise_share(model: nn.Module) -> float:
    """The share of the channels that a model's layers make which depthwise convolutions of pictures make: of MobileNets
    and EfficientNets 0.25 to 0.4, of ConvNeXts 0.15."""
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    made = [layer.out_channels if isinstance(layer, nn.Conv2d) else layer.out_features for layer in layers]
    alone = (isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1 for layer in layers)
    return sum(count for count, one in zip(made, alone, strict=True) if one) / max(1, sum(made))


def choose(
    model: nn.Module, *, device: str = "auto", precision: str = "auto", channels_last: bool | None = None,
    compile: bool = False, exact: bool = False,
) -> Engine:  # fmt: skip
    """Decides by rules alone (never by timing), so that the same machine always decides alike.

    Args:
        exact: the task wants float32 (regression), so `auto` does not choose bf16.

    Raises:
        UsageError: the device or the precision does not exist here.
    """
    keep_large_blocks()
    where = _device(device)
    size = sum(p.numel() for p in model.parameters())
    decided = decide_precision(precision, Machine.here(device), exact, size, depthwise_share(model))
    assert decided is not None
    dtype = PRECISIONS[decided[0]]
    if channels_last is None:
        channels_last = any(isinstance(m, nn.Conv2d) for m in model.modules()) and where.type in ("cpu", "cuda")
    return Engine(where, dtype, channels_last, compile, [f"device {where}", "precision {}: {}".format(*decided)])


def _device(device: str) -> torch.device:
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        where = torch.device(device)
    except RuntimeError:
        fix = "did you mean 'cuda'?" if device.lower().startswith("gpu") else nearest(device, DEVICES)
        raise UsageError(f"no device is called '{device}'", fix=fix) from None
    if where.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device that torch can use", fix="use --set device=cpu, or auto")
    if where.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("there is no MPS device that torch can use", fix="use --set device=cpu, or auto")
    return where


@contextlib.contextmanager
def computing(number: int | None) -> Iterator[None]:
    """While entered, torch computes with so many threads; None for as many as it has."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bf16_is_fast(device: torch.device) -> tuple[bool, str]:
    """Whether a device computes in bfloat16 by itself, and how that was seen."""
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return major >= 8, f"the GPU's compute capability is {major}.{minor}"
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        has = [n for n in ("avx512_bf16", "amx_bf16", "bf16") if capabilities.get(n)]
        return bool(has), f"the processor has {has[0]}" if has else "the processor has no bf16 arithmetic"
    return False, f"bf16 is not tried on {device.type}"


def keep_large_blocks() -> None:
    """Lets glibc reuse large freed blocks instead of returning each to the kernel.

    Activations are allocated and freed at every step; mapping them anew costs a page fault for each 4 KiB. What the
    check and the encoding have left on the heap is given back first.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        library = ctypes.CDLL(None)
        mallopt, malloc_trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError):
        return  # another C library
    m_trim_threshold, m_mmap_threshold, m_top_pad = -1, -3, -2
    malloc_trim(0)
    # larger ones do not fit into the gaps that others leave: with 32 MB a training on photos held twice as much
    mallopt(m_mmap_threshold, 4 << 20)
    mallopt(m_trim_threshold, (1 << 31) - 1)
    mallopt(m_top_pad, 64 << 20)
