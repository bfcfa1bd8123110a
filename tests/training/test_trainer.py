"""The loop: the same weights every time, however it was batched, stopped or kept."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from small import Stop, Stopped, digits, identical, network, stored, supervised, terminated_at, trainer, weights
from torch import Tensor, nn

from flambeau.core.errors import TrainingError, UsageError
from flambeau.data.batch import Batch
from flambeau.objectives import Objective, Supervised
from flambeau.techniques import Clip, EarlyStopping, Step, Technique
from flambeau.training import Interrupted, Trainer, checkpoint
from flambeau.training.logging import read


def fitted(**options: Any) -> Trainer:
    training = trainer(**options)
    training.fit()
    return training


# -- the same weights ---------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_others() -> None:
    first = fitted(seed=1)
    torch.manual_seed(555)
    assert identical(weights(first), weights(fitted(seed=1)))
    assert not identical(weights(first), weights(fitted(seed=2)))


def test_accumulated_batches_are_one_large_batch() -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "keep": "last", "epochs": 3}
    large = fitted(objective=supervised(dropout=0.0), batch_size=32, **options)
    small = fitted(objective=supervised(dropout=0.0), batch_size=8, accumulate=4, **options)
    assert large.state.step == small.state.step == 15
    start = weights(network(dropout=0.0))
    for name, expected in weights(large).items():
        # 15 steps of a float32 mean over 32 samples in another order
        torch.testing.assert_close(weights(small)[name], expected, rtol=1e-4, atol=1e-5, msg=name)
        assert (expected - start[name]).abs().max() > 1e-2, "and they did move"


def test_a_last_step_of_fewer_batches_weighs_each_sample_alike() -> None:
    """160 rows are 4 × 32 + 32, but 5 × 29 + 15: unweighted, the last 15 rows would count double."""
    options: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "keep": "last", "epochs": 1}
    large = fitted(objective=supervised(dropout=0.0), batch_size=160, **options)
    small = fitted(objective=supervised(dropout=0.0), batch_size=29, accumulate=6, **options)
    assert large.state.step == small.state.step == 1
    for name, expected in weights(large).items():
        torch.testing.assert_close(weights(small)[name], expected, rtol=1e-4, atol=1e-6, msg=name)


def test_it_trains_as_a_loop_written_by_hand() -> None:
    training = fitted(objective=supervised(dropout=0.0), keep="last", schedule="cosine", weight_decay=0.1)
    model = network(dropout=0.0)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=0.01
    )
    for step in range(10):
        rows = training.train.plan(step // 5)[step % 5]  # type: ignore[attr-defined]
        batch = training.prepare(rows, stored()[1].gather(rows), True, None)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 + math.cos(math.pi * step / 10)) / 2
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch.input), batch.target).backward()
        optimizer.step()
    for name, expected in model.state_dict().items():
        torch.testing.assert_close(weights(training)[name], expected, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("step", range(1, 11))
def test_killed_after_any_step_it_ends_with_the_same_weights(step: int, tmp_path: Path) -> None:
    whole = fitted(techniques=[Stop()], folder=tmp_path / "whole")
    with pytest.raises(Stopped):
        trainer(folder=tmp_path / "run", techniques=[Stop(step)]).fit()
    # killed in its first epoch, before there was a checkpoint, it begins again with the weights that it is given
    resumed = trainer(supervised(seed=9 if step > 5 else 0), folder=tmp_path / "run", techniques=[Stop()])
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed))
    assert whole.state == resumed.state


def test_killed_again_and_again(tmp_path: Path) -> None:
    whole = fitted(techniques=[Stop()])
    for step in (2, 4, 7, 9):
        with pytest.raises(Interrupted):
            given = supervised(seed=0 if step == 2 else step)  # what a resume is given does not matter
            trainer(given, folder=tmp_path, techniques=[terminated_at(step)]).fit(resume=step > 2)
    last = trainer(supervised(seed=9), folder=tmp_path, techniques=[Stop()])
    last.fit(resume=True)
    assert identical(weights(whole), weights(last))


def test_a_resume_without_a_checkpoint_starts_from_the_start(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trainer(folder=tmp_path, techniques=[Stop(2)]).fit()
    again = trainer(folder=tmp_path, techniques=[Stop()])
    again.fit(resume=True)
    assert identical(weights(again), weights(fitted(techniques=[Stop()])))


def test_a_resume_of_a_finished_training_changes_nothing(tmp_path: Path) -> None:
    done = fitted(folder=tmp_path)
    lines = read(tmp_path / "metrics.jsonl")
    again = trainer(supervised(seed=9), folder=tmp_path)
    again.fit(resume=True)
    assert identical(weights(done), weights(again))
    assert read(tmp_path / "metrics.jsonl") == lines


# -- signals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_go_on(number: int, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=rf"stopped by {signal.Signals(number).name} at step 7 \(epoch 2\)") as error:
        trainer(folder=tmp_path, techniques=[Stop(7, number)]).fit()
    assert error.value.signal_number == number and f"flambeau resume {tmp_path}" in str(error.value)
    assert checkpoint.load(checkpoint.listed(tmp_path / "checkpoints")[0])[1]["progress"]["step"] == 7
    assert signal.getsignal(number) is before, "the user's own handlers are back"


def test_a_second_ctrl_c_does_not_wait() -> None:
    class Impatient(Stop):
        def on_step_end(self, objective: Objective, step: int) -> None:
            super().on_step_end(objective, step)
            super().on_step_end(objective, step)

    with pytest.raises(KeyboardInterrupt):
        trainer(techniques=[Impatient(2, signal.SIGINT)]).fit()


def test_a_signal_during_the_validation_validates_anew(tmp_path: Path) -> None:
    class InValidation(Supervised):
        by: int | None = signal.SIGTERM

        def evaluate(self, batch: Batch) -> None:
            super().evaluate(batch)
            if self.by is not None:
                signal.raise_signal(self.by)

    def objective() -> InValidation:
        return InValidation(network(), stored()[0].fields["y"])

    broken = objective()
    with pytest.raises(Interrupted):
        trainer(broken, folder=tmp_path).fit()
    calm = objective()
    calm.by = None
    resumed = trainer(calm, folder=tmp_path)
    resumed.fit(resume=True)
    whole = fitted()
    assert identical(weights(whole), weights(resumed))
    epochs = [line["epoch"] for line in read(tmp_path / "metrics.jsonl") if "train_loss" in line]
    assert epochs == [1, 2], "each epoch told once"


# -- what goes wrong ----------------------------------------------------------------------------------------------


class Breaks(Supervised):
    """A loss that is NaN at one step."""

    at = 6
    calls = 0

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        self.calls += 1
        return super().loss(batch, phase) * (math.nan if self.calls == self.at else 1.0)


@pytest.mark.parametrize("log_every", [1, 2, 50])
@pytest.mark.parametrize("at", [1, 5, 6, 9])
def test_a_nan_is_named_with_its_step_and_never_saved(at: int, log_every: int, tmp_path: Path) -> None:
    objective = Breaks(network(), stored()[0].fields["y"])
    objective.at = at
    epoch = (at - 1) // 5 + 1
    with pytest.raises(TrainingError, match=rf"the loss became nan at step {at} \(epoch {epoch}\); lower the learning"):
        trainer(objective, folder=tmp_path, log_every=log_every, checkpoint_minutes=1e9).fit()
    for path in (tmp_path / "checkpoints").glob("step-*"):
        tree, facts = checkpoint.load(path)
        assert facts["progress"]["step"] < at
        assert all(bool(torch.isfinite(t).all()) for t in tree["model"].values())


def test_gradients_are_clipped_to_the_norm() -> None:
    class Norms(Technique):
        name = "norms"
        seen: list[float]

        def on_fit_start(self, objective: Objective) -> None:
            self.seen = []

        def on_gradients(self, step: Step) -> None:
            self.seen.append(float(torch.cat([p.grad.flatten() for p in step.parameters if p.grad is not None]).norm()))

    before, after = Norms(), Norms()
    fitted(techniques=[before, Clip(0.05), after])
    assert max(before.seen) > 0.06
    assert after.seen == pytest.approx([min(n, 0.05) for n in before.seen], rel=1e-4)


# -- what is kept -------------------------------------------------------------------------------------------------


class Scripted(Supervised):
    """Scores that are given, so that the best epoch is known; each epoch's weights are its own."""

    scores = (0.5, 0.9, 0.7, 0.6, 0.65, 0.1)
    losses = (1.0,) * 6

    def start_evaluation(self, detail: bool = False) -> None:
        super().start_evaluation(detail)
        self.times = getattr(self, "times", -1) + 1

    def metrics(self) -> dict[str, float]:
        epoch = (self.times - 1) % len(self.scores)
        return {"loss": self.losses[epoch], "accuracy": self.scores[epoch]}


