"""RandAugment and TrivialAugment: which operations each sample gets and how strong, decided for the batch at once.

The fourteen operations of both papers are our effects, at the strengths that torchvision gives them; what is drawn here
takes the place of what each effect would draw. So they are carried out as the effects are: one resampling, one table of
levels, one colour matrix, one filter, in that order, where the papers' code applies one after the other in a random
order. RandAugment draws its operations without replacement: one that came twice would be one of twice the strength.

- E. Cubuk, B. Zoph, J. Shlens, Q. Le: RandAugment, 2019, arXiv:1909.13719.
- S. Müller, F. Hutter: TrivialAugment, 2021, arXiv:2103.10158 (its "wide" space).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.fields.augment.draws import Draws
from flambeau.fields.augment.effects import EFFECTS, Effect, RandAugment, TrivialAugment, get

OPERATIONS = (
    "identity", "shear", "vertical_shear", "shift_x", "shift_y", "rotation", "brightness", "saturation", "contrast",
    "sharpness", "posterize", "solarize", "autocontrast", "equalise",
)  # fmt: skip
THEIRS = ("shift", *(name for name in OPERATIONS if name in EFFECTS))
"""The effects that they decide of."""
STRONGEST = 30
"""The largest magnitude."""


@dataclass(frozen=True)
class Space:
    """Strengths at the largest magnitude: the tangent of a shear, the share of the side of a shift, degrees, the
    distance of a factor to 1, and bits that are lost."""

    shear: float
    shift: float
    degrees: float
    factor: float
    bits: int


RAND = Space(shear=0.3, shift=150 / 331, degrees=30, factor=0.9, bits=4)
WIDE = Space(shear=0.99, shift=32 / 224, degrees=135, factor=0.99, bits=6)


def with_theirs(active: dict[type[Effect], Effect]) -> dict[type[Effect], Effect]:
    """The effects that are on, and those that RandAugment or TrivialAugment makes use of.

    Raises:
        UsageError: both are on, or one of their effects is on as well.
    """
    asked = [name for name in ("randaugment", "trivialaugment") if EFFECTS[name] in active]
    if not asked:
        return active
    if len(asked) > 1:
        raise UsageError("randaugment and trivialaugment both choose the operations", fix="keep one of them")
    for name in THEIRS:
        if EFFECTS[name] in active:
            raise UsageError(f"{name} is one of the operations of {asked[0]} already", fix="keep one of them")
    return {**active, **{EFFECTS[name]: EFFECTS[name](p=1.0) for name in THEIRS}}  # type: ignore[call-arg]


def decide(active: Mapping[type[Effect], Effect], draws: Draws) -> None:
    """Draws operations and strengths for each sample, where one of both is on."""
    rand, trivial = get(active, RandAugment), get(active, TrivialAugment)
    if rand:
        ranked = draws.values("randaugment")
        bound = ranked.kthvalue(rand.num_ops, dim=1, keepdim=True).values
        chosen = (ranked <= bound) & draws.chosen("randaugment", rand.p)[:, None]
        share = torch.full_like(ranked, rand.magnitude / STRONGEST)
        _write(draws, RAND, chosen, share, signs(ranked))
    if trivial:
        which, share = draws.values("trivialaugment").unbind(1)
        count = len(OPERATIONS)
        numbers = torch.arange(count, device=which.device)
        chosen = (which * count).long()[:, None] == numbers
        chosen &= draws.chosen("trivialaugment", trivial.p)[:, None]
        share = (share * (STRONGEST + 1)).floor() / STRONGEST  # as many steps as torchvision has
        _write(draws, WIDE, chosen, share[:, None].expand(-1, count), signs(which[:, None].expand(-1, count)))


def signs(uniform: Tensor) -> Tensor:
    """1 or -1, from bits of uniform numbers in [0, 1) that their order hardly depends on."""
    return 1 - 2 * (uniform * 4096).long().bitwise_and(1)


def _write(draws: Draws, space: Space, chosen: Tensor, share: Tensor, sign: Tensor) -> None:
    """What each effect is to be, from which operations each sample gets, how far and which way, (B, 14) each."""
    on, far, way = (dict(zip(OPERATIONS, part.unbind(1), strict=True)) for part in (chosen, share, sign))
    x, y = (torch.where(on[name], way[name] * far[name] * space.shift, 0.0) for name in ("shift_x", "shift_y"))
    amounts = {name: 1 + way[name] * far[name] * space.factor
               for name in ("brightness", "saturation", "contrast", "sharpness")}  # fmt: skip
    amounts |= {name: torch.rad2deg(torch.atan(way[name] * far[name] * space.shear))
                for name in ("shear", "vertical_shear")}  # fmt: skip
    amounts |= {
        "shift": torch.stack([x, y], 1),
        "rotation": way["rotation"] * far["rotation"] * space.degrees,
        "posterize": 8 - (far["posterize"] * space.bits).round(),
        "solarize": 1 - far["solarize"],
    }
    gates = {name: on[name] for name in OPERATIONS if name in EFFECTS} | {"shift": on["shift_x"] | on["shift_y"]}
    draws.amounts.update(amounts)
    draws.gates.update(gates)
