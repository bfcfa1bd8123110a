"""Boxes about things in pictures, and a detector of one level for them: FCOS, Tian et al. 2019, arXiv:1904.01355, with
the focal loss of Lin et al. 2017, arXiv:1708.02002, and GIoU, Rezatofighi et al. 2019, arXiv:1902.09630.

A row has a picture and its boxes in that picture's own pixels, as JSON where the table is a CSV file:
`[{"x1": 4, "y1": 8, "x2": 20, "y2": 30, "label": "disc"}]` or `[[4, 8, 20, 30, "disc"]]`; `[]` where there is none.

flambeau train boxes.csv --plugin examples/plugins/boxes.py
flambeau predict runs/boxes picture.png --plugin examples/plugins/boxes.py --json
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ImageDraw
from torch import Tensor, nn

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.fields import FIELDS, Field, Image, Ragged
from flambeau.fields.base import Encoding, Recognition
from flambeau.fields.decoding import frame
from flambeau.fields.describing import counted
from flambeau.fields.placement import Placement
from flambeau.models import OWN, OutputSpec
from flambeau.objectives.losses import Loss
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks import TASKS, Task

FAR = 1e6  # pixels, beyond which nothing is
CELL = 4  # pixels a side, each of which answers for a box
CORNERS = ("x1", "y1", "x2", "y2")
SEEN = 0.25  # of a box: with less of it in the picture it is gone
NEAR = 1.5  # cells from its middle that learn a box
MOST, LEAST, SURE, OVERLAP = 50, 0.01, 0.3, 0.5  # answers a picture; scores that count, and that are shown; NMS
THRESHOLDS = torch.arange(0.5, 1.0, 0.05)
COLOURS = ("yellow", "cyan", "magenta", "lime", "orange", "white")


def read(value: Any) -> list[tuple[list[float], str]]:
    """The corners and the class of each box of a raw value. Raises DataError where it has none."""
    try:
        listed = json.loads(value) if isinstance(value, str) else value
        rows = [[*(b[c] for c in CORNERS), b["label"]] if isinstance(b, Mapping) else [*b] for b in listed]
        found = [([float(x) for x in corners], str(name)) for *corners, name in rows]
    except (ValueError, TypeError, KeyError):
        expected = "a list of {x1, y1, x2, y2, label} or [x1, y1, x2, y2, label], [] for none"
        raise DataError(f"{shown(value)} are no boxes", expected=expected) from None
    for corners, name in found:
        if len(corners) != 4 or not (-FAR < corners[0] < corners[2] < FAR > corners[3] > corners[1] > -FAR):
            raise DataError(f"the box {corners} of '{name}' has no area", expected="x1 < x2 and y1 < y2, in pixels")
    return found


def readable(values: Sequence[Any]) -> list[list[tuple[list[float], str]]]:
    """Those of the values that can be read; the others are named when the store is built."""
    found = []
    for value in values:
        with contextlib.suppress(DataError):
            found.append(read(value))
    return found


@FIELDS.register("boxes")
class Boxes(Field):
    """Any number of boxes of K classes. Encoded as float32 (M, 5): left, top, right, bottom, class."""

    kind = task = "boxes"
    target_only = follows = True
    fitted = ("classes",)

    def __init__(self) -> None:
        self.classes: list[str] = []

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        good = readable(values)
        likely = any(good) and len(good) > 0.9 * len(values)
        return Recognition(0.98 * likely, f"{len(good)} of {len(values)} values are lists of boxes")

    def fit(self, values: Sequence[Any]) -> None:
        self.classes = sorted({name for boxes in readable(values) for _, name in boxes})

    def check_in(self, values: Sequence[Any], leader: Field, pictures: Sequence[Any]) -> list[Finding]:
        outside, shares = [], []
        for row, (value, picture) in enumerate(zip(values, pictures, strict=True)):
            with contextlib.suppress(DataError):
                boxes = [corners for corners, _ in read(value)]
                height, width = frame(picture, (1, 1), "squash")[:2]
                if boxes and all(0 <= x <= 1 for corners in boxes for x in corners):
                    shares.append(row)
                elif any(x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height for x1, y1, x2, y2 in boxes):
                    outside.append(row)
        findings = []
        if outside:
            findings.append(Finding("outside", Severity.WARNING,
                                    f"{len(outside)} rows have boxes outside the picture",
                                    rows=outside, fix="mend its corners, in the picture's own pixels"))  # fmt: skip
        if shares:
            all_of_them = len(shares) > len(values) / 2
            findings.append(Finding("normalised", Severity.ERROR if all_of_them else Severity.WARNING,
                                    f"all boxes of {len(shares)} rows lie in 0…1, so they are shares and not pixels",
                                    rows=shares, fix="multiply by the picture's width and height"))  # fmt: skip
        return findings

    def describe(self, values: Sequence[Any]) -> dict[str, Any]:
        return counted(name for boxes in readable(values) for _, name in boxes)

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.float32), (5,), ragged=True)

    @property
    def num_outputs(self) -> int:
        return len(self.classes) + 4

    def encode(self, value: Any) -> np.ndarray:
        found = read(value)
        if unknown := next((name for _, name in found if name not in self.classes), None):
            raise DataError(f"no training row has a box of the class '{unknown}'", expected=", ".join(self.classes))
        rows = [[*corners, self.classes.index(name)] for corners, name in found]
        return np.asarray(rows, np.float32).reshape(-1, 5)

    def follow(self, value: Ragged, placement: Placement) -> Ragged:
        """In 0…1 of the model's input, of the class -1 where too little is left in it."""
        there, whole = (placement.boxes(value.values[..., :4], cut) for cut in (True, False))
        gone = area(there) < SEEN * area(whole).clamp_min(1e-9)
        H, W = placement.size
        classes = value.values[..., 4].masked_fill(gone, -1)
        return Ragged(torch.cat([there / there.new_tensor([W, H, W, H]), classes[..., None]], -1), value.lengths)

    def caption(self, value: Any) -> str:
        told = itertools.chain(*readable([value]))
        return ", ".join(f"{name} ({', '.join(f'{x:g}' for x in corners)})" for corners, name in told) or "none"

    def render_in(self, value: Any, leader: Field, picture: Any) -> str:
        try:
            small = leader.thumbnail(picture) if isinstance(leader, Image) else None
        except DataError:
            small = None
        if small is None:
            return leader.render(picture)
        height, width = frame(picture, (small.height, small.width), "squash")[:2].tolist()  # asks nothing of a fit
        across, down = small.width / width, small.height / height
        for (x1, y1, x2, y2), name in itertools.chain(*readable([value])):
            colour = COLOURS[self.classes.index(name) % len(COLOURS)] if name in self.classes else "white"
            ImageDraw.Draw(small).rectangle((x1 * across, y1 * down, x2 * across, y2 * down), outline=colour)
        return leader.render(small)