class Snapshots(Technique):
    """The weights at the end of every epoch."""

    name = "snapshots"

    def on_fit_start(self, objective: Objective) -> None:
        self.objective, self.epochs = objective, list[dict[str, Tensor]]()

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> None:
        self.epochs.append(weights(self.objective.model))


def scripted(**options: Any) -> tuple[Trainer, Snapshots]:
    watch = Snapshots()
    objective = Scripted(network(), stored()[0].fields["y"])
    extra = options.pop("techniques", [])
    return fitted(objective=objective, techniques=[watch, *extra], epochs=6, **options), watch


@pytest.mark.parametrize(("keep", "epoch"), [("best", 2), ("last", 6)])
def test_the_best_or_the_last_weights_are_kept(keep: str, epoch: int) -> None:
    training, watch = scripted(keep=keep)
    assert identical(weights(training), watch.epochs[epoch - 1])
    assert training.state.best is not None and training.state.best["epoch"] == 2


def test_where_less_is_better_the_lowest_is_best() -> None:
    objective = Scripted(network(), stored()[0].fields["y"])
    objective.higher_is_better = False
    training = fitted(objective=objective, epochs=6)
    assert training.state.best is not None and training.state.best["epoch"] == 6


def test_of_epochs_with_the_same_score_the_one_with_the_lowest_loss_is_best() -> None:
    class Easy(Scripted):
        scores = (0.5, 1.0, 1.0, 1.0, 0.9, 1.0)
        losses = (0.9, 0.7, 0.2, 0.3, 0.1, math.nan)

    training = fitted(objective=Easy(network(), stored()[0].fields["y"]), epochs=6)
    assert training.state.best is not None and training.state.best["epoch"] == 3


