"""What a user holds: with the parts that come along, with parts of one's own, and with all the mistakes one makes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import torch.nn.functional as F
from small import Stop, Stopped, digits, identical, network, terminated_at, weights
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset
from torch.utils.data import Dataset as TorchDataset

import flambeau as fb
from flambeau.core.errors import DataError, FlambeauError, ModelError, RunError, TrainingError, UsageError
from flambeau.fields import Ragged
from flambeau.training import Interrupted

X, Y = digits()
TINY: dict[str, Any] = {"epochs": 2, "learning_rate": 0.01, "batch_size": 32, "quiet": True}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores and runs of the defaults lie in the working folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def arrays(x: Any = X, y: Any = Y, **options: Any) -> fb.Dataset:
    return fb.Dataset.from_arrays(x, y, **options)


def learner(data: Any = None, model: Any = "mlp", **settings: Any) -> fb.Learner:
    return fb.Learner(arrays() if data is None else data, model, **{**TINY, "run": False, **settings})


def images(y: Any = Y, rows: slice = slice(None)) -> TensorDataset:
    return TensorDataset(torch.as_tensor(X[rows], dtype=torch.float32), torch.as_tensor(np.asarray(y)[rows]))


# -- with what comes along ----------------------------------------------------------------------------------------


def test_images_to_a_class() -> None:
    trained = learner(epochs=10)
    metrics = trained.fit()
    assert metrics["accuracy"] > 0.8
    assert trained.evaluate() == {**trained.evaluate(), "metrics": metrics, "split": "test", "samples": 30}
    assert [trained.evaluate(s)["samples"] for s in ("train", "valid")] == [140, 30]
    predictions = trained.predict(X[:20])
    assert sum(p.label == str(y) for p, y in zip(predictions, Y[:20], strict=True)) > 15
    assert sum(predictions[0].probabilities.values()) == pytest.approx(1, abs=1e-5)
    without = learner(arrays(split=fb.Split(test=0)))
    with pytest.raises(UsageError, match="the data has no test rows"):
        without.evaluate("test")


def test_images_to_several_labels() -> None:
    y = [[n for n, on in (("even", d % 2 == 0), ("small", d < 5)) if on] for d in Y.tolist()]
    trained = learner(arrays(y=y), epochs=10)
    metrics = trained.fit()
    assert metrics["micro_f1"] > 0.8 and metrics["average_precision"] > 0.8
    assert {"loss", "f1", "micro_f1", "exact_match", "micro_average_precision"} < set(metrics)
    assert set(trained.predict(X[0]).label) <= {"even", "small"}
    assert "bce" in trained.objective.describe()


def test_images_to_a_number() -> None:
    ink = X.mean((1, 2))
    trained = learner(arrays(y=ink), epochs=20)
    metrics = trained.fit()
    assert metrics["r2"] > 0.5
    assert trained.predict(X[3]).label == pytest.approx(ink[3], abs=4 * metrics["rmse"])
    assert trained.predict(X[3]).confidence is None
    assert any("float32: numbers are predicted" in r or "float32" in r for r in trained.recipe.reasons)


def test_labels_that_are_floats_are_classes() -> None:
    trained = learner(arrays(y=Y.astype(float)))
    trained.fit(check=False)
    assert trained.predictor.classes == list("0123456789")


def test_the_same_seed_twice_gives_the_same_weights() -> None:
    first, second = learner(augment={"rotation": 10}), learner(augment={"rotation": 10})
    assert first.fit(check=False) == second.fit(check=False)
    assert identical(weights(first.objective.model), weights(second.objective.model))
    other = learner(augment={"rotation": 10}, seed=1)
    other.fit(check=False)
    assert not identical(weights(first.objective.model), weights(other.objective.model))


def test_how_the_pictures_are_kept_and_decoded_does_not_change_the_weights(digits_folder: Path, tmp_path: Path) -> None:
    for name in "012":
        (tmp_path / "digits" / name).mkdir(parents=True)
        for file in sorted((digits_folder / name).iterdir())[:40]:
            shutil.copyfile(file, tmp_path / "digits" / name / file.name)

    def trained(**options: Any) -> dict[str, Tensor]:
        data = fb.Dataset.from_folder(tmp_path / "digits")
        made = learner(data, augment={"rotation": 10, "gaussian_noise": 0.1}, **options)
        made.fit(check=False)
        return weights(made.objective.model)

    expected = trained(threads=1, cache=tmp_path / "a")
    assert identical(expected, trained(threads=4, cache=tmp_path / "b"))
    assert identical(expected, trained(threads=3, cache=tmp_path / "c", cache_limit=0)), "decoded on the fly"
    assert identical(expected, trained(threads=1, cache=tmp_path / "a")), "from the store that is there"


def test_a_learner_leaves_the_dataset_as_it_was() -> None:
    data = arrays()
    before = {name: field.to_dict() for name, field in data.fields.items()}
    learner(data, augment={"rotation": 30}).fit(check=False)
    assert {name: field.to_dict() for name, field in data.fields.items()} == before
    plain = learner(data, augment="none")
    plain.build()
    assert plain.data is not None and plain.data.fields["x"].augment is None  # type: ignore[attr-defined]


def test_several_inputs_reach_an_own_model_as_a_dict() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Linear(65, 10)

        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            return self.net(torch.cat([inputs["picture"].flatten(1), inputs["ink"]], 1))

    data = fb.Dataset.from_arrays({"picture": X, "ink": X.mean((1, 2))}, Y)
    trained = learner(data, Both(), epochs=15)
    assert trained.fit(check=False)["accuracy"] > 0.6
    assert trained.predict({"picture": X[0], "ink": X[0].mean()}).label in set("0123456789")
    with pytest.raises(DataError, match="the input has no 'ink'; expected picture, ink"):
        trained.predict({"picture": X[0]})
    with pytest.raises(UsageError, match=r"mlp takes one input; the data has 2: table \(ink\), picture; choose"):
        learner(data).fit(check=False)


# -- with parts of one's own --------------------------------------------------------------------------------------


class Own(nn.Module):
    def __init__(self, seed: int = 0, outputs: int = 10) -> None:
        super().__init__()
        self.net = network(outputs, seed=seed)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class OwnData(TorchDataset):
    """As most people write one; its noise is from the global generator, as with transforms of torchvision."""

    def __init__(self, rows: slice) -> None:
        self.x, self.y = torch.as_tensor(X[rows], dtype=torch.float32), torch.as_tensor(Y[rows])

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.x[i] + 0.01 * torch.randn(8, 8), self.y[i]


def own_loss(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output, target, label_smoothing=0.05)


def right(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(1) == target).float().mean()


def own(run: Any = False, stop: Stop | None = None, seed: int = 0, **settings: Any) -> fb.Learner:
    pair = (OwnData(slice(0, 160)), OwnData(slice(160, 200)))
    return learner(
        pair, Own(seed), loss=own_loss, metrics=[right], run=run, techniques=[stop or Stop()],
        **{"keep": "last", **settings},
    )  # fmt: skip


class LossInside(nn.Module):
    """Classifies digits, and says its loss itself; in training it answers nothing."""

    own_loss = "a model of the test"

    def __init__(self) -> None:
        super().__init__()
        self.net = network(10, seed=0)

    def forward(self, x: Tensor, target: Tensor | None = None) -> fb.models.LossAndAnswers:
        logits = self.net(x)
        loss = None if target is None else F.cross_entropy(logits, target)
        return fb.models.LossAndAnswers(loss, None if self.training else logits.softmax(1))


def test_a_model_with_its_loss_inside_trains_as_one_with_the_same_loss_outside() -> None:
    data = arrays()
    inside, outside = learner(data, LossInside(), epochs=8), learner(data, Own(), epochs=8)
    assert inside.fit(check=False) == outside.fit(check=False)
    assert identical(weights(inside.objective.model), weights(outside.objective.model))
    assert inside.predict(X[0]).label == outside.predict(X[0]).label
    assert "the loss of a model of the test" in inside.objective.describe()
    with pytest.raises(UsageError, match="the model's loss is inside it: that of a model of the test; leave loss out"):
        learner(data, LossInside(), loss="focal").build()


def test_own_model_loss_metric_and_dataset_train_and_predict(tmp_path: Path) -> None:
    trained = own(run=tmp_path / "run", epochs=12)
    metrics = trained.fit()
    assert metrics["right"] > 0.6 and set(metrics) == {"loss", "accuracy", "f1", "right"}
    x = torch.as_tensor(X[:30], dtype=torch.float32)
    outputs = trained.predict(x)
    assert outputs.shape == (30, 10)
    loaded = fb.load(tmp_path / "run", model=Own(seed=5))
    np.testing.assert_allclose(loaded.predict(x), outputs, rtol=1e-5, atol=1e-5)
    run = fb.Run.open(tmp_path / "run")
    assert run.recipe.own_parts["model"].endswith("Own") and run.recipe.own_parts["loss"].endswith("own_loss")
    with pytest.raises(RunError, match=r"trained with a model of your own.*fb.load\(run, model=YourModel\(\)\)"):
        fb.load(tmp_path / "run")
    with pytest.raises(UsageError, match=r"has parts of your own.*call fit\(resume=True\)"):
        fb.Learner.from_recipe(run.recipe)
    with pytest.raises(UsageError, match="no fields, so it cannot read raw values; give a tensor"):
        trained.predict("a.jpg")


@pytest.mark.parametrize("step", [3, 5, 8])
@pytest.mark.parametrize("how", ["SIGTERM", "crash"])
def test_own_parts_resume_bit_identically(step: int, how: str, tmp_path: Path) -> None:
    whole = own(run=tmp_path / "whole", checkpoint_minutes=0)
    metrics = whole.fit()
    stop = terminated_at(step) if how == "SIGTERM" else Stop(step)
    with pytest.raises(Interrupted if how == "SIGTERM" else Stopped):
        own(run=tmp_path / "run", stop=stop, checkpoint_minutes=0).fit()
    resumed = own(run=tmp_path / "run", seed=7, checkpoint_minutes=0)
    resumed_metrics = resumed.fit(resume=True)
    assert identical(weights(whole.objective.model), weights(resumed.objective.model))
    assert set(resumed_metrics) == set(metrics)


def test_an_own_dataloader_is_used_as_it_is_made() -> None:
    sizes: list[int] = []

    class Watched(Own):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return super().forward(x)

    loader = DataLoader(images(), batch_size=50, shuffle=True, collate_fn=lambda s: torch.utils.data.default_collate(s))
    trained = learner((loader, DataLoader(images(), batch_size=100)), Watched(), epochs=1)
    trained.fit(check=False)
    assert set(sizes) == {50, 100}
    again = learner(DataLoader(images(), batch_size=50, shuffle=True), Own(), epochs=3)
    assert "loss" in again.fit(), "without validation it is measured on what it trained on"


def test_an_own_stream_trains() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(*images().tensors, strict=True))

    trained = learner((Stream(), images()), Own(), metrics=[right], epochs=10)
    assert trained.fit()["right"] > 0.5


def test_a_torchmetrics_metric_is_measured_anew_each_time() -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    metric = torchmetrics.Accuracy(task="multiclass", num_classes=10)
    trained = learner(arrays(), metrics=[metric], epochs=5)
    values = trained.fit(check=False)
    assert values["multiclassaccuracy"] == pytest.approx(values["accuracy"])
    assert trained.evaluate("train")["metrics"]["multiclassaccuracy"] == pytest.approx(
        trained.evaluate("train")["metrics"]["accuracy"]
    )


def test_own_transforms_see_training_batches_alone() -> None:
    seen: list[tuple[int, ...]] = []

    def brighten(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return x + 0.1

    trained = learner(arrays(), augment=[brighten, lambda x: x * 1.1], epochs=2)
    trained.fit(check=False)
    assert seen == [*[(32, 1, 8, 8)] * 4, (12, 1, 8, 8)] * 2  # 140 of 200 train
    assert trained.recipe.augment == "none" and "Transforms" in trained.recipe.own_parts["techniques"]


def test_an_own_model_on_a_dataset_with_fields() -> None:
    trained = learner(arrays(), Own(), loss=own_loss, metrics=[right])
    metrics = trained.fit(check=False)
    assert metrics["right"] == pytest.approx(metrics["accuracy"])
    assert trained.predict(X[0]).label in set("0123456789")


def test_dense_targets_with_pixels_to_ignore() -> None:
    """A class for each pixel, and -100 where there is none, as torch's cross-entropy takes them."""
    y = torch.as_tensor((X > 0.5).astype(np.int64))
    y[:, 0] = -100
    data = TensorDataset(torch.as_tensor(X, dtype=torch.float32)[:, None], y)
    trained = learner((data, data), nn.Conv2d(1, 2, 3, padding=1), epochs=20, learning_rate=0.1)
    assert trained.fit()["loss"] < 0.2
    wrong = y.clone()
    wrong[3, 4, 5] = 2
    bad = TensorDataset(torch.as_tensor(X, dtype=torch.float32)[:, None], wrong)
    with pytest.raises(DataError, match=r"row 3: the label 2 is outside its range; expected 0…1"):
        learner((bad, None), nn.Conv2d(1, 2, 3, padding=1)).fit()


