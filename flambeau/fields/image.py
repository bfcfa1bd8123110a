"""Image: a picture. Encoded once as uint8 (H, W, C), normalised and augmented on the device."""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, check_known
from flambeau.core.shapes import Float, UInt8
from flambeau.fields.augment import Augmentation, choose, normalise
from flambeau.fields.augment.geometry import Geometry
from flambeau.fields.augment.mixing import mix
from flambeau.fields.augment.movement import Movement
from flambeau.fields.augment.resample import resize as reduced
from flambeau.fields.base import FIELDS, Encoding, Field, Recognition
from flambeau.fields.decoding import SUFFIXES, decode, frame, resize
from flambeau.fields.encoding import Sample
from flambeau.fields.heat import LARGEST, Heat, Site, as_img, blocks, encoded, overlay
from flambeau.fields.picture.colour_spaces import COLOURS, convert
from flambeau.fields.picture.corruptions import PICTURES
from flambeau.fields.picture.fitting import fit
from flambeau.fields.picture.looking import DEFAULT_SIZE, looks_like_pictures, original_size, size_of, suited
from flambeau.fields.picture.pixels import Range, checked_range, checked_size, looks_like_picture
from flambeau.fields.picture.sheet import sheet
from flambeau.fields.picture.views import VIEWS
from flambeau.fields.placement import Placement
from flambeau.fields.varied import Varied, read_some, some
from flambeau.fields.wanted import Wanted
from flambeau.robustness import Corruption

RESIZES = ("squash", "crop", "pad", "keep")
THUMBNAIL = 160  # pixels a side, at most
IN_SHEET = 64
STEPS = {128: 32, 32: 4}
"""What sides in training are a multiple of, for pictures of at least so many pixels."""
MANY = 20_000  # training pictures from which `auto` augments lightly


