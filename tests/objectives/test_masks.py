"""Losses and metrics of masks against plain ones, in NumPy loops; unknown pixels count nowhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from flambeau.fields import Image, Mask
from flambeau.objectives.dense.overlap import TOLERANCE, Boundaries, Overlap
from flambeau.objectives.losses import LOSSES
from flambeau.objectives.tasks import TASKS, mask

K, SHAPE = 4, (3, 9, 7)
generator = torch.Generator().manual_seed(0)
OUTPUT = torch.randn(SHAPE[0], K, *SHAPE[1:], generator=generator, dtype=torch.float64).float()
TARGET = torch.randint(0, K - 1, SHAPE, generator=generator)  # the last class is nowhere
TARGET[torch.rand(SHAPE, generator=generator) < 0.2] = -100
WEIGHTS = [1.0, 2.0, 0.5, 3.0]


def pixels(output: Tensor, target: Tensor) -> list[tuple[np.ndarray, int]]:
    """The probabilities and the class of each known pixel."""
    p = output.double().softmax(1).movedim(1, -1).reshape(-1, K).numpy()
    return [(q, int(t)) for q, t in zip(p, target.reshape(-1).tolist(), strict=True) if t != -100]


def plain_cross_entropy(output: Tensor, target: Tensor, gamma: float = 0.0) -> float:
    parts = [-np.log(p[t]) * (1 - p[t]) ** gamma * WEIGHTS[t] for p, t in pixels(output, target)]
    return float(np.mean(parts))


def plain_dice(output: Tensor, target: Tensor) -> float:
    known, lost = pixels(output, target), []
    for k in range(K):
        both, size = sum(p[k] for p, t in known if t == k), sum(p[k] for p, _ in known)
        true = sum(t == k for _, t in known)
        lost += [1 - (2 * both + 1) / (size + true + 1)] if true else []
    return float(np.mean(lost))


def plain_lovasz(output: Tensor, target: Tensor) -> float:
    """By the definition: the errors, largest first, each times what the Jaccard loss grows by when it is added."""
    known, found = pixels(output, target), []
    for k in range(K):
        true = {i for i, (_, t) in enumerate(known) if t == k}
        errors = sorted(((abs((t == k) - p[k]), i) for i, (p, t) in enumerate(known)), reverse=True)
        total, before, wrong = 0.0, 0.0, set[int]()
        for error, i in errors:
            wrong.add(i)
            now = 1 - len(true - wrong) / len(true | wrong)
            total, before = total + error * (now - before), now
        found += [total] if true else []
    return float(np.mean(found))


PLAIN = {
    "pixel_cross_entropy": (plain_cross_entropy, {"weights": WEIGHTS}),
    "pixel_focal": (lambda o, t: plain_cross_entropy(o, t, 2.0), {"weights": WEIGHTS}),
    "dice": (plain_dice, {}),
    "lovasz": (plain_lovasz, {}),
    "dice_cross_entropy": (lambda o, t: 0.3 * plain_dice(o, t) + 0.7 * plain_cross_entropy(o, t),
                           {"share": 0.3, "weights": WEIGHTS}),
    "dice_focal": (lambda o, t: (plain_dice(o, t) + plain_cross_entropy(o, t, 2.0)) / 2, {"weights": WEIGHTS}),
    "lovasz_cross_entropy": (lambda o, t: (plain_lovasz(o, t) + plain_cross_entropy(o, t)) / 2, {"weights": WEIGHTS}),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_a_loss_is_the_plain_one_of_a_batch_and_of_each_sample(name: str) -> None:
    plain, options = PLAIN[name]
    each = LOSSES[name](OUTPUT, TARGET, reduction="none", **options)
    alone = [plain(OUTPUT[i : i + 1], TARGET[i : i + 1]) for i in range(len(OUTPUT))]
    assert each.tolist() == pytest.approx(alone, rel=1e-5)
    assert float(LOSSES[name](OUTPUT, TARGET, **options)) == pytest.approx(np.mean(alone), rel=1e-5)


@pytest.mark.parametrize("name", PLAIN)
def test_where_nothing_is_known_nothing_is_learned(name: str) -> None:
    output = OUTPUT.clone().requires_grad_()
    loss = LOSSES[name](output, torch.full_like(TARGET, -100))
    loss.backward()
    assert float(loss.detach()) == 0 and output.grad is not None and not output.grad.any()
    changed = OUTPUT.clone()
    changed.movedim(1, -1)[TARGET == -100] = 9.0
    assert float(LOSSES[name](changed, TARGET)) == pytest.approx(float(LOSSES[name](OUTPUT, TARGET)))


def test_a_task_takes_losses_by_name_and_balances_their_weights() -> None:
    field = Mask(4)
    field.fit([np.array([[0, 0, 0, 1], [0, 0, 2, 255]], np.uint8)])
    task = TASKS["mask"](field)
    assert field.counts == [5, 1, 1, 0]
    weights = np.sqrt(7 / np.array([5, 1, 1, 7]))
    weights /= (weights * [5, 1, 1, 0]).sum() / 7
    given = LOSSES["pixel_cross_entropy"](OUTPUT, TARGET, weights=weights.tolist())
    torch.testing.assert_close(task.criterion({"name": "cross_entropy", "weights": "balanced"})(OUTPUT, TARGET), given)
    torch.testing.assert_close(task.criterion("focal")(OUTPUT, TARGET), LOSSES["pixel_focal"](OUTPUT, TARGET))


def test_overlap_is_counted_over_all_batches_in_any_split() -> None:
    guess = OUTPUT.argmax(1).numpy()
    target, iou, dice = TARGET.numpy(), [], []
    for k in range(K):
        said, true = (guess == k) & (target != -100), target == k
        iou.append((said & true).sum() / (said | true).sum())
        dice.append(2 * (said & true).sum() / (said.sum() + true.sum()))
    for sizes in ([3], [1, 2]):
        metric, at = Overlap(["a", "b", "c", "d"], detail=True), 0
        for size in sizes:
            metric.update(OUTPUT[at : at + size], TARGET[at : at + size], torch.arange(at, at + size))
            at += size
        values = metric.values()
        assert values["mean_iou"] == pytest.approx(np.mean(iou)) and values["dice"] == pytest.approx(np.mean(dice))
        known = target != -100
        assert values["pixel_accuracy"] == pytest.approx((guess == target)[known].mean())
        assert [one["iou"] for one in metric.per_class()] == pytest.approx(iou)
        assert set(metric.intervals()) == set(values)
    shown = metric.detail()
    wrong = [float(((guess != target) & known)[i].sum() / known[i].sum()) for i in range(3)]
    assert [one["row"] for one in shown["pictures"]] == sorted(range(3), key=lambda i: -wrong[i])
    assert np.sum(shown["confusion"]) == known.sum()


def test_a_boundary_may_be_off_by_a_little_and_is_plain_otherwise() -> None:
    def score(target: Tensor, guess: Tensor) -> float:
        metric = Boundaries(["a", "b"])
        output = torch.nn.functional.one_hot(guess, 2).movedim(-1, 1).float()
        metric.update(output, target, torch.arange(len(target)))
        return metric.values()["boundary_f1"]

    square = torch.zeros(1, 200, 150, dtype=torch.int64)
    square[:, 60:120, 40:100] = 1
    near = max(1, round(TOLERANCE * np.hypot(200, 150)))
    assert score(square, square) == 1
    assert score(square, square.roll(near, 2)) == 1 and score(square, square.roll(near + 1, 2)) < 1
    inner = torch.zeros_like(square)
    inner[:, 80:100, 60:80] = 1
    assert score(square, inner) == 0
    # the plain figure: distances of all pairs of boundary pixels
    one, other = square[0].numpy(), square.roll((3, 2), (1, 2))[0].numpy()

    def edge(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1, mode="edge")
        beside = [padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1]]
        return np.argwhere((mask > 0) & np.any([b == 0 for b in beside], 0))

    f1 = []
    for a, b in ((edge(one), edge(other)), (edge(1 - one), edge(1 - other))):
        close = np.abs(a[:, None] - b[None]).max(2) <= near
        recall, precision = close.any(1).mean(), close.any(0).mean()
        f1.append(2 * precision * recall / (precision + recall))
    assert score(square, square.roll((3, 2), (1, 2))) == pytest.approx(np.mean(f1))
    unknown = square.clone()
    unknown[:, 60:120] = -100  # nothing is known where the square is
    assert score(unknown, inner.roll(500, 1)) == score(unknown, torch.zeros_like(square)) == 0


def test_a_large_picture_is_answered_in_strips_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, image = np.zeros((37, 53, 3), np.uint8), Image(size=8)
    image.fit([picture])
    task, output = TASKS["mask"](Mask(4)), torch.randn(4, 8, 8, generator=generator).numpy()
    at_once = task.decode(output, asked=image, value=picture).label
    monkeypatch.setattr(mask, "AT_ONCE", 4 * 53 * 5)
    strips = task.decode(output, asked=image, value=picture).label
    assert at_once.shape == (37, 53) and (strips == at_once).all() and len(np.unique(at_once)) == 4
