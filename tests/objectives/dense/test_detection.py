"""What a detector learns, says and gets wrong, on boxes that are laid by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from kinds import squares
from torch import Tensor

import flambeau as fb
from flambeau.core.errors import TrainingError
from flambeau.data.sources.opening import from_path
from flambeau.fields import Ragged
from flambeau.fields.boxes import Boxes
from flambeau.fields.picture.overlap import overlap
from flambeau.models import InputSpec, OutputSpec, build
from flambeau.models.detection import Suppression
from flambeau.models.detection.nms import suppressed
from flambeau.objectives.dense.aligned import Said, aligned, assign
from flambeau.objectives.dense.found import BoxMetric
from flambeau.objectives.tasks import boxes as task
from flambeau.training.observer import Observer

GRID = 8


def said(logits: Tensor, boxes: Tensor | None = None) -> Tensor:
    """An output of 8×8 places that each say their own cell, or `boxes`; logits (B, 64, K)."""
    y, x = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    cells = torch.stack([x, y, x + 1, y + 1], -1).view(-1, 4).float() / GRID
    cells = cells.expand(len(logits), -1, -1)
    return torch.cat([logits, cells if boxes is None else boxes, cells], -1)


def things(*rows: list[list[float]]) -> Ragged:
    """Boxes and classes of each picture, with crowd and area behind; padded."""
    lengths = torch.tensor([len(row) for row in rows])
    values = torch.zeros(len(rows), max(1, int(lengths.max())), 7)
    for value, row in zip(values, rows, strict=True):
        for one, box in zip(value, row, strict=False):
            one[: len(box)] = torch.tensor(box)
    return Ragged(values, lengths)


LEFT, RIGHT = [0.0, 0.25, 0.4, 0.75, 0], [0.6, 0.25, 1.0, 0.75, 1]


def test_places_within_a_thing_learn_it_the_best_to_be_as_sure_as_it_is_right() -> None:
    boxes = torch.tensor([LEFT[:4], RIGHT[:4]])[(torch.arange(GRID * GRID) % GRID >= GRID // 2).long()][None]
    jitter = 0.02 * torch.rand(1, GRID * GRID, 1, generator=torch.Generator().manual_seed(0))
    output, target = said(torch.zeros(1, GRID * GRID, 2), boxes + jitter), things([LEFT, RIGHT])
    thing, quality = assign(Said.of(output), target.values, torch.ones(1, 2, dtype=torch.bool))
    chosen = quality[0] > 0
    middles = Said.of(output).places[0, :, :2] + 0.5 / GRID
    for k, box in enumerate((LEFT, RIGHT)):
        mine = chosen & (thing[0] == k)
        inside = ((middles > torch.tensor(box[:2])) & (middles < torch.tensor(box[2:4]))).all(1)
        iou = overlap(Said.of(output).boxes[0], torch.tensor(box[:4]))[0]
        assert mine.sum() == 10 and inside[mine].all()
        assert quality[0][mine].max() == pytest.approx(float(iou[inside].max()), abs=1e-5)
        assert quality[0][mine].argmax() == iou[mine].argmax(), "with equal scores the best box is the surest"


def test_a_thing_smaller_than_a_cell_is_learned() -> None:
    """None of the cells has its middle in it."""
    tiny = [0.5 + 0.01, 0.01, 0.5 + 0.03, 0.03, 0]
    _, quality = assign(Said.of(said(torch.zeros(1, 64, 1))), things([tiny]).values, torch.ones(1, 1, dtype=torch.bool))
    assert (quality > 0).sum() == 1 and quality[0, GRID // 2] > 0


def test_what_is_learned_is_said_and_each_picture_has_its_share_of_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    output = said(torch.randn(3, 64, 2, generator=generator)).requires_grad_()
    target = things([LEFT, RIGHT], [LEFT], [])
    each = aligned(output, target, reduction="none")
    assert each.shape == (3,) and torch.isclose(aligned(output, target), (each * torch.tensor([2, 1, 1])).sum() / 4)
    padded = Ragged(torch.nn.functional.pad(target.values, (0, 0, 0, 3)), target.lengths)
    assert torch.equal(aligned(output, padded, reduction="none"), each), "padding is no thing"
    (gradient,) = torch.autograd.grad(each[2], output)
    assert (gradient[2, :, :2] > 0).all() and not gradient[2, :, 2:].any(), "an empty picture teaches to say less"
    parameter = torch.nn.Parameter(torch.cat([torch.full((3, 64, 2), -3.0), said(torch.zeros(3, 64, 2))[..., 2:6]], -1))
    places, optimiser = output[..., 6:].detach(), torch.optim.Adam([parameter], 0.05)
    for _ in range(150):
        optimiser.zero_grad()
        aligned(torch.cat([parameter, places], -1), target).backward()
        optimiser.step()
    answers = Suppression()(torch.cat([parameter.detach(), places], -1))
    for found, true in zip(answers, ([LEFT, RIGHT], [LEFT], []), strict=True):
        sure = found[found[:, 4] > 0.3]
        assert sorted(sure[:, 5].tolist()) == [box[4] for box in true]
        for box in true:
            assert overlap(sure[sure[:, 5] == box[4]][0, :4], torch.tensor(box[:4]))[0] > 0.8


def test_a_crowd_teaches_nothing() -> None:
    output = said(torch.zeros(1, 64, 2)).requires_grad_()
    (gradient,) = torch.autograd.grad(aligned(output, things([[*LEFT, 1]])), output)
    middles = output[0, :, 6:8].detach() + 0.5 / GRID
    inside = ((middles > torch.tensor(LEFT[:2])) & (middles < torch.tensor(LEFT[2:4]))).all(1)
    assert inside.any() and not gradient[0, inside].any() and gradient[0, ~inside, :2].all()


def greedy(boxes: Tensor, kinds: Tensor, limit: float) -> list[bool]:
    kept: list[int] = []
    for i in range(len(boxes)):
        if all(kinds[i] != kinds[j] or overlap(boxes[i], boxes[j])[0] <= limit for j in kept):
            kept.append(i)
    return [i in kept for i in range(len(boxes))]


def test_suppression_is_the_greedy_rule_at_any_batch_size() -> None:
    generator = torch.Generator().manual_seed(0)
    corner, side = torch.rand(16, 60, 2, generator=generator), torch.rand(16, 60, 2, generator=generator) / 2
    boxes, kinds = torch.cat([corner, corner + side], -1), torch.randint(3, (16, 60), generator=generator)
    counts = torch.ones(16, 60, dtype=torch.bool)
    kept = suppressed(boxes, kinds, counts, 0.3)
    assert kept.tolist() == [greedy(*both, 0.3) for both in zip(boxes, kinds, strict=True)]
    assert torch.equal(kept[3:4], suppressed(boxes[3:4], kinds[3:4], counts[3:4], 0.3))


def test_what_is_exported_answers_for_other_batches_and_for_pictures_without_things() -> None:
    """Raw outputs, and suppression as a step of its own."""
    model = build("detector", InputSpec("image", (3, 64, 64)), OutputSpec(6, "boxes"), width=16).model.eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    pictures = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    raw = torch.export.export(model, (pictures,), dynamic_shapes=({0: batch},)).module()
    final = torch.export.export(Suppression(), (model(pictures).detach(),), dynamic_shapes=({0: batch},)).module()
    for rows in (pictures, pictures[:1], pictures.repeat(3, 1, 1, 1)):
        output = raw(rows)
        torch.testing.assert_close(output, model(rows))
        torch.testing.assert_close(final(output), Suppression()(output))
    nothing = output.clone()
    nothing[..., :2] = -20.0
    assert not final(nothing)[..., 4].any()


def test_mistakes_are_told_by_their_kind() -> None:
    field = Boxes(["cat", "dog"])
    field.fit([])
    metric = BoxMetric(field, detail=True)
    beside = [0.2, 0.25, 0.6, 0.75]
    answers = [[*LEFT[:4], 0.9, 0], [*LEFT[:4], 0.5, 0], [*RIGHT[:4], 0.8, 0], [*beside, 0.7, 0],
               [0.45, 0.8, 0.55, 1.0, 0.6, 1], [0.0, 0.0, 0.1, 0.1, 0.1, 1]]  # fmt: skip
    area = [[*box, 0, 100 * 100 * 0.2] for box in (LEFT, RIGHT)]
    output = torch.tensor([answers, [[0.0] * 6] * 6])
    metric.update(output, things(area, [[*LEFT, 0, 2000]]), torch.tensor([4, 7]))
    detail = metric.detail()["boxes"]
    counts = {kind: one["count"] for kind, one in detail["mistakes"].items()}
    assert counts == {"missed": 1, "invented": 1, "confused": 1, "misplaced": 1, "twice": 1}
    confused = detail["mistakes"]["confused"]["worst"][0]
    assert (confused["row"], confused["label"], confused["true"]) == (4, "cat", "dog")
    assert confused["box"] == pytest.approx(RIGHT[:4], abs=1e-3) and confused["score"] == pytest.approx(0.8)
    assert detail["mistakes"]["missed"]["worst"][0]["row"] == 7
    cat, dog = detail["classes"]
    assert (cat["count"], cat["map50"], dog["map50"]) == (2, pytest.approx(51 / 101, abs=1e-4), 0)
    assert cat["map_medium"] == cat["map"] and cat["map_small"] is None, "0.4 × 0.5 of a picture of 100 × 100 pixels"
    assert len(cat["precision"]) == 101 and np.isfinite(cat["precision"]).all()


@pytest.mark.parametrize("steady", [False, True])
def test_a_loss_whose_wishes_grow_is_not_told_of_for_not_falling(
    steady: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a detector that finds more, and so is asked for more; a loss that asks for the same is told of."""
    squares(tmp_path)
    monkeypatch.setattr(task, "aligned", lambda output, target, reduction="mean": 0 * output.sum() + 2)
    monkeypatch.setattr(task.Detection, "steady", steady)
    data = from_path(tmp_path / "boxes.tsv")
    learner = fb.Learner(data, run=False, quiet=True, baseline=False, size=32, batch_size=2, epochs=12, augment="none")
    told: list[str] = []
    learner.build()
    monkeypatch.setattr(Observer, "_tell", lambda self, finding: told.append(finding.check))
    learner.fit(check=False)
    assert bool(told) == steady


def test_a_batch_that_is_too_small_for_a_batch_normalisation_is_told(tmp_path: Path) -> None:
    squares(tmp_path)
    learner = fb.Learner(
        from_path(tmp_path / "boxes.tsv"), run=False, quiet=True, baseline=False, size=32, batch_size=1, epochs=1
    )
    with pytest.raises(TrainingError, match=r"step 0: a batch normalisation got one value .* \(it is 1\)"):
        learner.fit(check=False)
