"""Semantic segmentation: one class for each pixel. Targets are masks: PNG files of class numbers or with a palette, or
arrays (H, W); 255 is where nothing is known.

flambeau train table.csv --target mask --read mask=mask --plugin examples/plugins/mask.py
flambeau predict runs/table photos/ --out masks/ --plugin examples/plugins/mask.py
"""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as PILImage
from PIL import ImageOps
from torch import Tensor, nn

from flambeau.core.errors import DataError, UsageError
from flambeau.core.findings import Finding, Severity
from flambeau.fields import FIELDS, Encoding, Field, Image, Recognition
from flambeau.fields.decoding import frame, read_bytes, resize
from flambeau.fields.picture.pixels import DAMAGES, open_picture
from flambeau.fields.placement import Placement
from flambeau.models import OWN, OutputSpec
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks import TASKS, Task

UNKNOWN, IGNORED, SHOWN = 255, -100, 8
MANY = 10  # masks, in one of which alone a class is stray
COLOURS = np.random.default_rng(3).integers(40, 256, (256, 3)).astype(np.uint8)


@FIELDS.register("mask")
class Mask(Field):
    """uint8 (H, W), fitted as the picture beside it; prepared as int64 (B, H, W), -100 where nothing is known."""

    kind = task = "mask"
    asked_as = "file"
    persistent = target_only = follows = answers_as_files = True
    settings, fitted = ("num_classes",), ("size", "resize")

    def __init__(self, num_classes: int | None = None):
        self.num_classes, self.size, self.resize = num_classes, [1, 1], "squash"

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        return Recognition(0.0, "a mask looks like any picture: --read mask=mask")

    def pixels(self, value: Any) -> np.ndarray:
        """uint8 (h, w) of a raw value."""
        try:
            if isinstance(value, (str, Path, bytes)):
                with open_picture(value if isinstance(value, bytes) else read_bytes(value)) as picture:
                    value = ImageOps.exif_transpose(picture)
            array = np.asarray(value)
        except (*DAMAGES, PILImage.DecompressionBombError) as error:
            raise DataError(f"the mask cannot be read ({error})") from None
        if array.ndim != 2 or array.dtype.kind not in "bui" or not array.size or array.min() < 0 or array.max() > 255:
            raise DataError(f"a mask has {array.dtype} of {array.shape}", expected="(H, W) of class numbers, 0…255")
        return array.astype(np.uint8)

    def fit(self, values: Sequence[Any]) -> None:
        if self.num_classes is None:
            self.num_classes = 1 + max((self.largest(value) for value in values), default=0)

    def largest(self, value: Any) -> int:
        """The largest class of a raw value; 0 of one that cannot be read, which is named when it is encoded."""
        with suppress(DataError):
            pixels = self.pixels(value)
            return int(pixels[pixels != UNKNOWN].max(initial=0))
        return 0

    def check_in(self, values: Sequence[Any], leader: Field, pictures: Sequence[Any]) -> list[Finding]:
        aspect, rows_of = list[int](), defaultdict[int, list[int]](list)
        for row, (value, picture) in enumerate(zip(values, pictures, strict=True)):
            with suppress(DataError):
                mask, (height, width) = self.pixels(value), frame(picture, (1, 1), "squash")[:2]
                for number in np.unique(mask):
                    rows_of[int(number)].append(row)
                if abs(mask.shape[0] * width - mask.shape[1] * height) > max(height, width):  # a pixel of rounding
                    aspect.append(row)
        stray = {number: rows[0] for number, rows in rows_of.items() if len(rows) == 1 and number != UNKNOWN}
        findings = []
        if aspect:
            findings.append(Finding("aspect", Severity.WARNING,
                                    f"{len(aspect)} masks have other proportions than their picture",
                                    rows=aspect, fix="look whether they are of it"))  # fmt: skip
        if stray and len(values) >= MANY:
            named = ", ".join(map(str, sorted(stray)))
            findings.append(Finding("stray-class", Severity.WARNING,
                                    f"in one mask alone there is each class of {named}",
                                    rows=sorted({*stray.values()}), fix="mend it, or leave it"))  # fmt: skip
        return findings

    def beside(self, leader: Field) -> None:
        if not isinstance(leader, Image):
            raise UsageError(f"a mask is of a picture, and the input is of the kind {leader.kind}")
        self.size, self.resize = list(leader.size or ()), leader.resize

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.uint8), (self.size[0], self.size[1]))

    @property
    def num_outputs(self) -> int:
        return self.num_classes or 1

    def encode(self, value: Any) -> np.ndarray:
        pixels = self.pixels(value)
        if (pixels == UNKNOWN).all():
            raise DataError(f"nothing is known in the mask: all of it is {UNKNOWN}")
        if (pixels[pixels != UNKNOWN] >= self.num_outputs).any():
            raise DataError("a class is in no training row", fix="say how many there are: num_classes=")
        return resize(pixels[..., None], (self.size[0], self.size[1]), self.resize, UNKNOWN, nearest=True)[..., 0]

    def follow(self, value: Tensor, placement: Placement) -> Tensor:
        return placement.nearest(value, UNKNOWN)

    def prepare(self, gathered: Tensor, training: bool = False, generator: torch.Generator | None = None) -> Tensor:
        return gathered.long().masked_fill(gathered == UNKNOWN, IGNORED)

    def write(self, value: Any, stem: Path) -> Path:
        path = stem.with_suffix(".png")
        PILImage.fromarray(self.pixels(value)).save(path)
        return path

    def portable(self, value: Any) -> str:
        return png(self.pixels(value))

    def render_in(self, value: Any, leader: Field, picture: Any) -> str:
        assert isinstance(leader, Image)
        try:
            small, colours = leader.thumbnail(picture), PILImage.fromarray(COLOURS[self.pixels(value)])
        except DataError:
            return leader.render(picture)
        drawn = PILImage.blend(small, colours.resize(small.size, PILImage.Resampling.NEAREST), 0.5)
        return f'<img src="data:image/png;base64,{png(np.asarray(drawn))}" alt="">'