def test_early_stopping_counts_the_epochs_without_improvement() -> None:
    training, watch = scripted(techniques=[EarlyStopping(patience=3)])
    assert training.state.epoch == 5 and len(watch.epochs) == 5
    assert training.state.stopped == "accuracy has not improved for 3 epochs"
    assert identical(weights(training), watch.epochs[1]), "and the best is kept"


def test_early_stopping_goes_on_counting_after_a_resume(tmp_path: Path) -> None:
    def made(stop: Stop, times: int = 0) -> Trainer:
        objective = Scripted(network(), stored()[0].fields["y"])
        objective.times = times
        return trainer(objective, folder=tmp_path, epochs=6, techniques=[EarlyStopping(patience=3), stop])

    with pytest.raises(Stopped):
        made(Stop(17)).fit()  # in epoch 4: two without improvement are known, the third is to come
    resumed = made(Stop(), times=3)
    resumed.fit(resume=True)
    assert resumed.state.epoch == 5 and resumed.state.stopped


def test_early_stopping_is_not_misled_by_nan() -> None:
    class Nan(Scripted):
        scores = (math.nan, 0.5, 0.6, math.nan, 0.7, 0.8)

    training = fitted(objective=Nan(network(), stored()[0].fields["y"]), epochs=6, techniques=[EarlyStopping(2)])
    assert training.state.epoch == 6 and training.state.best is not None and training.state.best["epoch"] == 6


def test_the_best_checkpoint_and_the_two_newest_stay(tmp_path: Path) -> None:
    scripted(folder=tmp_path)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == [f"best-{checkpoint.name(10, 2)}", checkpoint.name(25, 5), checkpoint.name(30, 6)]


def test_a_resume_after_the_best_epoch_still_ends_with_it(tmp_path: Path) -> None:
    whole, _ = scripted()
    objective = Scripted(network(), stored()[0].fields["y"])
    with pytest.raises(Stopped):
        trainer(objective, folder=tmp_path, epochs=6, techniques=[Snapshots(), Stop(24)]).fit()
    again = Scripted(network(seed=3), stored()[0].fields["y"])
    again.times = 4
    resumed = trainer(again, folder=tmp_path, epochs=6, techniques=[Snapshots(), Stop()])
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed))


