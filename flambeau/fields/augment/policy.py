"""Which augmentation suits the pictures, chosen from the pictures, and why; presets by name.

Nothing may change what a picture is. So the default is decided by what is known of the data, and where that
says too little, by the more careful choice:

1. Names of classes: single characters, or "left" and "right": never mirrored.
2. Grey and at most 64 pixels a side, as digits and letters come: never mirrored; small moves only.
3. Otherwise the nearest-neighbour test of `flips.py`: mirrored where it passes, and not where it fails.
4. Where it cannot tell: colour photos are mirrored, but no grey pictures and none whose classes are numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import check_known
from flambeau.fields.augment.flips import CHUNK, FlipProbe, check_lengths, flip_safe, sampled
from flambeau.fields.augment.pipeline import Augmentation

if TYPE_CHECKING:
    import numpy as np

SMALL = 64
"""Pixels a side, up to which pictures are treated as small."""
COLOURED = 6.0
"""Mean distance between the channels, of 255, from which pictures count as coloured; scanned ink has 0–3."""
LIGHTING = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}
STRONG_LIGHTING = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.05, "greyscale": 0.05}
"""What the light does to photos."""
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # shapes that carry the meaning: digits, letters, drawings of one tone
    "symbols": {
        "light": {"shift": 0.05},
        # a quarter is neither turned nor zoomed: on few pixels resampling blurs what validation sees sharp
        "default": {"shift": 0.08, "rotation": {"degrees": 10, "p": 0.5}, "zoom": {"range": (0.9, 1.1), "p": 0.5}},
        "strong": {
            "shift": 0.12,
            "rotation": 15,
            "zoom": (0.8, 1.2),
            "shear": 10,
            "brightness": 0.2,
            "contrast": 0.2,
            "random_erasing": {"scale": (0.02, 0.2), "p": 0.25},
        },
    },
    # small photos: windows of a random size would cost more than they show
    "small": {
        "light": {"shift": 0.06, "padding": "reflect"},
        "default": {"shift": 0.125, "padding": "reflect", "brightness": 0.1, "contrast": 0.1},
        "strong": {
            "shift": 0.125,
            "rotation": 10,
            "zoom": (0.85, 1.15),
            "padding": "reflect",
            "brightness": 0.3,
            "contrast": 0.3,
            "saturation": 0.3,
            "hue": 0.03,
            "random_erasing": {"p": 0.25},
        },
    },
    # things with boxes or masks: seen larger and smaller, whole or cut, in their proportions
    "scenes": {
        "light": {"large_scale_jitter": (0.8, 1.2), "brightness": 0.1, "contrast": 0.1},
        "default": {"large_scale_jitter": (0.5, 1.5), **LIGHTING},
        "strong": {"large_scale_jitter": (0.4, 2.0), **STRONG_LIGHTING, "mosaic": 0.5, "copy_paste": 0.5},
    },
    "photos": {
        "light": {"random_resized_crop": (0.7, 1.0), "brightness": 0.1, "contrast": 0.1},
        "default": {"random_resized_crop": (0.35, 1.0), **LIGHTING},
        "strong": {
            "random_resized_crop": (0.2, 1.0),
            "rotation": 10,
            "padding": "reflect",
            **STRONG_LIGHTING,
            "random_erasing": {"p": 0.25},
        },
    },
}
POLICIES = ("randaugment", "trivialaugment")
"""Those that choose operations anew for each sample."""
LEVELS = ("none", "light", "default", "auto", "strong", *POLICIES)
SPELLED = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}


@dataclass(frozen=True)
class PictureStatistics:
    """What the choice of an augmentation rests on; see `picture_statistics`.

    Attributes:
        height, width: of the pictures.
        chroma: mean distance between the largest and the smallest channel, 0…255; 0 for grey ones.
        classes: names of the classes, empty where the target is no class.
        probe: what the test of mirrored pictures found, None where it was not made.
        number: whether the target is a number rather than a class.
        things: whether the target is of things in the picture, such as boxes and masks.
    """

    height: int
    width: int
    chroma: float
    classes: tuple[str, ...] = ()
    probe: FlipProbe | None = None
    number: bool = False
    things: bool = False


def picture_statistics(
    images: Tensor | np.ndarray,
    labels: Tensor | Sequence[Any] | np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    things: bool = False,
) -> PictureStatistics:
    """Looks at a sample of training pictures.

    Args:
        images: uint8 (N, H, W, C); of more than 2,000, some are picked, always the same.
        labels: class numbers (N); numbers with fractions are taken as a number to predict, a matrix as several labels a
            picture; None if there are none.
        classes: names of the classes.
        things: whether the target is of things in the picture, such as boxes and masks.

    Raises:
        DataError: as many labels as images are needed.
    """
    sample = sampled(images)
    _, H, W, C = sample.shape
    chroma = 0.0
    if C == 3:
        pooled = (min(H, 16), min(W, 16))
        parts = sample.permute(0, 3, 1, 2).split(CHUNK)  # floats of all pictures at once would take gigabytes
        small = torch.cat([F.adaptive_avg_pool2d(part.float(), pooled) for part in parts])
        chroma = (small.amax(1) - small.amin(1)).mean().item()
    names = tuple(str(c) for c in classes) if classes is not None else ()
    if labels is None:
        return PictureStatistics(H, W, chroma, names, things=things)
    check_lengths(images, labels)
    targets = sampled(labels)
    if targets.is_floating_point() and targets.ndim == 1:
        return PictureStatistics(H, W, chroma, number=True)
    if targets.ndim != 1:
        return PictureStatistics(H, W, chroma, names)
    return PictureStatistics(H, W, chroma, names, flip_safe(sample, targets, classes=classes))


def default_policy(statistics: PictureStatistics, level: str = "default") -> tuple[Augmentation, str]:
    """The augmentation for pictures like these, and one sentence that says why.

    Args:
        statistics: from `picture_statistics`.
        level: "none", "light", "default" (or "auto"), "strong", "randaugment" or "trivialaugment".

    Raises:
        UsageError: no such level.
    """
    kind = kind_of(statistics)
    flip, why = may_flip(statistics)
    if level == "none":
        return preset("none"), "no augmentation, as asked."
    words = {"symbols": "shapes such as digits and letters", "small": "small photos", "photos": "photos",
             "scenes": "scenes of things, which are seen larger and smaller"}  # fmt: skip
    verdict = "mirrored" if flip else "not mirrored"
    tone = "coloured" if statistics.chroma >= COLOURED else "grey"
    size = f"{statistics.width}×{statistics.height}"
    reason = f"The pictures are {tone}, {size}, so treated as {words[kind]}; {verdict}, because {why}."
    return preset(level, kind=kind, flip=flip), reason


def kind_of(statistics: PictureStatistics) -> str:
    """A kind of PRESETS: "scenes", "symbols", "small" or "photos" for these pictures."""
    if statistics.things:
        return "scenes"
    small = max(statistics.height, statistics.width) <= SMALL
    if characters(statistics.classes) or (small and statistics.chroma < COLOURED):
        return "symbols"
    return "small" if small else "photos"


def may_flip(statistics: PictureStatistics) -> tuple[bool, str]:
    """Whether left and right may be exchanged, and a clause that says why."""
    probe, coloured = statistics.probe, statistics.chroma >= COLOURED
    if statistics.number:
        return False, "the number to predict may depend on the side"
    if characters(statistics.classes):
        return False, "the classes are called by single characters or digits"
    sided = [c for c in statistics.classes if re.search(r"(?i)(?<![a-z])(left|right)(?![a-z])|[左右]", c)]
    if sided:
        return False, f"a class is called '{sided[0]}'"
    if not coloured and max(statistics.height, statistics.width) <= SMALL:
        return False, "small grey pictures may be digits or letters"
    if probe is not None and probe.safe is not None:
        return probe.safe, probe.why
    untold = probe.why if probe is not None else "there are no classes to test it by"
    if coloured and not numbered(statistics.classes):
        return True, f"colour photos have no handedness as a rule ({untold})"
    return False, f"it may change what they are ({untold})"


def characters(classes: Sequence[str]) -> bool:
    """Whether classes are called by single letters or characters, or by words for digits."""
    if len(classes) < 2:
        return False
    single = sum((len(c) == 1 and not c.isdigit()) or c.lower() in SPELLED for c in classes)
    return single >= 0.8 * len([c for c in classes if not c.isdigit()]) > 0


def numbered(classes: Sequence[str]) -> bool:
    """Whether classes are called by numbers, which may be the digits themselves or mean nothing."""
    return len(classes) > 0 and sum(c.isdigit() for c in classes) >= 0.8 * len(classes)


def preset(name: str, *, kind: str = "symbols", flip: bool = False) -> Augmentation:
    """A preset by name.

    Args:
        name: "none", "light", "default" (or "auto"), "strong", "randaugment" or "trivialaugment".
        kind: "symbols" (safe for all pictures), "small" (photos of up to 64 pixels), "photos", or "scenes" (with boxes
            or masks).
        flip: whether half of the pictures are mirrored.

    Raises:
        UsageError: no such preset or kind.

    >>> preset("light")
    Augmentation(shift=Shift(fraction=0.05, p=1.0))
    """
    check_known("no augmentation is called", [name], LEVELS)
    check_known("no kind of pictures is called", [kind], PRESETS)
    if name == "none":
        return Augmentation()
    if name in POLICIES:
        # as both papers have it, after a window of a random size where the pictures are large enough for one
        window = {"random_resized_crop": (0.35, 1.0)} if kind == "photos" else {}
        settings: dict[str, Any] = {name: True, **window}
    else:
        settings = PRESETS[kind]["default" if name == "auto" else name]
    return Augmentation.from_dict({"horizontal_flip": 0.5, **settings} if flip else settings)


def choose(
    images: Tensor | np.ndarray,
    labels: Tensor | Sequence[Any] | np.ndarray | None = None,
    *,
    classes: Sequence[str] | None = None,
    level: str = "default",
    things: bool = False,
) -> tuple[Augmentation, str]:
    """The augmentation for a sample of training pictures, and one sentence that says why.

    `default_policy(picture_statistics(images, labels, classes, things), level)`: see there.
    """
    return default_policy(picture_statistics(images, labels, classes, things), level)
