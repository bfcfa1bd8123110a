"""The settings of each augmentation: how strong, and how probable. Plain data, checked when made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

from flambeau.core.errors import UsageError, check_known, nearest, shown

FILLS = ("mean", "noise")


@dataclass(frozen=True)
class Effect:
    """One augmentation. Each sample gets it with probability `p`, at a strength of its own."""

    def __post_init__(self) -> None:
        self.require("p", 0, 1)
        for setting in fields(self):
            value, limits = getattr(self, setting.name), setting.metadata
            pair = limits.get("pair") if isinstance(value, (int, float)) else None
            value = tuple(value) if isinstance(value, list) else pair(value) if pair else value
            object.__setattr__(self, setting.name, value)
            if limits:
                self.require(setting.name, limits["low"], limits["high"])
        self.check()

    @property
    def p(self) -> float:
        raise NotImplementedError

    def check(self) -> None:
        """Raises UsageError where settings do not fit one another."""

    def require(self, name: str, low: float, high: float) -> None:
        """The setting `name`, a number or a pair (smaller, larger), lies within low…high."""
        value = getattr(self, name)
        pair = isinstance(value, tuple)
        numbers = value if pair else (value,)
        fits = all(isinstance(v, (int, float)) and not isinstance(v, bool) and low <= v <= high for v in numbers)
        if not fits or (pair and (len(value) != 2 or value[0] > value[1])):
            form = "a pair (smaller, larger)" if pair else "a number"
            raise UsageError(
                f"{name} is {shown(value)}", where=type(self).__name__, expected=f"{form} within {low:g}…{high:g}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


E = TypeVar("E", bound=Effect)
EFFECTS: dict[str, type[Effect]] = {}
"""All of them by name."""


@dataclass_transform(frozen_default=True)
def effect(name: str) -> Callable[[type[E]], type[E]]:
    """A decorator that makes a dataclass of an effect's settings, and enters it in EFFECTS."""

    def enter(kind: type[E]) -> type[E]:
        EFFECTS[name] = made = dataclass(frozen=True)(kind)
        return made

    return enter


def within(low: float, high: float, default: Any, pair: Callable[[float], tuple[float, float]] | None = None) -> Any:
    """A setting, a number or a pair (smaller, larger), within low…high; `pair` makes one of a number alone."""
    return field(default=default, metadata={"low": low, "high": high, "pair": pair})


@effect("horizontal_flip")
class HorizontalFlip(Effect):
    """Left and right exchanged."""

    p: float = 0.5


@effect("vertical_flip")
class VerticalFlip(Effect):
    """Top and bottom exchanged."""

    p: float = 0.5


@effect("rotation")
class Rotation(Effect):
    """Turned about the middle by an angle uniform in ±degrees, counter-clockwise where positive."""

    degrees: float = within(0, 180, 10.0)
    p: float = 1.0


@effect("shift")
class Shift(Effect):
    """Moved along each axis by whole pixels, uniform in ±fraction of the side; alone or with flips it is exact."""

    fraction: float = within(0, 0.5, 0.1)
    p: float = 1.0


@effect("zoom")
class Zoom(Effect):
    """Magnified about the middle by a factor uniform in `range`. A number s means 1 ± s."""

    range: tuple[float, float] = within(0.05, 20, (0.9, 1.1), lambda s: (1 - s, 1 + s))
    p: float = 1.0


@effect("shear")
class Shear(Effect):
    """Slanted sideways, as italics are, by an angle uniform in ±degrees."""

    degrees: float = within(0, 80, 10.0)
    p: float = 1.0


@effect("vertical_shear")
class VerticalShear(Effect):
    """Slanted up and down by an angle uniform in ±degrees."""

    degrees: float = within(0, 80, 10.0)
    p: float = 1.0


@effect("perspective")
class Perspective(Effect):
    """Seen from aside: each corner moved inwards by up to `distortion` of half a side, as torchvision draws it."""

    distortion: float = within(0, 0.9, 0.3)
    p: float = 1.0


