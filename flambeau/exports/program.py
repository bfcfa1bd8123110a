"""`program`: a graph of torch.export (`.pt2`), which torch runs without the model's code; its batch is of any size, and
so are lengths. Costs seconds to trace; runs about as fast as the model."""

from __future__ import annotations

import io
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from flambeau.core.errors import ModelError, RunError, first_line
from flambeau.exports.base import EXPORTERS, Exporter, Rows
from flambeau.exports.deployed import Deployed
from flambeau.models import graphs
from flambeau.objectives.programs import BATCH, Port, Runtime


def traced(deployed: Deployed, largest: int | None = None, longest: int | None = None) -> torch.export.ExportedProgram:
    """The graph of a module, for arrays of any size along axes that have a name.

    Args:
        largest, longest: how many rows there may be, and how long other such axes, where there is an end to it.

    Raises:
        ModelError: the model does what no graph can, such as a loop over what it finds.
    """
    free = torch.export.Dim.DYNAMIC
    rows = torch.export.Dim.DYNAMIC(max=largest) if largest else free
    other = torch.export.Dim.DYNAMIC(max=longest) if longest else free
    dynamic = {
        port.name: {
            axis: rows if size == BATCH else other for axis, size in enumerate(port.shape) if isinstance(size, str)
        }
        for port in deployed.inputs
    }
    example = deployed.example()
    try:
        with torch.no_grad():
            deployed(**example)  # what is made once and kept, such as filters, is made here, and not of tracing's stuff
        return graphs.traced(deployed, (), example, dynamic)
    except Exception as error:  # any part of a model may fail in a way of its own
        raise ModelError(f"the model has no graph ({type(error).__name__}: {first_line(error)})",
                         fix="choose another model, or serve the run itself") from error  # fmt: skip


def outputs_of(program: torch.export.ExportedProgram, example: Mapping[str, torch.Tensor]) -> list[Port]:
    """What a graph gives: axes whose size the example does not settle have a name."""
    given = program.module()(**example)
    nodes = [node for node in program.graph.output_node().args[0] if hasattr(node, "meta")]
    ports = []
    for (name, value), node in zip(given.items(), nodes, strict=True):
        sizes = tuple(node.meta["val"].shape)
        shape = tuple(int(size) if isinstance(size, int) else f"{name}_{axis}" for axis, size in enumerate(sizes))
        ports.append(Port(name, str(value.dtype).removeprefix("torch."), (BATCH, *shape[1:])))
    return ports


class TorchExporter(Exporter):
    """A format that torch itself runs."""

    @staticmethod
    @abstractmethod
    def opened(path: Path) -> Callable[..., Mapping[str, torch.Tensor]]:
        """What a file holds: from tensors by name to tensors by name."""

    @classmethod
    def load(cls, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> Runtime:
        try:
            program = cls.opened(path)
        except Exception as error:  # noqa: BLE001 -- whatever a damaged file makes of it
            raise RunError(f"the program cannot be read ({first_line(error)})", where=path,
                           fix="export the run again") from None  # fmt: skip
        return partial(called, program, inputs=inputs)


@EXPORTERS.register("program")
class ProgramExporter(TorchExporter):
    ending: ClassVar[str] = ".pt2"
    precisions: ClassVar[tuple[str, ...]] = ("float32", "bf16")

    def write(self, deployed: Deployed, path: Path, *, precision: str, calibration: Rows = ()) -> list[Port]:
        program = traced(deployed)
        buffer = io.BytesIO()  # of a full disk torch says nothing that could be told
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No complete tensor found in the group")  # of casts that share a weight
            torch.export.save(program, buffer)
        path.write_bytes(buffer.getbuffer())
        return outputs_of(program, deployed.example())

    @staticmethod
    def opened(path: Path) -> Callable[..., Mapping[str, torch.Tensor]]:
        return torch.export.load(path).module()


def called(module: Any, arrays: Mapping[str, np.ndarray], inputs: Sequence[Port]) -> dict[str, np.ndarray]:
    """What a program of torch gives for arrays."""
    fed = {port.name: torch.from_numpy(np.ascontiguousarray(arrays[port.name])) for port in inputs}
    try:
        with torch.inference_mode():
            given = module(**fed)
    except RuntimeError as error:
        shapes = ", ".join(f"{name} {tuple(array.shape)}" for name, array in fed.items())
        raise ModelError(f"the program fails on {shapes} ({first_line(error)})",
                         fix="export in another format, or with another model") from error  # fmt: skip
    return {name: value.float().numpy() for name, value in given.items()}
