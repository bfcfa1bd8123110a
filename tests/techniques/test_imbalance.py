"""Losses, weights and samplers for classes of which some are rare: each changes what it is there to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from forkserver import Forkserver
from small import supervised
from torch import Tensor

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.data.samplers import sampler
from flambeau.objectives.losses import named
from flambeau.techniques import ClassWeights, LabelSmoothing, Mixup, Technique
from flambeau.testing.small import batches, stored, trainer

COUNTS = {"rare": 60, "often": 1140}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that overlap, one of them 5 % of the rows: who says `often` to all is right 95 times of 100."""
    random = np.random.default_rng(0)
    lines = ["a,b,label"]
    for name, count in COUNTS.items():
        values = random.normal(1.2 if name == "rare" else 0.0, 1.0, (count, 2))
        lines += [f"{a:.4f},{b:.4f},{name}" for a, b in values]
    path = tmp_path_factory.mktemp("imbalance") / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def recall_of_rare(table: Path, run: Path, **options: Any) -> float:
    """The share of the rare class's test rows that are found by a linear model."""
    learner = fb.Learner(
        fb.Dataset.from_csv(table, target="label"), model="linear", run=run, quiet=True, epochs=8, batch_size=32,
        learning_rate=0.03, baseline=False, keep="last", **options,
    )  # fmt: skip
    learner.fit(check=False)
    matrix = learner.evaluate("test")["detail"]["confusion"]
    rare = learner.data.fields["label"].classes.index("rare")  # type: ignore[union-attr]
    return float(matrix[rare][rare] / sum(matrix[rare]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"techniques": ["class_weights"]}, "class weights (balanced): rare 1"),
        ({"techniques": ["class_weights scheme=effective beta=0.9999"]}, "class weights (effective): rare "),
        ({"sampler": "balanced"}, "sampler balanced: "),
        ({"sampler": "oversampled"}, "sampler oversampled: "),
        ({"sampler": "undersampled"}, "sampler undersampled: "),
    ],
)
def test_the_rare_class_is_found_and_the_report_says_by_what(
    options: dict[str, Any], said: str, table: Path, tmp_path: Path
) -> None:
    plain = recall_of_rare(table, tmp_path / "plain")
    assert plain < 0.35, "else there is nothing to mend"
    assert recall_of_rare(table, tmp_path / "run", **options) > 0.6
    reasons = fb.Recipe.load(tmp_path / "run" / "recipe.yaml").reasons
    assert any(reason.startswith(said) for reason in reasons), reasons
    fb.report.write(fb.Run(tmp_path / "run"))
    assert said in (tmp_path / "run" / "report.html").read_text()


def test_the_samplers_draw_what_they_say() -> None:
    targets = torch.tensor([0] * 70 + [1] * 20 + [3] * 10)

    def drawn(name: Any, epoch: int = 0) -> Tensor:
        made = sampler(name)
        made.fit(100, targets)
        order = made.order(torch.Generator().manual_seed(epoch))
        assert len(order) == made.length and order.dtype == torch.int64
        return order

    over = drawn("oversampled")
    assert targets[over].bincount().tolist() == [70, 70, 0, 70]
    assert sorted(set(over.bincount(minlength=100).tolist())) == [1, 3, 4, 7]
    under = drawn("undersampled")
    assert targets[under].bincount().tolist() == [10, 10, 0, 10] and len(set(under.tolist())) == 30
    assert set(under.tolist()) != set(drawn("undersampled", 1).tolist())
    many = torch.cat([targets[drawn("balanced", epoch)] for epoch in range(100)]).bincount() / 10_000
    # a share of 1/3 has a standard error of 0.0047 here
    assert torch.allclose(many[[0, 1, 3]], torch.full((3,), 1 / 3), atol=0.025)
    as_they_are = torch.cat([targets[drawn({"name": "balanced", "power": 0}, e)] for e in range(100)]).bincount()
    assert torch.allclose(as_they_are[[0, 1, 3]] / 10_000, torch.tensor([0.7, 0.2, 0.1]), atol=0.025)
    for wrong in (torch.rand(100), torch.zeros(100, 3, dtype=torch.int64), None):
        with pytest.raises(UsageError, match="needs a target of one class a sample; leave"):
            sampler("balanced").fit(100, wrong)


