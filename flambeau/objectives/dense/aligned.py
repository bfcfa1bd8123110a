"""The loss of a detector whose places each say one box: which of them learn a thing is decided by what they say
already, after TOOD, Feng et al. 2021, arXiv:2108.07755 (task-aligned assigner); classes by the quality focal loss of
Li et al. 2020, arXiv:2006.04388, boxes by GIoU, Rezatofighi et al. 2019, arXiv:1902.09630.

Costs, of B pictures with N places and M things at most, a few passes over float (B, N, M). The crowd teaches
nothing: places that lie in it are asked for no class.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.fields.picture.overlap import overlap
from flambeau.objectives.losses import LOSSES

PLACES = 10
"""Places that learn a thing, at most."""
SHARPNESS = 6.0
"""Power of the overlap in what a place is chosen by; that of the score is 1."""
OF_BOXES = 2.0
"""Weight of the boxes' part of the loss."""


class Said(NamedTuple):
    """A raw output (B, N, K + 8) in its parts: logits (B, N, K), boxes and places (B, N, 4) in 0…1."""

    logits: Tensor
    boxes: Tensor
    places: Tensor

    @classmethod
    def of(cls, output: Tensor) -> Said:
        return cls(*output.float().split([output.shape[2] - 8, 4, 4], 2))


class Assigned(NamedTuple):
    """What each place is to say: the thing that it learns (B, N), and how sure it should be (B, N), 0 of nothing."""

    thing: Tensor
    quality: Tensor


def assign(said: Said, things: Float[Tensor, "B M columns"], real: Tensor) -> Assigned:
    """The places whose score and box fit a thing best, of those whose middle lies in it, learn it; the best one is to
    be as sure as its box is right, the others in proportion.

    Args:
        things: boxes in 0…1 and class, (B, M, 5+). real: bool (B, M): which of them are learned.
    """
    with torch.no_grad():
        boxes, classes = things[:, None, :, :4], things[..., 4].long().clamp_min(0)
        middle = (said.places[..., :2] + said.places[..., 2:]) / 2
        half = (said.places[..., 2:] - said.places[..., :2])[:, :, None] / 2
        centre = (boxes[..., :2] + boxes[..., 2:]) / 2
        # a thing smaller than a cell is learned by the cell that its centre is in
        low, high = torch.minimum(boxes[..., :2], centre - half), torch.maximum(boxes[..., 2:], centre + half)
        inside = ((middle[:, :, None] >= low) & (middle[:, :, None] <= high)).all(-1) & real[:, None]
        iou = overlap(said.boxes[:, :, None], boxes)[0] * inside
        score = said.logits.sigmoid().gather(2, classes[:, None].expand(-1, len(said.logits[0]), -1))
        fit = score * iou.pow(SHARPNESS)
        least = fit.topk(min(PLACES, fit.shape[1]), 1).values[:, -1:]
        fit = fit * ((fit >= least) & inside)
        chosen = F.one_hot(torch.where(fit > 0, iou, -1.0).argmax(2), fit.shape[2]) * (fit > 0)  # one thing a place
        fit, iou = fit * chosen, iou * chosen
        quality = fit * iou.amax(1, keepdim=True) / fit.amax(1, keepdim=True).clamp_min(1e-12)
        return Assigned(chosen.argmax(2), quality.amax(2))


@LOSSES.register("aligned")
def aligned(output: Float[Tensor, "B N outputs"], target: Ragged, reduction: str = "mean") -> Tensor:
    """Output as `OutputSpec` has it for boxes; target float (B, M, 6+), as `Boxes` prepares it: box in 0…1, class (-1
    of nothing), crowd. The mean over things, so that no picture's part hangs on which
    others are in its batch."""
    said = Said.of(output)
    things = F.pad(target.values, (0, 0, 0, 1), value=-1.0)  # one that is no thing, so that there is one
    crowd = things[..., 5] > 0
    own = Assigned(*assign(said, things, (things[..., 4] >= 0) & ~crowd & there(target)))
    learned = things.gather(1, own.thing[..., None].expand(-1, -1, things.shape[2]))
    wanted = F.one_hot(learned[..., 4].long().clamp_min(0), said.logits.shape[2]) * own.quality[..., None]
    surprise = (said.logits.sigmoid() - wanted).square()
    for_class = F.binary_cross_entropy_with_logits(said.logits, wanted, reduction="none") * surprise
    for_class = (for_class.sum(2) * ~within(said.places, things, crowd & there(target))).sum(1)
    for_box = ((1 - overlap(said.boxes, learned[..., :4])[1]) * own.quality).sum(1)
    each, counts = for_class + OF_BOXES * for_box, counted(target)
    return each / counts if reduction == "none" else each.sum() / counts.sum()


def counted(target: Ragged) -> Float[Tensor, " B"]:
    """How many things are learned in each picture; an empty one counts as one, for it teaches too."""
    real = (target.values[..., 4] >= 0) & (target.values[..., 5] == 0) & there(target)[:, :-1]
    return real.sum(1).clamp_min(1).float()


def there(target: Ragged) -> Tensor:
    """Which of the things, and one more, are no padding: bool (B, M + 1)."""
    count = target.values.shape[1] + 1
    return torch.arange(count, device=target.values.device) < target.lengths[:, None]


def within(places: Tensor, things: Tensor, crowd: Tensor) -> Tensor:
    """Whether the middle of a place lies in a crowd, bool (B, N)."""
    middle = ((places[..., :2] + places[..., 2:]) / 2)[:, :, None]
    inside = (middle > things[:, None, :, :2]) & (middle < things[:, None, :, 2:4])
    return (inside.all(-1) & crowd[:, None]).any(2)
