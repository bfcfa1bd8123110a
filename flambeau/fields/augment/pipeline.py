"""From gathered bytes to the model's input in one path: `Augmentation` in training, `normalise` elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, nearest, shown
from flambeau.fields.augment import colour, geometry, noise, resample
from flambeau.fields.augment.draws import Draws
from flambeau.fields.augment.effects import (
    EFFECTS,
    Brightness,
    Contrast,
    Effect,
    GaussianNoise,
    Greyscale,
    HorizontalFlip,
    Hue,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Rotation,
    Saturation,
    Shear,
    Shift,
    VerticalFlip,
    Zoom,
    make,
)
from flambeau.fields.augment.geometry import Sides, get
from flambeau.fields.augment.movement import Movement

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

CHUNK = 1 << 19
"""Numbers that are worked on at a time on a CPU: what stays in its cache from one operation to the next."""
Pair = Sequence[float]
Settings = Mapping[str, Any]


@dataclass(repr=False)
class Augmentation:
    """Random changes to whole batches of pictures on their device; everything is off unless it is given.

    A number gives an effect's strength (its probability, where it has no strength), a mapping its settings,
    True its defaults: `Augmentation(horizontal_flip=0.5, rotation=10, brightness={"strength": 0.4, "p":
    0.8})`.

    Args:
        padding: what lies beyond the picture: "constant", "reflect" or "edge".
        fill: the constant, in 0…1, for all channels or for each.
        custom: callables on the normalised batch, float (B, C, H, W) to the same, called last, in order; one
            that has a parameter `generator` gets it. They are named in `to_dict`, and must be given again
            after `from_dict`.

    Raises:
        UsageError: a setting that does not exist or does not fit.

    >>> Augmentation(rotation=10, horizontal_flip=0.5).to_dict()
    {'horizontal_flip': {'p': 0.5}, 'rotation': {'degrees': 10, 'p': 1.0}}
    """

    horizontal_flip: HorizontalFlip | float | Settings | None = None
    vertical_flip: VerticalFlip | float | Settings | None = None
    rotation: Rotation | float | Settings | None = None
    shift: Shift | float | Settings | None = None
    zoom: Zoom | float | Pair | Settings | None = None
    shear: Shear | float | Settings | None = None
    random_crop: RandomCrop | int | Settings | None = None
    random_resized_crop: RandomResizedCrop | float | Pair | Settings | None = None
    brightness: Brightness | float | Settings | None = None
    contrast: Contrast | float | Settings | None = None
    saturation: Saturation | float | Settings | None = None
    hue: Hue | float | Settings | None = None
    greyscale: Greyscale | float | Settings | None = None
    gaussian_noise: GaussianNoise | float | Settings | None = None
    random_erasing: RandomErasing | float | Pair | Settings | None = None
    padding: str = "constant"
    fill: float | Sequence[float] = 0.0
    custom: Sequence[Callable[..., Tensor] | str] = ()
    effects: dict[type[Effect], Effect] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in EFFECTS:
            setattr(self, name, make(name, getattr(self, name)))
        given = [getattr(self, name) for name in EFFECTS]
        self.effects = {type(effect): effect for effect in given if effect is not None and effect.p > 0}
        if self.padding not in resample.PADDINGS:
            raise UsageError(f"padding is {shown(self.padding)}", fix=nearest(str(self.padding), resample.PADDINGS))
        self.fill = self.fill if isinstance(self.fill, (int, float)) else tuple(self.fill)
        if not all(0 <= f <= 1 for f in _tuple(self.fill)):
            raise UsageError(f"fill is {shown(self.fill)}", expected="numbers within 0…1")
        if RandomCrop in self.effects and RandomResizedCrop in self.effects:
            raise UsageError("random_crop and random_resized_crop both choose the window", fix="keep one of them")
        self.custom = tuple(self.custom)

    def __repr__(self) -> str:
        given = [f"{name}={getattr(self, name)!r}" for name in self.to_dict()]
        return f"Augmentation({', '.join(given)})"

    def to_dict(self) -> dict[str, Any]:
        """What is on, as plain JSON; custom callables by name."""
        state: dict[str, Any] = {name: e.to_dict() for name in EFFECTS if (e := getattr(self, name)) is not None}
        if self.padding != "constant":
            state["padding"] = self.padding
        if self.fill != 0:
            state["fill"] = list(self.fill) if isinstance(self.fill, tuple) else self.fill
        if self.custom:
            state["custom"] = [
                c if isinstance(c, str) else getattr(c, "__name__", type(c).__name__) for c in self.custom
            ]
        return state

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Augmentation:
        """The augmentation that `to_dict` wrote, or that a recipe spells.

        Raises:
            UsageError: a setting that does not exist; the message names the nearest one.
        """
        known = [f.name for f in fields(cls) if f.init]
        for key in state:
            if key not in known:
                raise UsageError(f"no augmentation is called '{key}'", fix=nearest(str(key), known))
        return cls(**state)

    def __bool__(self) -> bool:
        """Whether anything is on."""
        return bool(self.effects) or bool(self.custom)

    @torch.no_grad()
    def __call__(
        self,
        images: UInt8[Tensor, "B H W C"],
        *,
        size: Sides | None = None,
        generator: torch.Generator,
        mean: Sequence[float] | Tensor = (0.0,),
        std: Sequence[float] | Tensor = (1.0,),
        memory_format: torch.memory_format = torch.channels_last,
        dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, "B C H2 W2"]:
        """Augments and normalises a batch.

        Pictures should be at most about twice as large as the output where rotation, zoom, shear or a CUDA
        random resized crop is on: those resample bilinearly without antialiasing. (Whole pictures larger than
        that are first reduced to twice the output's size, with antialiasing.)

        Args:
            images: uint8 (B, H, W, C), any number of channels; left as it is. Saturation, hue and
                greyscale need C = 3 and are left out for others.
            size: (H', W') of the output; the pictures' own if not given.
            generator: the only source of randomness. On the device of `images`, or on the CPU.
            mean: of each channel, in 0…1 units.
            std: of each channel, in 0…1 units.
            memory_format: of the output.
            dtype: of the output; the arithmetic is float32.

        Returns:
            (B, C, H', W'), (pixel / 255 - mean) / std.

        Raises:
            DataError: `images` is not a uint8 batch.
            UsageError: a random crop or a reflection that does not fit into the pictures.
        """
        return self.moving(
            images, size=size, generator=generator, mean=mean, std=std, memory_format=memory_format, dtype=dtype
        )[0]

    @torch.no_grad()
    def moving(
        self,
        images: Tensor,
        *,
        size: Sides | None = None,
        generator: torch.Generator,
        mean: Sequence[float] | Tensor = (0.0,),
        std: Sequence[float] | Tensor = (1.0,),
        memory_format: torch.memory_format = torch.channels_last,
        dtype: torch.dtype = torch.float32,
    ) -> tuple[Tensor, Movement]:
        """The same, and how the pictures were moved, which what lies on the same grid can follow. Custom callables are
        taken to move nothing."""
        _, H, W, C = check(images)
        size = (H, W) if size is None else (int(size[0]), int(size[1]))
        mean, std = colour.as_channels("mean", mean, C, images.device), colour.as_channels("std", std, C, images.device)
        with torch.autocast(images.device.type, enabled=False):  # half precision would shift colours and positions
            each = images.device.type == "cpu"
            return self._run(images, size, generator, (mean, std), memory_format, dtype, each)

    def _run(
        self,
        images: Tensor,
        size: Sides,
        generator: torch.Generator,
        normalisation: tuple[Tensor, Tensor],
        memory_format: torch.memory_format,
        dtype: torch.dtype,
        each: bool,
    ) -> tuple[Tensor, Movement]:
        # `each`: sample by sample in cache, as suits a CPU; else everything at once, without waiting for the device
        _, H, W, C = images.shape
        mean, std = normalisation
        device = images.device
        draws = Draws(len(images), generator, device)
        if generator.device.type != device.type:
            seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
            generator = torch.Generator(device).manual_seed(int(seed))
        way = geometry.resampling(self.effects, each)
        start = (H, W)
        if RandomCrop not in self.effects and way != "boxes":
            start = size if way == "whole" else (min(H, 2 * size[0]), min(W, 2 * size[1]))
        images = resample.resize(images, start)
        plan = geometry.draw(self.effects, way, draws, start, size)
        movement = Movement(way, plan, start, size, self.padding, _tuple(self.fill), each)
        levels = movement.levels(C, device)
        fill = levels if movement.filled else None
        colours = colour.ColourMap(self.effects, draws, C, mean, std, fill)
        noisy = get(self.effects, GaussianNoise)

        def pixels(rows: slice) -> Tensor:
            return movement.pixels(images, rows, fill)

        def finish(out: Tensor, rows: slice, planar: bool) -> None:
            if noisy:
                chosen = draws.chosen("gaussian_noise", noisy.p)[rows]
                noise.add_noise(out, noisy, chosen, std, generator, planar, each)
            if noisy or colours.changes:
                colour.clip(out, colours.low, colours.high, planar)

        out = assemble(len(images), C, size, pixels, colours, finish, device, memory_format, dtype)
        erasing = get(self.effects, RandomErasing)
        if erasing:
            noise.erase(out, erasing, draws, generator, each)
        for function in self.custom:
            out = call_custom(function, out, generator)
        return out, movement


@torch.no_grad()
def normalise(
    images: UInt8[Tensor, "B H W C"],
    size: Sides | None = None,
    *,
    mean: Sequence[float] | Tensor = (0.0,),
    std: Sequence[float] | Tensor = (1.0,),
    memory_format: torch.memory_format = torch.channels_last,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "B C H2 W2"]:
    """The same path without randomness, for validation and prediction: resized with antialiasing, normalised.

    Args and returns as `Augmentation.__call__`.

    >>> white = torch.full((1, 2, 2, 1), 255, dtype=torch.uint8)
    >>> normalise(white, mean=[0.5], std=[0.25]).round(decimals=5).flatten().tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    B, H, W, C = check(images)
    size = (H, W) if size is None else (int(size[0]), int(size[1]))
    device = images.device
    mean, std = colour.as_channels("mean", mean, C, device), colour.as_channels("std", std, C, device)
    colours = colour.ColourMap({}, None, C, mean, std)
    resized = resample.resize(images, size)
    return assemble(B, C, size, lambda rows: resized[rows], colours, lambda *_: None, device, memory_format, dtype)


def assemble(
    B: int,
    C: int,
    size: Sides,
    pixels: Callable[[slice], Tensor],
    colours: colour.ColourMap,
    finish: Callable[[Tensor, slice, bool], None],
    device: torch.device,
    memory_format: torch.memory_format,
    dtype: torch.dtype,
) -> Tensor:
    """Works through a batch in parts that fit the cache: pixels, colours, `finish`, and the output's form.

    `pixels` gives uint8 (b, H, W, C) or float32 (b, C, H, W), in 0…255.
    """
    H, W = size
    last = memory_format == torch.channels_last
    out = torch.empty((B, H, W, C) if last else (B, C, H, W), dtype=dtype, device=device)
    result = out.permute(0, 3, 1, 2) if last else out
    for rows in chunks(B, H * W * C, device):
        part = pixels(rows)
        b = len(part)
        if part.dtype == torch.uint8:
            planar = not last
            source = part.permute(0, 3, 1, 2) if planar else part
            part = torch.empty(source.shape, device=device).copy_(source)
        else:
            planar = True
        flat = (b, C, H * W) if planar else (b, H * W, C)
        direct = dtype == torch.float32 and (planar != last or C == 1)
        # in place where the map allows it: a matrix reads all channels of a pixel for each that it writes
        inside = part if colours.matrix is None else torch.empty_like(part)
        target = (out[rows] if direct else inside).view(flat)
        colours.apply(part.view(flat), rows, target, planar)
        finish(target, rows, planar)
        if not direct:
            shaped = target.view(part.shape)
            (result if planar else out)[rows].copy_(shaped)
    return result


def chunks(batch: int, numbers: int, device: torch.device) -> Iterator[slice]:
    """Slices of a batch: parts of about CHUNK numbers on a CPU, all of it elsewhere."""
    step = max(1, CHUNK // max(1, numbers)) if device.type == "cpu" else batch
    for start in range(0, batch, max(1, step)):
        yield slice(start, min(batch, start + step))


def check(images: Tensor) -> tuple[int, int, int, int]:
    """The shape of a batch of pictures.

    Raises:
        DataError: it is not uint8 (B, H, W, C).
    """
    if images.ndim != 4 or images.dtype != torch.uint8 or 0 in images.shape[1:]:
        raise DataError(
            f"the batch is {images.dtype} of shape {tuple(images.shape)}",
            expected="uint8 pictures, (B, H, W, C)",
            fix="augment before conversion to floats",
        )
    B, H, W, C = images.shape
    return B, H, W, C


def call_custom(function: Callable[..., Tensor] | str, batch: Tensor, generator: torch.Generator) -> Tensor:
    """Calls a custom augmentation on the batch.

    Raises:
        UsageError: only its name is known, or it changed the number of samples or of axes.
    """
    if isinstance(function, str):
        raise UsageError(
            f"the custom augmentation '{function}' is known by name only",
            fix="pass it again: Augmentation(…, custom=[function])",
        )
    try:
        takes = "generator" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some builtins have no signature
        takes = False
    changed = function(batch, generator=generator) if takes else function(batch)
    if not isinstance(changed, Tensor) or changed.ndim != 4 or len(changed) != len(batch):
        found = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
        raise UsageError(
            f"it gave {found} for a batch of {tuple(batch.shape)}",
            where=f"custom augmentation {getattr(function, '__name__', type(function).__name__)}",
            expected="a batch (B, C, H, W) of as many samples",
        )
    return changed


def _tuple(fill: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(fill) if isinstance(fill, Sequence) else (fill,)