@effect("elastic")
class Elastic(Effect):
    """Bent like rubber (Simard et al. 2003, "Best practices for convolutional neural networks").

    Every pixel is displaced by a smooth random field of deviation `strength`, whose bumps are about `smooth` wide:
    both are shares of the side.
    """

    strength: float = 0.02
    smooth: float = within(0.02, 1, 0.1)
    p: float = 1.0

    def check(self) -> None:
        self.require("strength", 0, 0.3 * self.smooth + 1e-9)  # beyond it the picture folds over itself


@effect("random_crop")
class RandomCrop(Effect):
    """A window of the output's size, at a random whole-pixel place of the picture padded by `padding`."""

    padding: int = within(0, 4096, 4)
    p: float = 1.0


@effect("random_resized_crop")
class RandomResizedCrop(Effect):
    """A window of random area (share of the picture) and shape (width / height), resized to the output.

    Sampled as in torchvision: area uniform, log of the ratio uniform, ten tries, whole pixels (Szegedy et al.
    2015, arXiv:1409.4842, section 6). Where things have boxes in the picture, `keep` is the least share of one of them
    that the window shows, so that it never misses all (Liu et al. 2016, arXiv:1512.02325, section 2.2, with the share
    of the box in place of the IoU, which small things never reach): a try that does not is not taken, and of a picture
    that none of the tries suits all is shown.
    """

    scale: tuple[float, float] = within(0.001, 1, (0.35, 1.0), lambda s: (s, 1.0))
    ratio: tuple[float, float] = within(0.05, 20, (3 / 4, 4 / 3))
    p: float = 1.0
    keep: float = within(0, 1, 0.0)


@effect("large_scale_jitter")
class LargeScaleJitter(Effect):
    """Resized by a factor uniform in `scale`, proportions kept, then a window of the output's size at a random place:
    a part of the picture, or all of it with padding about it (Ghiasi et al. 2021, arXiv:2012.07177, with 0.1…2).

    Below a half it does not antialias.
    """

    scale: tuple[float, float] = within(0.05, 20, (0.5, 1.5), lambda s: (1 - s, 1 + s))
    p: float = 1.0


@effect("brightness")
class Brightness(Effect):
    """All channels times a factor uniform in 1 ± strength."""

    strength: float = within(0, 10, 0.2)
    p: float = 1.0


@effect("contrast")
class Contrast(Brightness):
    """Distances to the picture's own mean grey times a factor uniform in 1 ± strength."""


@effect("saturation")
class Saturation(Brightness):
    """Distances of each pixel to its own grey times a factor uniform in 1 ± strength. Three channels only."""


@effect("hue")
class Hue(Effect):
    """Colours turned about the grey axis by ±strength of the full turn, uniform. Three channels only."""

    strength: float = within(0, 0.5, 0.05)
    p: float = 1.0


@effect("greyscale")
class Greyscale(Effect):
    """Each channel replaced by the pixel's grey. Three channels only."""

    p: float = 0.1


@effect("autocontrast")
class Autocontrast(Effect):
    """Each channel stretched so that its darkest number is 0 and its brightest the largest."""

    p: float = 0.2


@effect("equalise")
class Equalise(Effect):
    """Each channel's brightnesses spread so that all are about as frequent (histogram equalisation)."""

    p: float = 0.2


@effect("solarize")
class Solarize(Effect):
    """What is at least as bright as `threshold` (0…1) is inverted."""

    p: float = 0.2
    threshold: float = within(0, 1, 0.5)


@effect("posterize")
class Posterize(Effect):
    """Only the `bits` highest of the eight bits of each number are kept."""

    p: float = 0.2
    bits: int = within(1, 8, 4)


@effect("blur")
class Blur(Effect):
    """Blurred by a Gaussian whose deviation in pixels is uniform in `sigma`. A number s means 0.1…s."""

    sigma: tuple[float, float] = within(0.01, 50, (0.1, 2.0), lambda s: (min(0.1, s), s))
    p: float = 0.5