# -- mistakes that are told before the first step -----------------------------------------------------------------


class Untold(TorchDataset):
    """A dataset whose targets cannot be seen without asking for each row."""

    def __init__(self, y: Any) -> None:
        self._y = torch.as_tensor(np.asarray(y))

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return torch.as_tensor(X[i], dtype=torch.float32), self._y[i]


def far(value: Any, row: int = 150) -> np.ndarray:
    """Labels with one wrong, too late for the first batch of an ordered reading."""
    y = Y.copy()
    y[row] = value
    return y


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: images(far(10)), r"row 150: the label 10 is outside .* 0…9, for the model has 10 outputs; number"),
        (lambda: images(far(-1)), r"row 150: the label -1 is outside its range; expected 0…9"),
        (lambda: images(Y + 1), r"the label 10 is outside its range"),
        (lambda: Untold(Y + 1), r"the label 10 is outside its range"),
        (lambda: images(np.eye(10, dtype=int)[Y]), r"row \d+: targets are one-hot rows of 10; expected class numb"),
        (lambda: Untold(np.eye(10, dtype=int)[Y]), r"targets are one-hot rows of 10; .*give target.argmax\(1\)"),
        (lambda: images(Y.astype(np.float32)), r"row \d+: targets are float32, such as \d; .*give target.long\(\)"),
        (lambda: images(Y + 0.5), r"targets are float64, such as \d.5; expected int64 class numbers; use loss='mse'"),
        (lambda: images(Y[:, None]), r"targets have the shape \(\d+, 1\); .*give target.squeeze\(1\)"),
        (lambda: images(np.stack([Y, Y], 1)), r"targets have the shape \(\d+, 2\)"),
    ],
)
def test_targets_that_cross_entropy_cannot_take_are_named(data: Any, message: str) -> None:
    made = learner((data(), None), Own())
    with pytest.raises(DataError, match=message):
        made.fit()
    assert made.trainer is None, "before the first step"