@OWN.register("tiny-fcos", of=lambda spec: (spec.channels,), layout="dense", stride=CELL)
class Detector(nn.Sequential):
    """Pictures (B, C, H, W) to (B, K + 4, H / 4, W / 4): of each cell K logits, and how far the edges are."""

    def __init__(self, channels: int, num_outputs: int, width: int = 32):
        wide, layers, before = 2 * width, list[nn.Module](), channels
        for after, stride, dilation in ((width, 2, 1), (wide, 2, 1), *((wide, 1, by) for by in (1, 2, 4, 1))):
            conv = nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False)
            layers += [conv, nn.GroupNorm(8, after), nn.ReLU()]
            before = after
        super().__init__(*layers, head := nn.Conv2d(wide, num_outputs, 1))
        with torch.no_grad():
            head.bias[:-4] = -math.log(99)  # most cells are of no thing


def area(boxes: Tensor) -> Tensor:
    """Of boxes (…, 4)."""
    return (boxes[..., 2:4] - boxes[..., :2]).clamp_min(0).prod(-1)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalized IoU of boxes (…, 4), each with the other's at its place."""
    shared = area(torch.cat([torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:4], b[..., 2:4])], -1))
    union = (area(a) + area(b) - shared).clamp_min(1e-9)
    about = area(torch.cat([torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:4], b[..., 2:4])], -1))
    return shared / union, shared / union - (about - union) / about.clamp_min(1e-9)


