"""The sum of gradients over processes, in one buffer; what else all must know of a step goes with it."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

from flambeau.core.errors import TrainingError
from flambeau.core.printable import quoted
from flambeau.training.interrupts import Interrupts
from flambeau.training.state import State

SIGNALS = (signal.SIGTERM, signal.SIGINT)
GONE = "another process of this training has ended, or cannot be reached"
FLAGS = len(SIGNALS) + 1  # each signal, and whether to save


class Lost(TrainingError):
    """Another process of the training ended, so this one cannot go on."""

    code = "process-lost"

    def at(self, step: int, folder: Path | None) -> Lost:
        """The same, of a training that was at a step, in a run's folder."""
        return Lost(
            f"{self.found}, at step {step}", fix=f"go on with: flambeau resume {quoted(folder)}" if folder else None
        )


@contextlib.contextmanager
def lost() -> Iterator[None]:
    """While entered, what a broken connection raises is told as `Lost`."""
    try:
        yield
    except (RuntimeError, ConnectionError) as error:  # torch.distributed has no narrower one for all backends
        raise Lost(GONE) from error


@contextlib.contextmanager
def told_at(state: State, folder: Path | None) -> Iterator[None]:
    """While entered, `Lost` tells of the step and the run's folder; also of a connection that broke inside a pass."""
    try:
        yield
    except Lost as error:
        raise error.at(state.step, folder) from error
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "/gloo/" in str(error):  # gloo has no class of its own
            raise Lost(GONE).at(state.step, folder) from error
        raise


class GradientSum:
    """Called with the parameters of a phase and the loss of a pass over this process's share, whose gradients are
    there: makes of all of them the mean over the samples of all processes.

    Args:
        first: whether this process decides when to save.

    Attributes:
        weight: of this process's share, by what the loss is a mean over; set before each step.
        interrupts: that a signal of any process reaches.
    """

    def __init__(self, first: bool):
        self.weight = 1.0
        self.interrupts = Interrupts(shared=True)
        self._first, self._wants, self._asked, self._due = first, False, False, False
        self._buffers: dict[tuple[int, ...], Buffer] = {}
        self._heard: tuple[Tensor, torch.cuda.Event] | None = None

    def __call__(self, parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        key = tuple(map(id, learning))
        if key not in self._buffers:
            self._buffers[key] = Buffer(learning, loss.device)
        self._asked |= self._wants
        mean, flags = self._buffers[key].mean(loss, [self.weight, *self.pending(), float(self._wants)])
        self._hear(flags)
        return mean

    def total(self) -> Tensor:
        """The weight of all shares, a scalar, where gradients were none of its buffer's."""
        return self._buffers[()].flat[1]

    def pending(self) -> list[float]:
        """Which signals have come to this process."""
        return [float(self.interrupts.pending == number) for number in SIGNALS]

    def receive(self, sums: Sequence[float]) -> None:
        """Notes which signals have come to any."""
        for number, processes in zip(SIGNALS, sums, strict=True):
            if processes and self.interrupts.received is None:
                self.interrupts.received = number

    def due(self, wanted: bool) -> bool:
        """Whether all save after this step; asks for it where the first process wants to."""
        if self._due:
            self._due = self._wants = self._asked = False
            return True
        self._wants = wanted and self._first and not self._asked
        return False

    def _hear(self, flags: Tensor) -> None:
        if flags.device.type == "cpu":
            self._take(flags.tolist())
            return
        if self._heard is not None:  # those of the pass before: to read these would wait for the device
            self._heard[1].synchronize()
            self._take(self._heard[0].tolist())
        heard = torch.empty(len(flags), pin_memory=True).copy_(flags, non_blocking=True)
        self._heard = heard, torch.cuda.Event()
        self._heard[1].record()

    def _take(self, flags: Sequence[float]) -> None:
        self.receive(flags[:-1])
        self._due |= bool(flags[-1])


class Buffer:
    """Gradients end to end, float32: the loss, its weight, flags, and of each parameter whether it has a gradient are
    behind them."""

    def __init__(self, parameters: Sequence[nn.Parameter], device: torch.device):
        self.parameters = list(parameters)
        sizes = [parameter.numel() for parameter in parameters]
        self.total = sum(sizes)
        self.flat = torch.zeros(self.total + 2 + FLAGS + len(sizes), device=device)
        self.views = []
        for parameter, part in zip(parameters, self.flat[: self.total].split(sizes), strict=True):
            last = parameter.ndim == 4 and parameter.is_contiguous(memory_format=torch.channels_last)
            strides = parameter.stride() if last or parameter.is_contiguous() else None
            self.views.append(part.as_strided(parameter.shape, strides) if strides else part.view(parameter.shape))

    def mean(self, loss: Tensor, told: Sequence[float]) -> tuple[Tensor, Tensor]:
        """The gradients become their means; (mean loss, sums of the flags).

        Args:
            told: the weight of this process's share, and its flags.
        """
        flat, total = self.flat, self.total
        there = [parameter.grad is not None for parameter in self.parameters]
        own = [p.grad for p in self.parameters if p.grad is not None]
        views = [view for view, has in zip(self.views, there, strict=True) if has]
        if len(own) < len(self.views):
            flat[:total].zero_()
        if own:
            torch._foreach_copy_(views, own)
        flat[total] = loss
        flat[total + 1 :].copy_(torch.tensor([*told, *map(float, there)]), non_blocking=True)
        with lost():
            dist.all_reduce(flat)
        flat[: total + 1] /= flat[total + 1]
        if own:
            torch._foreach_copy_(own, views)
        if len(own) < len(self.views):  # another process may have seen what this one has not
            anywhere = flat[-len(there) :].tolist()
            for parameter, view, has, processes in zip(self.parameters, self.views, there, anywhere, strict=True):
                if processes and not has:
                    parameter.grad = view.clone().to(parameter.dtype)
        return flat[total].clone(), flat[total + 2 : total + 2 + FLAGS]
