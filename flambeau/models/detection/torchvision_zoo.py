"""torchvision's detectors by name, for pictures of any number of channels, on their own backbone or any of timm's.

Pictures come normalised and of one size, so their own resizing and normalising is taken out. What comes behind a head
(boxes from anchors, non-maximum suppression, losses) is computed in float32, whatever the rest is computed in: in bf16
a corner at 500 px is known to 2 px.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.core.errors import ModelError, check_known, first_line, needed
from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.detection.targets import SIDE, learned, packed
from flambeau.models.external import CONSTRUCTION, download, replace_first_conv, weights_file
from flambeau.models.own_loss import LossAndAnswers
from flambeau.models.spec import Built, InputSpec, Recommended
from flambeau.models.vision.encoder import Encoder, encoder
from flambeau.models.weights import load_weights, read_weights

MOST = 100  # answers a picture, as COCO counts them
PYRAMID = 256  # channels of a feature pyramid
DEPTHS = (512, 256, 256, 128)  # channels of the maps that SSDLite adds


@dataclass(frozen=True)
class Family:
    """The detectors of one of torchvision's files.

    Attributes:
        made: torchvision's class.
        background: whether its class 0 is of no thing.
        strides: pixels a side of a cell of the encoder's maps that it is put over.
        most: its option for how many boxes a picture may have.
        coarser: the block that makes coarser maps of these, of torchvision's module of them; None for SSDLite's.
        masks: the side of the mask that it wants each box to have.
    """

    made: str
    background: bool
    strides: tuple[int, ...]
    most: str = "detections_per_img"
    coarser: Callable[[Any], nn.Module] | None = None
    masks: int | None = None


PROPOSALS = Family(
    "FasterRCNN", True, (4, 8, 16, 32), "box_detections_per_img", lambda blocks: blocks.LastLevelMaxPool()
)
ONE_STAGE = Family("RetinaNet", False, (8, 16, 32), coarser=lambda blocks: blocks.LastLevelP6P7(PYRAMID, PYRAMID))
SINGLE_SHOT = Family("ssd.SSD", True, (16, 32))
FAMILIES = {
    "faster_rcnn": PROPOSALS, "mask_rcnn": replace(PROPOSALS, made="MaskRCNN", masks=SIDE), "retinanet": ONE_STAGE,
    "fcos": replace(ONE_STAGE, made="FCOS"), "ssd": SINGLE_SHOT, "ssdlite": SINGLE_SHOT,
}  # fmt: skip
"""By the name of the file."""
SETTLED = {"self", "backbone", "num_classes", "kwargs", "min_size", "max_size", "image_mean", "image_std", "size"}
HEADS = ("head", "rpn.head", "roi_heads.box_predictor", "roi_heads.mask_predictor")
OF_CLASSES = {"head.classification_head", "roi_heads.box_predictor", "roi_heads.mask_predictor"}
"""Modules whose shape hangs on the number of classes."""
FRESH = {"net.rpn", "net.roi_heads", "net.head", "net.backbone.fpn", "net.backbone.extra"}


def names() -> list[str]:
    """torchvision's detectors. Raises MissingExtra."""
    models = needed("torchvision.models", "vision", "listing torchvision's models")
    return [name for name in models.list_models(module=models.detection) if file_of(name) in FAMILIES]


def file_of(name: str) -> str:
    """The file of torchvision that a detector is in, such as `faster_rcnn`."""
    models = needed("torchvision.models", "vision", f"torchvision:{name}")
    return str(models.get_model_builder(name).__module__.rpartition(".")[2])


def masks(name: str) -> int | None:
    """The side of the mask that a detector wants each box to have."""
    return FAMILIES[file_of(name)].masks


def options_of(family: Family) -> list[str]:
    """What may be set of a detector: the arguments of its class that are not settled here."""
    from torchvision.models import detection

    classes = attrgetter(family.made)(detection).__mro__
    arguments = {name for one in classes if issubclass(one, nn.Module) for name in signature(one.__init__).parameters}
    return ["backbone", "trainable_backbone_layers", *sorted(arguments - SETTLED)]


