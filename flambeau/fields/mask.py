"""Mask: one class for each pixel of the picture beside it. Encoded once as uint8 (H, W), moved on the device."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, shown
from flambeau.core.findings import Finding
from flambeau.core.shapes import Bool, Int64, UInt8
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition
from flambeau.fields.decoding import resize
from flambeau.fields.heat import as_img, encoded
from flambeau.fields.image import Image
from flambeau.fields.picture.classmaps import (
    MOST_CLASSES,
    UNKNOWN,
    checked,
    coloured,
    found_colours,
    numbered,
    read_mask,
    unhexed,
)
from flambeau.fields.picture.mask_checks import findings_in
from flambeau.fields.picture.patches import checked_patch, cut
from flambeau.fields.pieces import Pieces
from flambeau.fields.placement import Placement

__all__ = ["IGNORED", "UNKNOWN", "ClassMap", "Mask"]

IGNORED = -100  # as `torch.nn.functional.cross_entropy` leaves it out
FIT_SAMPLE = 1_000  # masks that classes and colours are found in
SHARE = 0.5  # of a drawn mask's colours over the picture
SHOWN = 256  # pixels a side of a picture in a report
WRONG = (230, 40, 30)  # what wrong pixels are drawn in


class ClassMap(np.ndarray):
    """uint8 (h, w) of class numbers, UNKNOWN where there is none, whatever stands for them in files: an answer."""


@FIELDS.register("mask")
class Mask(Field):
    """One class out of K for each pixel. Raw values are paths, bytes or PIL images of PNG files (class numbers, with a
    palette, or one colour a class), or arrays (H, W) of class numbers or (H, W, 3) of colours. Fitted as the picture
    beside it and encoded as uint8 (H, W), 255 where nothing is known; prepared as int64 (B, H, W), -100 there.

    Args:
        classes: their names in order, or how many there are; found in up to 1,000 training rows if not given.
        colours: what the pixels of each class are in the files, in the order of the classes: `#rrggbb` or [r, g, b];
            or grey levels. What is near none is unknown. Found in the same rows if not given: class numbers are
            themselves and 255 is unknown; of masks in colours each colour that comes often is a class; black and white
            alone are two.
        patch: pixels a side of the picture that are cut at random in training, the mask with it; all are seen if not
            given.
    """

    task = "mask"
    asked_as = "file"
    persistent = target_only = follows = answers_as_files = True
    settings, fitted = ("classes", "colours", "patch"), ("size", "resize", "counts")

    def __init__(
        self, classes: Sequence[str] | int | None = None, colours: Sequence[Any] | None = None, patch: int | None = None
    ):  # fmt: skip
        self.colours, self.patch = checked(colours), checked_patch(patch)
        self._coloured = self.colours is not None
        if isinstance(classes, int):
            classes = [str(number) for number in range(classes)]
        self._given = bool(classes)
        self.classes: list[str] = [str(name) for name in classes or (self.colours or ())]
        if len(self.classes) > MOST_CLASSES or len(set(self.classes)) < len(self.classes):
            raise UsageError(f"the classes {shown(classes)} do not fit", expected="up to 255 names, each once")
        if self._given and self.colours and len(self.classes) != len(self.colours):
            raise UsageError(f"{len(self.classes)} classes have {len(self.colours)} colours", expected="one each")
        self.counts: list[int] = []
        """Pixels of each class in the masks that `fit` looked at."""
        self.size, self.resize = [1, 1], "squash"

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        return Recognition(0.0, "a mask looks like any picture: --read mask=mask")

    def pixels(self, value: Any) -> ClassMap:
        """uint8 (h, w) of class numbers of a raw value, UNKNOWN where there is none.

        Raises:
            DataError: it cannot be read, or has a class that is none of these.
        """
        if isinstance(value, ClassMap):
            return value
        if value is None:
            raise DataError("the value is missing")
        pixels = numbered(read_mask(value, coloured(self.colours)), self.colours)
        known = pixels[pixels != UNKNOWN]
        if self.classes and known.max(initial=0) >= len(self.classes):
            last, fix = len(self.classes) - 1, "if there are more, say how many: classes="
            raise DataError(f"a pixel is of class {known.max()}", expected=f"0…{last}, or 255 for none", fix=fix)
        return pixels.view(ClassMap)

    def fit(self, values: Sequence[Any]) -> None:
        if not self._coloured:
            self.colours = None
        masks = list[np.ndarray]()
        for value in values[:: max(1, -(-len(values) // FIT_SAMPLE))]:
            with suppress(DataError):  # which is named when it is encoded
                if value is not None:
                    masks.append(read_mask(value, coloured(self.colours)))
        if self.colours is None and masks and not (self._given and all(mask.ndim == 2 for mask in masks)):
            self.colours = found_colours(masks)
        counts = np.zeros(UNKNOWN + 1, np.int64)
        for mask in masks:
            with suppress(DataError):
                counts += np.bincount(numbered(mask, self.colours).reshape(-1), minlength=UNKNOWN + 1)
        if not self._given:
            names = (
                self.colours
                if self.colours is not None
                else range(1 + int(counts[:UNKNOWN].nonzero()[0].max(initial=0)))
            )
            self.classes = [str(name) for name in names]
        self.counts = counts[: len(self.classes)].tolist()
        self.__dict__.pop("index", None)
        self.__dict__.pop("palette", None)

    def check_in(self, values: Sequence[Any], leader: Field, pictures: Sequence[Any]) -> list[Finding]:
        return findings_in(self, values, pictures)

    def beside(self, leader: Field) -> None:
        if not isinstance(leader, Image):
            raise UsageError(f"a mask is of a picture, and the input is of the kind {leader.kind}")
        self.size, self.resize = list(leader.size or ()), leader.resize

    @property
    def source_options(self) -> dict[str, Any]:
        return {"target": "mask"}

    @property
    def encoding(self) -> Encoding:
        return Encoding(np.dtype(np.uint8), (self.size[0], self.size[1]))

    @property
    def num_outputs(self) -> int:
        return max(1, len(self.classes))

    @property
    def identity(self) -> dict[str, Any]:
        """Names and frequencies of the classes change no pixel."""
        return {"kind": self.kind, "classes": len(self.classes), "colours": self.colours, "size": self.size,
                "resize": self.resize}  # fmt: skip

    def encode(self, value: Any) -> UInt8[np.ndarray, "H W"]:
        pixels = np.asarray(self.pixels(value))
        if (pixels == UNKNOWN).all():
            raise DataError(f"nothing is known in the mask: all of it is {UNKNOWN}")
        return resize(pixels[..., None], (self.size[0], self.size[1]), self.resize, UNKNOWN, nearest=True)[..., 0]

    def follow(self, value: Tensor, placement: Placement) -> Tensor:
        return placement.nearest(value, UNKNOWN)

    def prepare(
        self, gathered: UInt8[Tensor, "B H W"], training: bool = False, generator: torch.Generator | None = None
    ) -> Int64[Tensor, "B H W"]:
        return gathered.long().masked_fill_(gathered == UNKNOWN, IGNORED)

    @property
    def remakes(self) -> bool:
        return self.patch is not None

    def remake(self, picture: Tensor, value: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return cut(picture, value, self.patch or max(picture.shape), generator)

    @property
    def thing_names(self) -> list[str]:
        return [] if all(name.isdigit() for name in self.classes) else self.classes

    def assembled(self, value: Int64[Tensor, "B H W"], pieces: Pieces) -> Int64[Tensor, "B H W"]:
        return pieces.nearest(value)

    def cutouts(
        self, value: Int64[Tensor, "B H W"], size: tuple[int, int], share: float, generator: torch.Generator
    ) -> Bool[Tensor, "B H W"]:
        B, K = len(value), self.num_outputs
        drawn = torch.rand(B, K, generator=generator, device=generator.device).to(value.device) < share
        known = value.clamp_min(0).flatten(1)
        counts = torch.zeros(B, K, device=value.device).scatter_add_(1, known, (value >= 0).flatten(1).float())
        drawn.scatter_(1, counts.argmax(1, keepdim=True), torch.zeros_like(drawn[:, :1]))
        return drawn.gather(1, known).view_as(value) & (value >= 0)

    @cached_property
    def palette(self) -> UInt8[np.ndarray, "256 3"]:
        """What each class is drawn in: its own colour, or one of as many hues; the first of several that have no colour
        is black, as the background usually is, and what is unknown is white."""
        colours = np.full((256, 3), 255, np.uint8)
        for number in range(len(self.classes)):
            hue, value = number * 0.618034 % 1, (1.0, 0.75, 0.5)[number % 3]
            colours[number] = [round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.85, value)] if number else 0
        if coloured(self.colours):
            colours[: len(self.classes)] = [unhexed(str(colour)) for colour in self.colours or ()]
        return colours

    def drawn(self, pixels: UInt8[np.ndarray, "h w"]) -> PILImage.Image:
        """Class numbers as a picture with a palette: a PNG of the numbers, which any program shows in colours."""
        picture = PILImage.fromarray(pixels)
        picture.putpalette(self.palette.tobytes())
        return picture

    def write(self, value: Any, stem: Path) -> Path:
        path = stem.with_suffix(".png")
        self.drawn(self.pixels(value)).save(path)
        return path

    def answer_memory(self, pixels: int) -> int:
        return (4 + 4 * self.num_outputs * (self.resize == "keep")) * pixels  # what each class has, put of tiles

    def portable(self, value: Any) -> str:
        return encoded(self.drawn(self.pixels(value)), "png")[1]

    def render_in(self, value: Any, leader: Field, picture: Any) -> str:
        assert isinstance(leader, Image)
        try:
            return as_img(self.drawn_in(value, leader.thumbnail(picture)))
        except DataError:
            return leader.render(picture)

    def drawn_in(self, value: Any, picture: PILImage.Image) -> PILImage.Image:
        mask = self.drawn(self.pixels(value)).convert("RGB").resize(picture.size, PILImage.Resampling.NEAREST)
        tinted = PILImage.blend(picture, mask, SHARE)
        tinted.paste(picture, mask=PILImage.fromarray(~np.asarray(mask).any(2)))  # black, as the background usually is
        return tinted

    @property
    def legend(self) -> dict[str, str]:
        return {name: f"#{self.palette[i].tobytes().hex()}" for i, name in enumerate(self.classes)}

    def compared_in(self, value: Any, truth: Any, leader: Field, picture: Any) -> str:
        assert isinstance(leader, Image)
        try:
            small, masks = leader.thumbnail(picture, SHOWN), [self.pixels(one) for one in (truth, value)]
            told = [self.drawn_in(mask, small) for mask in masks]
            true, said = (np.asarray(PILImage.fromarray(np.asarray(mask)).resize(small.size, 0)) for mask in masks)
        except DataError:
            return leader.render(picture)
        pale = np.asarray(small.convert("L").convert("RGB")) // 2 + 64
        wrong = (true != said) & (true != UNKNOWN)
        told.append(PILImage.fromarray(np.where(wrong[..., None], np.array(WRONG, np.uint8), pale)))
        return " ".join(map(as_img, told, ("true", "predicted", "difference")))