@FIELDS.register("image")
class Image(Varied, Field):
    """A picture, from a path, bytes, a PIL image or an array.

    Args:
        size: (height, width) or one number for both, in pixels; found in the training rows if not given.
        colour: `rgb`, `grey`, `hsv`, `lab` or `ycbcr`: what the model sees; `rgb` or `grey` by what the pictures
            are, if not given. (HSV after Smith 1978, LAB CIE 1976 under D65, YCbCr as in JPEG.)
        resize: `squash`, `crop`, `pad` or `keep`, see `flambeau.fields.decoding.resize`.
        background: grey level behind transparent pixels and around padded pictures, 0…255.
        range: of pictures of more than 8 bits or of floats, the values that become black and white, the same for every
            picture: [0, 4095], or [-1000, 2000] of Hounsfield units. Found in the training rows if not given. What lies
            beyond is black or white.
        augment: the settings of an `Augmentation` as a dict; none if not given.
    """

    extent_of = ("size", "pixels")
    persistent = True
    leads = True
    named_views: ClassVar[Mapping[str, int]] = {name: len(views) for name, views in VIEWS.items()}
    suffixes = SUFFIXES
    settings: ClassVar[tuple[str, ...]] = ("size", "colour", "resize", "background", "range", "augment")
    fitted = ("mean", "std", "source_sizes", "values")

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        colour: str | None = None,
        resize: str = "squash",
        background: int = 255,
        augment: dict[str, Any] | None = None,
        range: Sequence[float] | None = None,
    ):
        check_known("no colour space is called", [colour or "rgb"], COLOURS)
        check_known("no way to resize is called", [resize], RESIZES)
        self.size: list[int] | None = None if size is None else checked_size(size)
        if not 0 <= background <= 255:
            raise UsageError(f"background={background} is no grey level", expected="a number from 0 to 255")
        self.colour, self.resize, self.background = colour, resize, background
        self.augmentation: Augmentation | None = Augmentation.from_dict(augment) if augment else None
        self.range = None if range is None else checked_range(range)
        self.values: Range | Sequence[float] | None = self.range
        self.mean: list[float] | None = None
        self.std: list[float] | None = None
        self.source_sizes: list[int] = []
        self._training_size: tuple[int, int] | None = None
        self.view: Callable[[Tensor], Tensor] | None = None
        """Which part of a stored picture is seen where nothing is trained; all of it if None."""

    def choose_augmentation(self, asked: str | Mapping[str, Any], sample: Callable[[], Sample]) -> list[str]:
        if self.augmentation is not None:
            return []
        if not isinstance(asked, str):
            self.augmentation = Augmentation.from_dict(asked) or None
            return []
        seen, level, added = sample(), asked, ""
        if asked == "auto" and seen.count >= MANY:
            # few epochs over many pictures: they are varied enough, and strong changes only slow the learning
            level, added = "light", f" Lightly, for there are {seen.count:,} of them."
        augmentation, why = choose(seen.values, seen.targets, classes=seen.classes, level=level, things=seen.things)
        self.augmentation = augmentation or None
        return [why + added]

    def train_at(self, share: float) -> bool:
        height, width, _ = self.encoding.shape
        # whole multiples, as models halve sides several times
        step = next((step for least, step in STEPS.items() if min(height, width) >= least), 1)
        sides = [min(side, max(step, round(share * side / step) * step)) for side in (height, width)]
        self._training_size = None if share >= 1 else (sides[0], sides[1])
        return True

    @property
    def channels(self) -> int:
        """Channels of the stored picture: 1 for grey, else 3."""
        return 1 if self.colour == "grey" else 3

    @classmethod
    def suit(cls, column: str, settings: Mapping[str, Any], wanted: Wanted) -> dict[str, tuple[Any, str]]:
        if wanted.size is None or settings.get("size") is not None:
            return {}
        return {"size": ([wanted.size, wanted.size], "that of the pretrained weights")}

    def standardise_as(self, mean: Sequence[float], std: Sequence[float]) -> bool:
        self.mean, self.std = list(mean), list(std)
        return True

    @classmethod
    def recognise(cls, values: Sequence[Any]) -> Recognition:
        return looks_like_pictures(values)

    @classmethod
    def begins_so(cls, head: bytes) -> bool:
        return looks_like_picture(head)

    def fit(self, values: Sequence[Any]) -> None:
        """Finds size, colour, mean and deviation from a sample of up to 256 pictures (the same one each time)."""
        drawn = some(values)
        if self.range is None:
            self.values = suited(drawn)
        hint = (self.size[0], self.size[1]) if self.size else (DEFAULT_SIZE, DEFAULT_SIZE)
        seen = read_some(drawn, lambda value: (original_size(value), self._decode(value, 3, hint)), "pictures")
        sizes, pictures = zip(*seen, strict=True)
        self.source_sizes = [int(np.median([s[0] for s in sizes])), int(np.median([s[1] for s in sizes]))]
        if self.size is None:
            self.size = size_of(sizes)
        if self.colour is None:
            grey = all(np.array_equal(p[..., 0], p[..., 1]) and np.array_equal(p[..., 0], p[..., 2]) for p in pictures)
            self.colour = "grey" if grey else "rgb"
        small = np.stack([self._resize(p[..., : self.channels]) for p in pictures])
        self.fit_normalisation(torch.from_numpy(small))

    def fit_normalisation(self, images: Tensor) -> None:
        """Sets mean and std, in 0…1 units per channel of the model's colour space, from uint8 (N, H, W, C)."""
        planes = images.permute(0, 3, 1, 2).float() / 255
        planes = convert(planes, self.colour or "rgb")
        self.mean = [round(float(m), 6) for m in planes.mean((0, 2, 3))]
        self.std = [round(max(float(s), 1e-3), 6) for s in planes.std((0, 2, 3))]

    @property
    def encoding(self) -> Encoding:
        if self.size is None:
            raise UsageError("the size of the pictures is not known yet", fix="call fit first, or give size=")
        return Encoding(np.dtype(np.uint8), (self.size[0], self.size[1], self.channels))

    @property
    def outside(self) -> str:
        form = "RGB" if self.channels == 3 else "grey"
        depth = f", {self.values[0]:g} … {self.values[1]:g} scaled to 0 … 255" if self.values else ""
        return f"decoded to 8 bits {form} (height, width, {self.channels}), turned as its EXIF says{depth}"

    @property
    def deployed_shape(self) -> tuple[int | str, ...]:
        return ("height", "width", self.channels)

    def received(self, value: Tensor) -> Tensor:
        height, width, _ = self.encoding.shape
        return value if self.keeps_size else fit(value, (height, width), self.resize, self.background)

    @property
    def identity(self) -> dict[str, Any]:
        # what the stored bytes depend on; augmentation and normalisation come later
        return {
            "kind": self.kind,
            "size": self.size,
            "channels": self.channels,
            "resize": self.resize,
            "background": self.background,
            "decoder": 1,
            **({"values": self.values} if self.values else {}),
        }

    @property
    def input_bounds(self) -> tuple[Tensor, Tensor] | None:
        """Black and white, where the model sees colours as they are stored."""
        if self.colour not in ("rgb", "grey"):
            return None
        mean, std = (torch.tensor(figures).view(-1, 1, 1) for figures in (self.mean, self.std))
        return (0 - mean) / std, (1 - mean) / std

    @property
    def input_shape(self) -> tuple[int, ...]:
        height, width, channels = self.encoding.shape
        return (channels, height, width)

    def _resize(self, array: np.ndarray) -> np.ndarray:
        assert self.size is not None
        return resize(array, (self.size[0], self.size[1]), self.resize, self.background)

    def _decode(self, value: Any, channels: int, size: tuple[int, int] | None) -> np.ndarray:
        values: Range | None = (self.values[0], self.values[1]) if self.values else None
        size = None if self.resize == "keep" else size  # what is decoded small has lost pixels
        return decode(value, channels, size, background=self.background, values=values)

    def encode(self, value: Any) -> np.ndarray:
        height, width, channels = self.encoding.shape
        return self._resize(self._decode(value, channels, (height, width)))

    @property
    def keeps_size(self) -> bool:
        return self.resize == "keep"

    def encode_whole(self, value: Any, least: tuple[int, int] = (1, 1)) -> np.ndarray:
        whole = self._decode(value, self.channels, None)
        size = max(whole.shape[0], least[0]), max(whole.shape[1], least[1])
        return resize(whole, size, "keep", self.background)

    def encode_all(self, values: Sequence[Any]) -> np.ndarray | None:
        if not isinstance(values, np.ndarray) or values.dtype != np.uint8:
            return None
        images = values[..., None] if values.ndim == 3 else values
        return np.ascontiguousarray(images) if tuple(images.shape[1:]) == self.encoding.shape else None

    def holds_many(self, array: np.ndarray) -> bool:
        if array.ndim != 3:
            return array.ndim > 3
        # grey pictures (B, H, W), unless it looks like one picture with channels
        one = 1 in (array.shape[0], array.shape[2]) or 3 in (array.shape[0], array.shape[2])
        own_size = array.shape[0] != 1 == self.input_shape[0] and array.shape[1:] == self.input_shape[1:]
        return own_size or not (one or 4 in (array.shape[0], array.shape[2]))

    def prepare(
        self, gathered: UInt8[Tensor, "B H W C"], training: bool = False, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B C2 H2 W2"]:
        """uint8 (B, H, W, C) to float32 (B, C, H, W), channels last in memory: augmented in training, normalised."""
        if training and self.augmentation is not None and self.augmentation.mixes:
            raise UsageError("mosaic and copy_paste are for targets that have a place in the picture, such as boxes",
                             fix="leave them out; of a whole picture's class, cutmix and mixup mix two")  # fmt: skip
        return self._moving(gathered, training, generator)[0]

    def lead(
        self, gathered: Tensor, frames: Tensor, training: bool, generator: Any, things: Tensor | None = None
    ) -> tuple[Tensor, Placement]:
        size = (gathered.shape[1], gathered.shape[2])
        things = None if things is None else Placement.of(frames, size).shares(things)
        images, movement = self._moving(gathered, training, generator, things)
        return images, Placement.of(frames, size, movement)

    def mixed(
        self, prepared: Tensor, followers: Mapping[str, tuple[Field, Any]], generator: torch.Generator | None
    ) -> tuple[Tensor, dict[str, Any]]:
        if self.augmentation is None or not self.augmentation.mixes:
            return super().mixed(prepared, followers, generator)
        assert generator is not None
        return mix(self.augmentation, prepared, followers, generator)

    def frame(self, value: Any) -> np.ndarray:
        height, width, _ = self.encoding.shape
        return frame(value, (height, width), self.resize)

    def placement(self, values: Sequence[Any]) -> Placement:
        height, width, _ = self.encoding.shape
        return Placement.of(torch.from_numpy(np.stack([self.frame(value) for value in values])), (height, width))

    def _moving(
        self, gathered: Tensor, training: bool, generator: torch.Generator | None, things: Tensor | None = None
    ) -> tuple[Tensor, Movement | None]:
        rgb = self.colour in ("rgb", "grey", None)
        assert self.mean is not None and self.std is not None
        channels = gathered.shape[-1]
        mean = self.mean if rgb else [0.0] * channels
        std = self.std if rgb else [1.0] * channels
        movement = None
        if training and (small := self._training_size) is not None:
            gathered, each = reduced(gathered, small), gathered.device.type == "cpu"
            movement = Movement("whole", Geometry(), small, small, "constant", (0.0,), each)
        if training and self.augmentation is not None:
            assert generator is not None
            size = (gathered.shape[1], gathered.shape[2])
            images, movement = self.augmentation.moving(
                gathered, size=size, generator=generator, mean=mean, std=std, things=things
            )
        else:
            images = normalise(self.view(gathered) if self.view else gathered, mean=mean, std=std)
        if rgb:
            return images, movement
        planes = convert(images.clamp(0, 1), self.colour or "rgb").contiguous(memory_format=torch.channels_last)
        shape = (1, channels, 1, 1)
        return (planes - planes.new_tensor(self.mean).view(shape)) / planes.new_tensor(self.std).view(shape), movement

    def named_view(self, name: str, number: int) -> Field:
        """`flip`: as it is, and mirrored; `five_crops`: the middle and corners; `ten_crops`: these, and mirrored;
        `jpeg`, `median` and `bits`: one view each, filtered so."""
        field = copy.copy(self)
        field.view = VIEWS[name][number]
        return field

    @property
    def restores(self) -> bool:
        return self.colour in ("rgb", "grey")

    def restore(self, prepared: Float[Tensor, "B C H W"]) -> list[np.ndarray]:
        """Pictures as uint8 (H, W, C)."""
        if not self.restores:
            raise UsageError(f"pictures in {self.colour} cannot be generated", fix="set the field's colour to rgb")
        std, mean = (prepared.new_tensor(figures).view(1, -1, 1, 1) for figures in (self.std, self.mean))
        return [*((prepared * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()]

    def write(self, value: Any, stem: Path) -> Path:
        path = stem.with_suffix(".png")
        PILImage.fromarray(np.asarray(value).squeeze()).save(path)
        return path

    def render(self, value: Any) -> str:
        """A thumbnail of at most 160 pixels a side as an <img> with its bytes inside."""
        try:
            return as_img(self.thumbnail(value))
        except DataError as error:
            return f"<span class=unreadable>{html.escape(error.found)}</span>"

    def sheet(self, values: Sequence[Any], columns: int = 8) -> PILImage.Image:
        """Each at most 64 pixels a side."""
        return sheet(
            [self.thumbnail(v, IN_SHEET).convert("L" if self.channels == 1 else "RGB") for v in values], columns
        )

    def sites(self, prepared: Tensor) -> list[Site]:
        return [Site(prepared, 0.0, blocks(prepared))]

    def heat(self, value: Any, weights: Sequence[np.ndarray]) -> Heat:
        """Over the picture as it came, at most 512 pixels a side: (1, C, H, W), or a coarser map (1, h, w) of what the
        model saw."""
        seen = torch.from_numpy(weights[0][0]).float()
        picture = self.thumbnail(value, LARGEST)
        placed = self.placement([value]).shrunk((picture.height, picture.width))
        there = placed.raw_grid(torch.ones(1, *placed.size), outside="zeros")
        heat = placed.raw_grid(seen.sum(0, True) if seen.ndim == 3 else seen[None], mode="bilinear")
        grid = (heat * there)[0].numpy()
        times = max(1, LARGEST // 2 // max(picture.size))  # what is tiny is enlarged, to be seen
        picture = picture.resize((picture.width * times, picture.height * times), PILImage.Resampling.NEAREST)
        drawn = overlay(picture, grid)
        return Heat(f"{as_img(picture, 'picture')} {as_img(drawn, 'heat')}", grid=grid, picture=drawn)

    def qualities(self, value: Any) -> dict[str, float | bool]:
        picture = self.encode(value) / 255
        return {"brightness": float(picture.mean()), "contrast": float(picture.std())}

    def signals(self, name: str, value: Any, encoded: np.ndarray | None) -> dict[str, float | str | None]:
        if encoded is None:
            return {}
        told = {"brightness": float(encoded.mean() / 255), "contrast": float(encoded.std() / 255)}
        return super().signals(name, value, encoded) | {f"{what} of {name}": number for what, number in told.items()}

    def corruptions(self, values: Sequence[Any]) -> dict[str, Corruption]:
        return PICTURES.within(self.encode, lambda raw, picture: self._as_raw(picture))

    def _as_raw(self, picture: np.ndarray) -> np.ndarray:
        """An encoded picture as a raw value that is encoded as the same."""
        if self.values is None:
            return picture
        low, high = self.values
        return low + picture * ((high - low) / 255)

    def extent(self, value: Any) -> float:
        height, width = original_size(value)
        return height * width

    def portable(self, value: Any) -> str:
        return encoded(self.thumbnail(value, 256))[1]

    def thumbnail(self, value: Any, most: int = THUMBNAIL) -> PILImage.Image:
        """The picture in RGB with at most so many pixels a side, to be drawn on.

        Raises:
            DataError: it cannot be read.
        """
        picture = PILImage.fromarray(self._decode(value, 3, (most, most)))
        picture.thumbnail((most, most))
        return picture