class AsItIs(nn.Module):
    """In place of torchvision's `GeneralizedRCNNTransform`: pictures are of one size and normalised."""

    def forward(self, images: Tensor, targets: Any = None) -> tuple[Any, Any]:
        from torchvision.models.detection.image_list import ImageList

        return ImageList(images, [tuple(images.shape[-2:])] * len(images)), targets

    def postprocess(self, result: Any, shapes: Any, original: Any) -> Any:
        """What was found, as it was found: masks stay as large as the head gives them."""
        return result


class Given(nn.Module):
    """In place of a backbone whose features are there already."""

    def __init__(self, features: Any):
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> Any:
        return self.features


class TorchvisionDetector(nn.Module):
    """A detector of torchvision's, its loss inside.

    Shapes: pictures (B, C, H, W), targets Ragged (B, M, 7…) as `Boxes.follow` gives them, to answers (B, 100, 6…):
    left, top, right, bottom in 0…1, score, class; score 0 where there are fewer. Of Mask R-CNN behind them the
    probabilities of its mask, 28×28 in the box.
    """

    def __init__(self, net: nn.Module, name: str, background: bool, with_masks: bool = False):
        super().__init__()
        self.net, self.own_loss, self.background, self.with_masks = net, name, int(background), with_masks
        net.transform = AsItIs()
        for path in HEADS:
            with contextlib.suppress(AttributeError):
                net.get_submodule(path).register_forward_hook(in_float32)

    def forward(self, x: Float[Tensor, "B C H W"], target: Ragged | None = None) -> LossAndAnswers:
        if self.training:
            assert target is not None, "in training mode a detector needs targets"
            return LossAndAnswers(self._loss(x, target), None)
        if target is None:
            return LossAndAnswers(None, self._answers(x))
        with self._features_kept(x):
            answers = self._answers(x)
            with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []), self._parts_in_training():
                torch.manual_seed(0)  # which proposals are looked at: the same in each evaluation
                loss = self._loss(x, target)
        return LossAndAnswers(loss, answers)

    def _loss(self, x: Tensor, target: Ragged) -> Tensor:
        H, W = x.shape[2:]
        losses: dict[str, Tensor] = self.net(x, learned(target, (H, W), self.background, self.with_masks))
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    def _answers(self, x: Tensor) -> Tensor:
        H, W = x.shape[2:]
        return packed(self.net(x), (H, W), MOST, self.background)

    @contextlib.contextmanager
    def _features_kept(self, x: Tensor) -> Iterator[None]:
        """The backbone runs once, though answers and loss are two passes behind it."""
        backbone: Any = self.net.backbone
        self.net.backbone = Given(backbone(x))
        try:
            yield
        finally:
            self.net.backbone = backbone

    @contextlib.contextmanager
    def _parts_in_training(self) -> Iterator[None]:
        """torchvision gives losses in training mode alone; its layers, which count batches then, stay in evaluation."""
        parts = [self.net, *(part for n, part in self.net.named_children() if n in ("rpn", "roi_heads"))]
        for part in parts:
            part.training = True
        try:
            yield
        finally:
            for part in parts:
                part.training = False


def in_float32(module: nn.Module, inputs: Any, output: Any) -> Any:
    """A forward hook: what comes out in float32, in whatever form it comes."""
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, dict):
        return {name: in_float32(module, None, value) for name, value in output.items()}
    return type(output)(in_float32(module, None, value) for value in output)


