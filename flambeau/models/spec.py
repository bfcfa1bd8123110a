"""What a model is told about its input, and what its weights want of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.core.registry import Registry


@dataclass(frozen=True)
class InputSpec:
    """The shape of one sample.

    Attributes:
        kind: `image` for (C, H, W), `number` for (D,).
        shape: the sizes, without the batch.

    Raises:
        UsageError: the shape is not one of these, or has a size below 1.
    """

    kind: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        dimensions = {"image": 3, "number": 1}.get(self.kind)
        if dimensions is None:
            raise UsageError(f"no kind of input is called '{self.kind}'", expected="image or number")
        if len(self.shape) != dimensions or min(self.shape) < 1:
            raise UsageError(
                f"an input of kind {self.kind} has the shape {self.shape}",
                expected="(C, H, W), each at least 1" if dimensions == 3 else "(D,), at least 1",
            )

    @property
    def channels(self) -> int:
        """C of an image, D of numbers."""
        return self.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of an image; (1, 1) of numbers."""
        return (self.shape[1], self.shape[2]) if len(self.shape) == 3 else (1, 1)

    def example(self, batch: int = 1, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Tensor:
        """A batch of zeros, (batch, *shape)."""
        return torch.zeros(batch, *self.shape, device=device, dtype=dtype)

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON."""
        return {"kind": self.kind, "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, state: dict[str, Any]) -> InputSpec:
        """The spec that `to_dict` wrote."""
        return cls(state["kind"], tuple(state["shape"]))

    def __str__(self) -> str:
        return f"{self.kind} " + "×".join(map(str, self.shape))


@dataclass(frozen=True)
class Recommended:
    """The input that pretrained weights were trained on.

    Attributes:
        mean: per channel, in units where black is 0 and white is 1.
        std: likewise.
        size: the side in pixels that they were trained at; None where any is as good.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int | None = None

    def for_channels(self, channels: int) -> Recommended:
        """The same for another number of channels: the mean over the channels, repeated."""
        if channels == len(self.mean):
            return self
        mean, std = sum(self.mean) / len(self.mean), sum(self.std) / len(self.std)
        return Recommended((mean,) * channels, (std,) * channels, self.size)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


IMAGENET = Recommended((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 224)

Builder = Callable[..., nn.Module]
"""`builder(spec, num_outputs, **options)`: a model whose output is (B, num_outputs)."""

OWN: Registry[Builder] = Registry("model")
"""Our own models; the files of `models/vision/` enter themselves."""
