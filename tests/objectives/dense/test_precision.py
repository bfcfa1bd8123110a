"""Average precision is faster-coco-eval's, on random answers and crowds; memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from flambeau.fields.picture.instances import bits, mask_overlaps
from flambeau.objectives.dense.precision import AREAS, AveragePrecision, Found, Truth

Case = list[tuple[Found, Truth]]
EXACT = 1e-6


def random_case(seed: int, pictures: int = 30, classes: int = 4) -> Case:
    """Things from 8 to 300 pixels a side, answers near most of them, twice near some, of a wrong class or of nothing;
    scores of two digits, so that many tie."""
    random = np.random.default_rng(seed)
    case = []
    for _ in range(pictures):
        M = int(random.integers(0, 8))
        corner, side = random.uniform(0, 400, (M, 2)), np.exp(random.uniform(2, 5.7, (M, 2)))
        boxes, kinds = np.concatenate([corner, corner + side], 1), random.integers(0, classes, M)
        areas, crowd = side.prod(1) * random.uniform(0.5, 1, M), random.random(M) < 0.15
        near = np.repeat(np.arange(M), random.integers(0, 4, M))
        found = boxes[near] + random.normal(0, 0.12, (len(near), 4)) * np.tile(side[near], 2)
        stray = np.sort(random.uniform(0, 500, (5, 2, 2)), 1).reshape(5, 4)
        found = np.concatenate([found, stray])
        drawn = random.integers(0, classes, len(found))
        named = np.concatenate([np.where(random.random(len(near)) < 0.2, drawn[: len(near)], kinds[near]), drawn[-5:]])
        keep = (found[:, 2:] > found[:, :2]).all(1)
        scores = random.random(len(found)).round(2)
        case.append((Found(found[keep], scores[keep], named[keep]), Truth(boxes, kinds, crowd, areas)))
    return case


def theirs(case: Case, classes: int) -> np.ndarray:
    """Precision (overlaps, recalls, K, areas) as faster-coco-eval has it."""
    coco = pytest.importorskip("faster_coco_eval")
    things, answers = [], []
    for i, (found, true) in enumerate(case, 1):
        for box, kind, crowd, area in zip(*true, strict=True):
            things.append({"id": len(things) + 1, "image_id": i, "category_id": int(kind) + 1, "area": float(area),
                           "bbox": [*box[:2], *(box[2:] - box[:2])], "iscrowd": int(crowd)})  # fmt: skip
        for box, score, kind in zip(*found, strict=True):
            answers.append({"image_id": i, "category_id": int(kind) + 1, "score": float(score),
                            "bbox": [*box[:2], *(box[2:] - box[:2])]})  # fmt: skip
    truth = coco.COCO({
        "images": [{"id": i + 1, "width": 1000, "height": 1000} for i in range(len(case))], "annotations": things,
        "categories": [{"id": k + 1, "name": str(k)} for k in range(classes)],
    })  # fmt: skip
    evaluation = coco.COCOeval_faster(truth, truth.loadRes(answers), "bbox", print_function=lambda *said: None)
    evaluation.run()
    return np.asarray(evaluation.eval["precision"])[..., -1]


def ours(case: Case, classes: int, exact: int = 2**20) -> AveragePrecision:
    metric = AveragePrecision(classes, exact)
    for found, true in case:
        metric.add(found, true)
    return metric


def cases() -> Iterator[tuple[Case, int]]:
    for seed in range(6):
        yield random_case(seed, classes=seed + 1), seed + 2  # the last class is of nothing
    crowded = random_case(9, pictures=3, classes=1)
    many = np.repeat(crowded[0][1].boxes[:1], 150, 0) + np.random.default_rng(0).normal(0, 1, (150, 4))
    flood = Found(many, np.linspace(0, 1, 150), np.zeros(150, int))
    yield [(flood, crowded[0][1]), *crowded[1:]], 1  # more answers than count


@pytest.mark.parametrize(("case", "classes"), [*cases()])
def test_it_is_what_coco_says(case: Case, classes: int) -> None:
    expected = theirs(case, classes)
    metric = ours(case, classes)
    for k in range(classes):
        precision = metric.curves(k)[0]  # (recalls, areas, overlaps)
        there = expected[:, :, k].transpose(1, 2, 0)
        assert np.allclose(np.nan_to_num(precision, nan=-1), there, rtol=0, atol=EXACT)
    values = metric.values()
    figures = {"map": expected[..., 0], "map50": expected[0, ..., 0], "map75": expected[5, ..., 0]}
    figures |= {f"map_{name}": expected[..., a] for a, name in enumerate(AREAS) if a}
    for name, one in figures.items():
        there = one[one > -1]
        assert values[name] == pytest.approx(there.mean() if there.size else 0, abs=EXACT), name


def test_more_answers_than_are_kept_are_counted_by_their_score() -> None:
    """Scores of two digits, rounded to 8 bits, are at most 101."""
    case = random_case(3, pictures=60)
    exact, bounded = ours(case, 4), ours(case, 4, exact=50)
    assert bounded.size <= 50 + 40 < exact.size
    assert all(abs(bounded.values()[name] - value) < 0.02 for name, value in exact.values().items())
    assert sum(len(part) for parts in bounded._scores for part in parts) == bounded.size
    assert all(one is not None and len(one[0]) <= 101 for one in bounded._binned)


def test_without_a_group_it_is_what_the_other_pictures_say() -> None:
    case, groups = random_case(4, pictures=40, classes=3), np.random.default_rng(1).integers(0, 5, 40)
    case = [*case, (Found(*(part[:0] for part in case[0][0])), Truth(*(part[:0] for part in case[0][1])))]
    metric = AveragePrecision(4)
    for picture, group in zip(case, [*groups, 7], strict=True):
        metric.add(*picture, group=int(group))
    without = metric.without_groups()
    for i, group in enumerate([*range(5), 7]):  # the last one's picture is empty, and yet measured
        others = ours([one for one, its in zip(case, [*groups, 7], strict=True) if its != group], 4).values()
        assert {name: figures[i] for name, figures in without.items()} == {name: others[name] for name in without}
    assert not ours(case, 4, exact=50).without_groups(), "answers that are counted by score have no groups"


def test_of_masks_it_is_what_coco_says() -> None:
    """The overlaps are those of pixels; where masks are known inside their boxes alone they are nearly the same."""
    coco = pytest.importorskip("faster_coco_eval")
    random, side, metric, encode = np.random.default_rng(5), 96, AveragePrecision(2), coco.mask.encode
    y, x = np.mgrid[:side, :side] + 0.5
    things, answers, apart = list[dict[str, Any]](), list[dict[str, Any]](), list[float]()
    for picture in range(1, 21):
        middle, radius = random.uniform(20, 76, (6, 2)), random.uniform(5, 20, (6, 2))
        middle[3:], radius[3:] = (part[:3] + random.normal(0, 2, (3, 2)) for part in (middle, radius))
        masks = [(((x - mx) / rx) ** 2 + ((y - my) / ry) ** 2 < 1).astype(np.uint8)
                 for (mx, my), (rx, ry) in zip(middle, radius, strict=True)]  # fmt: skip
        kinds, scores = random.integers(0, 2, 3), random.random(3)
        crowd = random.random(3) < 0.2
        rle = [encode(np.asfortranarray(mask)) for mask in masks]
        for i in range(3):
            both = {"image_id": picture, "category_id": int(kinds[i]) + 1}
            things.append({**both, "id": len(things) + 1, "segmentation": rle[i], "area": float(masks[i].sum()),
                           "iscrowd": int(crowd[i]), "bbox": [0, 0, side, side]})  # fmt: skip
            answers.append({**both, "segmentation": rle[3 + i], "score": float(scores[i])})
        iou = np.asarray(coco.mask.iou(rle[3:], rle[:3], crowd.astype(np.uint8).tolist()))
        corners = np.stack([[np.flatnonzero(m.any(0))[[0, -1]], np.flatnonzero(m.any(1))[[0, -1]]] for m in masks])
        boxes = corners.transpose(0, 2, 1).reshape(6, 4) + np.array([0, 0, 1, 1])
        areas = np.asarray([mask.sum() for mask in masks], np.float64)
        found = Found(boxes[3:], scores, kinds)
        metric.add(found, Truth(boxes[:3], kinds, crowd, areas[:3]), iou=iou, areas=areas[3:])
        inside = torch.stack(
            [torch.from_numpy(bits(m, tuple(b), 56)) for m, b in zip(masks, boxes.tolist(), strict=True)]
        )
        floats = torch.from_numpy(boxes).float()
        near = mask_overlaps(inside[3:].float(), floats[3:], inside[:3], floats[:3], torch.from_numpy(crowd))
        apart.append(float((near - torch.from_numpy(iou)).abs().max()))
    assert max(apart) < 0.06, "a pixel of edge of a thing of ten"
    truth = coco.COCO({
        "images": [{"id": i + 1, "width": side, "height": side} for i in range(20)], "annotations": things,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    })  # fmt: skip
    evaluation = coco.COCOeval_faster(truth, truth.loadRes(answers), "segm", print_function=lambda *said: None)
    evaluation.run()
    expected = np.asarray(evaluation.eval["precision"])[..., -1]
    for k in range(2):
        there = expected[:, :, k].transpose(1, 2, 0)
        assert np.allclose(np.nan_to_num(metric.curves(k)[0], nan=-1), there, rtol=0, atol=EXACT)
