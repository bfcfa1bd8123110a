"""A model as a function of named tensors: what the Open Inference Protocol asks for, over REST as over gRPC.

Inputs are what a row is read from, by name: a file (picture, sound) as BYTES with its content, or as the numbers of its
pixels (B, H, W, C) or samples (B, T); a text, a category or a date as BYTES; a number as such; what else there is as
BYTES with JSON. Outputs are `label`, of classes `confidence` and `probabilities`, and `details` with all else that is
told of a row, as JSON.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flambeau.serve.problems import Problem
from flambeau.serve.protocol import Failed, Predicted, Raw, parse_json, too_many
from flambeau.serve.registry import Registry, Version
from flambeau.serve.service import Service
from flambeau.serve.tensors import BYTES, bad_tensor, of_elements

PLATFORM = "flambeau"
EXTENSIONS = ("binary_tensor_data", "classification", "model_repository")
TEXTS = ("text", "category", "date")
"""What is asked for as text."""
SINGLE = (*TEXTS, "number", "rows")
"""What has one value a row."""


@dataclass(frozen=True)
class Port:
    """An input or output: of any batch where the shape has -1."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    kind: str = ""

    def told(self) -> dict[str, Any]:
        """As the metadata of a model has it."""
        return {"name": self.name, "datatype": self.datatype, "shape": [*self.shape]}


@dataclass(frozen=True)
class Inference:
    """A request: tensors by name, and for each output that is wanted its parameters; all outputs where none is."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)


def inputs_of(service: Service) -> list[Port]:
    """What a model is asked by."""
    ports = []
    for column, its in service.fields.items():
        asked = its.asks(column)
        if any(entry["kind"] == "rows" for entry in asked):
            asked = [{"name": column, "kind": "rows"}]
        for entry in asked:
            datatype = "FP64" if entry["kind"] == "number" else BYTES
            ports.append(Port(entry["name"], datatype, (-1, 1), entry["kind"]))
    return ports


def outputs_of(service: Service) -> list[Port]:
    """What it answers."""
    target, names = service.target, service.predictor.classes
    numbers = () if target is None else target.answer_shape
    ports = [Port("label", BYTES, (-1, 1)) if numbers is None else Port("label", "FP64", (-1, *(numbers or (1,))))]
    if target is not None and target.has_classes:
        ports += [Port("confidence", "FP32", (-1, 1)), Port("probabilities", "FP32", (-1, len(names)))]
    return [*ports, Port("details", BYTES, (-1, 1))]


def metadata(version: Version, versions: Sequence[str]) -> dict[str, Any]:
    """What the protocol tells of a model."""
    service = version.service
    return {
        "name": version.model, "versions": [*versions], "platform": PLATFORM,
        "inputs": [port.told() for port in inputs_of(service)],
        "outputs": [port.told() for port in outputs_of(service)],
    }  # fmt: skip


async def infer(registry: Registry, version: Version, asked: Inference) -> dict[str, np.ndarray]:
    """The outputs that are wanted, by name.

    Raises:
        Problem: an input or output is missing, unknown or unfit, or a row of the batch fails: then all of it.
    """
    service = version.service
    ports = {port.name: port for port in outputs_of(service)}
    if unknown := next((name for name in asked.outputs if name not in ports), None):
        raise Problem(400, "unknown-output", f"there is no output '{unknown}'; expected {', '.join(ports)}")
    rows = await service.in_thread(rows_of, service, asked.inputs)
    reject = asked.parameters.get("reject_below", 0.0)
    if isinstance(reject, bool) or not isinstance(reject, (int, float)) or not 0 <= reject <= 1:
        raise Problem(400, "bad-parameter", f"reject_below is {reject!r}; expected a number from 0 to 1")
    classes = service.predictor.classes
    predictions = await registry.predict(version, rows, max(1, len(classes)), float(reject))
    for number, entry in enumerate(predictions):
        if isinstance(entry, Failed):
            raise Problem(422, entry.code, f"row {number} of the batch: {entry.error}")
    answers = [entry for entry in predictions if isinstance(entry, Predicted)]
    wanted = asked.outputs or {name: {} for name in ports}
    return {name: _output(ports[name], answers, service, parameters) for name, parameters in wanted.items()}


def rows_of(service: Service, inputs: Mapping[str, np.ndarray]) -> list[Raw]:
    """The raw values of a batch.

    Raises:
        Problem: an input is missing, unknown, not as long as the others, or of another form.
    """
    ports = {port.name: port for port in inputs_of(service)}
    expected = f"expected {', '.join(ports)}"
    for name in (*ports, *inputs):
        if name not in ports or name not in inputs:
            what = "there is no input" if name in inputs else "the request has no input"
            raise Problem(400, "unknown-input" if name in inputs else "no-input", f"{what} '{name}'; {expected}")
    counts = {len(array) for array in inputs.values()}
    if len(counts) > 1:
        raise Problem(400, "bad-batch", f"the inputs are of batches of {sorted(counts)}; expected one and the same")
    most = service.limits.max_files if service.accepts_files else service.limits.max_rows
    if (count := counts.pop()) > most:
        raise too_many(most, "rows")
    columns = {name: _values(port, inputs[name], service) for name, port in ports.items()}
    if len(columns) == 1 and len(service.fields) == 1 and next(iter(columns)) in service.fields:
        return [Raw(None, value) for value in next(iter(columns.values()))]
    return [Raw(None, {name: values[i] for name, values in columns.items()}) for i in range(count)]


def _values(port: Port, array: np.ndarray, service: Service) -> list[Any]:
    """An input's raw values."""
    text = array.dtype == object
    if (text or port.kind in SINGLE) and math.prod(array.shape[1:]) != 1:
        raise bad_tensor(port.name, f"is of the shape {list(array.shape)}; expected [{len(array)}, 1]")
    if not text:
        if port.kind in ("text", "date", "rows"):
            raise bad_tensor(port.name, f"is of numbers; expected {BYTES}")
        if port.kind == "file":
            return [*array]
        values = array.reshape(len(array)).tolist() if port.kind in SINGLE else array.tolist()
        return [None if isinstance(value, float) and math.isnan(value) else value for value in values]
    elements = array.ravel().tolist()
    if port.kind == "file":
        # text where it came as JSON: there a file is base64
        return [base64_of(port, one) if isinstance(one, str) else one for one in elements]
    try:
        texts = [one.decode() if isinstance(one, bytes) else one for one in elements]
    except UnicodeDecodeError:
        raise bad_tensor(port.name, "is no text in UTF-8") from None
    return texts if port.kind in (*TEXTS, "number") else [parse_json(one.encode(), service.limits) for one in texts]