def build_detector(
    name: str, spec: InputSpec, size: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The torchvision detector `name`.

    Args:
        size: K + 4, of K classes.
        pretrained: True for torchvision's weights of COCO, or a file; with `backbone`, those of the backbone.
        options: `backbone`, any of timm's (`timm:resnet18`) in place of its own; further arguments of torchvision's
            class, such as `box_nms_thresh` or `nms_thresh`.

    Raises:
        ModelError: the weights cannot be had or do not fit, or it cannot be built. UsageError: no such backbone.
    """
    where, family, rest = f"torchvision:{name}", FAMILIES[file_of(name)], dict(options)
    models, num_classes = needed("torchvision.models", "vision", where), size - 4
    backbone, background = rest.pop("backbone", None), family.background
    check_known(f"the model {where} has no option", options, options_of(family))
    rest = {family.most: MOST, **rest}
    wanted, notes = None, list[str]()
    try:
        if backbone is None:
            net = models.get_model_builder(name)(
                weights=None, weights_backbone=None, num_classes=num_classes + background, **rest
            )
        else:
            maps, wanted, notes = encoder(str(backbone), spec, family.strides, pretrained)
            net = over(maps, family, num_classes + background, rest)
    except CONSTRUCTION as error:
        raise ModelError(f"torchvision cannot build it ({first_line(error)})", where=where) from error
    if backbone is None and spec.channels != 3:
        replace_first_conv(net, spec.channels)
    if backbone is None and pretrained:
        file = weights_file(pretrained) or download(models.get_model_weights(name).DEFAULT.url)
        fresh = tuple(path for path, _ in net.named_modules() if path in OF_CLASSES)
        notes = load_weights(net, read_weights(file), head=fresh, where=file.name)
        wanted = Recommended(tuple(net.transform.image_mean), tuple(net.transform.image_std))
        wanted = wanted.for_channels(spec.channels)
    model = TorchvisionDetector(net, name, background, family.masks is not None)
    head = tuple(path for path, _ in model.named_modules() if path in FRESH)
    return Built(model, head, wanted, notes, dict(options), from_zero=False)


def over(maps: Encoder, family: Family, num_classes: int, arguments: dict[str, Any]) -> nn.Module:
    """A detector of a family over an encoder of timm's, as torchvision makes one over its own."""
    from torchvision.models import detection
    from torchvision.models.detection import anchor_utils, ssd, ssdlite
    from torchvision.ops import feature_pyramid_network

    if family.coarser is None:
        extended = Extended(maps, ssdlite._extra_block)
        anchors = anchor_utils.DefaultBoxGenerator([[2, 3]] * len(extended.channels), min_ratio=0.2, max_ratio=0.95)
        counts, norm = anchors.num_anchors_per_location(), partial(nn.BatchNorm2d, eps=0.001, momentum=0.03)
        head = ssdlite.SSDLiteHead(extended.channels, counts, num_classes, norm)
        arguments = {"score_thresh": 0.001, "nms_thresh": 0.55, "topk_candidates": 300, **arguments}
        return ssd.SSD(extended, anchors, (320, 320), num_classes, head=head, **arguments)
    extra = family.coarser(feature_pyramid_network)
    return getattr(detection, family.made)(Pyramid(maps, extra), num_classes, **arguments)


class Pyramid(nn.Module):
    """Feature maps of an encoder and coarser ones, all of 256 channels: Lin et al. 2017, arXiv:1612.03144."""

    def __init__(self, maps: Encoder, extra: nn.Module):
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork

        super().__init__()
        self.body, self.out_channels = maps, PYRAMID
        self.fpn = FeaturePyramidNetwork([*maps.channels], PYRAMID, extra_blocks=extra)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.fpn({str(i): feature for i, feature in enumerate(self.body(x))})


class Extended(nn.Module):
    """Feature maps of an encoder, and four more that are each half as fine, as SSDLite has them: Sandler et al. 2018,
    arXiv:1801.04381."""

    def __init__(self, maps: Encoder, block: Callable[..., nn.Module]):
        super().__init__()
        self.body, self.channels = maps, [*maps.channels, *DEPTHS]
        pairs = zip([maps.channels[-1], *DEPTHS], DEPTHS, strict=False)
        self.extra = nn.ModuleList(block(before, after, nn.BatchNorm2d) for before, after in pairs)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.body(x)
        for block in self.extra:
            features.append(block(features[-1]))
        return {str(i): feature for i, feature in enumerate(features)}
