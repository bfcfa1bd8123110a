"""Of boxes of one class that overlap only the surest stays: non-maximum suppression, of a batch, in plain tensor
operations, so that it runs on every device and is exported as it is (`torch.export`, ONNX), at any batch size and for
pictures without things.

Costs float (B, N, N): it is for the surest `most` boxes. It is a part of its own: a model gives raw outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.shapes import Float
from flambeau.fields.picture.overlap import overlap

MOST, LEAST, OVERLAP = 100, 0.01, 0.6
ROUNDS = 8
"""In each of which what is suppressed is found anew from what stays; more change nothing unless a chain of boxes, each
suppressed by the one before it alone, is longer."""


class Suppression(nn.Module):
    """Raw outputs of boxes (B, N, K + 8), see `OutputSpec`, to the surest boxes (B, most, 6): corners in 0…1, score and
    class, the surest first; all 0 where one that is surer and of the same class overlaps it, or where nothing is.

    Args:
        most: boxes of a picture.
        least: the score from which a box counts.
        overlap: IoU above which two are of one thing.
        rounds: see `ROUNDS`.
    """

    def __init__(self, most: int = MOST, least: float = LEAST, overlap: float = OVERLAP, rounds: int = ROUNDS):
        super().__init__()
        self.most, self.least, self.overlap, self.rounds = most, least, overlap, rounds

    def forward(self, output: Float[Tensor, "B N outputs"]) -> Float[Tensor, "B most 6"]:
        classes = output.shape[2] - 8
        scores, places = output[..., :classes].float().sigmoid(), output[..., classes : classes + 4].float()
        if torch.compiler.is_exporting() or scores[0].numel() < self.most:  # a graph is for any N, one of few too
            scores, places = (F.pad(part, (0, 0, 0, self.most)) for part in (scores, places))
        scores, at = scores.flatten(1).topk(self.most)
        kind, place = at % classes, torch.div(at, classes, rounding_mode="floor")
        boxes = places.gather(1, place[..., None].expand(-1, -1, 4)).clamp(0, 1)
        kept = suppressed(boxes, kind, scores >= self.least, self.overlap, self.rounds)
        return torch.cat([boxes, scores[..., None], kind[..., None].to(boxes.dtype)], 2) * kept[..., None]


def suppressed(
    boxes: Float[Tensor, "B N 4"], kinds: Tensor, counts: Tensor, limit: float = OVERLAP, rounds: int = ROUNDS
) -> Tensor:
    """Which boxes, the surest first, stay: bool (B, N). The greedy rule: a box stays unless one before it stays that is
    of its kind and overlaps it by more than `limit`.

    Args:
        kinds: int (B, N). counts: bool (B, N): the others stay not, and suppress none.
    """
    alike = (kinds[:, :, None] == kinds[:, None]) & (overlap(boxes[:, :, None], boxes[:, None])[0] > limit)
    before = torch.ones(boxes.shape[1], boxes.shape[1], device=boxes.device).triu(1)
    rivals = alike.float() * before  # (B, who suppresses, whom)
    kept = counts.float()
    for _ in range(rounds):
        kept = counts * (torch.einsum("bi,bij->bj", kept, rivals) == 0).float()
    return kept > 0