def test_a_checkpoint_can_be_saved_between_epochs(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trainer(folder=tmp_path, techniques=[Stop(4)], checkpoint_minutes=0).fit()
    assert checkpoint.listed(tmp_path / "checkpoints")[0].name == checkpoint.name(3, 0)


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path: Path) -> None:
    whole = fitted(techniques=[Stop()], epochs=3)
    with pytest.raises(Stopped):
        trainer(folder=tmp_path, epochs=3, techniques=[Stop(12)]).fit()
    newest = checkpoint.listed(tmp_path / "checkpoints")[0]
    file = newest / "state.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))
    resumed = trainer(supervised(seed=9), folder=tmp_path, epochs=3, techniques=[Stop()])
    resumed.fit(resume=True)
    assert len(resumed.notes) >= 1
    assert newest.name in resumed.notes[0] and "damaged" in resumed.notes[0] and "before" in resumed.notes[0]
    assert resumed.state.step == 15
    # the best of the epochs may have been lost with it; the last weights may not
    assert whole.state.epoch == resumed.state.epoch
    last = [fitted(techniques=[Stop()], epochs=3, keep="last")]
    live = checkpoint.load(checkpoint.listed(tmp_path / "checkpoints")[0])[0]["model"]
    assert identical(weights(last[0]), live)


# -- what is written down -----------------------------------------------------------------------------------------


def test_every_line_is_json_and_a_resume_tells_no_step_twice(tmp_path: Path) -> None:
    whole = fitted(folder=tmp_path / "whole", techniques=[Stop()])
    with pytest.raises(Stopped):
        trainer(folder=tmp_path / "run", techniques=[Stop(9)]).fit()
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')  # cut short by a crash
    lines = read(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines if "monitors" not in line] == [2, 4, 5, 6, 8]
    resumed = trainer(supervised(seed=9), folder=tmp_path / "run", techniques=[Stop()])
    resumed.fit(resume=True)

    def told(folder: Path) -> list[dict[str, Any]]:
        lines = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
        lines = [line for line in lines if "monitors" not in line]  # what was measured and not yet read is lost
        return [{k: v for k, v in line.items() if k not in ("samples_per_second", "speed")} for line in lines]

    assert told(tmp_path / "whole") == told(tmp_path / "run")
    assert [h["epoch"] for h in resumed.history] == [1, 2] == [h["epoch"] for h in whole.history]


def test_a_line_of_metrics_holds_the_mean_loss_since_the_one_before() -> None:
    class Watched(Supervised):
        losses: list[float]

        def loss(self, batch: Batch, phase: str = "train") -> Tensor:
            loss = super().loss(batch, phase)
            self.losses.append(float(loss.detach()))
            return loss

    objective = Watched(network(), stored()[0].fields["y"])
    objective.losses = []
    training = fitted(objective=objective, epochs=1, log_every=2)
    lines = training.log.lines
    assert [line["loss"] for line in lines if "loss" in line] == pytest.approx(
        [sum(objective.losses[0:2]) / 2, sum(objective.losses[2:4]) / 2]
    )
    assert lines[-1]["train_loss"] == pytest.approx(sum(objective.losses) / 5)
    speed = lines[-1]["speed"]
    assert sum(speed[p] for p in ("data", "forward", "backward", "step")) == pytest.approx(1, abs=1e-3)


def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    training = fitted(folder=tmp_path)
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert {"train/loss", "train/learning_rate", "valid/accuracy", "train/train_loss"} <= set(scalars)
    expected = [(h["step"], h["valid"]["accuracy"]) for h in training.history]
    assert scalars["valid/accuracy"] == [(s, pytest.approx(v, rel=1e-6)) for s, v in expected]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fitted()
    assert list(tmp_path.iterdir()) == []


# -- odd sources --------------------------------------------------------------------------------------------------


def test_a_source_that_ends_early_and_no_validation() -> None:
    class Short:
        def count(self, epoch: int = 0) -> int:
            return 5

        def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Any]]:
            for i in range(start, 3):
                rows = torch.arange(i * 8, i * 8 + 8)
                yield rows, stored()[1].gather(rows)

    training = trainer()
    training.train, training.valid = Short(), None
    state = training.fit()
    assert state.epoch == 2 and state.step == 6 and state.best is None
    assert len(digits()[0]) == 200


def test_no_parameter_to_train_is_told() -> None:
    objective = supervised()
    objective.model.requires_grad_(False)
    with pytest.raises(UsageError, match="no parameter is left to train; unfreeze some"):
        trainer(objective).fit()
