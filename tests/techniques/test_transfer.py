"""What is frozen stays to the last bit, what is thawed learns, and each layer group learns at its own rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from forkserver import Forkserver
from small import digits, identical, stored, trainer, weights
from torch import nn

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import DiscriminativeRates, FineTune, Freeze, GradualUnfreezing, Technique


def network() -> nn.Module:
    """Three layer groups; the first two have batch statistics."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.BatchNorm1d(16),
        nn.ReLU(), nn.Linear(16, 10),
    )  # fmt: skip


def objective() -> Supervised:
    return Supervised(network(), stored()[0].fields["y"])


def changed(training: object) -> set[str]:
    """Names of the tensors that are not as they began."""
    before, after = weights(network()), weights(training)
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def of_layers(*numbers: int) -> set[str]:
    return {name for name in network().state_dict() if int(name.partition(".")[0]) in numbers}


def statistics(*numbers: int) -> set[str]:
    return of_layers(*numbers) - {name for name, _ in network().named_parameters()}


class Seen(Technique):
    """Notes which layers learn in each epoch."""

    name = "seen"

    def __init__(self) -> None:
        self.epochs: list[set[str]] = []

    def on_step_end(self, objective: Objective, step: int) -> None:
        if step % 5 == 0:
            self.epochs.append({name for name, p in objective.model.named_parameters() if p.requires_grad})


PARAMETERS = {layer: {f"{layer}.weight", f"{layer}.bias"} for layer in (1, 2, 4, 5, 7)}


@pytest.mark.parametrize(
    ("technique", "learning"),
    [
        (Freeze(), of_layers(7)),
        (Freeze(until=1), of_layers(4, 5, 7)),
        (Freeze(until="4"), of_layers(4, 5, 7)),
        (Freeze(pattern=r"^[45]\."), of_layers(1, 2, 7)),
        (Freeze(until=1, batch_norm="train"), of_layers(4, 5, 7) | statistics(2)),
    ],
    ids=["all but the head", "a number", "a name", "a pattern", "statistics follow"],
)  # fmt: skip
def test_what_is_frozen_stays_and_is_in_no_optimiser(technique: Freeze, learning: set[str]) -> None:
    training = trainer(objective(), techniques=[technique])
    training.fit()
    assert changed(training) == learning
    held = [p for group in training.updates.optimizers["train"].param_groups for p in group["params"]]
    named = dict(training.objective.model.named_parameters())
    assert {*map(id, held)} == {id(p) for name, p in named.items() if name in learning}


def test_groups_thaw_from_the_head_backwards() -> None:
    seen = Seen()
    training = trainer(objective(), techniques=[GradualUnfreezing(epochs=2), seen], epochs=6, keep="last")
    training.fit()
    head, above = PARAMETERS[7], PARAMETERS[7] | PARAMETERS[4] | PARAMETERS[5]
    everything = above | PARAMETERS[1] | PARAMETERS[2]
    assert seen.epochs == [head, head, above, above, everything, everything]
    assert all(p.requires_grad for p in training.objective.model.parameters()) and changed(training) == of_layers(
        1, 2, 4, 5, 7
    )


def test_statistics_rest_as_long_as_their_layer() -> None:
    training = trainer(objective(), techniques=[GradualUnfreezing(epochs=1)], epochs=2, keep="last")
    training.fit()
    assert changed(training) == of_layers(4, 5, 7)
    loose = trainer(objective(), techniques=[GradualUnfreezing(epochs=1, batch_norm="train")], epochs=1, keep="last")
    loose.fit()
    assert changed(loose) == of_layers(7) | statistics(2, 5)


def test_fine_tuning_trains_the_head_first_then_all_at_rates_that_fall_towards_the_input() -> None:
    seen = Seen()
    training = trainer(objective(), techniques=[FineTune(head_epochs=2, lowest=0.01), seen], epochs=3, keep="last")
    training.fit()
    assert [len(epoch) for epoch in seen.epochs] == [2, 2, 10]
    assert rates(training) == pytest.approx({1: 1e-4, 4: 1e-3, 7: 1e-2})


def rates(training: object) -> dict[int, float]:
    """The highest learning rate of each linear layer."""
    updates = training.updates  # type: ignore[attr-defined]
    named = {id(p): name for name, p in training.objective.model.named_parameters()}  # type: ignore[attr-defined]
    groups = zip(updates.optimizers["train"].param_groups, updates._base_rates["train"], strict=True)
    by_name = {named[id(p)]: rate for group, rate in groups for p in group["params"]}
    assert all(by_name[f"{norm}.weight"] == by_name[f"{norm - 1}.weight"] for norm in (2, 5))
    return {layer: by_name[f"{layer}.weight"] for layer in (1, 4, 7)}


