"""How predicted masks fit the true ones, streaming: counts of pixels alone are kept. What is unknown counts nowhere."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.shapes import Bool, Float, Int64
from flambeau.fields.mask import IGNORED
from flambeau.objectives.classification import Worst
from flambeau.objectives.intervals import GROUPS, Grouped, groups_of

SHOWN = 8  # pictures that are drawn: the worst
TOLERANCE = 0.0075  # of the diagonal: how far a boundary may be off


class Overlap(Grouped):
    """Mean IoU and mean Dice over the classes that are in the truth or are predicted, and the share of right pixels
    (Everingham et al. 2010, "The Pascal VOC challenge"; Dice 1945), of all pixels of all pictures together.

    Args:
        classes: their names.
        detail: also the confusion of the classes, each class's figures, and the pictures with the most wrong pixels.
    """

    def __init__(self, classes: list[str], detail: bool):
        self.classes, self.keep, self.rows = classes, detail, 0
        self.sums = torch.zeros(GROUPS, len(classes), len(classes), dtype=torch.int64)  # true, predicted
        self.worst = Worst()

    def update(
        self, output: Float[Tensor, "B K H W"], target: Int64[Tensor, "B H W"], rows: Int64[Tensor, " B"]
    ) -> None:
        guess, K, known = output.argmax(1), len(self.classes), target != IGNORED
        at = (groups_of(rows).to(target.device).view(-1, 1, 1) * K + target) * K + guess
        self.sums += at[known].bincount(minlength=self.sums.numel()).view_as(self.sums).cpu()
        self.rows += len(rows)
        if self.keep:
            wrong = ((guess != target) & known).flatten(1).sum(1) / known.flatten(1).sum(1).clamp_min(1)
            self.worst.offer(wrong.cpu(), rows, lambda i: {"guess": guess[i].byte().cpu()})

    @property
    def count(self) -> int:
        return self.rows

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        iou, dice, there = _by_class(sums)
        count = there.sum(1).clamp_min(1)
        right, total = sums.diagonal(dim1=1, dim2=2).sum(1).double(), sums.sum((1, 2)).double()
        return {"mean_iou": iou.sum(1) / count, "dice": dice.sum(1) / count,
                "pixel_accuracy": right / total.clamp_min(1)}  # fmt: skip

    def per_class(self) -> list[dict[str, Any]]:
        """IoU, F1 (which is Dice), precision, recall and pixels by class."""
        sums = self.sums.sum(0)
        (iou,), (dice,), _ = _by_class(sums[None])
        right, predicted, true = sums.diagonal().double(), sums.sum(0).double(), sums.sum(1).double()
        figures = torch.stack([iou, dice, right / predicted.clamp_min(1), right / true.clamp_min(1), true], 1)
        return [{"class": name, "iou": i, "f1": f, "precision": p, "recall": r, "count": int(n)}
                for name, (i, f, p, r, n) in zip(self.classes, figures.tolist(), strict=True)]  # fmt: skip

    def detail(self) -> dict[str, Any]:
        K = len(self.classes)
        worst = [{"row": one["row"], "output": F.one_hot(one["guess"].long(), K).movedim(2, 0).byte().numpy()}
                 for one in self.worst.listed()[:SHOWN]]  # fmt: skip
        return {"kind": "masks", "counted": "pixels", "classes": self.classes, "confusion": self.sums.sum(0).tolist(),
                "per_class": self.per_class(), "pictures": worst}  # fmt: skip


def _by_class(sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """IoU, Dice and whether it is anywhere, (N, K) each, of confusions (N, K, K); 0 of a class that is nowhere."""
    right, sizes = sums.diagonal(dim1=1, dim2=2).double(), (sums.sum(1) + sums.sum(2)).double()
    return right / (sizes - right).clamp_min(1), 2 * right / sizes.clamp_min(1), sizes > 0


class Boundaries(Grouped):
    """Boundary F1: of each class's predicted boundary the share that is near its true one, and the other way round
    (Csurka et al. 2013, "What is a good evaluation measure for semantic segmentation?"), over all pictures, the mean
    over the classes that have a boundary. Near is within 0.75 % of the picture's diagonal, at least a pixel."""

    def __init__(self, classes: list[str]):
        self.rows = 0
        # predicted boundary pixels that are near a true one, and all; true ones near a predicted one, and all
        self.sums = torch.zeros(GROUPS, len(classes), 4, dtype=torch.int64)

    def update(
        self, output: Float[Tensor, "B K H W"], target: Int64[Tensor, "B H W"], rows: Int64[Tensor, " B"]
    ) -> None:
        guess, known, groups = output.argmax(1), target != IGNORED, groups_of(rows)
        near = max(1, round(TOLERANCE * math.hypot(*target.shape[1:])))
        self.rows += len(rows)
        for number in torch.cat([guess[known], target[known]]).unique().tolist():
            said, true = boundary(guess == number, known), boundary(target == number, known)
            counts = [(a & b).flatten(1).sum(1) for a, b in ((said, _wider(true, near)), (said, said),
                                                           (true, _wider(said, near)), (true, true))]  # fmt: skip
            self.sums[:, number].index_add_(0, groups, torch.stack(counts, 1).cpu())

    @property
    def count(self) -> int:
        return self.rows

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        hit, said, reached, true = sums.double().unbind(2)
        precision, recall = hit / said.clamp_min(1), reached / true.clamp_min(1)
        f1 = 2 * precision * recall / (precision + recall).clamp_min(1e-12)
        there = said + true > 0
        return {"boundary_f1": (f1 * there).sum(1) / there.sum(1).clamp_min(1)}

    def detail(self) -> dict[str, Any]:
        return {}


def boundary(inside: Bool[Tensor, "B H W"], known: Bool[Tensor, "B H W"]) -> Bool[Tensor, "B H W"]:
    """The pixels of a region that have a neighbour beside, above or below that is known to be outside. The picture's
    edge is no boundary."""
    outside = F.pad((~inside & known).float(), (1, 1, 1, 1))
    beside = outside[:, 1:-1, :-2] + outside[:, 1:-1, 2:] + outside[:, :-2, 1:-1] + outside[:, 2:, 1:-1]
    return inside & known & (beside > 0)


def _wider(lines: Tensor, by: int) -> Tensor:
    """Pixels within a square of `by` pixels about some."""
    return F.max_pool2d(lines[:, None].float(), 2 * by + 1, 1, by)[:, 0] > 0
