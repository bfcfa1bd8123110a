"""The contract of a method that weighs the parts of an input, what it is asked, and the methods by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as trees

from flambeau.core.registry import Registry
from flambeau.fields.heat import Site
from flambeau.objectives.measured import call

EXPLAINERS: Registry[type[Explainer]] = Registry("explanation", "name")


@dataclass
class Question:
    """A prepared input of one value, and which output of a model is asked about.

    Attributes:
        model: in evaluation mode.
        inputs: what it is called with, a batch of B: 1, or the windows of one value.
        sites: tensors of it that are weighed.
        output: the number of the output, of those of a sample in a row; None for the mean of all.
    """

    model: nn.Module
    inputs: Any
    sites: Sequence[Site]
    output: int | None = None
    _leaves: list[Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._leaves, self._spec = trees.tree_flatten(self.inputs)
        at = {id(leaf): number for number, leaf in enumerate(self._leaves)}
        self._places = [at[id(site.values)] for site in self.sites]
        self._others = [i for i, leaf in enumerate(self._leaves) if isinstance(leaf, Tensor) and i not in self._places]

    @property
    def values(self) -> tuple[Tensor, ...]:
        """Of each site."""
        return tuple(site.values for site in self.sites)

    @property
    def others(self) -> tuple[Tensor, ...]:
        """Tensors (B, …) of the input that are not weighed, such as lengths: those of changed copies go with them."""
        return tuple(self._leaves[i] for i in self._others)

    def score(self, *tensors: Tensor) -> Tensor:
        """The output that is asked about (B), of values of the sites and behind them `others`."""
        leaves = list(self._leaves)
        for place, tensor in zip([*self._places, *self._others], tensors, strict=True):
            leaves[place] = tensor
        outputs = call(self.model, trees.tree_unflatten(leaves, self._spec)).flatten(1)
        return outputs.mean(1) if self.output is None else outputs[:, self.output]


class Explainer(ABC):
    """One method. What a user may set are its constructor's arguments, named in `settings`."""

    name: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()
    told: ClassVar[str] = ""
    """What its numbers are, in a clause."""

    @abstractmethod
    def weigh(self, question: Question) -> list[Tensor]:
        """For each site what its entries weighed, float (B, …) as its values; of a picture or waves also a coarser map
        (B, h, w) or (B, t).

        Raises:
            UsageError: the method has no meaning for such a model or input.
        """


@contextmanager
def asking(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """A model that is asked: in evaluation mode, with gradients, random numbers by the seed; afterwards as it was."""
    training = model.training
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    model.eval()
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.random.fork_rng([*devices]),
            torch.backends.cudnn.flags(enabled=False),  # its recurrent layers have no gradient outside training
        ):
            torch.manual_seed(seed)
            yield
    finally:
        model.train(training)
