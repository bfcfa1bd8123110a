"""Fingerprints: what an encoded column depends on, as a number that is the same in every process."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.arrays import as_array
from flambeau.fields import Field, Rows, Views
from flambeau.fields.columns import Names
from flambeau.fields.language.documents import Documents

DIGESTED = 4096  # values in memory to one piece of a fingerprint
PLAIN = frozenset({str, int, float, bool, type(None)})


def file_fingerprint(field: Field, values: Sequence[Any]) -> str:
    """What an encoded column of files depends on: each path, size and time of change, and the field's encoding."""
    digest = hashlib.sha256(json.dumps(field.identity, sort_keys=True, default=str).encode())
    for value in values:
        try:
            status = os.stat(value) if value is not None else None  # noqa: PTH116 -- once a file
            path = os.path.abspath(value) if status else ""  # noqa: PTH100 -- the same file, wherever one stands
            line = f"{path}|{status.st_size}|{status.st_mtime_ns}\n" if status else "none\n"
        except OSError:
            line = f"{os.path.abspath(value)}|missing\n"  # noqa: PTH100
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def memory_fingerprint(field: Field, values: Sequence[Any]) -> str:
    """The same for values in memory: of their bytes, or of their text."""
    digest = hashlib.sha256(json.dumps(field.identity, sort_keys=True, default=str).encode())
    if isinstance(values, Rows):
        for name, column in values.columns.items():
            digest.update(f"{name}:{_digest_of(column)}\n".encode())
    elif isinstance(values, Views):
        arrays: list[Any] = [values.flat, values.starts]
        digest.update(f"{values.length}:{[_digest_of(array) for array in arrays]}".encode())
    else:
        digest.update(_digest_of(values).encode())
    return digest.hexdigest()[:32]


def _digest_of(values: Sequence[Any]) -> str:
    digest = hashlib.sha256()
    if isinstance(values, np.ndarray) and values.dtype != object:
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(np.ascontiguousarray(values).view(np.uint8).data)
    elif isinstance(values, Documents):
        for content in values.contents(0, len(values)):  # one at a time: each may be large
            digest.update(len(content).to_bytes(8, "little") + content)
    elif isinstance(values, Names):
        digest.update(repr(values.names).encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(values.codes).view(np.uint8).data)
    else:
        for start in range(0, len(values), DIGESTED):
            chunk = list(values[start : start + DIGESTED])
            if PLAIN.issuperset(map(type, chunk)):  # many small ones, quicker together
                digest.update(repr(chunk).encode("utf-8", "surrogatepass"))
                continue
            for value in chunk:
                digest.update(bytes_of(value) + b"\n")
    return digest.hexdigest()


def bytes_of(value: Any) -> bytes:
    """A value in memory as bytes that are the same in every process."""
    if hasattr(value, "detach"):
        value = as_array(value)
    if hasattr(value, "tobytes"):  # arrays and PIL images
        shape, kind = ("size", "mode") if hasattr(value, "mode") else ("shape", "dtype")
        return f"{getattr(value, shape, '')} {getattr(value, kind, '')} ".encode() + value.tobytes()
    value = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
    return repr(value).encode("utf-8", "surrogatepass")