def test_a_wrong_label_that_nobody_could_see_before_is_named_when_it_comes() -> None:
    made = learner((Untold(far(10)), None), Own(), epochs=1)
    with pytest.raises(DataError, match=r"row 150: the label 10 is outside its range; expected 0…9"):
        made.fit()


def test_what_a_dataset_gives_counts_and_not_what_it_keeps() -> None:
    class Renumbered(TorchDataset):
        def __init__(self) -> None:
            self.targets = (Y + 1).tolist()

        def __len__(self) -> int:
            return len(self.targets)

        def __getitem__(self, i: int) -> tuple[Tensor, int]:
            return torch.as_tensor(X[i], dtype=torch.float32), self.targets[i] - 1

    learner((Renumbered(), None), Own(), epochs=1).fit()
    unlabelled = far(99, row=199)
    learner((Subset(images(unlabelled), range(150)), None), Own(), epochs=1).fit()


def test_probabilities_are_right_for_cross_entropy() -> None:
    learner((images(np.eye(10, dtype=np.float32)[Y]), None), Own(), epochs=1).fit()


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: learner((images(), None), nn.Linear(7, 10)), ModelError, 
         r"Linear does not take an input of float32 \(32, 8, 8\).*make the model's first layer fit"),
        (lambda: learner((images(Y.astype(np.float32)), None), Own(), loss=nn.L1Loss()), UsageError,
         r"the loss L1Loss does not take output float32 \(32, 10\) and target float32 \(32,\).*make the output"),
        (lambda: learner((images(), None), Own(), loss=nn.CrossEntropyLoss(reduction="none")), UsageError,
         r"the loss gives float32 \(32,\); expected one number, the mean over the batch; return loss.mean\(\)"),
        (lambda: learner((images(), None), Own(), loss=lambda o, t: o.sum() * float("nan")), TrainingError,
         r"the loss is nan before the first step"),
        (lambda: learner((images(), None), "mlp"), UsageError, r"your own data needs a model of your own"),
        (lambda: learner(arrays(y=None)), UsageError, r"the data has no target; give target="),
        (lambda: learner(3), UsageError, r"3 is not data; expected a Dataset"),
        (lambda: learner((None, images()), Own()), UsageError, r"is not data"),
        (lambda: learner(model="restnet18"), UsageError, r"no model is called 'restnet18'; did you mean 'resnet18'"),
        (lambda: learner(loss="cross_entropi"), UsageError, r"did you mean 'cross_entropy'"),
        (lambda: learner(techniques=["mixap"]), UsageError, r"did you mean 'mixup'"),
        (lambda: learner(optimizer="adamx"), UsageError, r"no optimiser is called 'adamx'"),
        (lambda: learner(schedule="cosin"), UsageError, r"did you mean 'cosine'"),
        (lambda: learner(precision="bf61"), UsageError, r"did you mean 'bf16'"),
        (lambda: learner(device="gpu"), UsageError, r"no device is called 'gpu'"),
        (lambda: learner(augment={"rotate": 3}), UsageError, r"did you mean 'rotation'"),
        (lambda: learner(augment="strongest"), UsageError, r"strong"),
        (lambda: learner(batchsize=3), UsageError, r"there is no setting 'batchsize'; did you mean 'batch_size'"),
        (lambda: learner(epochs="many"), UsageError, r"epochs"),
        (lambda: learner(epochs=0), UsageError, r"epochs=0 does not fit; expected 1 or more"),
    ],
)  # fmt: skip
def test_parts_that_do_not_go_together_are_told_in_a_line(make: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as told:
        made = make()
        made.fit(check=False)
    assert isinstance(told.value, FlambeauError) and "\n" not in str(told.value)


def test_one_class_only_is_found_by_the_check() -> None:
    with pytest.raises(DataError, match=r"the check found 1 error: there is only one class, '7'"):
        learner(arrays(y=["7"] * 200)).fit()


def test_missing_numbers_are_left_out_and_told() -> None:
    ink = X.mean((1, 2))
    ink[[3, 50]] = np.nan
    trained = learner(arrays(y=ink))
    trained.fit()
    places = [p for f in trained.findings for p in f.places]
    assert any("row 3" in p for p in places) and any("row 50" in p for p in places)
    assert sum(trained.evaluate(s)["samples"] for s in ("train", "valid", "test")) == 198


def test_a_class_that_only_validates_is_left_out_and_told() -> None:
    split = ["train"] * 160 + ["valid"] * 40
    y = [*map(str, Y[:199]), "new"]
    trained = learner(arrays(y=y, split=split))
    trained.fit(check=False)
    assert trained.evaluate()["samples"] == 39
    assert any("'new' is not among the 10 classes" in f.message and f.places == ["row 199"] for f in trained.findings)


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    trained = learner(batch_size=5000)
    trained.fit(check=False)
    assert trained.recipe.training.batch_size == 140
    assert any("there are only 140 training samples" in r for r in trained.recipe.reasons)
    learner((images(), None), Own(), batch_size=5000, epochs=1).fit()


class Hungry(nn.Module):
    """Has no memory to validate with, beyond the first times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.net, self.times = network(), times

    def forward(self, x: Tensor) -> Tensor:
        self.times -= not self.training and len(x) == 40  # all of them
        if not self.training and self.times < 0:
            raise RuntimeError("not enough memory")
        return self.net(x)


def test_memory_that_ends_after_the_last_epoch_is_told_and_the_training_kept(tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    data = arrays(split=fb.Split(test=0))  # 160 train, 40 validate
    with pytest.raises(TrainingError, match="not even one sample fits"):
        learner(data, model=Hungry(times=2), run=folder).fit(check=False)
    whole = learner(data, model=Hungry(times=100), run=folder)
    metrics = whole.fit(check=False, resume=True)
    assert whole.trainer is not None and whole.trainer.state.step == 10  # of 10: none was taken anew
    assert metrics == learner(data, model=Hungry(times=100)).fit(check=False)


class Narrow(nn.Module):
    """Has memory for so many padded tokens."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.embedding, self.head, self.most = nn.Embedding(300, 8), nn.Linear(8, 2), most

    def forward(self, x: Ragged) -> Tensor:
        if x.values.numel() > self.most:
            raise RuntimeError("not enough memory")
        return self.head(self.embedding(x.values).mean(1))


def test_memory_that_ends_with_texts_is_gone_round_and_the_tokens_that_fit_are_known() -> None:
    """The largest batch counts, not the first: who follows the advice comes to a training that takes none in parts."""
    texts = [f"row {i} " + " ".join(f"word{i * k % 83}" for k in range(38 if i % 20 == 7 else 4)) for i in range(200)]
    data = fb.Dataset.from_frame(pl.DataFrame({"text": texts, "y": ["a", "b"] * 100}), target="y")
    trained = learner(data, Narrow(300), max_tokens=2048)
    trained.fit(check=False)
    assert trained.trainer is not None and "does not fit into memory" in trained.trainer.notes[0]
    told = str(trained._out_of_memory())
    assert told.startswith("a batch of 2048 tokens does not fit")
    tokens, accumulate = map(int, re.findall(r"--set max_tokens=(\d+) --set accumulate=(\d+)", told)[0])
    assert tokens < 2048 <= tokens * accumulate
    followed = learner(data, Narrow(300), max_tokens=tokens, accumulate=accumulate)
    followed.fit(check=False)
    assert followed.trainer is not None and not followed.trainer.notes


class WithNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def test_a_last_batch_of_one_sample_with_batch_norm() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(*images(rows=slice(0, 33)).tensors, strict=True))

    for data in (
        arrays(X[:33], Y[:33], split="none"),
        (images(rows=slice(0, 33)), None),
        DataLoader(images(rows=slice(0, 33)), batch_size=32, shuffle=True),
        Stream(),
    ):
        trained = learner(data, WithNorm(), epochs=2)
        trained.fit(check=False)
        assert trained.trainer is not None and trained.trainer.state.step == 2
    with pytest.raises(DataError, match="one training sample only, which batch normalisation cannot train on"):
        learner(arrays(X[:3], ["a", "a", "b"], split=["train", "valid", "valid"]), WithNorm()).fit(check=False)