@effect("sharpness")
class Sharpness(Brightness):
    """Distances of each pixel to the mean of its neighbours times a factor uniform in 1 ± strength."""


@effect("gaussian_noise")
class GaussianNoise(Effect):
    """Independent normal noise of deviation `sigma` in 0…1 units, then clipped to that range."""

    sigma: float = within(0, 1, 0.05)
    p: float = 0.5


@effect("random_erasing")
class RandomErasing(Effect):
    """A rectangle of random area (share of the picture) and shape (height / width) replaced by `fill`.

    `fill` is "mean" (the colour that normalises to 0) or "noise" (standard normal after normalisation).
    Zhong et al. 2017, arXiv:1708.04896; sampled as in torchvision.
    """

    scale: tuple[float, float] = within(0, 1, (0.02, 0.33), lambda s: (min(0.02, s), s))
    ratio: tuple[float, float] = within(0.05, 20, (0.3, 3.3))
    fill: str = "mean"
    p: float = 0.25

    def check(self) -> None:
        if self.fill not in FILLS:
            raise UsageError(f"fill is {shown(self.fill)}", where="RandomErasing", fix=nearest(str(self.fill), FILLS))


@effect("mosaic")
class Mosaic(Effect):
    """Four pictures of the batch that meet at a point near the middle, each made smaller or cut to fill its quarter,
    with what has a place in them (Bochkovskiy et al. 2020, arXiv:2004.10934). For boxes and masks; after all that
    changes one picture."""

    p: float = 0.5


@effect("copy_paste")
class CopyPaste(Effect):
    """A `share` of the things of another picture of the batch, each drawn on its own, pasted where they were there;
    boxes of which they leave too little are gone (Ghiasi et al. 2021, arXiv:2012.07177). Things are cut out by their
    own masks where they have some, else by their boxes; of a mask, all but the most frequent of a picture's classes are
    things. After mosaic."""

    p: float = 0.5
    share: float = within(0, 1, 0.5)


@effect("randaugment")
class RandAugment(Effect):
    """`num_ops` different operations of fourteen for each sample, all of one `magnitude` of 0…30.

    Cubuk et al. 2019, arXiv:1909.13719; see `flambeau.fields.augment.operations`.
    """

    magnitude: float = within(0, 30, 9.0)
    num_ops: int = within(1, 13, 2)
    p: float = 1.0


@effect("trivialaugment")
class TrivialAugment(Effect):
    """One operation of fourteen for each sample, of a magnitude of its own, from none to more than RandAugment's.

    Müller & Hutter 2021, arXiv:2103.10158; see `flambeau.fields.augment.operations`.
    """

    p: float = 1.0


def get(active: Mapping[type[Effect], Effect], kind: type[E]) -> E | None:
    """The effect of that kind, None where it is off."""
    return active.get(kind)  # type: ignore[return-value]


def make(name: str, value: Any) -> Effect | None:
    """The effect called `name` from what a user may write for it.

    None or False: off. True: its defaults. A number or a pair: its first setting (the strength, or the
    probability where there is no other). A mapping: settings by name. An effect: itself.

    Raises:
        UsageError: a setting that the effect does not have, or a value that does not fit.

    >>> make("rotation", 15)
    Rotation(degrees=15, p=1.0)
    >>> make("brightness", {"strength": 0.4, "p": 0.8})
    Brightness(strength=0.4, p=0.8)
    """
    kind = EFFECTS[name]
    if value is None or value is False:
        return None
    if value is True:
        return kind()
    if type(value) is kind:
        return value
    if isinstance(value, Mapping):
        check_known("no setting is called", value, [setting.name for setting in fields(kind)], name)
        return kind(**value)
    if isinstance(value, (int, float)) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return kind(value)  # type: ignore[call-arg]
    raise UsageError(
        f"the setting is {shown(value)}", where=name, expected=f"a number, a mapping of settings, or {kind.__name__}(…)"
    )
