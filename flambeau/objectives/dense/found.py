"""What a detector found, measured and told: average precision, precision beside recall, and mistakes by their kind."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.shapes import Float, Int64
from flambeau.fields import Ragged
from flambeau.fields.boxes import COLUMNS, Boxes
from flambeau.fields.picture.instances import mask_overlaps, unpacked
from flambeau.objectives.dense.precision import AREAS, AveragePrecision, Found, Truth, area, overlaps
from flambeau.objectives.intervals import Grouped, groups_of
from flambeau_onnx.deciding import SURE

PICTURES, MISTAKES, DRAWN = 10, 50, 12  # that a report shows; tells of each kind; and draws of these
ANSWER = 6  # numbers of an answer before its mask: corners, score, class
MASK = "mask_"  # before the names of figures of masks
RIGHT, BESIDE = 0.5, 0.1  # IoU from which a box is about a thing, and from which it is near one
KINDS = ("missed", "invented", "confused", "misplaced", "twice")
"""After Bolya et al. 2020, "TIDE", arXiv:2008.08115: a thing of which nothing sure was said; a box where no thing is;
one about a thing of another class; one that is near a thing and not about it; another one about a thing."""


class BoxMetric(Grouped):
    """`map50`, `map`, `map75`, `map_small`, `map_medium`, `map_large` and `recall`, as `AveragePrecision` has them; of
    answers with masks also `mask_map50` and so on, where two things overlap by their pixels. Things whose mask is not
    known are neither asked for in these nor wrong.

    Sizes are in pixels of the raw picture, as far as its things say how large that is: their areas are known in it.

    Args:
        field: the target's, fitted.
        detail: whether mistakes are collected too, of each kind the `MISTAKES` surest; without, `values` has `map50`,
            `map` and `asked` alone.
        asked: the measure of the model.
    """

    def __init__(self, field: Boxes, detail: bool, asked: str = "auto"):
        self.classes, self.detailed, self.asked = field.classes, detail, asked
        self.precision = AveragePrecision(len(field.classes))
        wanted = field.masks and (detail or asked.startswith(MASK))
        self.of_masks = AveragePrecision(len(field.classes)) if wanted else None
        self._worst: list[tuple[float, int, dict[str, Any]]] = []
        self.counts: Counter[str] = Counter()
        self.scale = 1.0  # raw pixels in a picture; that of the last one that told
        self._mistakes: dict[str, list[tuple[float, int, dict[str, Any]]]] = {name: [] for name in KINDS}
        self._order = itertools.count()

    def update(self, output: Float[Tensor, "B N numbers"], target: Ragged, rows: Int64[Tensor, " B"]) -> None:
        """Counts answers, as `Suppression` gives them, beside boxes as `Boxes.follow` gives them."""
        answers, things = output.float().cpu().numpy(), target.values.float().cpu().numpy()
        lengths, groups = target.lengths.tolist(), groups_of(rows).tolist()
        for found, boxes, length, row, group in zip(answers, things, lengths, rows.tolist(), groups, strict=True):
            real = boxes[:length]
            real = real[(real[:, 4] >= 0) & (area(real[:, :4]) > 0)]
            said = found[found[:, 4] > 0]
            if len(real):
                self.scale = float((real[:, 6] / area(real[:, :4])).max())
            side = np.sqrt(self.scale)  # overlaps do not depend on it
            truth = Truth(real[:, :4] * side, real[:, 4].astype(int), real[:, 5] > 0, real[:, 6])
            answered = Found(said[:, :4] * side, said[:, 4], said[:, 5].astype(int))
            self.precision.add(answered, truth, group)
            if self.of_masks is not None and found.shape[0] and said.shape[1] > ANSWER:
                self._add_masks(said, real, truth, group)
            if self.detailed:
                wrong = self._tell(row, answered, truth, side)
                push = heapq.heappush if len(self._worst) < PICTURES else heapq.heappushpop
                push(self._worst, (wrong, -next(self._order), {"row": row, "output": found}))

    def _add_masks(self, said: np.ndarray, real: np.ndarray, truth: Truth, group: int) -> None:
        """Counts the masks of the answers `said` about the things `real`, both with boxes in 0…1."""
        assert self.of_masks is not None
        answers, things = torch.from_numpy(said), torch.from_numpy(real)
        masks = answers[:, ANSWER:].unflatten(1, (math.isqrt(answers.shape[1] - ANSWER), -1))
        true = unpacked(things[:, len(COLUMNS) :])
        known = true.flatten(1).any(1)
        crowd = torch.from_numpy(truth.crowd) | ~known
        true[~known] = True
        iou = mask_overlaps(masks, answers[:, :4], true, things[:, :4], crowd).double().numpy()
        shares = (masks >= 0.5).flatten(1).float().mean(1).numpy()
        boxes = said[:, :4] * np.sqrt(self.scale)
        found, areas = Found(boxes, said[:, 4], said[:, 5].astype(int)), area(boxes.astype(np.float64)) * shares
        self.of_masks.add(found, truth._replace(crowd=crowd.numpy()), group, iou, areas)

    def _tell(self, row: int, found: Found, truth: Truth, side: float) -> float:
        """Takes down what is wrong with the sure answers about a picture, and what they lack; how much that is: one for
        a thing that is missed, and the score of an answer that is wrong."""
        wrong = 0.0
        boxes, scores, classes = (part[found.scores >= SURE] for part in found)
        iou = overlaps(boxes, truth.boxes)  # (N, M)
        seen = np.zeros(len(truth.boxes), bool)
        for i in np.argsort(-scores, kind="stable"):
            at = np.flatnonzero((iou[i] >= RIGHT) & (truth.classes == classes[i]))
            nearest = int(iou[i].argmax()) if len(seen) else -1
            best = iou[i, nearest] if len(seen) else 0.0
            if len(at) and (truth.crowd[at].any() or not seen[at].all()):
                free = at[~seen[at]]
                seen[free[iou[i, free].argmax()] if len(free) else at] = True
                continue
            confused = best >= RIGHT and not len(at)
            kind = "twice" if len(at) else "confused" if confused else "misplaced" if best >= BESIDE else "invented"
            told = {"true": self.classes[truth.classes[nearest]]} if confused else {}
            if confused:
                seen[nearest] = True
            wrong += float(scores[i])
            self._keep(kind, row, boxes[i] / side, self.classes[classes[i]], float(scores[i]), told)
        for m in np.flatnonzero(~seen & ~truth.crowd):
            wrong += 1
            self._keep("missed", row, truth.boxes[m] / side, self.classes[truth.classes[m]], None, {})
        return wrong

    def _keep(self, kind: str, row: int, box: Any, label: str, score: float | None, told: dict[str, Any]) -> None:
        self.counts[kind] += 1
        mistake = {"row": row, "box": [round(float(x), 4) for x in box], "label": label, "score": score, **told}
        # of missed things the first, of the others the surest
        entry = (-float(self.counts[kind]) if score is None else score, next(self._order), mistake)
        push = heapq.heappush if len(self._mistakes[kind]) < MISTAKES else heapq.heappushpop
        push(self._mistakes[kind], entry)

    def values(self) -> dict[str, float]:
        """By name."""
        values = self.precision.values()
        if self.of_masks is not None and self.of_masks.pictures.any():
            values |= {MASK + n: v for n, v in self.of_masks.values().items() if n != "recall"}
        return values if self.detailed else {n: v for n, v in values.items() if n in ("map50", "map", self.asked)}

    @property
    def count(self) -> int:
        return int(self.precision.pictures.sum())

    def without_groups(self) -> dict[str, np.ndarray]:
        without = self.precision.without_groups()
        if self.of_masks is not None and self.of_masks.pictures.any():
            without |= {MASK + name: figures for name, figures in self.of_masks.without_groups().items()}
        return without

    def detail(self) -> dict[str, Any]:
        """Plain JSON: for each class `map`, `map50`, those by size and of masks (None where there is no such thing),
        `count` of things, and `precision` and `scores` at 101 recalls of 0…1 at an overlap of 0.5; mistakes by kind,
        their boxes in 0…1 of the model's input, the first to be drawn; and `pictures` to be drawn, the worst first."""
        classes = []
        for k, name in enumerate(self.classes):
            precision, scores, _ = self.precision.curves(k)
            sizes = {f"map_{size}": _number(precision[:, a].mean()) for a, size in enumerate(AREAS) if a}
            figures = {"map": _number(precision[:, 0].mean()), "map50": _number(precision[:, 0, 0].mean()), **sizes}
            if self.of_masks is not None and self.of_masks.pictures.any():
                of_masks = self.of_masks.curves(k)[0]
                figures |= {
                    f"{MASK}map": _number(of_masks[:, 0].mean()),
                    f"{MASK}map50": _number(of_masks[:, 0, 0].mean()),
                }
            curve = {"precision": precision[:, 0, 0], "scores": scores[:, 0, 0]}
            classes.append({
                "name": name, "count": int(self.precision.positives[k, 0]), **figures,
                **{key: [_number(x) for x in values] for key, values in curve.items()},
            })  # fmt: skip
        mistakes = {
            kind: {"count": self.counts[kind], "worst": [
                {**one, "drawn": place < DRAWN} for place, (*_, one) in enumerate(sorted(kept, reverse=True))]}
            for kind, kept in self._mistakes.items()
        }  # fmt: skip
        worst = sorted(self._worst, reverse=True, key=lambda entry: entry[:2])
        pictures = [{**one, "output": one["output"].tolist()} for *_, one in worst]
        return {"kind": "boxes", "pictures": pictures, "boxes": {"classes": classes, "mistakes": mistakes}}


def _number(figure: float) -> float | None:
    return None if np.isnan(figure) else round(float(figure), 4)