# -- runs ---------------------------------------------------------------------------------------------------------


def test_a_finished_run_and_one_that_was_begun_are_not_overwritten(tmp_path: Path) -> None:
    learner(run=tmp_path / "done").fit(check=False)
    kept = (tmp_path / "done" / "model.safetensors").read_bytes()
    for resume in (False, True):
        with pytest.raises(RunError, match="done: the run is finished; for a new training give another run folder"):
            learner(run=tmp_path / "done").fit(resume=resume)
    assert (tmp_path / "done" / "model.safetensors").read_bytes() == kept
    with pytest.raises(Interrupted):
        learner(run=tmp_path / "begun", techniques=[terminated_at(2)]).fit(check=False)
    with pytest.raises(RunError, match=r"begun here already; go on with: flambeau resume .*begun"):
        learner(run=tmp_path / "begun").fit(check=False)


def test_two_trainings_into_one_folder_are_refused(tmp_path: Path) -> None:
    run = fb.Run(tmp_path / "run")
    with run.locked(), pytest.raises(RunError, match=r"another training \(process \d+\) is writing .* wait for it, or"):
        learner(run=tmp_path / "run").fit(check=False)
    learner(run=tmp_path / "run").fit(check=False)


@pytest.mark.parametrize("change", ["value", "label", "order"])
def test_a_resume_with_other_data_is_refused(change: str, tmp_path: Path) -> None:
    def made(data: fb.Dataset, stop: Stop) -> fb.Learner:
        return learner(data, run=tmp_path / "run", techniques=[stop])

    with pytest.raises(Interrupted):
        made(arrays(), terminated_at(3)).fit(check=False)
    x, y = X.copy(), Y.copy()
    if change == "value":
        x[7, 3, 3] = 0.123
    elif change == "label":
        y[7] = (y[7] + 1) % 10
    else:
        x, y = x[::-1], y[::-1]
    with pytest.raises(RunError, match="the data has changed since this training began; put the data back as it was"):
        made(arrays(x, y), Stop()).fit(resume=True, check=False)
    made(arrays(), Stop()).fit(resume=True, check=False)