def cells(output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, N, K) and boxes (B, N, 4) of the N cells of an output (B, K + 4, h, w), and their middles (N, 2)."""
    h, w = output.shape[2:]
    flat, side = output.float().flatten(2).transpose(1, 2), output.new_tensor([w, h]).float()
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    middles = (torch.stack([x, y], -1).view(-1, 2).to(output.device) + 0.5) / side
    first, second = (flat[..., -4:].clamp_max(8).exp() / side.repeat(2)).split(2, -1)
    return flat[..., :-4], torch.cat([middles - first, middles + second], -1), middles


def fcos(output: Tensor, target: Ragged, reduction: str = "mean") -> Tensor:
    """Focal loss of the classes and GIoU loss of the boxes, of each picture by how many cells learn a box in it."""
    logits, boxes, middles = cells(output)
    true = F.pad(target.values, (0, 0, 0, 1), value=-1.0)[:, None]  # (B, 1, M + 1, 5), the last one of no thing
    from_edge = torch.cat([middles[:, None] - true[..., :2], true[..., 2:4] - middles[:, None]], -1)
    from_middle = (middles[:, None] - (true[..., :2] + true[..., 2:4]) / 2).abs()
    side = output.new_tensor(output.shape[:1:-1]).float()
    learns = (from_edge > 0).all(-1) & (from_middle * side < NEAR).all(-1) & (true[..., 4] >= 0)  # (B, N, M + 1)
    smallest = area(true).expand_as(learns).masked_fill(~learns, math.inf).argmin(-1)
    own = true[:, 0].gather(1, smallest[..., None].expand(-1, -1, 5))  # (B, N, 5)
    learns = learns.any(-1)
    classes = F.one_hot(own[..., 4].long().clamp_min(0), logits.shape[2]) * learns[..., None].float()
    plain, surprise = F.binary_cross_entropy_with_logits(logits, classes, reduction="none"), logits.sigmoid() - classes
    focal = (plain * surprise.square() * (0.75 - 0.5 * classes)).sum((1, 2))
    loss = (focal + ((1 - overlap(boxes, own)[1]) * learns).sum(1)) / learns.sum(1).clamp_min(1)
    return loss if reduction == "none" else loss.mean()


def detections(output: Tensor) -> Tensor:
    """The surest boxes of an output, float (B, N, 6): corners in 0…1, score, class; of score 0 where one that is surer
    overlaps it."""
    logits, boxes, _ = cells(output)
    scores, at = logits.sigmoid().flatten(1).topk(min(MOST, logits[0].numel()))
    classes = (at % logits.shape[2]).float()
    boxes = boxes.gather(1, (at // logits.shape[2])[..., None].expand(-1, -1, 4)).clamp(0, 1)
    rival = (overlap(boxes[:, :, None], boxes[:, None])[0] > OVERLAP) & (classes[:, :, None] == classes[:, None])
    kept = scores > LEAST
    for i in range(kept.shape[1] - 1):
        kept[:, i + 1 :] &= ~(rival[:, i, i + 1 :] & kept[:, i : i + 1])
    return torch.cat([boxes, (scores * kept)[..., None], classes[..., None]], -1)


class AveragePrecision:
    """`map50`, and `map` over IoU of 0.5…0.95, each the mean over classes of the area below precision and recall."""

    def __init__(self, field: Boxes, detail: bool):
        self.true, self.shown = torch.zeros(len(field.classes)), list[dict[str, Any]]()
        self.scores, self.hits = defaultdict[int, list[Tensor]](list), defaultdict[int, list[Tensor]](list)
        self.keep = 12 if detail else 0

    def update(self, output: Tensor, target: Ragged, rows: Tensor) -> None:
        for found, boxes, row in zip(output.float().cpu(), target.values.cpu(), rows.tolist(), strict=True):
            boxes, answers = boxes[(boxes[:, 4] >= 0) & (area(boxes) > 0)], found[found[:, 4] > 0]
            for k in range(len(self.true)):
                of_class, mine = boxes[boxes[:, 4] == k], answers[answers[:, 5] == k]
                free = torch.ones(len(THRESHOLDS), len(of_class))
                hits = torch.zeros(len(mine), len(THRESHOLDS))
                for hit, iou in zip(hits, overlap(mine[:, None], of_class[None])[0], strict=True):
                    if len(iou):
                        best, which = (iou * free).max(1)
                        hit.copy_(best >= THRESHOLDS)
                        free[torch.arange(len(free)), which] *= 1 - hit
                self.true[k] += len(of_class)
                self.scores[k].append(mine[:, 4])
                self.hits[k].append(hits)
            if len(self.shown) < self.keep:
                self.shown.append({"row": row, "output": found.numpy()})

    def values(self) -> dict[str, float]:
        areas = []
        for k in self.true.nonzero()[:, 0].tolist():
            order = torch.cat(self.scores[k]).argsort(descending=True, stable=True)
            right = torch.cat(self.hits[k])[order].cumsum(0)  # (answers, thresholds)
            precision = right / torch.arange(1, len(right) + 1)[:, None]
            precision = precision.flip(0).cummax(0).values.flip(0) if len(right) else precision
            areas.append((right.diff(dim=0, prepend=torch.zeros(1, len(THRESHOLDS))) * precision).sum(0) / self.true[k])
        mean = torch.stack(areas).mean(0) if areas else torch.zeros(len(THRESHOLDS))
        return {"map50": float(mean[0]), "map": float(mean.mean())}

    def detail(self) -> dict[str, Any]:
        return {"kind": "boxes", "pictures": self.shown}


@TASKS.register("boxes")
class Detection(Task):
    """Outputs (B, K + 4, h, w), answers (B, N, 6) as `detections` gives them; targets are Ragged (B, M, 5) in 0…1."""

    field: Boxes
    default_loss = "fcos"
    metric_names = ("map50", "map")

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.num_outputs, "dense", CELL)

    def criterion(self, loss: str) -> Loss:
        if loss != "fcos":
            raise UsageError(f"the loss {loss} is not for boxes", expected="fcos")
        return fcos

    def activate(self, output: Tensor) -> Tensor:
        return detections(output)

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [AveragePrecision(self.field, detail)]

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        kept = torch.from_numpy(output[output[:, 4] > max(reject_below, SURE)])
        assert asked is not None
        placement = asked.placement([value])
        H, W = placement.size
        corners = placement.raw_boxes(kept[None, :, :4] * kept.new_tensor([W, H, W, H]))[0]
        found = [dict(zip(CORNERS, (round(x, 2) for x in box), strict=True)) for box in corners.tolist()]
        told = zip(found, kept[:, 4:].tolist(), strict=True)
        return Prediction([{**b, "label": self.field.classes[int(k)], "confidence": round(s, 4)} for b, (s, k) in told])
