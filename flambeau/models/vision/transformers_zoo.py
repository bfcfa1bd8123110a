"""transformers' detectors and segmenters, by the name of a folder or of a hub repository: `hf:NAME` for pictures.

Only a configuration and safetensors are read, as for texts (`models/text/huggingface.py`). Those that match queries
compute in float32 whatever the training computes in: their boxes and their matching do not survive bf16.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import ModelError, check_known, needed
from flambeau.core.shapes import Float, Int64
from flambeau.fields import Ragged
from flambeau.models.detection.targets import learned
from flambeau.models.own_loss import LossAndAnswers
from flambeau.models.spec import IMAGENET, Built, InputSpec, Recommended
from flambeau.models.text.huggingface import PREFIX, folder_of, one_line_errors, plain, quiet, unreachable_at_once
from flambeau.models.weights import load_weights, read_weights

MOST = 100  # answers a picture, as COCO counts them


def type_of(source: str, options: Mapping[str, Any]) -> str:
    """The type of a model, as its configuration says; empty where it is not known."""
    stated = options.get("config")
    if isinstance(stated, Mapping):
        return str(stated.get("model_type", ""))
    folder = folder_of(source)
    try:
        if folder is not None:
            return str(json.loads((folder / "config.json").read_text()).get("model_type", ""))
        transformers = needed("transformers", "text", f"{PREFIX}{source}")
        with unreachable_at_once(), quiet(transformers):
            return str(transformers.PretrainedConfig.get_config_dict(source)[0].get("model_type", ""))
    except (OSError, ValueError, AttributeError):
        return ""  # who loads it says why


def is_one(layout: str, source: str, options: Mapping[str, Any]) -> bool:
    """Whether a source is of a type whose output has this layout."""
    family = FAMILIES.get(type_of(source, options))
    return family is not None and family.layout == layout


class InFloat32(nn.Module):
    """A net of transformers; its forward pass is not cast."""

    def __init__(self, net: nn.Module, own_loss: str):
        super().__init__()
        self.net, self.own_loss = net, own_loss

    def run(self, x: Tensor, **labels: Any) -> Any:
        """The net's output for pictures."""
        with torch.autocast(x.device.type, enabled=False):
            return self.net(pixel_values=x.float(), **labels)

    def with_loss(self, x: Tensor, labels: dict[str, Any]) -> Any:
        """The same with its loss; in evaluation what is drawn for it is the same each time, and taken from nobody."""
        if self.training or not labels:
            return self.run(x, **labels)
        with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(0)
            return self.run(x, **labels)


class Queries(InFloat32):
    """A detector whose queries are matched with what is there: DETR, Carion et al. 2020, arXiv:2005.12872, and those
    after it.

    Shapes: pictures (B, 3, H, W), targets as `Boxes.follow` gives them, to answers (B, N, 6): corners in 0…1, score,
    class.
    """

    nothing = False  # whether the last class is that nothing is there

    def forward(self, x: Float[Tensor, "B C H W"], target: Ragged | None = None) -> LossAndAnswers:
        rows = [] if target is None else learned(target, (1, 1))
        labels = {"labels": [{"class_labels": row["labels"], "boxes": middles(row["boxes"])} for row in rows]}
        output = self.with_loss(x, labels if rows else {})
        return LossAndAnswers(output.loss if rows else None, None if self.training else surest(output, self.nothing))


class Choices(Queries):
    """One each of whose queries is of one class, the last of which is that nothing is there."""

    nothing = True


def middles(corners: Tensor) -> Tensor:
    """Boxes (M, 4) by their corners as middle and size."""
    return torch.cat([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], 1)


