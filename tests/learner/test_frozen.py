"""What is frozen is computed once, and the training is the one that it would have been."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import Stop, Stopped, digits
from torch import Tensor, nn

import flambeau as fb
from flambeau.objectives import Objective
from flambeau.techniques import Freeze, Technique
from flambeau.testing.small import identical, weights

TRAIN, VALID, EPOCHS = 140, 30, 3


class Counting(nn.Module):
    """A small network whose body counts the samples that go through it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.Conv2d(48, 24, 3, 2, 1), nn.Dropout(0.5)
        )
        self.top = nn.Sequential(nn.Conv2d(24, 24, 3, padding=1), nn.BatchNorm2d(24))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(24, 10))
        self.seen = 0

        def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self.seen += output.shape[0] if isinstance(output, Tensor) else 0  # not where it is followed

        self.body.register_forward_hook(count)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.top(self.body(x)).relu().mean((2, 3)))


class Hold(Technique):
    """Freezes the body, its statistics too; these until an epoch only."""

    name = "hold"

    def __init__(self, until: int | None = None, statistics: bool = True):
        self.until, self.statistics = until, statistics

    def on_build(self, objective: Objective) -> None:
        self.body: Any = objective.model.body
        self.body.requires_grad_(False)

    def on_freeze(self, objective: Objective, epoch: int) -> None:
        if self.statistics and (self.until is None or epoch < self.until):
            self.body.eval()


def learner(
    folder: Path, *more: Any, hold: Technique | None = None, run: Any = False, augment: Any = "none",
    cache_limit: int | None = None, change: float = 0.0, **settings: Any,
) -> fb.Learner:  # fmt: skip
    torch.manual_seed(3)
    model = Counting()
    with torch.no_grad():
        model.body[0].bias[0] += change
    return fb.Learner(
        fb.Dataset.from_arrays(*digits()), model=model, techniques=[hold or Hold(), *more], augment=augment, run=run,
        quiet=True, cache=folder / "store", cache_limit=cache_limit,
        **{"epochs": EPOCHS, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.01, "precision": "float32",
           "device": "cpu", "keep": "last", "baseline": False, **settings},
    )  # fmt: skip


def frozen(learner: fb.Learner) -> str:
    """What the recipe says of the frozen part."""
    learner.build()
    return next((reason for reason in learner.recipe.reasons if reason.startswith("frozen part")), "")


def passes(learner: fb.Learner) -> int:
    """Samples that go through the body while it is trained, and not measured."""
    learner.build()
    before, evaluate = learner.objective.model.seen, learner.evaluate
    learner.evaluate = lambda *given: {"metrics": {}, "split": "test"}  # type: ignore[method-assign]
    learner.fit()
    learner.evaluate = evaluate  # type: ignore[method-assign]
    return learner.objective.model.seen - before


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "store").glob("*/flat.bin"))


def test_weights_and_metrics_are_those_of_a_training_without(tmp_path: Path) -> None:
    once, anew = learner(tmp_path), learner(tmp_path, frozen_views=0)
    assert "computed once, 384 numbers a row in float32" in frozen(once) and not frozen(anew)
    measured = [each.fit() for each in (once, anew)]
    assert measured[0] == pytest.approx(measured[1], abs=1e-4)
    # the same sums, perhaps in another order, through fifteen small steps
    for name, value in weights(once).items():
        torch.testing.assert_close(value, weights(anew)[name], rtol=1e-4, atol=1e-5)
    assert not identical(weights(once), weights(learner(tmp_path).build()))


def test_what_the_technique_freezes_is_computed_once(tmp_path: Path) -> None:
    """Statistics and dropout rest with their layer, so that it gives the same in every epoch."""
    assert "computed once, 384 numbers a row in float32" in frozen(learner(tmp_path, hold=Freeze(pattern="body")))
    assert "computed once" in frozen(learner(tmp_path, hold=Freeze(until="top")))
    followed = frozen(learner(tmp_path, hold=Freeze(pattern="body", batch_norm="train")))
    assert "384 numbers" not in followed


def test_a_row_goes_through_the_frozen_part_once_however_many_epochs(tmp_path: Path) -> None:
    calibrated = VALID  # by the model as a whole
    assert passes(learner(tmp_path)) == TRAIN + VALID + calibrated
    assert passes(learner(tmp_path, epochs=5)) == calibrated  # there already
    assert passes(learner(tmp_path, frozen_views=0)) == EPOCHS * (TRAIN + VALID) + calibrated