def test_a_folder_trains_resumes_from_its_recipe_alone_and_predicts(digits_folder: Path, tmp_path: Path) -> None:
    for name in "012":
        (tmp_path / "digits" / name).mkdir(parents=True)
        for file in sorted((digits_folder / name).iterdir())[:40]:
            shutil.copyfile(file, tmp_path / "digits" / name / file.name)
    options: dict[str, Any] = {**TINY, "epochs": 3, "cache": tmp_path / "cache"}
    whole = fb.Learner(fb.Dataset.from_folder(tmp_path / "digits"), "mlp", run=tmp_path / "whole", **options)
    metrics = whole.fit(check=False)
    with pytest.raises(Interrupted):
        fb.Learner(
            fb.Dataset.from_folder(tmp_path / "digits"), "mlp", run=tmp_path / "run",
            techniques=[terminated_at(4)], **options,
        ).fit(check=False)  # fmt: skip
    recipe = fb.Run.open(tmp_path / "run").recipe
    recipe.own_parts, recipe.techniques = {}, {}  # the technique that stopped it
    again = fb.Learner.from_recipe(recipe, run=tmp_path / "again", quiet=True, cache=tmp_path / "cache")
    assert again.fit(check=False) == metrics
    assert identical(weights(whole.objective.model), weights(again.objective.model))
    pictures = sorted((tmp_path / "digits" / "2").iterdir())[:3]
    loaded = fb.load(tmp_path / "whole")
    assert [p.label for p in loaded.predict(pictures)] == [p.label for p in whole.predict(pictures)]


