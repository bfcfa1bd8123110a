"""`torchscript`: for stacks that load nothing newer. It is deprecated: take `program` where there is a choice."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch

from flambeau.core.errors import ModelError, first_line
from flambeau.exports.base import EXPORTERS, Rows
from flambeau.exports.deployed import Deployed
from flambeau.exports.program import TorchExporter, outputs_of, traced
from flambeau.objectives.programs import Port


@EXPORTERS.register("torchscript")
class TorchScriptExporter(TorchExporter):
    ending: ClassVar[str] = ".ts"
    note: ClassVar[str] = "TorchScript is deprecated: take --format program where nothing older is asked for"

    def write(self, deployed: Deployed, path: Path, *, precision: str, calibration: Rows = ()) -> list[Port]:
        program, example, buffer = traced(deployed), deployed.example(), io.BytesIO()  # which tells of a full disk
        try:
            with warnings.catch_warnings(), torch.no_grad(), _exporting():
                warnings.simplefilter("ignore")  # that it is deprecated, which is said once
                written = torch.jit.trace(deployed, example_kwarg_inputs=example, strict=False, check_trace=False)
                torch.jit.save(written, buffer)
        except Exception as error:  # any operation may be one that it has not
            raise ModelError(f"TorchScript cannot have the model ({type(error).__name__}: {first_line(error)})",
                             fix="take --format program or onnx") from error  # fmt: skip
        path.write_bytes(buffer.getbuffer())
        return outputs_of(program, example)

    @staticmethod
    def opened(path: Path) -> Callable[..., Mapping[str, torch.Tensor]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.jit.load(str(path))


@contextmanager
def _exporting() -> Iterator[None]:
    """Models and fields take the ways that they have for graphs, as for torch.export, whose trace has sizes in it."""
    before = torch.compiler._is_exporting_flag
    torch.compiler._is_exporting_flag = True
    try:
        yield
    finally:
        torch.compiler._is_exporting_flag = before
