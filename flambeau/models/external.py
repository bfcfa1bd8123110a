"""Classifiers of timm and torchvision, for any number of channels, outputs and any size that they can take."""

from __future__ import annotations

import inspect
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from flambeau.core.errors import ModelError, UsageError, first_line, needed
from flambeau.models.spec import IMAGENET, Built, InputSpec, Recommended
from flambeau.models.weights import State, adapt_first_conv, find_head, load_weights, read_weights

LOCAL_HINT = "give a local file in its place: pretrained='weights.safetensors' (or .pth)"
OPTIONS = {
    "timm": {"dropout": "drop_rate", "stochastic_depth": "drop_path_rate"},
    "torchvision": {"stochastic_depth": "stochastic_depth_prob"},
}
"""What options that go by one name for all models are called there."""
CONSTRUCTION = (RuntimeError, ValueError, AssertionError, IndexError, TypeError, NotImplementedError)


def build_timm(
    name: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The timm model `name` (with or without a tag: `resnet18`, `resnet18.a1_in1k`).

    Args:
        pretrained: True, a file, a tag of timm's for this architecture, or `hf-hub:…`.
        options: further arguments of timm's constructor, such as `drop_rate`; also `dropout` and `stochastic_depth`.

    Raises:
        ModelError: the weights cannot be had or do not fit, or the model cannot be built at this size.
    """
    timm = needed("timm", "vision", f"timm:{name}")
    file = weights_file(pretrained)
    arguments: dict[str, Any] = {"num_classes": num_outputs, "in_chans": spec.channels, **_renamed("timm", options)}
    architecture = name.partition(".")[0]
    if isinstance(pretrained, str) and pretrained.startswith("hf-hub:"):
        cfg, stored = _hub_config(timm, pretrained, architecture)
        arguments = {**stored, **arguments, "pretrained_cfg": cfg}
    elif isinstance(pretrained, str) and file is None:
        name = f"{architecture}.{pretrained.removeprefix(f'{architecture}.')}"
    try:
        config = arguments.get("pretrained_cfg") or timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:
        raise _no_such_weights(f"timm:{architecture}", name, timm.list_pretrained(f"{architecture}.*")) from None
    config = config if isinstance(config, dict) else config.to_dict()
    if config.get("fixed_input_size") and tuple(config["input_size"][1:]) != spec.size:
        arguments["img_size"] = spec.size
    from_hub = bool(pretrained) and file is None
    if from_hub and "pretrained_cfg" not in arguments and not timm.is_model_pretrained(name):
        raise ModelError("timm has no pretrained weights of it", where=f"timm:{name}", fix=LOCAL_HINT)
    try:
        with offline_at_once() if from_hub else nullcontext():
            model = timm.create_model(name, pretrained=from_hub, **arguments)
    except CONSTRUCTION as error:
        raise ModelError(f"timm cannot build it for {spec} ({first_line(error)})", where=f"timm:{name}") from error
    except OSError as error:
        raise _unreachable(f"timm:{name}", error) from error
    classifier = config.get("classifier") or find_head(model, num_outputs)
    head = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    notes: list[str] = []
    if file is not None:
        resize = getattr(inspect.getmodule(type(model)), "checkpoint_filter_fn", None)
        convert: Callable[[State], State] | None = (lambda state: resize(state, model)) if resize else None
        notes = load_weights(model, read_weights(file), head=head, where=file.name, convert=convert)
    wanted = Recommended(tuple(config["mean"]), tuple(config["std"]), config["input_size"][-1])
    return Built(model, head, wanted.for_channels(spec.channels) if pretrained else None, notes, dict(options))


def _renamed(source: str, options: dict[str, Any]) -> dict[str, Any]:
    return {OPTIONS[source].get(name, name): value for name, value in options.items()}


def _hub_config(timm: ModuleType, hub_name: str, architecture: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The weights' configuration and the constructor's arguments that a hub repository states."""
    try:
        with offline_at_once():
            cfg, stated, arguments = timm.models.load_model_config_from_hf(hub_name.removeprefix("hf-hub:"))
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreachable(hub_name, error) from error
    if stated != architecture:
        raise ModelError(
            f"its weights are of {stated}", where=hub_name, fix=f"use timm:{stated} in place of timm:{architecture}"
        )
    return cfg, arguments or {}


def build_torchvision(
    name: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The torchvision classifier `name`, its head sized for `num_outputs`, its auxiliary heads left out.

    Args:
        pretrained: True, a file, or the name of torchvision's weights, such as `IMAGENET1K_V2`.
        options: further arguments of torchvision's constructor, such as `dropout`; also `stochastic_depth`.

    Raises:
        ModelError: the weights cannot be had or do not fit, or the model cannot be built at this size.
    """
    models = needed("torchvision.models", "vision", f"torchvision:{name}")
    builder = models.get_model_builder(name)
    family = builder.__module__.rpartition(".")[2]
    arguments: dict[str, Any] = {"num_classes": num_outputs, **_renamed("torchvision", options)}
    height, width = spec.size
    if family == "vision_transformer":
        if height != width:
            raise ModelError(f"it takes square pictures only, got {spec}", where=f"torchvision:{name}")
        arguments["image_size"] = height
    elif family == "maxvit":
        arguments["input_size"] = (height, width)
    elif family in ("googlenet", "inception"):
        # init_weights said outright: torchvision warns where it is left out.
        arguments |= {"aux_logits": False, "init_weights": True}
    try:
        model = builder(weights=None, **arguments)
    except CONSTRUCTION as error:
        reason = f"torchvision cannot build it for {spec} ({first_line(error)})"
        raise ModelError(reason, where=f"torchvision:{name}") from error
    if spec.channels != 3:
        replace_first_conv(model, spec.channels)
    head = find_head(model, num_outputs)
    if not pretrained:
        return Built(model, head, options=dict(options))
    file, wanted = torchvision_weights(name, pretrained)
    if family in ("googlenet", "inception"):
        if spec.channels == 3:
            model.transform_input = True  # from ImageNet's normalisation to the one its weights were trained on
        else:
            wanted = Recommended((0.5,) * 3, (0.5,) * 3, wanted.size)
    notes = load_weights(model, read_weights(file), head=head, where=file.name, convert=_resizer(family, model, height))
    return Built(model, head, wanted.for_channels(spec.channels), notes, dict(options))


def torchvision_weights(name: str, pretrained: bool | str | Path) -> tuple[Path, Recommended]:
    """The file of weights for torchvision's architecture `name`, fetched where needed, and what they want.

    Raises:
        ModelError: there are none of that name, or they cannot be fetched.
        MissingExtra: torchvision is needed, to know the address, and is not installed.
    """
    file = weights_file(pretrained)
    if file is not None:
        size = 299 if name == "inception_v3" else 224
        return file, Recommended(IMAGENET.mean, IMAGENET.std, size)
    entries = needed("torchvision.models", "vision", f"pretrained weights of {name}").get_model_weights(name)
    if pretrained is True:
        entry = entries.DEFAULT
    elif pretrained in entries.__members__:
        entry = entries[str(pretrained)]
    else:
        raise _no_such_weights(f"torchvision:{name}", str(pretrained), list(entries.__members__))
    preset = entry.transforms()
    return download(entry.url), Recommended(tuple(preset.mean), tuple(preset.std), preset.crop_size[0])


def download(url: str) -> Path:
    """The file at `url`, in PyTorch's own cache of weights; its checksum is the one in its name."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if file.exists():
        return file
    checksum = re.search(r"-([a-f0-9]+)\.", file.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), checksum.group(1) if checksum else None)
    except (OSError, RuntimeError) as error:
        raise _unreachable(file.name, error) from error
    return file


@contextmanager
def offline_at_once() -> Iterator[None]:
    """Where the hub's name cannot be resolved, only its cache is asked: no minute of retries before the error.

    Behind a proxy, which resolves names itself, nothing changes.
    """
    from huggingface_hub import constants

    host = urllib.parse.urlsplit(constants.ENDPOINT).hostname or ""
    reachable = True
    if not urllib.request.getproxies():
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            reachable = False
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE or not reachable
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def weights_file(pretrained: bool | str | Path | None) -> Path | None:
    """The path, where `pretrained` is one: by its type, its ending or because there is such a file or folder."""
    if isinstance(pretrained, Path):
        return pretrained
    if isinstance(pretrained, str) and not pretrained.startswith("hf-hub:"):
        path = Path(pretrained)
        if path.suffix in (".safetensors", ".pth", ".pt", ".bin") or "/" in pretrained or path.exists():
            return path
    return None


def _resizer(family: str, model: nn.Module, size: int) -> Callable[[State], State] | None:
    """A vision transformer's positions are of one size of picture; torchvision interpolates them to another."""
    if family != "vision_transformer":
        return None
    from torchvision.models.vision_transformer import interpolate_embeddings

    patch: Any = model.patch_size
    return lambda state: dict(interpolate_embeddings(size, patch, state))


def replace_first_conv(model: nn.Module, channels: int) -> None:
    """Lets a model take another number of channels; the new weights follow the old ones' initialisation."""
    name, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3)
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    with torch.no_grad():
        new.weight.copy_(adapt_first_conv(old.weight, channels))
        if old.bias is not None and new.bias is not None:
            new.bias.copy_(old.bias)
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, new)


def _no_such_weights(where: str, name: str, known: list[str]) -> UsageError:
    shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "") or "none"
    return UsageError(
        f"no weights are called '{name}', and there is no such file",
        where=where,
        expected=f"one of: {shown}",
        code="unknown-name",
    )


def _unreachable(where: str, error: BaseException) -> ModelError:
    return ModelError(f"its weights cannot be fetched ({first_line(error)})", where=where, fix=LOCAL_HINT)
