"""Weights from a file into a model: by name, else by order, never by guess; nothing in a file is executed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from flambeau.core.errors import ModelError, first_line

State = dict[str, Tensor]

# Where training scripts put the weights inside a checkpoint; the averaged ones first.
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model")
WHOLE, ENDINGS = "model.safetensors", (".safetensors", ".pth", ".pt", ".bin")
# What wrappers of modules (data parallel, torch.compile) put before every name.
PREFIXES = ("module.", "_orig_mod.")
# Training-only branches of GoogLeNet and Inception, which files have and our models are built without.
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")


def read_weights(path: Path) -> State:
    """The named tensors of a .safetensors file or of a .pth, .pt or .bin checkpoint, or of the one in a folder, such as
    a run's; on the CPU.

    Raises:
        ModelError: the file is missing or damaged, the folder has none or several, it holds no tensors, or holds more
            than tensors, which could execute code when read (it is refused, never read in another way).
    """
    path = _file_in(path) if path.is_dir() else path
    if not path.is_file():
        raise ModelError("there is no such weights file", where=path, fix="check the path", code="not-found")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise ModelError(f"the file is no whole safetensors file ({first_line(error)})", where=path) from None
    else:
        state = _unwrap(_load_checkpoint(path))
    if not state:
        raise ModelError("the file holds no tensors", where=path, expected="a state_dict: names and tensors")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _file_in(folder: Path) -> Path:
    """The weights file of a folder: model.safetensors, or the only one."""
    if (folder / WHOLE).is_file():
        return folder / WHOLE
    files = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS)
    if len(files) != 1:
        found = f"the folder has {len(files)} files of weights" if files else "the folder has no weights"
        raise ModelError(found, where=folder, expected=WHOLE, fix="name the file" if files else None)
    return files[0]


def _load_checkpoint(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise ModelError(
            "the file holds more than tensors, which could execute code, so it is not read",
            where=path,
            fix="save a state_dict in its place: safetensors.torch.save_file(model.state_dict(), path)",
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ModelError(f"the file is no whole checkpoint ({first_line(error)})", where=path) from None


def _unwrap(content: object) -> State:
    """The state_dict itself out of a training script's checkpoint."""
    if not isinstance(content, dict):
        return {}
    for key in WRAPPERS:
        if isinstance(content.get(key), dict):
            return _unwrap(content[key])
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def load_weights(
    model: nn.Module,
    state: State,
    *,
    head: tuple[str, ...],
    where: object,
    convert: Callable[[State], State] | None = None,
) -> list[str]:
    """Loads `state` into `model` and returns notes: sentences about what was not loaded just as it is.

    Names are matched first. Where they differ, tensors are matched by order, but only when both sides have as many and
    every shape agrees. A head (the modules named in `head`) of other shapes stays as it was initialised; the first
    convolution is adapted to the model's number of channels (`adapt_first_conv`).

    Args:
        head: names of the final classifier's modules.
        where: what the weights are called in messages.
        convert: a renaming or resizing of tensors, tried when they do not fit as they are.

    Raises:
        ModelError: they do not fit; says how many are missing, unexpected and of another shape, and the first of each.
    """
    own = model.state_dict()
    pairs, notes = _by_name(own, state, head), []
    if pairs is None:
        pairs = _by_order(own, state, head)
        if pairs is not None:
            notes.append(
                f"{where}: its names differ from the model's; {len(state)} tensors were matched by their order, "
                "in which every shape agrees"
            )
    if pairs is None and convert is not None:
        try:
            pairs = _by_name(own, convert(dict(state)), head)
        except (KeyError, ValueError, RuntimeError, AttributeError, TypeError):
            pairs = None  # a converter of another format; the error below says what is in the file
    if pairs is None:
        raise ModelError(_difference(own, state, head), where=where, expected="weights of this very architecture")
    fresh = [name for name in own if _in_head(name, head) and not _fits(own, pairs, name)]
    if fresh:
        pairs = {name: tensor for name, tensor in pairs.items() if not _in_head(name, head)}
        notes.append(f"{where}: its classifier has another shape or is not in it; ours starts fresh ({fresh[0]})")
    first = _first_convolution(own)
    for name, tensor in pairs.items():
        if tensor.shape != own[name].shape and name == first:
            before, channels = tensor.shape[1], own[name].shape[1]
            pairs[name] = adapt_first_conv(tensor, channels)
            notes.append(f"{where}: the first convolution was adapted from {before} to {channels} channels")
    model.load_state_dict(pairs, strict=False)
    return notes


