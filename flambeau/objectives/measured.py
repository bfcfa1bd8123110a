"""What a user's own data is measured by: found from the loss, the output and the target, for there are no fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.diagnosis import values
from flambeau.diagnosis.values import tensor_of
from flambeau.fields import Category, Field, MultiLabel, Number
from flambeau.models import Activations
from flambeau.objectives import losses
from flambeau.objectives.losses import bare

LOGIT_LOSSES = (losses.bce, losses.asymmetric, F.binary_cross_entropy_with_logits, F.multilabel_soft_margin_loss)
LOGIT_MODULES = (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)
NUMBER_LOSSES = (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)
NUMBER_MODULES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)
MOST_CLASSES = 2_000  # whose confusion is counted


def is_binary(loss: Any) -> bool:
    """Whether a loss is a binary cross-entropy."""
    loss = bare(loss)
    return takes_logits(loss) or loss is F.binary_cross_entropy or isinstance(loss, nn.BCELoss)


def takes_logits(loss: Any) -> bool:
    """Whether a binary cross-entropy applies the sigmoid itself."""
    return bare(loss) in LOGIT_LOSSES or isinstance(bare(loss), LOGIT_MODULES)


def compares_numbers(loss: Any) -> bool:
    """Whether a loss compares numbers one by one."""
    return broadcasts(loss) or bare(loss) in [losses.LOSSES[name] for name in ("mse", "l1", "huber")]


def broadcasts(loss: Any) -> bool:
    """Whether a loss is one of torch's that compare numbers, which broadcasts shapes that differ."""
    return bare(loss) in NUMBER_LOSSES or isinstance(bare(loss), NUMBER_MODULES)


def takes_blends(loss: Any) -> bool:
    """Whether a loss is sure to take blended targets: probabilities of classes, or numbers."""
    classes = losses.expects_classes(loss) and bare(loss) is not F.nll_loss and not isinstance(bare(loss), nn.NLLLoss)
    return classes or is_binary(loss) or compares_numbers(loss)


@dataclass
class Measured:
    """A field that stands for a target that has none, and what makes of an output what its metrics take."""

    field: Field
    activation: str
    """`softmax` or `sigmoid`; `given` where outputs are probabilities already, `none` where they are numbers."""
    ignore: int = -100

    def __call__(self, output: Tensor, target: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(activated, target, rows) as metrics take them: of pixels each is a sample of its own."""
        output, target = output.detach().float(), target.detach()
        if self.activation == "none":
            return output, target.float(), rows
        activated = output.sigmoid() if self.activation == "sigmoid" else output
        if self.activation != "softmax":
            if target.numel() > len(target):  # of several labels
                return activated, target, rows
            one = activated.reshape(-1, 1)
            return torch.cat([1 - one, one], 1), (target.reshape(-1) > 0.5).long(), rows
        if target.ndim == output.ndim:  # probabilities
            target = target.argmax(1)
        activated = output.softmax(1)
        if target.ndim > 1:
            rows = rows.view(-1, *(1,) * (target.ndim - 1)).expand_as(target).reshape(-1)
            activated, target = activated.movedim(1, -1).reshape(-1, output.shape[1]), target.reshape(-1)
        known = target != self.ignore
        if bool(known.all()):
            return activated, target.long(), rows
        return activated[known], target[known].long(), rows[known]


def measured(loss: Any, output: Any, target: Any, classes: Sequence[str] = ()) -> Measured | None:
    """What suits a loss, an output (B, …) and a target (B, …); None where nothing is sure to.

    Args:
        classes: their names, where the data has them.
    """
    if not isinstance(output, Tensor) or not isinstance(target, Tensor) or not output.ndim or not len(target):
        return None
    whole = not target.is_floating_point()
    if is_binary(loss):
        activation = "sigmoid" if takes_logits(loss) else "given"
        if target.numel() == len(target) == output.numel():
            return Measured(Category(_names(classes, 2)), activation)
        several = target.ndim == 2 and output.shape == target.shape and target.shape[1] <= MOST_CLASSES
        return Measured(MultiLabel(_names(classes, target.shape[1])), activation) if several else None
    if losses.expects_classes(loss) or (whole and not compares_numbers(loss)):
        fits = output.ndim >= 2 and 2 <= output.shape[1] <= MOST_CLASSES and output.is_floating_point()
        same = target.shape == (len(output), *output.shape[2:])
        if fits and (same or (target.is_floating_point() and target.shape == output.shape)):
            ignore = getattr(loss, "ignore_index", -100)
            known = target[target != ignore]
            if not same or not len(known) or bool(((known >= 0) & (known < output.shape[1])).all()):
                return Measured(Category(_names(classes, output.shape[1])), "softmax", ignore)
        return None
    if output.numel() == target.numel() and len(output) == len(target) and output.is_floating_point():
        field = Number(standardise=False)
        field.shape = list(target.shape[1:])
        return Measured(field, "none")
    return None


def _names(classes: Sequence[str], count: int) -> list[str]:
    names = [str(name) for name in classes]
    return names if len(set(names)) == len(names) == count else [str(number) for number in range(count)]


def call(model: nn.Module, inputs: Any) -> Any:
    """A model's output for a batch's input: a tuple is spread over its arguments, a dict where it names them all. Of an
    output that is an object or a dict the part called `logits` (as Hugging Face has it) or `out` (torchvision)."""
    return tensor_of(inputs.output() if isinstance(inputs, Activations) else values.call(model, inputs))
