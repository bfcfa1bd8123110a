"""int8 after training: the weights of an ONNX graph, and for convolutions what flows between them, in 8 bits.

- Where most weights are of convolutions, ranges are fixed beforehand: training rows are run through the graph, and each
  convolution has a scale per channel (quantise-dequantise pairs, which ONNX Runtime fuses).
- Elsewhere (transformers, LSTMs, dense nets) weights alone are kept in 8 bits, and what they are multiplied with is
  rounded as it comes.

Of a run that was trained with the technique `qat` the ranges are those that it was trained with. A quarter of the size.
Quicker where weights are what takes the time, and slower for small nets: `flambeau bench` tells. Preparation and the
final activation stay in float32. Jacob et al. 2018, arXiv:1712.05877.
"""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError, ModelError, needed
from flambeau.evaluation import trained_on
from flambeau.exports.deployed import as_arrays, columns_of
from flambeau.predictor import Predictor
from flambeau.run import Run

ROWS, AT_ONCE = 128, 8
"""Training rows that ranges are found on, and how many are given at once."""
STATIC = "Conv", "Gemm", "MatMul", "Add", "Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat"
KEEPING = "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity"
DYNAMIC = "MatMul", "Gemm", "LSTM", "Gather"


def calibration(predictor: Predictor, run: Run) -> list[dict[str, np.ndarray]]:
    """Arrays of batches of training rows, by which ranges are found.

    Raises:
        ModelError: the data of the training is gone.
    """
    try:
        if run.recipe.data.get("kind") == "memory":
            raise DataError("it was in memory")
        reading = predictor.read(trained_on(run))
    except DataError as error:
        raise ModelError(f"int8 is fitted and measured on the data of the training, which is gone ({error.found})",
                         where=run.path, fix="put it back where it was, or export in float32") from None  # fmt: skip
    rows = np.intersect1d(reading.dataset.rows("train"), reading.good, assume_unique=True)
    rows = rows[np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).astype(int)]
    columns = columns_of(predictor)
    return [as_arrays(columns, reading.store.gather(part)) for part in torch.from_numpy(rows).split(AT_ONCE)]


def quantise(
    graph: Any, path: Path, batches: Sequence[dict[str, np.ndarray]], ranges: Mapping[str, Sequence[float]]
) -> None:
    """Writes a graph in int8.

    Args:
        graph: an `onnx.ModelProto` in float32 of a Deployed.
        batches: of training rows; only those of a graph of convolutions are looked at.
        ranges: by layer those that its input was rounded by in training; others are found by the batches.

    Raises:
        ModelError: it has no layer that int8 is for.
    """
    onnx = needed("onnx", "export", "int8")
    needed("onnxruntime", "export", "int8")
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    inside = {name for node in graph.graph.node if _of_model(node) for name in node.output}
    with TemporaryDirectory() as folder, _quiet():
        plain = Path(folder) / "float32.onnx"
        onnx.save(graph, plain)
        quant_pre_process(plain, plain, skip_symbolic_shape=True)
        simplified = onnx.load(plain)
        nodes = [node for node in simplified.graph.node if inside.intersection(node.output)]
        convolutions = _weights(simplified, nodes, ("Conv",)) > _weights(simplified, nodes, ("Gemm", "MatMul", "LSTM"))
        kinds = STATIC if convolutions else DYNAMIC
        stacked = {one.name for one in simplified.graph.initializer if len(one.dims) > 2}  # no integer product of such
        names = [node.name for node in nodes if node.op_type in kinds
                 and not (node.op_type == "MatMul" and stacked.intersection(node.input))]  # fmt: skip
        if convolutions and not batches:  # made of noise: there are no rows to find ranges by, and it stays as it was
            onnx.save(graph, path)
            return
        if convolutions:
            quantize_static(
                plain, path, _Reader(batches), per_channel=True, op_types_to_quantize=list(kinds),
                nodes_to_quantize=names, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True, "TensorQuantOverrides": _learnt(graph, simplified, ranges)},
            )  # fmt: skip
        else:
            quantize_dynamic(
                plain, path, per_channel=True, op_types_to_quantize=list(kinds),
                nodes_to_quantize=[*names, *(f"{name}_MatMul" for name in names)],  # what becomes of a Gemm
                weight_type=QuantType.QInt8, extra_options={"MatMulConstBOnly": True},
            )  # fmt: skip
        written = {one.data_type for one in onnx.load(path).graph.initializer if len(one.dims) > 1}
        if not written & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}:
            raise ModelError("the model has no layer that int8 is for", expected="convolutions, dense layers or LSTMs",
                             fix="export it in float32")  # fmt: skip


def _learnt(graph: Any, simplified: Any, ranges: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """By tensor of the simplified graph the range that a training left for a layer that takes it."""
    made = {name: node for node in simplified.graph.node for name in node.output}
    learnt: dict[str, Any] = {}
    for node in graph.graph.node:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        # a normalisation that was put into a weight leaves its own name on the node; the weight's is the layer's
        names = [*_scopes(node), node.input[1].removeprefix("model.").removesuffix(".weight")]
        if not (layers := [name for name in names if name in ranges]):
            continue
        low, high = np.asarray(ranges[layers[-1]], np.float32)
        tensor = node.input[0]
        while tensor in made:
            learnt[tensor] = [{"rmin": low, "rmax": high}]
            if made[tensor].op_type not in KEEPING:  # whose output has the scale of its input
                break
            tensor = made[tensor].input[0]
    return learnt


def _scopes(node: Any) -> list[str]:
    """Names in the model of the modules that a node is of, the outermost first."""
    told = [one.value for one in node.metadata_props if one.key == "pkg.torch.onnx.name_scopes"]
    return [name.removeprefix("model.") for name in (ast.literal_eval(told[0]) if told else ())]


def _of_model(node: Any) -> bool:
    """Whether a node is of the module `model` of a Deployed, as its exporter wrote down."""
    return "model" in _scopes(node)


def _weights(graph: Any, nodes: Sequence[Any], kinds: Sequence[str]) -> int:
    """Numbers that are kept for these operations."""
    sizes = {one.name: int(np.prod(one.dims)) for one in graph.graph.initializer}
    weights = {(node.op_type, node.input[1]) for node in nodes if node.op_type in kinds}
    return sum(sizes.get(name, 0) for _, name in weights)


class _Reader:
    """Batches one after the other, as ONNX Runtime asks for them."""

    def __init__(self, batches: Sequence[dict[str, np.ndarray]]):
        self._left = iter(batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it ONNX Runtime's tools say nothing of how their own parts might be called."""
    root, before = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)