def test_another_weight_is_another_set_of_activations_and_damage_is_made_good(tmp_path: Path) -> None:
    learner(tmp_path).fit()
    first, _ = kept(tmp_path)  # of the training and the validation rows
    learner(tmp_path, change=1e-6).fit()
    assert len(kept(tmp_path)) == 4
    whole = first.read_bytes()
    first.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    learner(tmp_path).fit()
    assert first.read_bytes() == whole and len(kept(tmp_path)) == 4


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (4 * 384 * (TRAIN + VALID), "in float32"),
        (4 * 384 * (TRAIN + VALID) - 1, "in float16"),
        (2 * 384 * (TRAIN + VALID) - 1, "computed in each epoch, for .*of activations are over the limit"),
    ],
)
def test_the_cache_limit_bounds_them(tmp_path: Path, limit: int, said: str) -> None:
    bounded = learner(tmp_path, cache_limit=limit)
    import re

    assert re.search(said, frozen(bounded))
    bounded.fit()
    assert sum(path.stat().st_size for path in kept(tmp_path)) <= limit
    # half precision has 11 bits
    reference = learner(tmp_path, frozen_views=0)
    reference.fit()
    for name, value in weights(bounded).items():
        torch.testing.assert_close(value, weights(reference)[name], rtol=0.01, atol=0.01)


@pytest.mark.parametrize("augment", ["none", "strong"])
@pytest.mark.parametrize("emptied", [False, True], ids=["kept", "emptied"])
def test_a_resumed_training_is_the_one_that_was_not_stopped(tmp_path: Path, augment: str, emptied: bool) -> None:
    straight = learner(tmp_path / "a", Stop(), run=tmp_path / "straight", augment=augment)
    straight.fit()
    stopped = learner(tmp_path / "b", Stop(7), run=tmp_path / "stopped", augment=augment, checkpoint_minutes=0)
    with pytest.raises(Stopped):
        stopped.fit()
    if emptied:
        shutil.rmtree(tmp_path / "b" / "store")
    resumed = learner(tmp_path / "b", Stop(), run=tmp_path / "stopped", augment=augment, checkpoint_minutes=0)
    resumed.fit(resume=True)
    assert identical(weights(straight), weights(resumed))


def test_an_epoch_sees_one_of_the_augmented_views_and_held_out_rows_as_they_are(tmp_path: Path) -> None:
    varied = learner(tmp_path, augment="strong", frozen_views=2)
    assert "of each training row 2 augmented views" in frozen(varied)
    varied.fit(check=False)
    trainer: Any = varied.trainer

    def seen(source: Any, epoch: int) -> dict[int, Tensor]:
        batches = [trainer.prepare(*given, True, None) for given in source.epoch(epoch)]
        return {int(row): value for b in batches for row, value in zip(b.rows, b.input.values[0], strict=True)}

    epochs = [seen(trainer.train, epoch) for epoch in range(4)]
    plain = seen(learner_of_plain(tmp_path).trainer.train, 0)
    for row, value in epochs[0].items():
        assert torch.equal(value, epochs[2][row]) and torch.equal(epochs[1][row], epochs[3][row])
        assert not torch.equal(value, epochs[1][row]) and not torch.equal(value, plain[row])
    held_out = seen(trainer.valid, 0)
    rows = torch.tensor(sorted(held_out))
    batch = varied.feed.prepare(rows, varied.feed.store.gather(rows), False, None)  # type: ignore[attr-defined]
    with torch.no_grad():
        expected = varied.objective.model.eval().body(batch.input)
    torch.testing.assert_close(torch.stack([held_out[int(row)] for row in rows]), expected)


def learner_of_plain(folder: Path) -> Any:
    plain = learner(folder)
    plain.fit()
    return plain


def test_what_is_frozen_for_some_epochs_is_kept_for_these(tmp_path: Path) -> None:
    once, anew = (learner(tmp_path, hold=Hold(until=2), **views) for views in ({}, {"frozen_views": 0}))
    assert passes(once) == TRAIN + VALID + (EPOCHS - 2) * (TRAIN + VALID) + VALID
    anew.fit()
    for name, value in weights(once).items():
        torch.testing.assert_close(value, weights(anew)[name], rtol=1e-3, atol=1e-4)


def test_freezing_by_name_and_unfreezing_step_by_step(tmp_path: Path) -> None:
    by_name = learner(tmp_path, hold=fb.techniques.Freeze(until="top"))
    assert "computed once, 384 numbers" in frozen(by_name)
    assert passes(by_name) == TRAIN + VALID + VALID
    # the first epoch is as any other, and nothing is computed that it does not want
    step_by_step = learner(tmp_path, hold=fb.techniques.GradualUnfreezing(), augment="strong", optimizer="adamw")
    assert "4 augmented views" in frozen(step_by_step)
    assert passes(step_by_step) == EPOCHS * (TRAIN + VALID) + VALID