def test_an_interrupted_learner_goes_on_in_the_same_process(tmp_path: Path) -> None:
    """As in a notebook: the same Learner, fitted again after Ctrl-C."""
    whole = learner(run=tmp_path / "whole", techniques=[Stop()])
    metrics = whole.fit(check=False)
    stop = terminated_at(7)
    broken = learner(run=tmp_path / "run", techniques=[stop])
    with pytest.raises(Interrupted):
        broken.fit(check=False)
    stop.step = None
    assert broken.fit(resume=True, check=False) == metrics
    assert identical(weights(whole.objective.model), weights(broken.objective.model))


def test_settings_of_fit_and_what_is_built_already() -> None:
    made = learner()
    made.fit(check=False, epochs=1)
    assert made.recipe.training.epochs == 1
    with pytest.raises(UsageError, match="built already; make a new one with these settings"):
        made.fit(epochs=2)
    with pytest.raises(UsageError, match="which run is to be resumed"):
        fb.Learner(arrays(), "mlp", quiet=True).fit(resume=True)


def test_the_check_looks_at_fields_as_they_are_set(tmp_path: Path) -> None:
    texts = [f"text number {i} " + "with very many words " * 10 for i in range(60)]
    data = fb.Dataset.from_frame(pl.DataFrame({"text": texts, "y": ["a", "b"] * 30}), target="y")
    for most, cut in ((20, True), (100, False)):
        recipe = fb.Recipe().with_settings({"fields.text.max_length": most})
        trained = fb.Learner(data, "bag", recipe=recipe, run=False, quiet=True, epochs=1)
        trained.fit()
        assert cut == any(f.check == "truncation" for f in trained.findings)


