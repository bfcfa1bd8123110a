"""`onnx`: a graph of ONNX, which ONNX Runtime runs in most languages, in browsers and on phones, without torch. Its
batch is of any size, and so are lengths. Costs seconds to trace."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from flambeau.core.errors import ModelError, RunError, first_line, needed
from flambeau.exports.base import EXPORTERS, Exporter, Rows
from flambeau.exports.deployed import Deployed
from flambeau.exports.int8 import quantise
from flambeau.exports.program import outputs_of, traced
from flambeau.models.graphs import recurrent_operations, whole_layers
from flambeau.objectives.programs import Port, Runtime

OPSET = 20


@EXPORTERS.register("onnx")
class OnnxExporter(Exporter):
    ending: ClassVar[str] = ".onnx"
    precisions: ClassVar[tuple[str, ...]] = ("float32", "int8")

    def write(self, deployed: Deployed, path: Path, *, precision: str, calibration: Rows = ()) -> list[Port]:
        onnx = needed("onnx", "export", "the format onnx")
        needed("onnxscript", "export", "the format onnx")
        program = traced(deployed)
        outputs = outputs_of(program, deployed.example())
        names = [port.name for port in deployed.inputs], [port.name for port in outputs]
        try:
            proto = translated(program, *names)
        except Exception as error:  # any part of a graph may be unknown to ONNX
            cause = error.__cause__ or error
            raise ModelError(f"the graph has no form in ONNX ({type(cause).__name__}: {first_line(cause)})",
                             fix="export it with --format program") from error  # fmt: skip
        name_axes(proto, deployed.inputs)
        if precision == "int8":
            quantise(proto, path, calibration if deployed.program.inputs is None else (), deployed.ranges)
        else:
            onnx.save(proto, path)
        onnx.checker.check_model(str(path), full_check=True)
        return outputs

    @classmethod
    def load(cls, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> Runtime:
        runtime = needed("onnxruntime", "export", "running an export of the format onnx")
        try:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()  # as many as the run itself would have
            options.log_severity_level = 4  # what fails is told by an error
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  of a file that is damaged
            raise RunError(f"the program cannot be read ({first_line(error)})", where=path,
                           fix="export the run again") from None  # fmt: skip
        names = [port.name for port in outputs]

        def run(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            try:
                given = session.run(names, {port.name: arrays[port.name] for port in inputs})
            except Exception as error:  # ONNX Runtime's have no family
                raise ModelError(f"the graph fails ({first_line(error)})", where=path,
                                 fix="export in another format or precision") from error  # fmt: skip
            return dict(zip(names, given, strict=True))

        return run


def translated(
    program: torch.export.ExportedProgram, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> Any:
    """A traced graph as an `onnx.ModelProto`, with names for what goes in and comes out."""
    with whole_layers(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's own parts
        written = torch.onnx.export(
            program, dynamo=True, verbose=False, opset_version=OPSET, optimize=True, input_names=inputs,
            output_names=outputs, custom_translation_table=translations(),
        )  # fmt: skip
    assert written is not None
    return written.model_proto


def translations() -> dict[Any, Any]:
    """What torch has no translation for, by operation."""
    from onnxscript import opset20
    from onnxscript.function_libs.torch_lib.ops.core import aten_gru, aten_lstm

    op: Any = opset20  # its types know no value of any type

    def sort_stable(values: Any, stable: bool = True, dim: int = -1, descending: bool = False) -> Any:
        size = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]), axis=0)
        # of equals TopK has the one with the lower index first, as ONNX's specification says
        return op.TopK(values, size, axis=dim, largest=int(descending), sorted=1)

    lstm, gru = recurrent_operations()
    return {torch.ops.aten.sort.stable: sort_stable, lstm: aten_lstm, gru: aten_gru}


def name_axes(proto: Any, inputs: Sequence[Port]) -> None:
    """Calls the free axes of a graph what the ports call them, wherever a size is made of them."""
    named: dict[str, str] = {}
    for value, port in zip(proto.graph.input, inputs, strict=True):
        for axis, size in zip(value.type.tensor_type.shape.dim, port.shape, strict=True):
            if axis.dim_param and isinstance(size, str):
                named.setdefault(axis.dim_param, size)
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = re.sub(r"\w+", lambda word: named.get(word[0], word[0]), axis.dim_param)
