"""From gathered bytes to the model's input in one path: `Augmentation` in training, `normalise` elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import DataError, UsageError, check_known, nearest, shown
from flambeau.core.shapes import Float, UInt8
from flambeau.fields.augment import bend, colour, geometry, groups, noise, operations, resample
from flambeau.fields.augment.assemble import assemble
from flambeau.fields.augment.draws import Draws
from flambeau.fields.augment.effects import (
    EFFECTS,
    CopyPaste,
    Effect,
    GaussianNoise,
    Mosaic,
    RandomCrop,
    RandomErasing,
    get,
    make,
)
from flambeau.fields.augment.filters import Filters
from flambeau.fields.augment.geometry import Sides
from flambeau.fields.augment.groups import Group
from flambeau.fields.augment.movement import Movement
from flambeau.fields.augment.tone import Tone

Settings = Mapping[str, Any]
Setting = Effect | float | Sequence[float] | Settings | None
"""What `effects.make` takes for an effect."""


@dataclass(repr=False)
class Augmentation:
    """Random changes to whole batches of pictures on their device; everything is off unless it is given.

    A number gives an effect's strength (its probability, where it has no strength), a mapping its settings,
    True its defaults: `Augmentation(horizontal_flip=0.5, rotation=10, brightness={"strength": 0.4, "p":
    0.8})`.

    Pictures are moved (one resampling, see `geometry.draw`), then changed in colour: tones (`tone.Tone`), one matrix
    (`colour.ColourMap`), filters (`filters.Filters`), noise; at last parts are erased.

    Args:
        together: groups of effects of which a sample gets all or none, see `groups.together`.
        one_of: groups of which a sample gets one, see `groups.one_of`.
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

    horizontal_flip: Setting = None
    vertical_flip: Setting = None
    rotation: Setting = None
    shift: Setting = None
    zoom: Setting = None
    shear: Setting = None
    vertical_shear: Setting = None
    perspective: Setting = None
    elastic: Setting = None
    random_crop: Setting = None
    random_resized_crop: Setting = None
    large_scale_jitter: Setting = None
    brightness: Setting = None
    contrast: Setting = None
    saturation: Setting = None
    hue: Setting = None
    greyscale: Setting = None
    autocontrast: Setting = None
    equalise: Setting = None
    solarize: Setting = None
    posterize: Setting = None
    blur: Setting = None
    sharpness: Setting = None
    gaussian_noise: Setting = None
    random_erasing: Setting = None
    mosaic: Setting = None
    copy_paste: Setting = None
    randaugment: Setting = None
    trivialaugment: Setting = None
    together: Sequence[Group | Settings] | Settings = ()
    one_of: Sequence[Group | Settings] | Settings = ()
    padding: str = "constant"
    fill: float | Sequence[float] = 0.0
    custom: Sequence[Callable[..., Tensor] | str] = ()
    effects: dict[type[Effect], Effect] = field(init=False, repr=False, compare=False)
    grouped: tuple[Sequence[Group], Sequence[Group]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in EFFECTS:
            setattr(self, name, make(name, getattr(self, name)))
        self.grouped = groups.together(self.together), groups.one_of(self.one_of)
        self.together, self.one_of = self.grouped
        given = {name: effect for name in EFFECTS if (effect := getattr(self, name)) is not None}
        for group in (*self.grouped[0], *self.grouped[1]):
            for name in group.effects:
                if EFFECTS[name] in (Mosaic, CopyPaste):
                    raise UsageError(f"{name} mixes samples, which no group is drawn for", fix="give it by itself")
                if name in given:
                    raise UsageError(f"{name} is given twice", fix="keep it in one group, or outside of them")
            given |= group.effects
        self.effects = operations.with_theirs({type(effect): effect for effect in given.values() if effect.p > 0})
        if self.padding not in resample.PADDINGS:
            raise UsageError(f"padding is {shown(self.padding)}", fix=nearest(str(self.padding), resample.PADDINGS))
        self.fill = self.fill if isinstance(self.fill, (int, float)) else tuple(self.fill)
        if not all(0 <= f <= 1 for f in _tuple(self.fill)):
            raise UsageError(f"fill is {shown(self.fill)}", expected="numbers within 0…1")
        windows = [name for name in geometry.WINDOWS if EFFECTS[name] in self.effects]
        if len(windows) > 1:
            raise UsageError(f"{' and '.join(windows)} both choose the window", fix="keep one of them")
        self.custom = tuple(self.custom)

    def __repr__(self) -> str:
        given = [f"{name}={getattr(self, name)!r}" for name in self.to_dict()]
        return f"Augmentation({', '.join(given)})"

    def to_dict(self) -> dict[str, Any]:
        """What is on, as plain JSON; custom callables by name."""
        state: dict[str, Any] = {name: e.to_dict() for name in EFFECTS if (e := getattr(self, name)) is not None}
        for name, made in zip(("together", "one_of"), self.grouped, strict=True):
            if made:
                state[name] = [group.to_dict() for group in made]
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
        check_known("no augmentation is called", state, [f.name for f in fields(cls) if f.init])
        return cls(**state)

    @property
    def mixes(self) -> bool:
        """Whether pictures are made of several; see `mixing.mix`, which comes after all else."""
        return Mosaic in self.effects or CopyPaste in self.effects

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
        each: bool | None = None,
        things: Tensor | None = None,
    ) -> tuple[Tensor, Movement]:
        """The same, and how the pictures were moved, which what lies on the same grid can follow. Custom callables are
        taken to move nothing.

        Args:
            each: work sample by sample in cache, as suits a CPU, or on everything at once, without waiting for the
                device; as suits the device, if not given.
            things: float32 (B, N, 4): boxes in the pictures, left, top, right and bottom in 0…1, of no area where there
                are fewer: what crops may be asked to keep.
        """
        _, H, W, C = check(images)
        size = (H, W) if size is None else (int(size[0]), int(size[1]))
        mean, std = colour.as_channels("mean", mean, C, images.device), colour.as_channels("std", std, C, images.device)
        each = images.device.type == "cpu" if each is None else each
        with torch.autocast(images.device.type, enabled=False):  # half precision would shift colours and positions
            device = images.device
            draws = Draws(len(images), generator, device, further=2 * bend.control_points(self.effects) ** 2)
            generator = draws.generator
            groups.gate(draws, *self.grouped)
            operations.decide(self.effects, draws)
            way = geometry.resampling(self.effects, each, self.padding)
            start = (H, W)
            if RandomCrop not in self.effects and way != "boxes":
                start = size if way == "whole" else (min(H, 2 * size[0]), min(W, 2 * size[1]))
            images = resample.resize(images, start)
            plan = geometry.draw(self.effects, way, draws, start, size, things)
            movement = Movement(way, plan, start, size, self.padding, _tuple(self.fill), each)
            levels = movement.levels(C, device)
            fill = levels if movement.filled else None
            tone, filters = Tone(self.effects, draws, each), Filters(self.effects, draws, each)
            colours = colour.ColourMap(self.effects, draws, C, mean, std, None if tone else fill)
            noisy = get(self.effects, GaussianNoise)

            def pixels(rows: slice) -> Tensor:
                moved = movement.pixels(images, rows, fill)
                if not tone:
                    return moved
                planar = moved.dtype != torch.uint8
                return tone.apply(moved if fill is None else moved + fill[:, None, None], rows, planar)

            def finish(out: Tensor, rows: slice, planar: bool) -> None:
                if filters:
                    filters.apply(out.unflatten(2, size) if planar else out.unflatten(1, size), rows, planar)
                if noisy:
                    chosen = draws.chosen("gaussian_noise", noisy.p)[rows]
                    noise.add_noise(out, noisy, chosen, std, generator, planar, each)
                if noisy or filters or colours.changes:
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
    if torch.compiler.is_exporting():  # a graph has no parts that would hang on the batch
        planes = images.permute(0, 3, 1, 2).float() * (1 / (255 * std)).view(-1, 1, 1)
        return planes - (mean / std).view(-1, 1, 1)
    colours = colour.ColourMap({}, None, C, mean, std)
    resized = resample.resize(images, size)
    return assemble(B, C, size, lambda rows: resized[rows], colours, lambda *_: None, device, memory_format, dtype)


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