def test_a_resumed_run_fits_no_rival_that_was_not_wanted(tmp_path: Path) -> None:
    learner(baseline=False, run=tmp_path / "run").fit(check=False)
    assert fb.Recipe.load(tmp_path / "run" / "recipe.yaml").baseline is False


def test_weights_of_one_model_are_not_passed_over_for_several_inputs() -> None:
    both = fb.Dataset.from_arrays({"left": X, "right": X}, Y)
    with pytest.raises(
        UsageError, match=r"each of the 2 inputs has its own; set model\.options\.encoders\.left\.pretrained"
    ):
        learner(both, "auto", pretrained="weights.safetensors").build()


@pytest.mark.parametrize(("given", "message"), [
    ({"augment": "medium"}, "no augmentation is called 'medium'"),
    ({"augment": 0.3}, r"augment=0\.3 does not fit"),
    ({"data.tag_column": 1}, r"'data\.tag_column' cannot be set"),
])  # fmt: skip
def test_settings_that_would_do_nothing_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        learner(**given).build()
    sentences = fb.Dataset({"x": [["a", "b", "a"]] * 20, "y": [["O", "N", "O"]] * 20}, target="y")
    with pytest.raises(UsageError, match="inputs of the kind tokens are not augmented"):
        learner(sentences, "lstm-tagger", augment="light").build()


def test_a_run_is_named_after_its_data_and_counted(tmp_path: Path) -> None:
    for name in ("run", "run-2"):
        made = fb.Learner(arrays(), "mlp", **{**TINY, "epochs": 1})
        made.fit(check=False)
        assert made.run is not None and made.run.path == Path("runs") / name


def test_a_training_rests_after_an_epoch_and_goes_on_to_the_same_bits() -> None:
    options: dict[str, Any] = {"epochs": 3, "baseline": False}
    whole, first, second = (learner(**options, run=run) for run in ("whole", "rests", "rests"))
    said = whole.fit()
    rested = first.fit(until=2)
    assert first.run is not None and whole.run is not None
    assert first.run.status == "stopped" and not first.run.finished and first.trainer.state.epoch == 2
    assert rested == [line["valid"] for line in whole.run.lines if "valid" in line][1]
    assert second.fit(resume=True) == said and first.run.version == whole.run.version
    assert learner(**options, run="beyond").fit(until=9) == said
    for until, run, fix in ((0, "other", "give 1 or more"), (1, False, "leave it out")):
        with pytest.raises(UsageError, match=fix):
            learner(**options, run=run).fit(until=until)