def test_focal_and_asymmetric_are_those_of_their_papers() -> None:
    output, classes = torch.randn(8, 3), torch.arange(8) % 3
    p = output.softmax(1)[torch.arange(8), classes]
    focal = named({"name": "focal", "gamma": 3})
    torch.testing.assert_close(focal(output, classes, reduction="none"), -((1 - p) ** 3) * p.log())
    torch.testing.assert_close(named({"name": "focal", "gamma": 0})(output, classes), F.cross_entropy(output, classes))
    torch.testing.assert_close(focal(output, F.one_hot(classes, 3).float()), focal(output, classes))
    smoothed = F.cross_entropy(output, classes, label_smoothing=0.2)
    torch.testing.assert_close(named({"name": "focal", "gamma": 0, "label_smoothing": 0.2})(output, classes), smoothed)
    labels = (torch.randn(8, 3) > 0).float()
    p = output.sigmoid()
    seen = (p - 0.05).clamp_min(0)
    expected = -(labels * (1 - p) * p.log() + (1 - labels) * seen**4 * (1 - seen).log()).mean()
    torch.testing.assert_close(named("asymmetric")(output, labels), expected)
    plain = named({"name": "asymmetric", "gamma_positive": 0, "gamma_negative": 0, "margin": 0})
    torch.testing.assert_close(plain(output * 20, labels), F.binary_cross_entropy_with_logits(output * 20, labels))
    for loss, target in ((focal, classes), (named("asymmetric"), labels)):
        sure = (output * 1e4).requires_grad_()
        loss(sure, target).backward()
        assert bool(torch.isfinite(sure.grad).all()), "where it is sure of what is wrong"  # type: ignore[arg-type]


def test_a_focal_loss_learns_from_what_is_hard() -> None:
    """The share of the gradient that comes from the sample that is wrong."""
    output = torch.tensor([[3.0, 0.0], [-1.0, 0.0]])

    def share(loss: Any) -> float:
        given = output.clone().requires_grad_()
        loss(given, torch.tensor([0, 0])).backward()
        assert given.grad is not None
        sizes = given.grad.norm(dim=1)
        return float(sizes[1] / sizes.sum())

    assert share(named("focal")) > 0.99 > 0.95 > share(named("cross_entropy"))


@pytest.mark.parametrize(("target", "loss", "fix"), [("multilabel", "focal", "use asymmetric or bce"),
                                                     ("category", "asymmetric", "for classes use focal")])  # fmt: skip
def test_a_loss_of_another_kind_of_target_is_refused(target: str, loss: str, fix: str) -> None:
    from flambeau.objectives import Supervised

    with pytest.raises(UsageError, match=fix):
        field = stored(target)[0].fields["y"]
        Supervised(supervised(target).model, field, loss).loss(batches(target, [8])[0])


def test_class_weights_are_of_the_training_rows_and_have_the_mean_1() -> None:
    balanced, effective = ClassWeights(), ClassWeights("effective", beta=0.9)
    assert balanced.weights([90, 10]) == pytest.approx([100 / 180, 5.0])
    raw = [0.1 / (1 - 0.9**n) for n in (90, 10)]
    mean = (90 * raw[0] + 10 * raw[1]) / 100
    assert effective.weights([90, 10, 0]) == pytest.approx([raw[0] / mean, raw[1] / mean, 0.0])


@pytest.mark.parametrize("order", [0, 1])
def test_class_weights_go_with_blends_and_smoothing(order: int) -> None:
    objective, weighted = supervised(dropout=0.0), ClassWeights()
    assert weighted.on_build(objective)
    of_class = torch.tensor(weighted.weights(objective.task.class_counts or ()))
    (given,) = batches("category", [32])
    techniques: list[Technique] = [weighted, LabelSmoothing(0.1), Mixup()][:: -1 if order else 1]
    criterion = objective.criterion
    for technique in techniques:
        technique.on_fit_start(objective)
        criterion = technique.on_criterion(objective, criterion)
    output = objective.forward(given)
    each = F.cross_entropy(output, given.target, label_smoothing=0.1, reduction="none") * of_class[given.target]
    torch.testing.assert_close(criterion(output, given.target), each.mean())
    soft = torch.lerp(F.one_hot(given.target, 10).float(), F.one_hot(given.target.flip(0), 10).float(), 0.3)
    each = F.cross_entropy(output, soft, label_smoothing=0.1, reduction="none") * (soft @ of_class)
    torch.testing.assert_close(criterion(output, soft), each.mean())
    trainer(objective, techniques=techniques, epochs=1).fit()


def test_from_the_command_line(flambeau: Forkserver, table: Path, tmp_path: Path) -> None:
    command = (
        "train",
        table,
        "--model",
        "linear",
        "--epochs",
        1,
        "--no-check",
        "--no-baseline",
        "--run",
        tmp_path / "run",
    )
    trained = flambeau(*command, "--loss", "focal", "--set", "objective.loss.gamma=1.5",
                       "--technique", "class_weights scheme=effective", "--set", "training.sampler=oversampled",
                       cwd=tmp_path)  # fmt: skip
    assert trained.status == 0, trained.err
    recipe = fb.Recipe.load(tmp_path / "run" / "recipe.yaml")
    assert recipe.objective.loss == {"name": "focal", "gamma": 1.5, "label_smoothing": 0.0}
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["metrics"]["loss"] > 0