@pytest.mark.usefixtures("unchecked")
def test_one_encoder_of_several_is_frozen(tmp_path: Path) -> None:
    images, classes = digits()
    for number, image in enumerate(images):
        Image.fromarray((image * 255).astype("uint8")).resize((16, 16)).save(tmp_path / f"{number}.png")
    rows = [f"{n}.png,{image.sum():.3f},class {c}" for n, (image, c) in enumerate(zip(images, classes, strict=True))]
    (tmp_path / "rows.csv").write_text("\n".join(["picture,ink,label", *rows]))
    results, reasons = [], []
    for views in (4, 0):
        data = fb.Dataset.from_table(tmp_path / "rows.csv", target="label", inputs=["picture", "ink"])
        encoders = {"picture": {"name": "resnet9", "frozen": True}}
        trained = fb.Learner(
            data, run=False, quiet=True, augment="none", cache=tmp_path / "store", epochs=2, optimizer="sgd",
            learning_rate=0.01, keep="last", device="cpu", precision="float32", frozen_views=views,
            **{"model.options": {"encoders": encoders, "width": 16}},
        )  # fmt: skip
        reasons.append(frozen(trained))
        trained.fit(check=False)
        results.append(weights(trained))
    assert "computed once, 128 numbers" in reasons[0] and not reasons[1]
    for name, value in results[0].items():
        torch.testing.assert_close(value, results[1][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("more", "value", "why"),
    [
        ([], None, "what is frozen is computed once where nothing before it is random"),
        (["mixup"], 0, "mixup changes the inputs at each step, so what is frozen is computed in each epoch"),
    ],
)
def test_a_plan_says_it(more: list[str], value: int | None, why: str) -> None:
    data = fb.Dataset.from_arrays(*digits())
    plan = fb.Learner(data, model="resnet9", techniques=["freeze", *more], run=False, quiet=True).plan()
    (decision,) = [decision for decision in plan.decisions if decision.name == "training.frozen_views"]
    assert decision.value == value and why in decision.why
    plan = fb.Learner(data, model="resnet9", techniques=more, run=False, quiet=True).plan()
    assert not [decision for decision in plan.decisions if decision.name == "training.frozen_views"]


@pytest.mark.parametrize(
    ("techniques", "hold", "said"),
    [
        ([fb.techniques.Mixup()], None, "mixup changes the inputs at each step"),
        ([], Hold(statistics=False), "as long to read as to compute"),
    ],
    ids=["mixup", "statistics go on"],
)
def test_where_it_cannot_be_it_is_said_and_left(
    tmp_path: Path, techniques: list[Any], hold: Technique | None, said: str
) -> None:
    left = learner(tmp_path, *techniques, hold=hold)
    assert frozen(left).startswith("frozen part: computed in each epoch, for ") and said in frozen(left)
    left.fit()
    assert not kept(tmp_path)


def test_nothing_is_said_where_nothing_is_frozen(tmp_path: Path) -> None:
    free = fb.Learner(fb.Dataset.from_arrays(*digits()), model=Counting(), run=False, quiet=True, epochs=1)
    assert not frozen(free)


def scenes(folder: Path) -> fb.Dataset:
    """Pictures of noise with a bright square each, and where it is."""
    generator = np.random.default_rng(0)
    rows = []
    for i in range(32):
        pixels = generator.integers(0, 120, (64, 64, 3), np.uint8)
        x, y = (int(corner) for corner in generator.integers(0, 40, 2))
        pixels[y : y + 20, x : x + 20] = (255, 0, 0) if i % 2 else (0, 0, 255)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        box = {"x1": x, "y1": y, "x2": x + 20, "y2": y + 20, "label": ("red", "blue")[i % 2]}
        rows.append({"picture": str(folder / f"{i}.png"), "boxes": json.dumps([box] * (i != 5))})
    with (folder / "boxes.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["picture", "boxes"])
        table.writeheader()
        table.writerows(rows)
    return fb.Dataset.from_csv(folder / "boxes.csv")


@pytest.mark.parametrize("augment", ["none", {"horizontal_flip": 0.5, "shift": 0.2}])
def test_boxes_are_kept_as_they_moved_with_their_picture(tmp_path: Path, augment: Any) -> None:
    """Frozen and computed once, a detector learns from the views that it would have seen; those are what is kept."""

    def built(views: int) -> fb.Learner:
        return fb.Learner(
            scenes(tmp_path), model="detector", techniques={"freeze": {"pattern": "^backbone"}}, augment=augment,
            run=False, quiet=True, cache=tmp_path / "store", epochs=2, batch_size=8, optimizer="sgd", seed=0,
            learning_rate=0.01, precision="float32", device="cpu", keep="last", baseline=False, frozen_views=views,
        )  # fmt: skip

    once = built(2)
    assert "computed once" in frozen(once)
    once.fit(check=False)
    kept = once._frozen
    assert kept is not None and kept.views == (1 if augment == "none" else 2)
    for view in range(kept.views):
        source = kept._batches("train", view)
        rows = kept.feed.rows["train"].split(16)
        for batch, (_, gathered) in zip(source, kept.stream("train", view, rows), strict=True):
            again = kept.prepare(batch.rows, gathered)
            assert torch.equal(again.target.lengths, batch.target.lengths)
            real = torch.arange(again.target.values.shape[1]) < again.target.lengths[:, None]
            assert torch.equal(again.target.values[real], batch.target.values[real])
            for here, there in zip(again.input.values, kept.cut.activations(batch.input), strict=True):
                torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-5)
    if augment == "none":
        anew = built(0)
        assert not frozen(anew)
        anew.fit(check=False)
        torch.testing.assert_close(weights(once), weights(anew), rtol=1e-4, atol=1e-5)
