"""Checkpoints: whole or absent, checked when read, without pickle.

A checkpoint is a folder `step-00000123-epoch-002` (steps done, whole epochs done) with `state.safetensors` (every
tensor) and `manifest.json` (all else, the SHA-256 of the tensors' file, and its own). It is written under a temporary
name, synced, then renamed. The best weights so far lie beside them, in a folder `best-step-00000123-epoch-002`, whole
before a checkpoint knows of them. What several processes have a part of each is in a folder `shards`, a file a process,
by torch.distributed.checkpoint, whose files are safetensors too; any number of processes reads them.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import shutil
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from flambeau.core.errors import RunError
from flambeau.core.files import ODD, disk_full_named, read_json, read_regular, sync_folder, write_json

SHARDS = "shards"
Tree = Any  # nested dicts and lists of tensors and plain JSON


class Shards(Protocol):
    """What one of several processes does with tensors that are divided between them.

    Attributes:
        first: whether it is the one that writes the rest.
        writer: a number that all know, for a name under which nobody else writes.
    """

    first: bool
    writer: int

    def write(self, folder: Path, tensors: dict[str, Tensor]) -> dict[str, str]:
        """Takes those that are divided out of `tensors` and writes this process's parts of them; the SHA-256 of all
        files by their names, in the first process."""

    def empty(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """This process's part of a tensor that is to be read."""


def flatten(tree: Tree, tensors: dict[str, Tensor], path: str = "") -> Tree:
    """The tree with each tensor replaced by {"tensor": name}, each odd float by {"float": text}; the tensors go into
    `tensors`."""
    if isinstance(tree, Tensor):
        while path in tensors:  # a key with a slash in it
            path += "'"
        tensors[path] = tree.detach()
        return {"tensor": path}
    if isinstance(tree, dict):
        # JSON has text keys only; optimiser states are keyed by number
        keys = "ints" if any(isinstance(k, int) for k in tree) else "dict"
        return {keys: {str(k): flatten(v, tensors, f"{path}/{k}" if path else str(k)) for k, v in tree.items()}}
    if isinstance(tree, (list, tuple)):
        return [flatten(v, tensors, f"{path}/{i}") for i, v in enumerate(tree)]
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"float": repr(tree)}  # JSON has no such number
    return tree


