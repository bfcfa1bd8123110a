"""Averages of weights, and weights that are kept on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small import stored, trainer, weights
from torch import Tensor, nn

from flambeau.core.errors import UsageError
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import EMA, NTASGD, SWA, Snapshots, Technique
from flambeau.training import Trainer


class Epochs(Technique):
    """The weights after each step, those that are trained."""

    name = "epochs"

    def __init__(self) -> None:
        self.after: list[dict[str, Tensor]] = []

    def on_step_end(self, objective: Objective, step: int) -> None:
        self.after.append(weights(objective))


def normalised(**options: object) -> Trainer:
    torch.manual_seed(0)
    layers = nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 10)
    objective = Supervised(nn.Sequential(nn.Flatten(), *layers), stored()[0].fields["y"])
    return trainer(objective, keep="last", schedule="constant", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("validated", [True, False])
def test_swa_ends_with_the_mean_of_the_last_epochs_and_its_own_statistics(validated: bool) -> None:
    seen = Epochs()
    training = normalised(techniques=[SWA(0.4), seen], epochs=5)
    if not validated:
        training.valid = None
    training.fit()
    steps = training.state.step // 5
    ends = [seen.after[(epoch + 1) * steps - 1] for epoch in (2, 3, 4)]
    model = training.objective.model
    for name, parameter in model.named_parameters():
        mean = torch.stack([end[name] for end in ends]).mean(0)
        torch.testing.assert_close(parameter.detach(), mean, rtol=1e-5, atol=1e-7)
    batches = [training.prepare(rows, gathered, False, None).input for rows, gathered in training.train.epoch(0)]
    with torch.no_grad():
        outputs = [model[1](model[0](batch)) for batch in batches]  # type: ignore[index]
    norm = model[2]  # type: ignore[index]
    torch.testing.assert_close(norm.running_mean, torch.stack([x.mean(0) for x in outputs]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([x.var(0) for x in outputs]).mean(0))
    assert norm.momentum == 0.1 and norm.track_running_stats


def test_swa_and_its_counting_change_nothing_of_how_the_weights_train() -> None:
    seen = Epochs(), Epochs()
    normalised(techniques=[SWA(0.0), seen[0]], epochs=3).fit()
    normalised(techniques=[seen[1]], epochs=3).fit()
    for ours, plain in zip(seen[0].after, seen[1].after, strict=True):
        assert all(torch.equal(ours[name], value) for name, value in plain.items())


def test_nt_asgd_averages_each_step_once_no_late_epoch_is_better() -> None:
    """Its own figures, of six epochs: the fourth is worse than the second, the best but for the last one before it."""
    seen, averaging = Epochs(), NTASGD(patience=1)

    class Told(Technique):
        name = "told"

        def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> str | None:
            metrics["loss"] = (5.0, 4.0, 4.5, 4.2, 1.0, 1.0)[epoch - 1]
            return None

    training = normalised(techniques=[Told(), averaging, seen], epochs=6)
    training.objective.monitor, training.objective.higher_is_better = "loss", False
    training.fit()
    steps = training.state.step // 6
    for name, parameter in training.objective.model.named_parameters():
        mean = torch.stack([after[name] for after in seen.after[4 * steps :]]).mean(0)
        torch.testing.assert_close(parameter.detach(), mean, rtol=1e-5, atol=1e-7)
    again = NTASGD(patience=1)
    again.on_fit_start(training.objective)
    again.load_state_dict(averaging.state_dict())
    assert again.state_dict().keys() == averaging.state_dict().keys() and again._count == 2 * steps


def test_of_two_averages_the_last_is_what_the_model_ends_with() -> None:
    kept = SWA(0.0), EMA(0.9)
    for order in (kept, kept[::-1]):
        training = normalised(techniques=list(order))
        training.fit()
        assert all(torch.equal(value, order[-1].average[name]) for name, value in weights(training).items())


def test_snapshots_are_the_weights_before_each_restart_and_the_last(tmp_path: Path) -> None:
    seen = Epochs()
    schedule = {"name": "cosine_restarts", "cycles": 3, "multiplier": 1.0}
    training = trainer(folder=tmp_path, techniques=[Snapshots(), seen], epochs=6, keep="last", schedule=schedule)
    training.fit()
    done = training.state.step
    files = sorted((tmp_path / "snapshots").iterdir())
    assert [int(file.stem.removeprefix("step-")) for file in files] == [done // 3, 2 * done // 3, done]
    for file in files:
        kept, then = load_file(file), seen.after[int(file.stem.removeprefix("step-")) - 1]
        assert kept.keys() == then.keys() and all(torch.equal(kept[name], value) for name, value in then.items())


def test_snapshots_of_each_few_epochs(tmp_path: Path) -> None:
    seen = Epochs()
    training = trainer(folder=tmp_path, techniques=[Snapshots(every=2), seen], epochs=5)
    training.fit()
    steps = training.state.step // 5
    files = sorted((tmp_path / "snapshots").iterdir())
    assert [file.name for file in files] == [f"step-{epoch * steps:08d}.safetensors" for epoch in (2, 4)]
    assert all(torch.equal(load_file(files[0])[n], v) for n, v in seen.after[2 * steps - 1].items())


def test_snapshots_without_a_restart_are_refused(tmp_path: Path) -> None:
    for schedule in ("one_cycle", "constant", "step"):
        with pytest.raises(UsageError, match="the schedule never does; set schedule=cosine_restarts, or give every=1"):
            trainer(folder=tmp_path, techniques=[Snapshots()], schedule=schedule).fit()