def png(array: np.ndarray) -> str:
    """base64 of a PNG file."""
    buffer = io.BytesIO()
    PILImage.fromarray(array).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


class MeanIoU:
    """The mean over classes of intersection / union (Everingham et al. 2010), and the share of right pixels."""

    def __init__(self, field: Mask, detail: bool):
        self.field, self.detailed, self.shown = field, detail, list[dict[str, Any]]()
        self.counts = torch.zeros(field.num_outputs, field.num_outputs, dtype=torch.int64)

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        guess, K, known = output.argmax(1), self.field.num_outputs, target >= 0
        self.counts += (target * K + guess)[known].bincount(minlength=K * K).view(K, K).cpu()
        if self.detailed and len(self.shown) < SHOWN:
            self.shown.append({"row": int(rows[0]), "output": output[0].cpu().numpy()})

    def values(self) -> dict[str, float]:
        counts = self.counts.double()
        right, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
        iou = (right / union)[union > 0]
        return {"mean_iou": float(iou.mean()), "pixel_accuracy": float(right.sum() / counts.sum().clamp_min(1))}

    def detail(self) -> dict[str, Any]:
        return {"kind": "pictures", "pictures": self.shown}


@TASKS.register("mask")
class Segmentation(Task):
    """Cross-entropy over logits (B, K, H, W); targets are class numbers (B, H, W)."""

    field: Mask
    metric_names = ("mean_iou", "pixel_accuracy")

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.num_outputs, "dense")

    def activate(self, output: Tensor) -> Tensor:
        return output.softmax(1)

    def metrics(self, detail: bool, asked: str = "auto") -> list[Any]:
        return [MeanIoU(self.field, detail)]

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        scores = torch.from_numpy(output)
        if isinstance(asked, Image) and value is not None:
            scores = asked.placement([value]).raw_grid(scores, mode="bilinear")
        return Prediction(scores.argmax(0).byte().numpy(), field=self.field)


@OWN.register("small-unet", of=lambda spec: (spec.channels,), layout="dense")
class SmallUNet(nn.Module):
    """Ronneberger et al. 2015, arXiv:1505.04597, small: (B, C, H, W) to (B, K, H, W)."""

    def __init__(self, channels: int, num_outputs: int, width: int = 16, depth: int = 2):
        super().__init__()

        def block(before: int, after: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU())

        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(block(before, after) for before, after in pairwise([channels, *widths]))
        self.up = nn.ModuleList(block(high + low, high) for high, low in pairwise(widths))
        self.head = nn.Conv2d(width, num_outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2, ceil_mode=True) if level else x)
            kept.append(x)
        for block, skip in zip(reversed(self.up), reversed(kept[:-1]), strict=True):
            x = block(torch.cat([skip, F.interpolate(x, skip.shape[2:])], 1))
        return self.head(x)
