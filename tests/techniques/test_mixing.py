"""Mixup and CutMix on every kind of data: what they make of it, and where they are refused before the first step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from forkserver import Forkserver
from kinds import KINDS
from safetensors.torch import load_file
from small import supervised
from torch import nn
from words import sentences

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.data.batch import Batch
from flambeau.fields import Ragged, Row
from flambeau.objectives import Supervised
from flambeau.techniques import CutMix, Mixup
from flambeau.techniques.mixes import Mixed

COMMON = ("--epochs", 1, "--no-check", "--no-baseline", "--set", "training.batch_size=32")


@pytest.mark.parametrize("kind", ["pictures", "series", "table", "text", "pairs", "sound"])
def test_mixup_trains_on_it(kind: str, flambeau: Forkserver, tmp_path: Path) -> None:
    command = ("train", *KINDS[kind](tmp_path), *COMMON)
    plain = flambeau(*command, "--run", "plain", cwd=tmp_path)
    mixed = flambeau(
        *command, "--technique", "mixup alpha=1.0", "--technique", "mixup p=0.5", "--run", "mixed", cwd=tmp_path
    )
    assert (plain.status, mixed.status) == (0, 0), plain.err + mixed.err
    one, other = (load_file(tmp_path / run / "model.safetensors") for run in ("plain", "mixed"))
    assert one.keys() == other.keys() and any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("kind", "technique", "told"),
    [
        ("tags", "mixup", "mixup has no meaning for this target: each token has a tag of its own"),
        ("forecast", "mixup", "mixup has no meaning for this target: what comes next follows from one past"),
        ("table", "cutmix", "cutmix needs pictures, (B, C, H, W); use mixup, or leave it out"),
        ("text", "cutmix", "cutmix needs pictures, (B, C, H, W)"),
        ("tags", "cutmix", "cutmix has no meaning for this target"),
    ],
)
def test_where_they_have_no_meaning_they_are_refused(
    kind: str, technique: str, told: str, flambeau: Forkserver, tmp_path: Path
) -> None:
    command = ("train", *KINDS[kind](tmp_path), *COMMON, "--technique", technique, "--run", "run")
    refused = flambeau(*command, cwd=tmp_path)
    assert refused.status == 2 and told in " ".join(refused.err.split()), refused.err
    assert not (tmp_path / "run").exists(), "before the first step"


@pytest.mark.parametrize("model", ["bag", "lstm", "ngrams"])
def test_texts_are_blended_behind_the_encoder(model: str, tmp_path: Path) -> None:
    texts, topics = sentences()
    data = fb.Dataset({"text": texts[:200], "label": topics[:200]}, target="label")
    made = fb.Learner(data, model=model, run=False, quiet=True, cache=tmp_path)
    made.build()
    objective, batch = made.objective, made.feed.first_batch()
    assert isinstance(objective, Supervised)
    objective.model.train()
    for module in objective.model.modules():
        if isinstance(module, nn.Dropout | nn.Dropout1d):
            module.p = 0.0
    technique = Mixup(alpha=1.0)
    technique.on_fit_start(objective)
    mixed = technique.on_batch(batch, torch.Generator().manual_seed(0))
    ((_, other, share),) = next(iter(technique._inside.waiting.values()))  # type: ignore[union-attr]
    assert isinstance(mixed.input, Ragged) and mixed.input is batch.input and 0.05 < share < 0.95
    loss = objective.loss(mixed)
    assert torch.equal(objective.loss(mixed), loss), "a second pass over the same batch is the same"
    technique.on_step_end(objective, 0)
    plain = objective.forward(batch)
    # all three end in a layer that is linear: blended behind the encoder, its output is blended
    expected = torch.lerp(plain[other], plain, share)
    one_hot = nn.functional.one_hot(batch.target, plain.shape[1]).float()
    torch.testing.assert_close(mixed.target, torch.lerp(one_hot[other], one_hot, share))
    torch.testing.assert_close(loss, nn.functional.cross_entropy(expected, mixed.target), rtol=1e-4, atol=1e-5)
    assert torch.equal(objective.forward(batch), plain), "what does not wait is left alone"
    technique.on_batch(batch, torch.Generator().manual_seed(0))
    with pytest.raises(UsageError, match="a technique behind mixup has changed the input; give mixup as the last one"):
        objective.forward(Batch(Ragged(batch.input.values + 0, batch.input.lengths), batch.target, batch.rows))
    technique.on_fit_end(objective)
    assert torch.equal(objective.forward(batch), plain)


def test_numbers_of_a_row_are_blended_and_a_category_is_that_of_one() -> None:
    N = 4000
    numbers, codes = torch.randn(N, 3), torch.randint(1, 1000, (N, 2))
    technique = Mixup(alpha=1.0)
    technique.on_fit_start(supervised())
    given = Batch(Row(numbers, codes), torch.arange(N) % 10, torch.arange(N))
    mixed = technique.on_batch(given, torch.Generator().manual_seed(2))
    share = float(mixed.target.amax(1)[mixed.target.amax(1) < 1][0])
    kept = (mixed.input.codes == codes).float().mean()
    # the larger of both shares stands in a target whose halves differ; which one it is the codes say
    share = share if abs(float(kept) - share) < abs(float(kept) - 1 + share) else 1 - share
    assert abs(float(kept) - share) < 4 * (share * (1 - share) / (2 * N)) ** 0.5 + 2 / 1000
    assert float(mixed.input.numbers.std()) == pytest.approx((share**2 + (1 - share) ** 2) ** 0.5, rel=0.05)


def test_cutmix_puts_one_rectangle_of_another_picture_into_each() -> None:
    technique = CutMix(alpha=1.0)
    technique.on_fit_start(supervised())
    images = torch.arange(1.0, 33.0)[:, None, None, None].expand(32, 3, 20, 30).contiguous()
    shares = []
    for seed in range(300):
        mixed = technique.on_batch(Batch(images, torch.arange(32) % 10, torch.arange(32)), seeded(seed))
        cut = (mixed.input != images).any(1)
        boxes = set()
        for i in cut.flatten(1).any(1).nonzero()[:, 0].tolist():
            rows, columns = cut[i].any(1).nonzero()[:, 0], cut[i].any(0).nonzero()[:, 0]
            box = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
            inside = mixed.input[i, :, box[0] : box[2], box[1] : box[3]]
            assert len(inside.unique()) == 1, "a part of one other picture"
            other, area = int(inside[0, 0, 0]) - 1, (box[2] - box[0]) * (box[3] - box[1]) / 600
            expected = torch.zeros(10)
            expected[i % 10] += 1 - area
            expected[other % 10] += area
            torch.testing.assert_close(mixed.target[i], expected)
            boxes.add(box)
            shares.append(area)
        assert len(boxes) <= 1
    # Beta(1, 1) is uniform: of the rectangles that can be seen at all
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1) and max(shares) > 0.9


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_both_act_on_the_share_of_batches_that_they_are_asked_for() -> None:
    both = Mixup(1.0, p=0.5), CutMix(1.0, p=0.5)
    for technique in both:
        technique.on_fit_start(supervised())
    images = torch.rand(8, 1, 8, 8)
    changed = {"none": 0, "mixup": 0, "cutmix": 0, "both": 0}
    for seed in range(1000):
        batch, generator, seen = Batch(images, torch.arange(8), torch.arange(8)), seeded(seed), []
        for technique in both:
            after = technique.on_batch(batch, generator)
            seen += [technique.name] * (after is not batch)
            batch = after
        torch.testing.assert_close(batch.target.sum(1) if seen else torch.ones(8), torch.ones(8))
        changed["both" if len(seen) == 2 else seen[0] if seen else "none"] += 1
    for count in changed.values():
        assert abs(count - 250) < 4 * (1000 * 0.25 * 0.75) ** 0.5


def test_a_loss_of_its_own_and_members_that_are_trained_apart(tmp_path: Path) -> None:
    """A target that is not blended, for a model whose members each answer."""
    KINDS["table"](tmp_path)

    def own(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        assert target.dtype == torch.int64
        return nn.functional.nll_loss(output.log_softmax(1), target)

    data = fb.Dataset.from_table(tmp_path / "wine.csv", target="kind")
    made = fb.Learner(data, model="tabm", loss=own, techniques="mixup", epochs=1, run=False, quiet=True)
    made.fit(check=False)
    pair = Mixed(torch.arange(2), torch.arange(2) + 5, torch.tensor(0.3)).repeat_interleave(2, 0)
    assert pair.first.tolist() == [0, 0, 1, 1] and pair.second.tolist() == [5, 5, 6, 6]


def test_cutmix_is_not_for_a_target_with_a_place_in_the_picture() -> None:
    objective = supervised()

    class Mask:
        follows, kind = True, "mask"

    objective.task.field = Mask()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="a mask has its place in the picture; use mixup"):
        CutMix().on_fit_start(objective)
