"""A user's own torch data gets what does not need fields: figures, checks, a report, and answers to common mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from small import digits, network
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset, default_collate
from torch.utils.data import Dataset as TorchDataset

import flambeau as fb
from flambeau.core.errors import DataError, FlambeauError, ModelError, UsageError

X, Y = (torch.as_tensor(part) for part in digits())
X = X.float()
EVEN = (Y % 2 == 0).float()
LABELS = torch.stack([EVEN, (Y < 5).float(), (Y > 7).float()], 1)
INK = X.mean((1, 2))


def pair(y: Tensor = Y, x: Tensor = X) -> tuple[TensorDataset, TensorDataset]:
    return TensorDataset(x[:160], y[:160]), TensorDataset(x[160:], y[160:])


def learner(data: Any, model: nn.Module, loss: Any, run: Any = False, **settings: Any) -> fb.Learner:
    options: dict[str, Any] = {"epochs": 8, "learning_rate": 0.01, "batch_size": 32, "quiet": True, **settings}
    return fb.Learner(data, model, loss=loss, run=run, **options)


# -- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "y", "outputs", "names"),
    [
        (nn.CrossEntropyLoss(), Y, 10, {"accuracy", "f1"}),
        ("cross_entropy", Y, 10, {"accuracy", "f1"}),
        (nn.CrossEntropyLoss(label_smoothing=0.1), torch.eye(10)[Y], 10, {"accuracy", "f1"}),
        (nn.MultiMarginLoss(), Y, 10, {"accuracy", "f1"}),
        (nn.BCEWithLogitsLoss(), EVEN[:, None], 1, {"accuracy", "f1"}),
        (nn.BCEWithLogitsLoss(), LABELS, 3, {"f1", "micro_f1", "exact_match"}),
        ("bce", LABELS, 3, {"f1", "micro_f1", "exact_match"}),
        (nn.MSELoss(), INK[:, None], 1, {"mae", "rmse", "r2"}),
        (nn.L1Loss(), INK[:, None], 1, {"mae", "rmse", "r2"}),
        ("huber", INK, 1, {"mae", "rmse", "r2"}),
        (nn.SmoothL1Loss(), X.flatten(1)[:, :4], 4, {"mae", "rmse", "r2"}),
    ],
)
def test_own_data_is_measured_by_what_suits_its_loss(loss: Any, y: Tensor, outputs: int, names: set[str]) -> None:
    trained = learner(pair(y), network(outputs), loss, epochs=20)
    metrics = trained.fit()
    assert set(metrics) >= {"loss", *names}
    good = {"accuracy": 0.6, "micro_f1": 0.6, "r2": -1.0}
    assert all(metrics[name] > least for name, least in good.items() if name in metrics)


def test_the_figures_are_those_of_the_outputs() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(1))
    trained = learner(pair(), model, nn.NLLLoss(), epochs=3)
    metrics = trained.fit()
    outputs = torch.as_tensor(trained.predict(X[160:]))
    assert metrics["accuracy"] == pytest.approx(float((outputs.argmax(1) == Y[160:]).float().mean()))
    result = trained.evaluate()
    assert result["samples"] == 40 and np.sum(result["detail"]["confusion"]) == 40
    for mistake in result["detail"]["worst"]:
        row = mistake["row"]
        assert mistake["true"] == str(int(Y[160 + row])) and mistake["predicted"] == str(int(outputs[row].argmax()))
        assert mistake["confidence"] == pytest.approx(float(outputs[row].exp().max()), abs=1e-3)


def test_the_metric_that_is_asked_for_chooses_the_epoch() -> None:
    trained = learner(pair(), network(), nn.CrossEntropyLoss(), epochs=2, metric="f1")
    trained.fit()
    assert trained.objective.monitor == "f1" and trained.evaluate()["metric"] == "f1"
    with pytest.raises(UsageError, match="there is no metric 'rmse' for a target of the kind category"):
        learner(pair(), network(), nn.CrossEntropyLoss(), metric="rmse").build()


def test_pixels_are_counted_and_those_to_ignore_are_not() -> None:
    y = (X > 0.5).long()
    y[:, 0] = -100
    trained = learner(pair(y, X[:, None]), nn.Conv2d(1, 2, 3, padding=1), nn.CrossEntropyLoss(), epochs=20)
    assert trained.fit()["accuracy"] > 0.9
    assert np.sum(trained.evaluate()["detail"]["confusion"]) == 40 * 7 * 8


def test_classes_have_the_names_that_the_data_gives_them() -> None:
    named: Any = pair()
    named[0].classes = [f"digit {n}" for n in range(10)]
    data = (Subset(named[0], range(150)), named[1])
    trained = learner(data, network(), nn.CrossEntropyLoss())
    trained.fit()
    assert trained.evaluate()["detail"]["classes"] == named[0].classes
    del named[0].classes
    named[0].class_to_idx = {f"d{n}": n for n in reversed(range(10))}
    trained = learner(named, network(), nn.CrossEntropyLoss())
    trained.fit()
    assert trained.evaluate()["detail"]["classes"] == [f"d{n}" for n in range(10)]


def test_test_rows_are_measured_where_they_are_given() -> None:
    train, held_out = pair()
    data = (train, Subset(held_out, range(20)), Subset(held_out, range(20, 40)))
    trained = learner(data, network(), nn.CrossEntropyLoss())
    metrics = trained.fit()
    assert trained.evaluate()["split"] == "test" and trained.evaluate()["metrics"] == metrics
    assert trained.evaluate("valid")["samples"] == 20


def test_a_run_of_own_data_has_a_report_and_what_the_other_verbs_need(tmp_path: Path) -> None:
    learner(pair(), network(), nn.CrossEntropyLoss(), run=tmp_path / "run").fit()
    run = fb.Run.open(tmp_path / "run")
    assert run.finished and run.checked and run.evaluation["samples"] == 40
    page = re.sub(r"<[^>]+>", " ", (tmp_path / "run" / "report.html").read_text(encoding="utf-8"))
    for said in ("accuracy", "Confusion matrix", "Curves", "Environment", "Classes", "What to do next"):
        assert said in page
    assert "was not checked" not in page


@pytest.mark.parametrize("form", ["list", "dict", "tuple"])
def test_data_in_other_forms_is_taken(form: str) -> None:
    train, valid = pair()
    forms: dict[str, Any] = {
        "list": list(train),
        "dict": {"train": train, "validation": valid, "test": valid},
        "tuple": (train, valid, valid),
    }
    trained = learner(forms[form], network(), nn.CrossEntropyLoss(), epochs=1)
    trained.fit()
    assert trained.evaluate()["samples"] == (160 if form == "list" else 40)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": (X.numpy(), Y.numpy())}, r"float32 \(200, 8, 8\) is not data; .*give fb.Dataset.from_arrays\(x"),
        ({"data": "photos/"}, r"'photos/' is not data; .*; read it first: fb.Dataset.from_folder"),
        ({"data": {"a": 1}}, r"is not data"),
        ({"data": pl.DataFrame({"a": [1], "label": [1]})}, r"a DataFrame is not data; .*; read it first: fb.Dataset.f"),
        (
            {"data": zip(X, Y, strict=True)},
            r"a zip is not data; .*; give a list of \(x, y\), or derive from torch's It",
        ),
        ({"model": nn.Linear}, r"model=Linear is a class; .*; give Linear\(…\)"),
        ({"loss": nn.CrossEntropyLoss}, r"loss=CrossEntropyLoss is a class; .*; give CrossEntropyLoss\(…\)"),
        ({"loss": 3}, r"loss=3 does not fit"),
        ({"model": lambda x: x}, r"model=.*lambda.* does not fit; expected a name or an nn.Module"),
        ({"metrics": ["accuracy"]}, r"'accuracy' is no metric that can be added .*what suits the target is measured"),
    ],
)
def test_arguments_that_do_not_fit_are_answered(given: dict[str, Any], message: str) -> None:
    options = {"data": pair(), "model": network(), "loss": nn.CrossEntropyLoss(), **given}
    with pytest.raises(UsageError, match=message):
        learner(**options).fit(check=False)


# -- forms --------------------------------------------------------------------------------------------------------


class Dicts(TorchDataset):
    """Items as dicts, under these names."""

    def __init__(self, *inputs: str, target: str = "labels") -> None:
        self.inputs, self.target = inputs, target

    def __len__(self) -> int:
        return 160

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {**dict.fromkeys(self.inputs, X[row]), self.target: Y[row]}


class Two(nn.Module):
    """Takes two inputs by name, and gives an object, as models of Hugging Face do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, pixel_values: Tensor, mask: Tensor | None = None) -> Any:
        assert mask is None or mask.shape == pixel_values.shape
        return SimpleNamespace(logits=self.net(pixel_values), loss=None)


