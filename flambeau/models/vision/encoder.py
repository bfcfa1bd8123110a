"""Any timm backbone as an encoder of pictures: its feature maps by their strides, with its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from flambeau.core.errors import ModelError, UsageError, first_line, needed
from flambeau.models.external import CONSTRUCTION, build_timm
from flambeau.models.spec import InputSpec, Recommended

PREFIX = "timm:"


class Encoder(nn.Module):
    """Pictures (B, C, H, W) to feature maps, from the finest to the coarsest.

    Attributes:
        strides: pixels a side of a cell of each map.
        channels: of each map.
    """

    def __init__(self, body: nn.Module, strides: Sequence[int], channels: Sequence[int]):
        super().__init__()
        self.body, self.strides, self.channels = body, tuple(strides), tuple(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.body(x))


def encoder(
    name: str, spec: InputSpec, strides: Sequence[int] | None = (4, 8, 16, 32),
    pretrained: bool | str | Path | None = None, **options: Any,
) -> tuple[Encoder, Recommended | None, list[str]]:  # fmt: skip
    """The timm model `name` (`timm:resnet18` or `resnet18`) without its classifier, what its weights want of pictures
    (None without weights), and notes on how they were loaded.

    Args:
        strides: of the maps that are wanted; of each the last map of that stride; all that it has, if None.
        pretrained: as `build` takes it for the classifier: True, a file, or a name of timm's weights.

    Raises:
        UsageError: there is no such model.
        ModelError: it has no maps of these strides, or the weights do not fit. MissingExtra: timm is not installed.
    """
    timm, bare = needed("timm", "vision", name), name.removeprefix(PREFIX)
    where, architecture = f"{PREFIX}{bare}", bare.partition(".")[0]
    if not timm.is_model(architecture):
        raise UsageError(f"timm has no model '{bare}'", fix="flambeau models timm: lists them")
    arguments = {"in_chans": spec.channels, **options}
    try:
        info = timm.create_model(architecture, features_only=True, **arguments).feature_info
        levels = {stride: level for level, stride in enumerate(info.reduction())}
        strides = [*levels] if strides is None else strides
        if missing := [stride for stride in strides if stride not in levels]:
            raise ModelError(
                f"it has no feature map of the stride {missing[0]}", where=where,
                expected=", ".join(map(str, levels)), fix="use a convolutional backbone, such as timm:resnet18",
            )  # fmt: skip
        body = timm.create_model(
            architecture, features_only=True, out_indices=tuple(levels[s] for s in strides), **arguments
        )
    except CONSTRUCTION as error:
        raise ModelError(f"timm makes no encoder of it ({first_line(error)})", where=where) from error
    maps = Encoder(body, strides, body.feature_info.channels())
    if not pretrained:
        return maps, None, []
    return maps, *weights_into(body, bare, spec, pretrained, options)


def weights_into(
    body: nn.Module, name: str, spec: InputSpec, pretrained: bool | str | Path, options: Mapping[str, Any] = {}
) -> tuple[Recommended | None, list[str]]:
    """Loads the weights of the timm model `name`, a classifier, into its body; what they want, and notes.

    Raises as `encoder`.
    """
    bare = name.removeprefix(PREFIX)
    whole = build_timm(bare, spec, 1000, pretrained, dict(options))
    there = {_key(key): tensor for key, tensor in whole.model.state_dict().items()}
    own = body.state_dict()
    if missing := [key for key in own if _key(key) not in there]:
        found = f"{len(missing)} of its tensors are not in its classifier (first: {missing[0]})"
        raise ModelError(found, where=f"{PREFIX}{bare}")
    body.load_state_dict({key: there[_key(key)] for key in own})
    return whole.wanted, whole.notes


def _key(name: str) -> str:
    """A tensor's name where timm has taken a sequence of layers apart or not."""
    return name.replace(".", "_")
