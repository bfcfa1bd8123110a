"""Deployed: what is done to a batch after it is read and before it is told, as one module of named arrays."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.data.batch import Batch
from flambeau.data.prepare import Preparer
from flambeau.data.store.store import Gathered
from flambeau.fields import Field, Ragged
from flambeau.fields.placement import Frames, following, frames_of
from flambeau.objectives.programs import BATCH, Port
from flambeau.predictor import Predictor

LENGTHS = "_lengths"
EXAMPLES, LONGEST = 3, 24
"""Rows that a program is traced with, and the length of the longest: a size of 1 may be taken for one that stays."""


class Deployed(nn.Module):
    """Preparation, model and activation of a Predictor as one module: raw arrays in, as `Field.encode` gives them, and
    named tensors out. A ragged column is two arrays: values (B, T, …), padded with zeros, and `…_lengths` (B) int64.

    Args:
        predictor: of a run.
        program: one of the programs of its objective.
        precision: `bf16` for a model under autocast; its preparation stays in float32.
        ranges: that its layers' inputs were rounded by in training, for int8; see `flambeau.techniques.qat`.

    Attributes:
        inputs: what `forward` takes by name, in order.
    """

    def __init__(
        self, predictor: Predictor, program: str = "predict", precision: str = "float32",
        ranges: Mapping[str, Sequence[float]] | None = None,
    ):  # fmt: skip
        super().__init__()
        self.precision, self.ranges = precision, ranges or {}
        self.model = predictor.objective.model
        self.name, self.program = program, predictor.objective.programs()[program]
        self._columns = {} if self.program.inputs is not None else columns_of(predictor)
        self._prepare = Preparer(predictor.fields, predictor.inputs, None, torch.device("cpu"))
        own = {name: ports_of(name, column, field) for name, (column, field) in self._columns.items()}
        self.inputs = self.program.inputs or tuple(port for ports in own.values() for port in ports)
        self.forward = _named(self._forward, [port.name for port in self.inputs])

    def _forward(self, **arrays: Tensor) -> dict[str, Tensor]:
        rows = torch.arange(arrays[self.inputs[0].name].shape[0])
        coded = self.program.inputs is not None
        batch = Batch(arrays, None, rows) if coded else self._prepare(rows, self.gathered(arrays))
        if self.precision != "bf16":
            return dict(self.program.call(batch))
        with torch.autocast("cpu", torch.bfloat16):
            given = self.program.call(batch)
        return {name: value.float() if value.is_floating_point() else value for name, value in given.items()}

    def gathered(self, arrays: Mapping[str, Tensor]) -> Gathered:
        """Arrays by name as a Store gathers them, by column."""
        gathered: Gathered = {}
        for name, (column, field) in self._columns.items():
            value = arrays[name]
            gathered[column] = Ragged(value, arrays[name + LENGTHS]) if field.encoding.ragged else field.received(value)
        return gathered

    def arrays(self, gathered: Gathered) -> dict[str, np.ndarray]:
        """The other way: what a Store gathers, as arrays by name."""
        return as_arrays(self._columns, gathered)

    def example(self) -> dict[str, Tensor]:
        """Arrays that it can be traced with: of zeros, of lengths that differ."""
        longest = min(LONGEST, self.program.longest or LONGEST)
        return {port.name: _example(port, longest) for port in self.inputs}

    def of_rows(self, gathered: Gathered) -> dict[str, np.ndarray] | None:
        """Its arrays of rows that a Store gathered; None where it takes nothing of rows."""
        if self.program.inputs is None:
            return self.arrays(gathered)
        if self.program.of_rows is None:
            return None
        rows = torch.arange(length_of(gathered))
        with torch.inference_mode():
            taken = self.program.of_rows(self._prepare(rows, gathered))
        return {name: value.numpy() for name, value in taken.items()}


Columns = dict[str, tuple[str, Field]]
"""By the name of a port the column that it is of, and how that is read."""


def columns_of(predictor: Predictor) -> Columns:
    """What a Predictor's inputs are called as arrays."""
    fields = {name: predictor.fields[name] for name in predictor.inputs}
    leader, _ = following(predictor.fields, predictor.inputs, None)
    if leader is not None:
        fields[frames_of(leader)] = Frames(fields[leader])
    named: Columns = {}
    for column, field in fields.items():
        named[_free(identifier(column), named)] = column, field
    return named


def as_arrays(columns: Columns, gathered: Gathered) -> dict[str, np.ndarray]:
    """What a Store gathers, as arrays by name of their ports."""
    arrays: dict[str, np.ndarray] = {}
    for name, (column, field) in columns.items():
        value: Any = gathered[column]
        arrays[name] = (value.values if field.encoding.ragged else value).cpu().numpy()
        if field.encoding.ragged:
            arrays[name + LENGTHS] = value.lengths.cpu().numpy()
    return arrays


def ports_of(name: str, column: str, field: Field) -> list[Port]:
    """The arrays of a column."""
    dtype = str(field.encoding.dtype)
    if not field.encoding.ragged:
        shape = [f"{name}_{size}" if isinstance(size, str) else size for size in field.deployed_shape]
        return [Port(name, dtype, (BATCH, *shape), column)]
    values = Port(name, dtype, (BATCH, f"{name}_length", *field.encoding.shape), column)
    return [values, Port(name + LENGTHS, "int64", (BATCH,), column)]


def length_of(gathered: Gathered) -> int:
    """B, how many rows were gathered."""
    value: Any = next(iter(gathered.values()))
    return len(value.values if isinstance(value, Ragged) else value)


def identifier(column: str) -> str:
    """A column's name as one that programs in any language can have.

    >>> identifier("sepal length (cm)"), identifier("0")
    ('sepal_length_cm', 'input_0')
    """
    name = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_")
    return name if name and not name[0].isdigit() else f"input_{name}".rstrip("_")


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def _named(call: Any, names: list[str]) -> Any:
    """A function of arguments by these names, which tracers read off its signature."""

    def forward(*values: Tensor, **named: Tensor) -> dict[str, Tensor]:
        return call(**dict(zip(names, values, strict=False)), **named)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    vars(forward)["__signature__"] = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    return forward


def _example(port: Port, longest: int) -> Tensor:
    if port.dtype == "int64" and port.name.endswith(LENGTHS) and port.column is not None:
        return longest - torch.arange(EXAMPLES)
    shape = [EXAMPLES if size == BATCH else longest if isinstance(size, str) else size for size in port.shape]
    return torch.from_numpy(np.zeros(shape, port.dtype))
