"""What makes an input of a sharp picture: blur, fewer pixels (bicubic), noise and JPEG, of whole batches on the device.

The chain of Wang et al. 2021, "Real-ESRGAN", arXiv:2107.10833, once and without its sinc filters. The JPEG is the
standard's tables on blocks of 8×8, in floats and without thinned colours, so that it runs where the pictures are.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError, check_known
from flambeau.core.registry import Asked, name_and_options
from flambeau.core.shapes import Float
from flambeau.fields.augment.filters import blurred
from flambeau.fields.picture.colour_spaces import YCBCR, convert

LUMA_TABLE = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
"""ITU-T T.81, annex K."""
REACH = 3  # deviations of a blur that its kernel has


@dataclass(frozen=True)
class Degradation:
    """How a sharp picture is spoilt; the strengths are the greatest, and each picture draws its own.

    Attributes:
        task: that it is for, a name of TASKS below.
        scale: pixels of the sharp picture a side for one of the input.
        blur: the deviation of a Gaussian, in pixels of the sharp picture.
        noise: the deviation of normal noise, where white is 1.
        jpeg: the lowest quality, 1…99, of JPEG; 0 for none.
        grey: whether the input has no colours.

    Raises:
        UsageError: a strength is none.
    """

    task: str
    scale: int = 1
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    grey: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.blur <= 16 and 0 <= self.noise <= 1 and 0 <= self.jpeg < 100 and 1 <= self.scale <= 8):
            raise UsageError(f"such pictures cannot be made: {self}", expected="blur 0…16, noise 0…1, jpeg 0…99, scale "
                             "1…8")  # fmt: skip

    @classmethod
    def of(cls, asked: Asked) -> Degradation:
        """By the name of a task, with options or without.

        Raises:
            UsageError: there is no such task, or it has no such option.
        """
        name, options = name_and_options(asked)
        check_known("no task on sharp pictures is called", [name], TASKS)
        check_known(f"{name} has no option", options, TASKS[name] | {"blur": 0, "noise": 0, "jpeg": 0})
        try:
            return cls(name, **{**TASKS[name], **options})
        except TypeError:
            raise UsageError(f"the options of {name} do not fit: {options}", expected="numbers") from None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, which `of` takes."""
        usual = asdict(Degradation(self.task))
        return {"name": self.task, **{n: v for n, v in asdict(self).items() if n != "grey" and v != usual[n]}}

    @property
    def random(self) -> bool:
        """Whether it draws."""
        return bool(self.blur or self.noise or self.jpeg)

    def __call__(self, sharp: Float[Tensor, "B C H W"], generator: torch.Generator) -> Float[Tensor, "B C2 H2 W2"]:
        """In 0…1; the sides are multiples of the scale."""

        def drawn() -> Tensor:
            return torch.rand(len(sharp), 1, 1, 1, generator=generator, device=sharp.device)

        out = grey(sharp) if self.grey else sharp
        if self.blur:
            out = blurred(out, self.blur * drawn().flatten(), math.ceil(REACH * self.blur), "replicate")
        if self.scale > 1:
            size = (out.shape[2] // self.scale, out.shape[3] // self.scale)
            out = F.interpolate(out, size, mode="bicubic", antialias=True)
        if self.noise:
            normal = torch.randn(out.shape, generator=generator, device=out.device)
            out = out + self.noise * drawn() * normal
        if self.jpeg:
            out = jpeg(out.clamp(0, 1), self.jpeg + (100 - self.jpeg) * drawn())
        return (out.clamp(0, 1) * 255).round() / 255


TASKS: dict[str, dict[str, Any]] = {
    "super-resolution": {"scale": 2},
    "denoise": {"noise": 0.15},
    "colourise": {"grey": True},
}
"""What is learned from sharp pictures alone, and what its input is made by if nothing else is asked for."""


def grey(pictures: Tensor) -> Tensor:
    """(B, C, H, W) to (B, 1, H, W): their luminance, as a grey picture is read."""
    return pictures if pictures.shape[1] == 1 else convert(pictures, "ycbcr")[:, :1]


def jpeg(pictures: Tensor, quality: Tensor) -> Tensor:
    """(B, C, H, W) in 0…1 as JPEG of a quality (B, 1, 1, 1) leaves them, about."""
    B, C, H, W = pictures.shape
    planes = convert(pictures, "ycbcr") if C == 3 else pictures
    planes = F.pad(planes, (0, -W % 8, 0, -H % 8), "replicate") * 255 - 128
    blocks = planes.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)  # (B, C, h, w, 8, 8)
    basis, table = _basis().to(planes), _table().to(planes)
    factor = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality) / 100
    steps = (table * factor[..., None, None]).round().clamp_min(1)
    kept = torch.round(basis @ blocks @ basis.T / steps) * steps
    planes = (basis.T @ kept @ basis).transpose(3, 4).flatten(4, 5).flatten(2, 3)[:, :, :H, :W]
    planes = (planes + 128) / 255
    if C == 1:
        return planes.clamp(0, 1)
    back = torch.linalg.inv(torch.tensor(YCBCR)).to(planes)
    planes = planes - planes.new_tensor([0.0, 0.5, 0.5]).view(1, 3, 1, 1)
    return torch.einsum("oc,bchw->bohw", back, planes).clamp(0, 1)


@cache
def _basis() -> Tensor:
    """The cosines of 8 points, (8, 8)."""
    at = torch.arange(8)
    basis = torch.cos((2 * at[None] + 1) * at[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


@cache
def _table() -> Tensor:
    return torch.tensor([float(step) for step in LUMA_TABLE.split()]).view(8, 8)
