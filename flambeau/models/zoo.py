"""Models of other packages that say something of each place in a picture, by name: a `Shelf` for each package and
layout of the output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flambeau.models.detection import torchvision_zoo
from flambeau.models.segmentation import smp_zoo
from flambeau.models.spec import Built, InputSpec
from flambeau.models.vision import transformers_zoo

Maker = Callable[[str, InputSpec, int, bool | str | Path | None, dict[str, Any]], Built]


@dataclass(frozen=True)
class Shelf:
    """Models of a package that have one layout.

    Attributes:
        source: what stands before the colon of a name.
        layout: of their output, as in `OutputSpec`.
        has: whether a name, with its options, is of one of them.
        make: one of them: name, spec, size of the output, weights, options.
        names: those that can be listed, behind the colon.
        masks: the side of the mask that it wants each box to have, by name; None for none.
        note: a clause on all of them.
    """

    source: str
    layout: str
    has: Callable[[str, Mapping[str, Any]], bool]
    make: Maker
    names: Callable[[], list[str]]
    masks: Callable[[str], int | None] = lambda name: None
    note: str = ""


SHELVES = (
    Shelf(
        "torchvision", "boxes", lambda name, options: name in torchvision_zoo.names(), torchvision_zoo.build_detector,
        torchvision_zoo.names, torchvision_zoo.masks, "boxes in pictures, its loss inside; backbone=timm:… for another",
    ),
    Shelf(
        "smp", "dense", lambda name, options: name in smp_zoo.NAMES, smp_zoo.build_smp, lambda: [*smp_zoo.NAMES],
        note="masks of pictures; encoder=resnet34, or timm:…",
    ),
    *(  # folders are not listed
        Shelf("hf", layout, partial(transformers_zoo.is_one, layout), transformers_zoo.build_transformers, list)
        for layout in ("boxes", "dense")
    ),
)  # fmt: skip


def shelf_of(source: str, name: str, options: Mapping[str, Any] = {}) -> Shelf | None:
    """Where a model is, if it is on one."""
    return next((one for one in SHELVES if one.source == source and one.has(name, options)), None)
