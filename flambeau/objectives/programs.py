"""What is exported of an objective: functions from arrays to named arrays, each a graph of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch

BATCH = "batch"
"""The name of the axis along which samples stand."""
Runtime = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""A program where it runs: from arrays by the names of its inputs to arrays by the names of its outputs."""


@dataclass(frozen=True)
class Port:
    """One array that a program takes or gives.

    Attributes:
        name: an identifier.
        dtype: as numpy calls it, such as `uint8`.
        shape: of a batch; an axis of any size has a name, the first one `batch`.
        column: of the data, where it comes from one.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    column: str | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Port:
        """From plain JSON."""
        return cls(said["name"], said["dtype"], tuple(said["shape"]), said.get("column"))


class Runtimes(dict[str, Runtime]):
    """Programs that run, by name.

    Args:
        inputs: what each takes.
    """

    def __init__(self, programs: Mapping[str, Runtime], inputs: Mapping[str, Sequence[Port]]):
        super().__init__(programs)
        self.inputs = inputs


@dataclass(frozen=True)
class Program:
    """A function of a model.

    Attributes:
        call: from a prepared batch to tensors by name, all with the batch as first axis; nothing in it is drawn.
        inputs: what the batch's `input` is made of, a dict by name; None for the inputs of a row.
        of_rows: those of a prepared batch of rows; None where nothing of a row is like them.
        longest: how long axes of any size may be, where there is an end to it.
    """

    call: Callable[[Batch], Mapping[str, Tensor]]
    inputs: tuple[Port, ...] | None = None
    of_rows: Callable[[Batch], Mapping[str, Tensor]] | None = None
    longest: int | None = None


@dataclass(slots=True)
class Fed(Batch):
    """A batch that also has the arrays which a program takes."""

    arrays: Mapping[str, np.ndarray]


def tensors(runtimes: Runtimes, name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """What a program gives, as tensors.

    Raises:
        UsageError: this export has no such program.
    """
    if name not in runtimes:
        raise UsageError(f"this export has no program '{name}'", expected=", ".join(runtimes), fix="use the run itself")
    return {output: torch.from_numpy(np.array(value)) for output, value in runtimes[name](arrays).items()}


def arrays_of(batch: Batch) -> Mapping[str, np.ndarray]:
    """What a program takes of a batch.

    Raises:
        UsageError: the batch was not prepared for one, as by what looks into a model.
    """
    if not isinstance(batch, Fed):
        raise UsageError("an export answers, and what is inside of it cannot be looked at", fix="use the run itself")
    return batch.arrays