@pytest.mark.parametrize(
    ("technique", "expected"),
    [
        (DiscriminativeRates([1e-4, 1e-2]), {1: 1e-4, 4: 1e-3, 7: 1e-2}),
        (DiscriminativeRates(["1e-5", "3e-4", "1e-2"]), {1: 1e-5, 4: 3e-4, 7: 1e-2}),
        (DiscriminativeRates(layer_decay=0.5), {1: 0.0025, 4: 0.005, 7: 0.01}),
        (DiscriminativeRates(), {1: 0.01 * 0.75**2, 4: 0.0075, 7: 0.01}),
    ],
)
def test_each_group_learns_at_its_own_rate(technique: DiscriminativeRates, expected: dict[int, float]) -> None:
    training = trainer(objective(), techniques=[technique], epochs=1)
    training.fit()
    assert rates(training) == pytest.approx(expected)


def test_three_numbers_are_the_lower_half_the_upper_half_and_the_head() -> None:
    shares = DiscriminativeRates([1e-5, 1e-4, 1e-3]).shares(6)
    assert shares == pytest.approx([0.01, 0.01, 0.01, 0.1, 0.1, 1.0])


def test_a_plan_says_what_they_do_and_which_settings_follow() -> None:
    data = fb.Dataset.from_arrays(*digits())
    learner = fb.Learner(
        data, model="mlp", techniques=["discriminative_rates learning_rates=[1e-5,1e-3]", "freeze until=1"]
    )
    said = {decision.name: decision for decision in learner.plan().decisions}
    assert (said["training.learning_rate"].value, said["training.backbone_lr_scale"].value) == (1e-3, 1.0)
    assert said["training.learning_rate"].why == "the head's, of discriminative_rates"
    assert said["techniques.freeze"].why == (
        "layer groups [:1] keep their weights; statistics of batch normalisations rest with their layer"
    )
    again = fb.Learner(data, recipe=learner.plan().recipe, run=False, quiet=True)
    assert again.plan().recipe.training.learning_rate == 1e-3
    other = fb.Learner(
        data, model="mlp", techniques="discriminative_rates learning_rates=[1e-5,1e-3]", learning_rate=0.1
    )
    with pytest.raises(UsageError, match=r"learning_rate=0\.1 was asked for, and discriminative_rates decides 0\.001"):
        other.plan()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Freeze(until=3), r"until=3 freezes all of the model; its layer groups: 1, 4, 7"),
        (lambda: Freeze(until=-3), "until=-3 freezes nothing"),
        (lambda: Freeze(until="layer3"), "the model has no layer group 'layer3'; known: 1, 4, 7"),
        (lambda: Freeze(pattern="conv"), "pattern=conv freezes nothing"),
        (lambda: Freeze(pattern="("), "is no regular expression"),
        (lambda: Freeze(batch_norm="off"), "batch_norm='off' does not fit; expected frozen or train"),
        (lambda: DiscriminativeRates([0.1]), r"learning_rates=\[0\.1\] does not fit; expected two numbers above 0"),
        (lambda: DiscriminativeRates([0.1, 0.2], 0.5), "both learning_rates and layer_decay"),
        (lambda: DiscriminativeRates([0.1] * 4), "4 learning rates are given, and the model has 3 layer groups"),
        (lambda: FineTune(lowest=0), "lowest=0 does not fit"),
    ],
)
def test_what_has_no_meaning_is_refused(make: Callable[[], Technique], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trainer(objective(), techniques=[make()], epochs=1).fit()


def test_a_model_of_one_group_cannot_be_thawed() -> None:
    single = Supervised(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), stored()[0].fields["y"])
    for technique in (GradualUnfreezing(), FineTune()):
        with pytest.raises(UsageError, match="needs two layer groups or more, and the model has 1"):
            trainer(single, techniques=[technique])


def test_a_training_with_them_is_resumed_and_loaded(flambeau: Forkserver, digits_folder: Path, tmp_path: Path) -> None:
    """Killed while the head learns alone, and gone on with: the same weights as in one go; predictions are made."""
    given = ("train", digits_folder, "--model", "lenet", "--epochs", 3, "--no-check", "--no-baseline", "--technique",
             "fine_tune head_epochs=1", "--technique", "freeze until=1", "--set", "checkpoint_minutes=0")  # fmt: skip
    whole = flambeau(*given, "--run", "whole", cwd=tmp_path)
    assert whole.status == 0, whole.err
    command = flambeau.start(*given, "--run", "killed", cwd=tmp_path)
    assert command.until(lambda: len([*(tmp_path / "killed").glob("checkpoints/step-*")]) > 1)
    command.kill()
    resumed = flambeau("resume", "killed", cwd=tmp_path)
    assert resumed.status == 0, resumed.err
    first, second = (fb.load(tmp_path / run, device="cpu") for run in ("whole", "killed"))
    assert identical(weights(first.objective), weights(second.objective))
    photo = next((digits_folder / "3").iterdir())
    assert first.predict(photo).label == second.predict(photo).label
    told = flambeau(*given[:2], "--technique", "fine_tune", "--model", "lenet", "--dry-run", cwd=tmp_path)
    assert "the head alone in the first epoch, then all layer groups" in told.out
