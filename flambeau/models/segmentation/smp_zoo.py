"""segmentation-models-pytorch's networks by name (MIT), on its encoders or timm's, for pictures of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import ModelError, UsageError, first_line, needed
from flambeau.core.shapes import Float
from flambeau.models.external import CONSTRUCTION, LOCAL_HINT, weights_file
from flambeau.models.spec import Built, InputSpec
from flambeau.models.vision.encoder import PREFIX, weights_into
from flambeau.models.weights import read_weights

NAMES = ("DeepLabV3", "DeepLabV3Plus", "FPN", "Linknet", "MAnet", "PAN", "PSPNet", "UPerNet", "Unet", "UnetPlusPlus")
STRIDE = 32  # pixels that a side must be a multiple of


class AnySize(nn.Module):
    """Pictures (B, C, H, W) to logits (B, K, H, W), though the net takes multiples of 32 alone: what is missing at the
    right and the bottom repeats the last pixels, and its answer is cut off."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
        H, W = x.shape[2:]
        down, right = -H % STRIDE, -W % STRIDE
        if down or right:
            x = F.pad(x, (0, right, 0, down), mode="replicate")
        return self.net(x)[..., :H, :W]


def build_smp(
    name: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The network `name` of segmentation-models-pytorch.

    Args:
        pretrained: of the encoder: a file, or, where that is of timm's, also True or a name of timm's weights.
        options: `encoder`, one of the package's (`resnet34`) or of timm's (`timm:resnet18`), and further arguments of
            the network's class, such as `decoder_channels`.

    Raises:
        UsageError: there is no such encoder or option. ModelError: the weights do not fit.
    """
    where, rest = f"smp:{name}", dict(options)
    smp, encoder = needed("segmentation_models_pytorch", "segmentation", where), str(rest.pop("encoder", "resnet34"))
    of_timm, notes, wanted = encoder.startswith(PREFIX), list[str](), None
    called = f"tu-{encoder.removeprefix(PREFIX)}" if of_timm else encoder
    if not of_timm and called not in smp.encoders.get_encoder_names():
        raise UsageError(f"there is no encoder '{encoder}'", where=where, expected="one of smp's, or timm:NAME")
    try:
        net = getattr(smp, name)(called, encoder_weights=None, in_channels=spec.channels, classes=num_outputs, **rest)
    except (*CONSTRUCTION, KeyError) as error:
        raise ModelError(f"it cannot be built ({first_line(error)})", where=where) from error
    file = weights_file(pretrained) if pretrained else None
    if pretrained and of_timm:
        wanted, notes = weights_into(net.encoder.model, encoder, spec, pretrained)
    elif pretrained and file is None:
        raise ModelError("weights of its encoder are not fetched", where=where, fix=LOCAL_HINT)
    elif file is not None:
        state, own = read_weights(file), net.encoder.state_dict()
        if missing := [key for key in own if key not in state]:
            raise ModelError(f"{len(missing)} of its tensors are missing (first: {missing[0]})", where=file)
        net.encoder.load_state_dict({key: state[key] for key in own})
    head = ("net.decoder", "net.segmentation_head")
    return Built(AnySize(net), head, wanted, notes, dict(options), from_zero=False)