class Mapped(Two):
    def forward(self, inputs: dict[str, Tensor]) -> Any:  # type: ignore[override]
        return {"logits": self.net(inputs["a"] + inputs["b"])}


@pytest.mark.parametrize(
    ("data", "model"),
    [
        (Dicts("pixel_values"), network()),
        (Dicts("image", target="y"), Two()),
        (Dicts("pixel_values", "mask", target="label"), Two()),
        (Dicts("a", "b", target="target"), Mapped()),
    ],
)
def test_batches_that_are_dicts_are_taken(data: Any, model: nn.Module) -> None:
    trained = learner(data, model, nn.CrossEntropyLoss(), epochs=10)
    assert trained.fit()["accuracy"] > 0.5
    inputs = X[:7] if len(data.inputs) == 1 else dict.fromkeys(data.inputs, X[:7])
    assert trained.predict(inputs).shape == (7, 10)


# -- mistakes, each answered in a line ----------------------------------------------------------------------------


class Tupled(Two):
    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        return self.net(x), x


FLAT = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))  # (B)
CONV = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10))
LAZY = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("data", "model", "loss", "error", "message"),
    [
        (pair(EVEN), network(1), nn.BCEWithLogitsLoss(), UsageError, r"\(32, 1\) and target .*give output.squeeze"),
        (pair(INK), network(1), nn.MSELoss(), UsageError, r"broadcast against one another\); give output.squeeze\(1\)"),
        (pair(INK[:, None]), FLAT, nn.MSELoss(), UsageError, r"give target.squeeze\(1\)"),
        (pair(INK.double()[:, None]), network(1), nn.MSELoss(), UsageError, r"would fail\); give target.float"),
        (pair(EVEN.long()[:, None]), network(1), nn.BCEWithLogitsLoss(), UsageError, r"give target.float\(\)"),
        (pair(Y), network(10), nn.BCEWithLogitsLoss(), UsageError, r"use nn.CrossEntropyLoss|give target.float"),
        (pair(EVEN[:, None]), network(1), nn.BCELoss(), UsageError, r"use nn.BCEWithLogitsLoss, or end the model with"),
        (pair(x=X.double()), network(), "cross_entropy", ModelError, r"float64 \(32, 8, 8\).*give x.to\("),
        (pair(x=(X * 255).byte()), network(), "cross_entropy", ModelError, r"uint8 \(32, .*give x.float\(\) / 255"),
        (pair(x=X[..., None]), CONV, "cross_entropy", ModelError, r"give x.permute\(2, 0, 1\) .*channels come first"),
        (pair(x=X), CONV, "cross_entropy", ModelError, r"give x.unsqueeze\(0\) in __getitem__"),
        (pair(), Tupled(), "cross_entropy", UsageError, r"return one tensor from the model, or give a loss"),
        (TensorDataset(X), network(), "cross_entropy", UsageError, r"a batch without a target.*give batches \(x, y\)"),
        (Dicts("a", target="goal"), network(), "cross_entropy", ModelError, r"\{a: .*goal: .*its forward takes input"),
        (pair(), LAZY, "cross_entropy", ModelError, r"layers whose size is open \(LazyLinear\).*call it with inputs"),
        (pair(Y + 1), network(), "cross_entropy", DataError, r"begin at 1, such as 1…10 .*give target - 1"),
        ([(x, "ab"[int(y)]) for x, y in zip(X, EVEN, strict=True)], network(2), "cross_entropy", DataError,
         r"the labels are names, such as '[ab]'; expected class numbers \(B\); number them in __getitem__"),
        (pair(EVEN.long()), network(1), "cross_entropy", DataError, r"use nn.BCEWithLogitsLoss with one output"),
        (pair(Y[:, None]), network(), "cross_entropy", DataError, r"give target.squeeze\(1\)"),
        ([(x, y, i) for i, (x, y) in enumerate(zip(X, Y, strict=True))], network(), "cross_entropy", ModelError,
         r"of an item the last is the target, and all others are inputs; give \(x, y\)"),
        ([(x.flatten().tolist(), y) for x, y in zip(X, Y, strict=True)], network(), "cross_entropy", ModelError,
         r"\(64 × float64 \(32,\)\) .*; a list of numbers becomes an input each: give torch.tensor\(x\)"),
        ([{"foo": x, "bar": y} for x, y in zip(X, Y, strict=True)], network(), "cross_entropy", ModelError,
         r"gives \(x, y\), or a dict of these keys and the target's \(labels, label, targets, target, y\)"),
        ((pair()[0], TensorDataset(X[160:, :3], Y[160:])), network(), "cross_entropy", ModelError,
         r"^valid: the model .* does not take an input of float32 \(32, 3, 8\)"),
        ((pair()[0], TensorDataset(X[160:], Y[160:] + 10)), network(), "cross_entropy", DataError,
         r"^row \d+ of valid: the label 1\d is outside its range"),
        (pair(torch.where(EVEN > 0, 1, -1)), network(2), "cross_entropy", DataError, r"label -1 .*by \(target > 0\)"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_answered(data: Any, model: Any, loss: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as told:
        learner(data, model, loss).fit(check=False)
    assert isinstance(told.value, FlambeauError) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("model", "loss", "y", "check"),
    [
        (nn.Sequential(network(), nn.Softmax(1)), nn.CrossEntropyLoss(), Y, "softmax-twice"),
        (network(), nn.NLLLoss(), Y, "log-probabilities"),
        (nn.Sequential(network(3), nn.Sigmoid()), nn.BCEWithLogitsLoss(), LABELS, "activation-before-loss"),
    ],
)
def test_what_goes_wrong_without_an_error_is_told(
    tmp_path: Path, model: nn.Module, loss: Any, y: Tensor, check: str
) -> None:
    trained = learner(pair(y), model, loss, tmp_path / "run", epochs=1)
    trained.fit()
    assert check in [finding.check for finding in fb.Run(tmp_path / "run").findings]
    for quiet, right in (
        (network(), nn.CrossEntropyLoss()),
        (nn.Sequential(network(), nn.LogSoftmax(1)), nn.NLLLoss()),
    ):
        assert learner(pair(), quiet, right, epochs=1).doctor() == []


def test_a_side_without_a_row_that_can_be_read_is_told() -> None:
    class Gone(TorchDataset):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, row: int) -> Any:
            raise OSError("no such file")

    with pytest.raises(DataError, match=r"^valid: none of the rows can be read"):
        learner((pair()[0], Gone()), network(), "cross_entropy").fit(check=False)


def test_targets_are_those_that_the_loader_gives() -> None:
    whole = DataLoader(TensorDataset(X.view(10, 20, 8, 8), Y.view(10, 20)), batch_size=None)
    renumbered = DataLoader(
        TensorDataset(X, Y + 1), batch_size=20, collate_fn=lambda items: (default_collate(items)[0], Y[:20] % 10)
    )
    for loader in (whole, renumbered):
        trained = learner(loader, network(), "cross_entropy", epochs=1)
        trained.fit(check=False)
        assert 0 <= trained.evaluate("train")["metrics"]["accuracy"] <= 1


def test_whole_numbers_of_any_kind_are_classes() -> None:
    expected = learner(pair(), network(), "cross_entropy", epochs=2).fit()
    for kind in (torch.uint8, torch.int32, torch.int16):
        assert learner(pair(Y.to(kind)), network(), "cross_entropy", epochs=2).fit() == expected
    learner(pair(EVEN.bool()), network(2), "cross_entropy", epochs=1).fit()


# -- checks -------------------------------------------------------------------------------------------------------


def with_nan() -> Tensor:
    x = X.clone()
    x[7, 0, 0] = float("nan")
    return x


def with_blank() -> Tensor:
    x = X.clone()
    x[5] = 0.5
    return x


@pytest.mark.parametrize(
    ("data", "check", "message"),
    [
        (pair(x=with_nan()), "not-finite", r"1 of 160 rows of train have NaN or infinite values \(row 7 of train\)"),
        (pair(x=with_blank()), "blank", r"1 of 160 rows of train have one value throughout \(row 5 of train\)"),
        (pair(x=X[:, None] * 255), "scale", r"inputs are float32 in 0…255, which are not normalised; give x.float"),
        (pair(x=X * 0), "constant", r"the inputs of 160 rows of train are all the same"),
        ((TensorDataset(X[:160], Y[:160]), TensorDataset(X[150:], Y[150:])), "leakage",
         r"10 times equal inputs are in different splits \(row 150 of train = row 0 of valid, row 151"),
        (pair(x=torch.cat([X[:1], X[:199]]), y=torch.cat([Y[:1] + 1, Y[:199]])), "label-conflict",
         r"1 times equal inputs have different labels \(row 0 of train = row 1 of train\)"),
        (pair(torch.where(Y == 3, 4, Y)[torch.arange(200)].index_put((torch.tensor([170]),), torch.tensor(3))),
         "unseen-class", r"1 classes of valid have no training row, such as '3'"),
        (pair((torch.arange(200) % 50 == 0).long()), "imbalance", r"'0' has 156 samples and '1' has 4, 39 times fewer"),
        (pair((torch.arange(200) % 50 == 0).long()), "few-samples", r"1 of 2 classes have under 10 samples"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_own_data_is_found(data: Any, check: str, message: str) -> None:
    trained = learner(data, network(), nn.CrossEntropyLoss())
    trained._check(True)
    (finding,) = [f for f in trained.findings if f.check == check]
    assert re.search(message, str(finding))


def test_good_data_has_no_findings_and_a_single_class_is_an_error() -> None:
    trained = learner(pair(), network(), nn.CrossEntropyLoss(), epochs=1)
    trained.fit()
    assert not trained.findings
    with pytest.raises(DataError, match="there is only one class, '7'"):
        learner(pair(Y * 0 + 7), network(), nn.CrossEntropyLoss()).fit()
    learner(pair(INK[:, None]), network(1), nn.MSELoss(), epochs=1).fit()


def test_the_check_changes_nothing_that_is_drawn_later() -> None:
    results = [learner(pair(), network(), nn.CrossEntropyLoss(), epochs=2).fit(check=check) for check in (True, False)]
    assert results[0] == results[1]


class Broken(TorchDataset):
    def __len__(self) -> int:
        return 160

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        if row == 150:
            raise OSError("cannot identify image file")
        return X[row], Y[row]


@pytest.mark.parametrize("check", [True, False])
def test_a_row_that_cannot_be_read_is_left_out_named_and_kept_with_the_run(check: bool, tmp_path: Path) -> None:
    trained = learner((Broken(), pair()[1]), network(), nn.CrossEntropyLoss(), run=tmp_path / "run")
    trained.fit(check=check)
    (finding,) = json.loads((tmp_path / "run" / "findings.json").read_text())["findings"]
    assert finding["places"] == ["row 150 of train: OSError: cannot identify image file"]
    assert trained.evaluate("train")["samples"] == 159


def test_a_stream_is_trained_on_without_a_check() -> None:
    class Stream(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(zip(X, Y, strict=True))

    assert learner(Stream(), network(), nn.CrossEntropyLoss(), epochs=10).fit()["accuracy"] > 0.5


def test_the_batch_size_is_that_of_the_loader() -> None:
    trained = learner(DataLoader(pair()[0], batch_size=40, shuffle=True), network(), nn.CrossEntropyLoss(), epochs=1)
    trained.fit()
    assert trained.recipe.training.batch_size == 40
    assert "batch_size 40: the DataLoader's, not the 32 that is set" in trained.recipe.reasons


def test_a_sampler_of_the_recipe_is_not_ignored() -> None:
    with pytest.raises(UsageError, match=r"training\.sampler is for a Dataset with fields; give a DataLoader"):
        learner(pair(), nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), nn.CrossEntropyLoss(), sampler="any").build()