def unflatten(tree: Tree, tensors: dict[str, Tensor]) -> Tree:
    """What `flatten` took apart."""
    if isinstance(tree, list):
        return [unflatten(v, tensors) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    if "float" in tree:
        return float(tree["float"])
    ((keys, inside),) = tree.items()
    return {(int(k) if keys == "ints" else k): unflatten(v, tensors) for k, v in inside.items()}


def storable(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as safetensors wants them: on the CPU, contiguous, none sharing memory with another."""
    out: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        if plain.data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.data_ptr())
        out[name] = plain
    return out


def kept(model: nn.Module, without: Collection[str]) -> dict[str, Tensor]:
    """A model's state, but for parameters `without`, which whoever builds it has."""
    return {name: value for name, value in model.state_dict().items() if name not in without}


def restore(model: nn.Module, weights: dict[str, Tensor], without: Collection[str]) -> None:
    """Loads the weights that `kept` gave, or all; parameters `without` stay as they are where there are none."""
    own = model.state_dict() if without else {}
    model.load_state_dict({**{name: own[name] for name in without}, **weights})


def name(step: int, epoch: int) -> str:
    """The folder name of the checkpoint after `step` steps and `epoch` whole epochs; sorts by both."""
    return f"step-{step:08d}-epoch-{epoch:03d}"


def save(path: Path, state: dict[str, Tree], facts: dict[str, Any], shards: Shards | None = None) -> None:
    """Writes a checkpoint at `path`; `facts` are plain JSON.

    Args:
        shards: writes the tensors that are divided between processes, of which all call this; the first alone writes
            the rest.

    Raises:
        RunError: the disk is full. What was there before is as it was.
    """
    temporary = path.with_name(f".{path.name}.{shards.writer if shards else os.getpid()}.tmp")
    tensors: dict[str, Tensor] = {}
    skeleton = flatten(state, tensors)
    if shards and not shards.first:
        shards.write(temporary / SHARDS, tensors)
        return
    shutil.rmtree(temporary, ignore_errors=True)
    with disk_full_named(path):
        try:
            temporary.mkdir(parents=True)
            divided = {"shards": shards.write(temporary / SHARDS, tensors)} if shards else {}
            digest = _write(temporary / "state.safetensors", storable(tensors))
            manifest = {"sha256": digest, "facts": facts, "state": skeleton, **divided}
            write_json(temporary / "manifest.json", manifest, sealed=True)
            if path.exists():  # the same state again, after a resume that had nothing left to do; or a damaged one
                remove(path)
            temporary.rename(path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    sync_folder(path.parent)


def _write(path: Path, tensors: dict[str, Tensor]) -> str:
    """Writes and syncs a safetensors file, without a second copy of the tensors in memory; returns its SHA-256."""
    try:
        safetensors.torch.save_file(tensors, path)
    except SafetensorError as error:
        if f"os error {errno.ENOSPC})" in str(error) or f"os error {errno.EDQUOT})" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from None
        raise
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())
        return hashlib.file_digest(handle, "sha256").hexdigest()


def load(
    path: Path, device: torch.device | str = "cpu", shards: Shards | None = None
) -> tuple[dict[str, Tree], dict[str, Any]]:
    """(state, facts) of a checkpoint.

    Args:
        shards: of a process that keeps a part of what is divided; whole if not given.

    Raises:
        RunError: a file is missing, or its bytes are not those that were written.
    """
    manifest = manifest_of(path)
    data = read_regular(path / "state.safetensors", most=None)
    if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
        raise RunError("the checkpoint is damaged: its bytes are not those that were written", where=path)
    try:
        tensors = {name: t.to(device) for name, t in safetensors.torch.load(data).items()}
        if "shards" in manifest:
            tensors |= _read_shards(path / SHARDS, manifest["shards"], shards.empty if shards else _whole(device))
        state = unflatten(manifest["state"], tensors)
        if not all(isinstance(v, Tensor) for part in ("model", "best") for v in state.get(part, {}).values()):
            raise ValueError("its weights are none")
        return state, manifest["facts"]
    except (SafetensorError, *ODD) as error:
        raise RunError(f"the checkpoint is damaged ({error})", where=path) from None


def _whole(device: torch.device | str) -> Callable[[torch.Size, torch.dtype], Tensor]:
    return lambda shape, dtype: torch.empty(shape, dtype=dtype, device=device)


def _read_shards(
    folder: Path, digests: dict[str, str], empty: Callable[[torch.Size, torch.dtype], Tensor]
) -> dict[str, Tensor]:
    """The tensors that several processes wrote, read into what `empty` makes of a shape and a dtype."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    for name, digest in digests.items():
        if Path(name).name != name or hashlib.sha256(read_regular(folder / name, most=None)).hexdigest() != digest:
            raise RunError("the checkpoint is damaged: its bytes are not those that were written", where=folder / name)
    reader = dcp.HuggingFaceStorageReader(str(folder))
    found = reader.read_metadata().state_dict_metadata
    tensors = {
        name: empty(one.size, one.properties.dtype)
        for name, one in found.items()
        if isinstance(one, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this is one process, as it is meant to be
        dcp.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def manifest_of(path: Path) -> dict[str, Any]:
    """What a checkpoint's manifest says: {sha256, facts, state}.

    Raises:
        RunError: it is missing, or not as it was written.
    """
    manifest = read_json(path / "manifest.json", sealed=True)
    if not (isinstance(manifest.get("facts"), dict) and {"sha256", "state"} <= manifest.keys()):
        raise RunError("the checkpoint is damaged: its manifest lacks a part", where=path)
    return manifest


def listed(folder: Path) -> list[Path]:
    """The checkpoints under a folder, newest first."""
    return sorted(folder.glob("step-*"), reverse=True)


def remove(path: Path) -> None:
    """Removes a checkpoint; renamed first, so that a half-removed one is never taken for whole."""
    gone = path.with_name(f".{path.name}.gone.tmp")
    shutil.rmtree(gone, ignore_errors=True)
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def best_path(folder: Path, name: str) -> Path:
    """Where the best weights lie that the checkpoint `name` was the first to know."""
    return folder / f"best-{name}"


def load_best(folder: Path, name: str, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The best weights that the checkpoint `name` was the first to know.

    Raises:
        RunError: they are gone or damaged.
    """
    path = best_path(folder, name)
    path = path if path.exists() else folder / name  # where versions before kept them
    tree, _ = load(path, device)
    if "best" not in tree:
        raise RunError("the checkpoint has no best weights", where=path)
    return tree["best"]


def sweep(folder: Path, keep: set[str], newest: int = 2) -> None:
    """Removes all checkpoints but the newest ones, all best weights but theirs and those of `keep` (inside a checkpoint
    of that name, where an earlier version wrote it), and what killed writers left."""
    for path in listed(folder)[newest:]:
        if path.name not in keep or best_path(folder, path.name).exists():
            remove(path)
    known = keep | {path.name for path in listed(folder)}
    for path in folder.glob("best-*"):
        if path.name.removeprefix("best-") not in known:
            remove(path)
    for left in folder.glob(".*.tmp"):
        shutil.rmtree(left, ignore_errors=True)