def surest(output: Any, nothing: bool) -> Float[Tensor, "B N 6"]:
    """The surest answers of all queries; no two boxes suppress one another.

    Args:
        nothing: whether the last class is that nothing is there, and a query is of one class; else of any number.
    """
    logits, boxes = output.logits.float(), output.pred_boxes.float()
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    corners = torch.cat([middle - half, middle + half], -1).clamp(0, 1)
    scores = logits.softmax(-1)[..., :-1] if nothing else logits.sigmoid()
    K = scores.shape[-1]
    best, at = scores.flatten(1).topk(min(MOST, scores[0].numel()))
    of = corners.gather(1, (at // K)[..., None].expand(-1, -1, 4))
    return torch.cat([of, best[..., None], (at % K)[..., None].float()], -1)


class Semantic(nn.Module):
    """A net of transformers that gives logits of coarse cells (SegFormer: Xie et al. 2021, arXiv:2105.15203), which are
    stretched to the picture: (B, C, H, W) to (B, K, H, W)."""

    def __init__(self, net: nn.Module, name: str):
        super().__init__()
        self.net = net

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B K H W"]:
        logits = self.net(pixel_values=x).logits
        return F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)


class MaskQueries(InFloat32):
    """Mask2Former: each query says a mask and its class; Cheng et al. 2022, arXiv:2112.01527. Where nothing is known,
    no class is there for it.

    Shapes: pictures (B, 3, H, W), target class numbers (B, H, W), below 0 where unknown, to shares of classes
    (B, K, H, W).
    """

    def forward(self, x: Float[Tensor, "B C H W"], target: Int64[Tensor, "B H W"] | None = None) -> LossAndAnswers:
        labels: dict[str, Any] = {}
        if target is not None:
            there = [mask[mask >= 0].unique() for mask in target]
            masks = [(mask == classes[:, None, None]).float() for mask, classes in zip(target, there, strict=True)]
            labels = {"mask_labels": masks, "class_labels": there}
        output = self.with_loss(x, labels)
        loss = output.loss.reshape(()) if labels else None
        if self.training:
            return LossAndAnswers(loss, None)
        classes = output.class_queries_logits.float().softmax(-1)[..., :-1]
        said = torch.einsum("bqk,bqhw->bkhw", classes, output.masks_queries_logits.float().sigmoid())
        said = F.interpolate(said, x.shape[2:], mode="bilinear", align_corners=False).clamp_min(1e-9)
        return LossAndAnswers(loss, said / said.sum(1, keepdim=True))


@dataclass(frozen=True)
class Family:
    """Models of transformers that are loaded, asked and answered alike.

    Attributes:
        auto: transformers' class that loads them.
        made: what such a net becomes, given its name.
        layout: of the output, as in `OutputSpec`.
        beside: how many numbers of an output's size are of no class.
    """

    auto: str
    made: Callable[[nn.Module, str], nn.Module]
    layout: str = "dense"
    beside: int = 0


QUERIES = Family("AutoModelForObjectDetection", Queries, "boxes", 4)
FAMILIES = {
    "detr": replace(QUERIES, made=Choices),
    **dict.fromkeys(("conditional_detr", "deformable_detr", "d_fine", "rt_detr", "rt_detr_v2"), QUERIES),
    "mask2former": Family("AutoModelForUniversalSegmentation", MaskQueries),
    **dict.fromkeys(
        ("segformer", "upernet", "beit", "dpt", "mobilevit", "mobilevitv2"),
        Family("AutoModelForSemanticSegmentation", Semantic),
    ),
}
"""By the type that a configuration says."""


def build_transformers(
    source: str, spec: InputSpec, size: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The detector or segmenter of a folder or hub repository.

    Args:
        size: K + 4 for boxes of K classes, else K.
        pretrained: None or True for the source's weights, False for fresh ones, or a .safetensors file.
        options: whatever its configuration has, such as `num_queries`; and `config`, all of that as a dict: then the
            source is not looked at, and the weights are fresh.

    Raises:
        ModelError: the source cannot be read, its weights do not fit, or the pictures have not three channels.
        UsageError: its configuration has no such option. MissingExtra: transformers is not installed.
    """
    where, model_type, rest = f"{PREFIX}{source}", type_of(source, options), dict(options)
    family = FAMILIES[model_type]
    transformers = needed("transformers", "text", where)
    if spec.channels != 3:
        raise ModelError(f"it takes pictures of 3 channels, the input is {spec}", where=where)
    stated, folder = rest.pop("config", None), folder_of(source)
    file = Path(pretrained) if isinstance(pretrained, (str, Path)) else None
    from_source = stated is None and file is None and pretrained is not False
    auto, K = getattr(transformers, family.auto), size - family.beside
    with one_line_errors(source), quiet(transformers), unreachable_at_once(folder):
        config = (
            transformers.CONFIG_MAPPING[model_type].from_dict(dict(stated)) if stated is not None
            else transformers.AutoConfig.from_pretrained(str(folder or source), trust_remote_code=False)
        )  # fmt: skip
        check_known(f"the model {where} has no option", rest, [*config.to_dict()])
        vars(config).update(rest)
        vars(config).pop("auto_map", None)
        config.id2label = {k: str(k) for k in range(K)}
        config.label2id = {str(k): k for k in range(K)}
        parts = [config, getattr(config, "backbone_config", None)]
        for part in (part for part in parts if getattr(part, "use_pretrained_backbone", False)):
            vars(part)["use_pretrained_backbone"] = False  # its weights would be fetched
        notes, wanted = list[str](), None
        if from_source:
            net, report = auto.from_pretrained(
                str(folder or source), config=config, trust_remote_code=False, use_safetensors=True,
                ignore_mismatched_sizes=True, output_loading_info=True, dtype="float32",
            )  # fmt: skip
            if fresh := sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])}):
                notes.append(f"{where}: {len(fresh)} of its tensors start fresh, being of other classes ({fresh[0]})")
            wanted = preprocessing(folder)
        else:
            net = auto.from_config(config, trust_remote_code=False, dtype="float32")
    model = family.made(net, where)
    if file is not None:
        notes = load_weights(model, read_weights(file), head=(), where=file.name)
    return Built(model.train(), (), wanted, notes, {"config": plain(config)}, from_zero=False)


def preprocessing(folder: Path | None) -> Recommended:
    """What a folder's preprocessor_config.json says of pictures; ImageNet's where there is none."""
    try:
        state = json.loads(((folder or Path()) / "preprocessor_config.json").read_text()) if folder else {}
    except (OSError, ValueError):
        state = {}
    side = state.get("size", {}).get("height") if isinstance(state.get("size"), dict) else None
    if state.get("do_normalize") is False:
        return Recommended((0.0,) * 3, (1.0,) * 3, side)
    return Recommended(tuple(state.get("image_mean", IMAGENET.mean)), tuple(state.get("image_std", IMAGENET.std)), side)
