"""Sealed weights: a safetensors file whose metadata hold the SHA-256 of its tensors, and their calibration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from flambeau.core.errors import RunError
from flambeau.core.files import parse_json, read_regular, to_json
from flambeau.version import __version__


def seal(state: dict[str, Tensor], calibration: dict[str, Any] | None) -> bytes:
    """The content of such a file: the same weights are the same bytes.

    Args:
        calibration: what was found of the model's certainty, plain JSON.
    """
    said = to_json(calibration, None) if calibration else ""
    digest = _digest_of(safetensors.torch.save(state), said)
    # one key, for the order of several is by chance
    return safetensors.torch.save(state, {"flambeau": f"{__version__} sha256:{digest} {said}".strip()})


def unseal(path: Path) -> dict[str, Tensor]:
    """The weights in such a file; one without a seal is read as it is.

    Raises:
        RunError: they are not those that were written.
    """
    data = read_regular(path, most=None)
    try:
        state = safetensors.torch.load(data)
    except SafetensorError as error:
        raise RunError(f"the weights are damaged ({error})", where=path) from None
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    written, _, said = _stated(metadata).partition(" ")
    if written and written != _digest_of(data, said):
        raise RunError("the weights are damaged: they are not those that were written", where=path)
    return state


def calibration_in(path: Path) -> dict[str, Any]:
    """What the seal says of the model's certainty; empty if nothing."""
    with safetensors.safe_open(path, "pt") as weights:
        said = _stated(weights.metadata()).partition(" ")[2]
    return dict(parse_json(said)) if said else {}


def stated_digest(path: Path) -> str:
    """The SHA-256 of the weights and their calibration, as the seal says; of a file without one that of the file."""
    with safetensors.safe_open(path, "pt") as weights:
        written = _stated(weights.metadata()).partition(" ")[0]
    return written or hashlib.sha256(read_regular(path, most=None)).hexdigest()


def _stated(metadata: dict[str, str] | None) -> str:
    """What the metadata say: the SHA-256 of the tensors and of what follows, and the calibration."""
    return (metadata or {}).get("flambeau", "").partition(" sha256:")[2]


def _digest_of(data: bytes, calibration: str) -> str:
    """The SHA-256 of the tensors of a whole safetensors file, and of their calibration."""
    digest = hashlib.sha256(memoryview(data)[8 + int.from_bytes(data[:8], "little") :])
    digest.update(calibration.encode())
    return digest.hexdigest()
