"""Picture to picture, such as a photo without its noise: targets are pictures that follow those of the input.

flambeau train table.csv --target clean --read clean=picture --plugin examples/plugins/pictures.py
flambeau predict runs/table photos/ --out clean/ --plugin examples/plugins/pictures.py
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flambeau.fields import FIELDS, Field, Image, Recognition
from flambeau.fields.placement import Placement
from flambeau.models import OWN, OutputSpec
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks import TASKS, Task

MOST_SIDE = 1 << 14  # pixels of an answer as JSON


@FIELDS.register("picture")
class Picture(Image):
    """A picture (B, C, H, W), normalised, fitted and moved as that of the input, whose colours alone are varied."""

    kind = task = "picture"
    suffixes = frozenset()
    target_only = follows = answers_as_files = True

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        return Recognition(0.0, "a picture is an input if nothing is said: --read clean=picture")

    def beside(self, leader: Field) -> None:
        if isinstance(leader, Image):
            self.size, self.resize = leader.size, leader.resize

    def follow(self, value: Tensor, placement: Placement) -> Tensor:
        return placement.picture(value)

    def portable(self, value: Any) -> str:
        buffer = io.BytesIO()
        self.thumbnail(value, MOST_SIDE).save(buffer, "png")
        return base64.b64encode(buffer.getvalue()).decode()

    def render_in(self, value: Any, leader: Field, picture: Any) -> str:
        return leader.render(picture) + self.render(value)


class PSNR:
    """The mean over pictures of the peak signal-to-noise ratio, in dB."""

    def __init__(self, field: Picture, detail: bool):
        self.field, self.detailed, self.shown = field, detail, list[dict[str, Any]]()
        self.total, self.count = 0.0, 0

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        error = (output - target) * output.new_tensor(self.field.std).view(-1, 1, 1)
        self.total += float(-10 * error.square().flatten(1).mean(1).clamp_min(1e-10).log10().sum())
        self.count += len(rows)
        if self.detailed and len(self.shown) < 8:
            self.shown.append({"row": int(rows[0]), "output": output[0].cpu().numpy()})

    def values(self) -> dict[str, float]:
        return {"psnr": self.total / max(self.count, 1)}

    def detail(self) -> dict[str, Any]:
        return {"kind": "pictures", "pictures": self.shown}


@TASKS.register("picture")
class ToPicture(Task):
    """The mean absolute error of normalised pictures (B, C, H, W)."""

    field: Picture
    default_loss, metric_names = "l1", ("psnr",)

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.channels, "dense")

    def metrics(self, detail: bool, asked: str = "auto") -> list[Any]:
        return [PSNR(self.field, detail)]

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        picture = torch.from_numpy(output)
        if isinstance(asked, Image) and value is not None:
            picture = asked.placement([value]).raw_grid(picture, mode="bilinear")
        return Prediction(self.field.restore(picture[None])[0], field=self.field)


@OWN.register("convolutions", of=lambda spec: (spec.channels,), layout="dense")
class Convolutions(nn.Sequential):
    """Shapes: (B, C, H, W) to (B, K, H, W)."""

    def __init__(self, channels: int, num_outputs: int, width: int = 32):
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, num_outputs, 3, padding=1),
        )
