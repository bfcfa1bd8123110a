"""Picture: a picture as target, such as the photo without its noise, in colours, or in a finer resolution."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.core.findings import Finding, Severity
from flambeau.core.registry import Asked
from flambeau.fields.base import FIELDS, Field, Recognition
from flambeau.fields.decoding import frame
from flambeau.fields.heat import as_img
from flambeau.fields.image import Image
from flambeau.fields.picture.degradation import Degradation
from flambeau.fields.picture.patches import checked_patch, cut
from flambeau.fields.placement import Placement

MOST_SIDE = 1 << 14  # pixels of an answer as JSON
MOST_SCALE = 8
SHOWN = 384  # pixels a side of pictures side by side


@FIELDS.register("picture")
class Picture(Image):
    """A picture (B, C, s·H, s·W) for an input of (B, C, H, W): fitted, moved and normalised as that is, so that the
    input itself, enlarged, is an answer.

    Args:
        scale: s, pixels of it a side for one of the input.
        degradation: how inputs are made of it in training, anew at each step, as `Degradation.of` takes it; those that
            are there are seen if not given.
        patch: pixels a side of the input that are cut at random in training; all are seen if not given.
        settings: those of an `Image`; size and way of resizing follow from the input's.

    Raises:
        UsageError: there is no such scale, or its colours are no brightnesses.
    """

    kind = task = "picture"
    suffixes = frozenset()
    target_only = follows = answers_as_files = True
    settings: ClassVar[tuple[str, ...]] = (*Image.settings, "scale", "degradation", "patch")

    def __init__(
        self, scale: int = 1, degradation: Asked | None = None, patch: int | None = None, **settings: Any
    ):  # fmt: skip
        if not isinstance(scale, int) or isinstance(scale, bool) or not 1 <= scale <= MOST_SCALE:
            raise UsageError(f"scale={shown(scale)} does not fit", expected=f"a whole number from 1 to {MOST_SCALE}")
        if settings.get("colour") not in (None, "rgb", "grey"):
            raise UsageError(f"a picture in {settings['colour']} is no target", expected="rgb or grey")
        super().__init__(**settings)
        self.scale, self.patch = scale, checked_patch(patch)
        self.made = None if degradation is None else Degradation.of(degradation)
        self.degradation = None if self.made is None else self.made.to_dict()

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        return Recognition(0.0, "a picture is an input if nothing is said: --read clean=picture")

    def beside(self, leader: Field) -> None:
        if not isinstance(leader, Image) or leader.size is None or leader.mean is None or leader.std is None:
            raise UsageError(f"a picture is made of a picture, and the input is of the kind {leader.kind}")
        self.size, self.resize = [side * self.scale for side in leader.size], leader.resize
        if leader.colour in ("rgb", "grey"):
            self.mean, self.std = self.as_channels(leader.mean), self.as_channels(leader.std)

    def as_channels(self, figures: Sequence[float]) -> list[float]:
        """The figures of the input's channels for those of this: their mean for each where these are other ones."""
        return [*figures] if len(figures) == self.channels else [sum(figures) / len(figures)] * self.channels

    def follow(self, value: Tensor, placement: Placement) -> Tensor:
        return placement.scaled(self.scale).picture(value)

    @property
    def remakes(self) -> bool:
        return self.made is not None or self.patch is not None

    def remake(self, picture: Tensor, value: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self.patch is not None:
            picture, value = cut(picture, value, self.patch, generator, self.scale)
        if self.made is None:
            return picture, value
        mean, std = (value.new_tensor(figures).view(-1, 1, 1) for figures in (self.mean, self.std))
        made = self.made((value * std + mean).clamp(0, 1), generator)
        if made.shape[1] != len(mean):
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        return (made - mean) / std, value

    @property
    def source_options(self) -> dict[str, Any]:
        return {"target": "picture", **({} if self.degradation is None else {"task": self.degradation})}

    def check_in(self, values: Sequence[Any], leader: Field, pictures: Sequence[Any]) -> list[Finding]:
        odd = []
        for row, (value, picture) in enumerate(zip(values, pictures, strict=True)):
            with suppress(DataError):
                (height, width), (h, w) = (frame(one, (1, 1), "keep")[:2] for one in (value, picture))
                if (height, width) != (h * self.scale, w * self.scale):
                    odd.append((row, f"{width:.0f}×{height:.0f} for {w:.0f}×{h:.0f}"))
        if not odd:
            return []
        told = f"{len(odd)} target pictures are not {self.scale} times the size of their input, such as {odd[0][1]}"
        return [Finding("picture-size", Severity.WARNING, told, rows=[row for row, _ in odd],
                        fix="look whether they belong together, or set fields.TARGET.scale")]  # fmt: skip

    def write(self, value: Any, stem: Path) -> Path:
        return super().write(self._decode(value, self.channels, None), stem)

    def portable(self, value: Any) -> str:
        buffer = io.BytesIO()
        self.thumbnail(value, MOST_SIDE).save(buffer, "png")
        return base64.b64encode(buffer.getvalue()).decode()

    def render_in(self, value: Any, leader: Field, picture: Any) -> str:
        try:
            assert isinstance(leader, Image)
            after = self.thumbnail(value, SHOWN)
            before = leader.thumbnail(picture, MOST_SIDE).resize(after.size, PILImage.Resampling.BICUBIC)
            return f"{as_img(before, 'before')} {as_img(after, 'after')}"
        except DataError:
            return leader.render(picture)

    def answer_memory(self, pixels: int) -> int:
        return 24 * pixels * self.scale**2  # the model's numbers or a strip of them, the picture, its file and its text

    def grid(self, output: Tensor) -> np.ndarray:
        """One output (C, H, W) of a model as a picture, uint8 (H, W, C)."""
        return self.restore(output[None])[0]