def adapt_first_conv(weight: Tensor, channels: int) -> Tensor:
    """The weight (O, C, h, w) of a first convolution for another number of channels: (O, channels, h, w).

    One channel: the sum, so that a grey picture gives what its equal channels gave. More: repeated, and scaled so that
    the output keeps its size. As timm's `adapt_input_conv` does.
    """
    if channels == 1:
        return weight.sum(1, keepdim=True)
    source = weight.shape[1]
    repeats = -(-channels // source)
    return weight.repeat(1, repeats, 1, 1)[:, :channels] * (source / channels)


def find_head(model: nn.Module, num_outputs: int | None = None) -> tuple[str, ...]:
    """The name of the last linear or convolution layer (with `num_outputs` outputs, where given), as a tuple."""
    found: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            size = module.out_features if isinstance(module, nn.Linear) else module.out_channels
            found = (name,) if num_outputs in (None, size) else found
    return found


def _in_head(name: str, head: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in head)


def _fits(own: State, pairs: State, name: str) -> bool:
    return name in pairs and pairs[name].shape == own[name].shape


def _first_convolution(own: State) -> str | None:
    return next((name for name, tensor in own.items() if tensor.ndim == 4), None)


def _agrees(own: State, name: str, tensor: Tensor, head: tuple[str, ...]) -> bool:
    """Whether a tensor can be loaded under `name`, as it is or by the two adaptations."""
    mine = own[name].shape
    if mine == tensor.shape or _in_head(name, head):
        return True
    return (
        name == _first_convolution(own)
        and tensor.ndim == 4
        and (tensor.shape[0], *tensor.shape[2:]) == (mine[0], *mine[2:])
    )


def _counter(name: str) -> bool:
    """Batch normalisation's step counters: only training with momentum=None reads them; old files have none."""
    return name.endswith("num_batches_tracked")


def _by_name(own: State, state: State, head: tuple[str, ...]) -> State | None:
    missing, unexpected, other = _compare(own, state, head)
    if missing or unexpected or other:
        return None
    return {name: tensor for name, tensor in state.items() if name in own}


def _by_order(own: State, state: State, head: tuple[str, ...]) -> State | None:
    names = list(own)
    if len(names) != len(state):
        names = [name for name in own if not _counter(name)]
    if len(names) != len(state):
        return None
    pairs = dict(zip(names, state.values(), strict=True))
    return pairs if all(_agrees(own, name, tensor, head) for name, tensor in pairs.items()) else None


def _compare(own: State, state: State, head: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    missing = [n for n in own if n not in state and not _counter(n) and not _in_head(n, head)]
    unexpected = [n for n in state if n not in own and not n.startswith(AUXILIARY)]
    other = [n for n in own if n in state and not _agrees(own, n, state[n], head)]
    return missing, unexpected, other


def _difference(own: State, state: State, head: tuple[str, ...]) -> str:
    missing, unexpected, other = _compare(own, state, head)
    clauses = []
    if missing:
        clauses.append(f"{len(missing)} of {len(own)} tensors missing (first: {missing[0]})")
    if unexpected:
        clauses.append(f"{len(unexpected)} of {len(state)} unexpected (first: {unexpected[0]})")
    if other:
        name = other[0]
        clauses.append(
            f"{len(other)} of another shape (first: {name} is {tuple(state[name].shape)}, "
            f"the model's {tuple(own[name].shape)})"
        )
    return "the weights do not fit the model: " + ", ".join(clauses)
