"""`executorch`: a program of ExecuTorch (`.pte`), for phones and small machines, by its portable kernels. It takes at
most LARGEST rows at once, and lengths up to LONGEST. Needs the extra `executorch`, whose wheels go with one version of
torch.

https://docs.pytorch.org/executorch
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from flambeau.core.errors import ModelError, RunError, first_line, needed
from flambeau.exports.base import EXPORTERS, Exporter, Rows
from flambeau.exports.deployed import Deployed
from flambeau.exports.program import outputs_of, traced
from flambeau.objectives.programs import Port, Runtime

LARGEST, LONGEST, AT_ONCE = 64, 512, 8
"""Rows and lengths that a program is traced for, and how many rows it is given at once: for as many it was verified,
and of graphs that resize pictures its planner reserves too little for more."""


@EXPORTERS.register("executorch")
class ExecuTorchExporter(Exporter):
    ending: ClassVar[str] = ".pte"
    note: ClassVar[str] = f"for at most {LARGEST} rows at once, of pictures {AT_ONCE}, and lengths up to {LONGEST}"

    def write(self, deployed: Deployed, path: Path, *, precision: str, calibration: Rows = ()) -> list[Port]:
        exir = needed("executorch.exir", "executorch", "the format executorch")
        for value in (*deployed.model.parameters(), *deployed.model.buffers()):
            # its convolutions take weights in the plain order alone, which `contiguous` leaves to sides of length 1
            value.data = value.data.clone(memory_format=torch.contiguous_format)
        program = traced(deployed, largest=LARGEST, longest=min(LONGEST, deployed.program.longest or LONGEST))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                written = exir.to_edge_transform_and_lower(program).to_executorch()
        except Exception as error:  # any operation may be one that it has not
            raise ModelError(f"ExecuTorch cannot have the model ({type(error).__name__}: {first_line(error)})",
                             fix="take --format program or onnx") from error  # fmt: skip
        path.write_bytes(written.buffer)
        return outputs_of(program, deployed.example())

    @classmethod
    def load(cls, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> Runtime:
        runtime = needed("executorch.runtime", "executorch", "running an export of the format executorch")
        try:
            method: Any = runtime.Runtime.get().load_program(os.fspath(path)).load_method("forward")
        except Exception as error:  # noqa: BLE001 -- whatever a damaged file makes of it
            raise RunError(f"the program cannot be read ({first_line(error)})", where=path,
                           fix="export the run again") from None  # fmt: skip

        def answered(fed: list[torch.Tensor]) -> list[np.ndarray]:
            try:
                return [value.float().numpy().copy() for value in method.execute(fed)]
            except RuntimeError as error:
                shapes = ", ".join(f"{port.name} {tuple(one.shape)}" for port, one in zip(inputs, fed, strict=True))
                raise ModelError(f"the program fails on {shapes} ({first_line(error)})", where=path,
                                 fix="export in another format") from error  # fmt: skip

        def run(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            fed = [torch.from_numpy(np.ascontiguousarray(arrays[port.name])) for port in inputs]
            parts = [answered(list(part)) for part in zip(*(one.split(AT_ONCE) for one in fed), strict=True)]
            return {
                port.name: np.concatenate(given) for port, given in zip(outputs, zip(*parts, strict=True), strict=True)
            }

        return run
