"""Tensors as the Open Inference Protocol has them: a datatype, a shape, and values as JSON or as bytes.

The binary form is that of its binary tensor extension and of gRPC's raw contents: little-endian, row by row, and of
BYTES each element behind its length as a uint32.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.serve.problems import Problem

BYTES = "BYTES"
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_), BYTES: np.dtype(object),
    "UINT8": np.dtype("<u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8"),
}  # fmt: skip
"""Elements of BYTES are bytes, or text where they came as JSON."""
MOST_AXES = 8


def bad_tensor(name: str, what: str) -> Problem:
    """An input that is not what it says."""
    return Problem(400, "bad-tensor", f"the input '{name}' {what}")


def of_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> np.ndarray:
    """A tensor of a list of its values, flat or nested.

    Raises:
        Problem: the values are not of this datatype, or not as many as the shape has.
    """
    count = _count(name, datatype, shape)
    if not isinstance(data, list):
        raise bad_tensor(name, "has no data; expected a list, or parameters.binary_data_size and bytes behind the JSON")
    values = _flat(data)
    kinds = {"b": (bool,), "u": (int,), "i": (int,), "f": (int, float), "O": (str,)}[DTYPES[datatype].kind]
    if any(not isinstance(v, kinds) or (isinstance(v, bool) and bool not in kinds) for v in values):
        raise bad_tensor(name, f"has a value that is no {datatype}")
    if len(values) != count:
        raise bad_tensor(name, f"has {len(values)} values; expected {count}, of the shape {list(shape)}")
    try:
        with np.errstate(over="ignore"):
            return np.array(values, DTYPES[datatype]).reshape(tuple(shape))
    except OverflowError:
        raise bad_tensor(name, f"has a value that no {datatype} can be") from None


def of_bytes(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> np.ndarray:
    """A tensor of its binary form.

    Raises:
        Problem: there are not as many bytes as the shape has.
    """
    count = _count(name, datatype, shape)
    if datatype != BYTES:
        dtype = DTYPES[datatype]
        if len(raw) != count * dtype.itemsize:
            raise bad_tensor(
                name, f"has {len(raw)} bytes; expected {count * dtype.itemsize}, of the shape {list(shape)}"
            )
        return np.frombuffer(raw, dtype).reshape(tuple(shape))
    elements: list[bytes] = []
    place = 0
    while place < len(raw) and len(elements) <= count:
        (size,) = struct.unpack_from("<I", raw, place) if place + 4 <= len(raw) else (len(raw),)
        elements.append(raw[place + 4 : place + 4 + size])
        place += 4 + size
    if place != len(raw) or len(elements) != count:
        raise bad_tensor(name, f"has bytes that are not {count} elements, each behind its length")
    return of_elements(elements, shape)


def of_elements(elements: Sequence[Any], shape: Sequence[int]) -> np.ndarray:
    """A tensor of BYTES."""
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(tuple(shape))


def datatype_of(array: np.ndarray) -> str:
    """What the protocol calls the type of an array."""
    return next(name for name, dtype in DTYPES.items() if dtype == array.dtype)


def to_bytes(array: np.ndarray) -> bytes:
    """The binary form of a tensor."""
    if array.dtype != object:
        return np.ascontiguousarray(array).tobytes()
    elements = [one.encode() if isinstance(one, str) else one for one in array.ravel()]
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


def to_json(array: np.ndarray) -> list[Any]:
    """Its values as a flat list; bytes that are no text as base64."""
    return [_text(one) for one in array.ravel()] if array.dtype == object else array.ravel().tolist()


def _text(element: str | bytes) -> str:
    try:
        return element if isinstance(element, str) else element.decode()
    except UnicodeDecodeError:
        assert isinstance(element, bytes)
        return base64.b64encode(element).decode()


def _count(name: str, datatype: str, shape: Sequence[int]) -> int:
    if datatype not in DTYPES:
        raise bad_tensor(name, f"is of the datatype '{datatype}'; expected one of {', '.join(DTYPES)}")
    if not 0 < len(shape) <= MOST_AXES or any(size < 1 for size in shape):
        raise bad_tensor(name, f"is of the shape {list(shape)}; expected a batch of at least one")
    return math.prod(shape)


def _flat(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list):
        if not all(isinstance(one, list) for one in data):
            break
        data = [value for one in data for value in one]
    return data
