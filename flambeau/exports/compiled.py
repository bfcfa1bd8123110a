"""`compiled`: a package of AOTInductor (`.pt2`): machine code of this processor, which C++ runs without Python. Needs
g++ where it is written; takes a minute or more.

https://docs.pytorch.org/docs/stable/torch.compiler_aot_inductor.html
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from flambeau.core.errors import ModelError, UsageError, first_line
from flambeau.exports.base import EXPORTERS, Rows
from flambeau.exports.deployed import Deployed
from flambeau.exports.program import TorchExporter, outputs_of, traced
from flambeau.objectives.programs import Port


@EXPORTERS.register("compiled")
class CompiledExporter(TorchExporter):
    ending: ClassVar[str] = ".pt2"
    precisions: ClassVar[tuple[str, ...]] = ("float32", "bf16")
    note: ClassVar[str] = "compiled for processors like this one; elsewhere export it again"

    def write(self, deployed: Deployed, path: Path, *, precision: str, calibration: Rows = ()) -> list[Port]:
        if shutil.which("g++") is None:
            raise UsageError("the format compiled needs the compiler g++", fix="install g++, or take --format program")
        program, buffer = traced(deployed), io.BytesIO()  # which tells of a full disk, as torch does not
        try:
            torch._inductor.aoti_compile_and_package(program, package_path=buffer)
        except OSError:
            raise
        except Exception as error:  # any operation may be one that the compiler does not know
            raise ModelError(f"the program cannot be compiled ({type(error).__name__}: {first_line(error)})",
                             fix="take --format program or onnx") from error  # fmt: skip
        path.write_bytes(buffer.getbuffer())
        return outputs_of(program, deployed.example())

    @staticmethod
    def opened(path: Path) -> Callable[..., Mapping[str, torch.Tensor]]:
        model: Any = torch._inductor.aoti_load_package(str(path))
        return model