def base64_of(port: Port, text: str) -> bytes:
    """The bytes of a file within JSON."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Problem(422, "not-base64", f"the value of '{port.name}' is not base64 text") from None


def _output(port: Port, answers: Sequence[Predicted], service: Service, parameters: Mapping[str, Any]) -> np.ndarray:
    if port.name == "label" and port.datatype != BYTES:
        return np.array([one.label for one in answers], np.float64).reshape(len(answers), *port.shape[1:])
    if port.name == "label":
        as_file = service.target is not None and service.target.answers_as_files
        return _texts([base64.b64decode(str(one.label)) if as_file else _text(one.label) for one in answers])
    if port.name == "confidence":
        return np.array([[one.confidence] for one in answers], np.float32)
    if port.name == "details":
        shown = {"label", "confidence", "probabilities", "file"}
        return _texts([_text(one.model_dump(exclude=shown, exclude_none=True)) for one in answers])
    index = {name: number for number, name in enumerate(service.predictor.classes)}
    chances = np.zeros((len(answers), len(index)), np.float32)
    for row, one in enumerate(answers):
        for name, chance in (one.probabilities or {}).items():
            chances[row, index[name]] = chance
    count = parameters.get("classification")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        return chances
    order = np.argsort(-chances, axis=1, kind="stable")[:, :count]
    names = service.predictor.classes
    elements = [f"{chances[row, i]:f}:{i}:{names[i]}" for row, line in enumerate(order) for i in line]
    return of_elements(elements, order.shape)


def _texts(elements: Sequence[str | bytes]) -> np.ndarray:
    return of_elements(elements, (len(elements), 1))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
