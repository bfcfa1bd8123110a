"""Models that fit themselves: what scikit-learn fits, by arrays of our own; and runs of them, as of any others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kinds
import numpy as np
import polars as pl
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, load_wine
from torch import Tensor

import flambeau as fb
from flambeau.core.errors import FlambeauError
from flambeau.fields import PastFuture, Ragged, Row
from flambeau.models import Examples, InputSpec, build
from flambeau.run import Run

EXACT = 1e-6


def examples(
    x: Any, y: np.ndarray, numbers: bool = False, weights: np.ndarray | None = None, levels: Any = ()
) -> Examples:
    """Rows in two batches."""
    target, weight = torch.from_numpy(y), torch.ones(len(y)) if weights is None else torch.from_numpy(weights).float()
    half = len(y) // 2

    def batches() -> Iterator[tuple[Any, Tensor, Tensor]]:
        for rows in (slice(0, half), slice(half, None)):
            part = x[rows] if isinstance(x, Tensor) else type(x)(*(one[rows] for one in x))
            yield part, target[rows], weight[rows]

    return Examples(batches, len(y), numbers, levels)


def mixed(rows: int = 600) -> tuple[Row, np.ndarray, np.ndarray]:
    """Three numbers and two categories, some of whose codes no training row has; a number and a class that follow."""
    rng = np.random.default_rng(0)
    numbers, codes = (
        rng.normal(size=(rows, 3)).astype(np.float32),
        np.stack([rng.integers(2, 7, rows), rng.integers(0, 3, rows)], 1),
    )
    y = numbers[:, 0] * 2 + np.sin(3 * numbers[:, 1]) + np.isin(codes[:, 0], [2, 5]) * 2 + rng.normal(size=rows) * 0.1
    classes = np.digitize(y, [-1, 1, 2])
    return Row(torch.from_numpy(numbers), torch.from_numpy(codes)), y.astype(np.float32), classes


def cells(row: Row) -> np.ndarray:
    return np.concatenate((row.numbers.numpy(), row.codes.numpy()), 1)


def unseen() -> Row:
    """Rows with a code that training had not."""
    row, _, _ = mixed(200)
    codes = row.codes.clone()
    codes[::5, 0] = 0
    return Row(row.numbers, codes)


TABLE = InputSpec("table", (3, 8, 3))


@pytest.mark.parametrize("classes", [False, True])
def test_trees_answer_as_scikit_learns(classes: bool) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    row, y, labels = mixed()
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    theirs = kind(max_iter=40, early_stopping=False, random_state=0, categorical_features=[3, 4])
    theirs.fit(cells(row), labels if classes else y)
    ours = build("boosted-trees", TABLE, 4 if classes else 1, iterations=40).model
    ours.fit(examples(row, labels if classes else y, not classes), None)
    for asked in (row, unseen()):
        said = ours(asked)
        wanted = theirs.predict_proba(cells(asked)) if classes else theirs.predict(cells(asked))[:, None]
        np.testing.assert_allclose(said.softmax(1) if classes else said, wanted, rtol=EXACT, atol=EXACT)


def test_two_classes_and_one_that_no_row_has() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    row, y, _ = mixed()
    two = (y > 0).astype(np.int64) * 2  # classes 0 and 2 of 3
    theirs = HistGradientBoostingClassifier(
        max_iter=20, early_stopping=False, random_state=0, categorical_features=[3, 4]
    )
    ours = build("boosted-trees", TABLE, 3, iterations=20).model
    ours.fit(examples(row, two), None)
    said = ours(row).softmax(1)
    np.testing.assert_allclose(said[:, [0, 2]], theirs.fit(cells(row), two).predict_proba(cells(row)), atol=EXACT)
    assert float(said[:, 1].max()) < 1e-6


def test_validation_rows_choose_how_many_trees_count() -> None:
    row, _, labels = mixed()
    noise = np.random.default_rng(1).integers(0, 4, len(labels))
    ours = build("boosted-trees", TABLE, 4, iterations=60).model
    told = ours.fit(examples(row, noise), examples(row, np.random.default_rng(2).integers(0, 4, len(labels))))
    assert len(ours.roots) < 60, told


@pytest.mark.parametrize("classes", [False, True])
def test_a_linear_model_answers_as_scikit_learns(classes: bool) -> None:
    """Rows count by their weights."""
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    from flambeau.models.fitted.linear import ITERATIONS, PENALTIES, USUAL

    row, y, labels = mixed()
    weights = np.random.default_rng(0).random(len(y)).astype(np.float32)
    codes = OneHotEncoder(categories=[np.arange(8), np.arange(3)], sparse_output=False).fit_transform(row.codes.numpy())
    x = StandardScaler().fit_transform(np.concatenate((row.numbers.numpy(), codes), 1).astype(np.float64))
    ours = build("ridge", TABLE, 4 if classes else 1).model
    ours.fit(examples(row, labels if classes else y, not classes, weights), None)
    if classes:
        theirs = LogisticRegression(C=USUAL, max_iter=ITERATIONS).fit(x, labels, sample_weight=weights)
        np.testing.assert_allclose(ours(row).softmax(1), theirs.predict_proba(x), atol=EXACT)
    else:
        theirs = RidgeCV(alphas=PENALTIES).fit(x, y, sample_weight=weights)
        np.testing.assert_allclose(ours(row)[:, 0], theirs.predict(x), rtol=EXACT, atol=EXACT)


def test_the_nearest_answer_as_scikit_learns() -> None:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    x, y = (array.astype(np.float32) for array in load_diabetes(return_X_y=True))
    spec = InputSpec("number", (x.shape[1],))
    ours = build("nearest", spec, 1, neighbours=5).model
    ours.fit(examples(torch.from_numpy(x), y, True), None)
    wanted = KNeighborsRegressor(5).fit(x, y).predict(x)
    np.testing.assert_allclose(ours(torch.from_numpy(x))[:, 0], wanted, rtol=EXACT)
    x, y = load_wine(return_X_y=True)
    x = x.astype(np.float32)
    ours = build("nearest", InputSpec("number", (13,)), 3, neighbours=4).model
    ours.fit(examples(torch.from_numpy(x), y), None)
    wanted = KNeighborsClassifier(4).fit(x, y).predict_proba(x)
    np.testing.assert_allclose(ours(torch.from_numpy(x)).softmax(1), wanted, atol=EXACT)


def texts(rows: int = 300) -> tuple[Ragged, np.ndarray, list[list[int]]]:
    """Texts of numbers, of which each class has some more often."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, rows)
    lists = [list(rng.choice([*range(2, 40), *[2 + int(label)] * 12], rng.integers(1, 30))) for label in y]
    values = torch.zeros(rows, 30, dtype=torch.int64)
    for place, one in enumerate(lists):
        values[place, : len(one)] = torch.tensor(one)
    return Ragged(values, torch.tensor([len(one) for one in lists])), y, lists


def test_texts_answer_as_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    tokens, y, lists = texts()
    words = [" ".join(map(str, one)) for one in lists]
    vectors = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), sublinear_tf=True, min_df=2).fit(words)
    theirs = LinearSVC(random_state=0).fit(vectors.transform(words), y)
    ours = build("tfidf-linear", InputSpec("text", (40,)), 3).model
    told = ours.fit(examples(tokens, y), None)
    assert told == f"{len(vectors.vocabulary_)} words and phrases"
    # the solver walks features in another order: it ends where it ends to its own tolerance
    np.testing.assert_allclose(ours(tokens).detach(), theirs.decision_function(vectors.transform(words)), atol=1e-3)
    weights = np.concatenate((np.zeros((1, 3)), _by_key(ours, vectors, theirs.coef_)))
    ours.keep(matrix=weights, bias=theirs.intercept_)
    np.testing.assert_allclose(ours(tokens).detach(), theirs.decision_function(vectors.transform(words)), atol=EXACT)


def _by_key(model: Any, vectors: Any, coefficients: np.ndarray) -> np.ndarray:
    """Scikit-learn's coefficients in the order of a model's phrases."""
    places = []
    for phrase in vectors.get_feature_names_out():
        numbers = [int(word) for word in phrase.split(" ")]
        found, counts = model.counted(Ragged(torch.tensor([numbers]), torch.tensor([len(numbers)])))
        longest = (
            torch.tensor(numbers[:1]) if len(numbers) == 1 else torch.tensor([numbers[0] * 1_000_003 + numbers[1]])
        )
        key = longest * (0x9E3779B97F4A7C15 - (1 << 64))
        assert key in found[counts > 0]
        places.append(int(torch.searchsorted(model.keys, key)))
    order = np.argsort(places)
    assert (np.asarray(places)[order] == np.arange(1, len(places) + 1)).all()
    return coefficients[:, order].T


def test_lags_answer_as_scikit_learns() -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(0)
    course = np.cumsum(rng.normal(size=500)) * 0.1 + np.sin(np.arange(500) / 3)
    windows = np.lib.stride_tricks.sliding_window_view(course, 24).astype(np.float32)
    past, ahead = torch.from_numpy(windows[:, None, :20].copy()), windows[:, 20:].copy()
    value = PastFuture(past, past.new_zeros(len(past), 0, 4))
    ours = build("ridge-lags", InputSpec("history", (1, 20, 0, 4)), 12).model
    ours.fit(examples(value, ahead, True, levels=(0.1, 0.5, 0.9)), None)
    around = past[:, 0].double().numpy() - past[:, 0, -1:].double().numpy()
    scaled = (around - around.mean(0)) / np.where(around.std(0) > 0, around.std(0), 1)
    level = past[:, 0, -1:].double().numpy()
    theirs = Ridge(alpha=1.0).fit(scaled, ahead - level)
    said = ours(value).view(-1, 4, 3)
    np.testing.assert_allclose(said[:, :, 1], theirs.predict(scaled) + level, rtol=EXACT, atol=EXACT)
    inside = ((ahead >= said[:, :, 0].numpy()) & (ahead <= said[:, :, 2].numpy())).mean()
    assert inside == pytest.approx(0.8, abs=0.02), "quantiles of its own errors"


def test_the_season_is_found() -> None:
    course = np.tile(np.arange(7.0), 40).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(course, 24)
    past = torch.from_numpy(windows[:, None, :20].copy())
    value = PastFuture(past, past.new_zeros(len(past), 0, 4))
    ours = build("seasonal-naive", InputSpec("history", (1, 20, 0, 4)), 4).model
    assert "season of 7 steps" in ours.fit(examples(value, windows[:, 20:].copy(), True, levels=(0.5,)), None)
    np.testing.assert_array_equal(ours(value), windows[:, 20:])


# -- as runs ----------------------------------------------------------------------------------------------------------


def wine(folder: Path) -> Path:
    bunch = load_wine()
    columns = {n.replace("/", "_"): c for n, c in zip(bunch.feature_names, bunch.data.T, strict=True)}
    pl.DataFrame({**columns, "y": [f"kind {t}" for t in bunch.target]}).write_csv(folder / "wine.csv")
    return folder / "wine.csv"


@pytest.mark.parametrize("name", ["boosted-trees", "ridge", "nearest"])
def test_a_run_is_as_any_other(name: str, tmp_path: Path) -> None:
    """It is saved without pickle, loaded, measured anew to the same figures, and exported."""
    from flambeau.evaluation import evaluate_run
    from flambeau.exports import export

    data = fb.Dataset.from_table(wine(tmp_path), target="y")
    learner = fb.Learner(data, model=name, run=tmp_path / "run", quiet=True, baseline=False)
    metrics = learner.fit()
    assert metrics["accuracy"] > 0.9
    run = Run.open(tmp_path / "run")
    assert run.finished and {path.suffix for path in run.path.iterdir() if path.name != "tensorboard"} <= {
        ".yaml",
        ".json",
        ".jsonl",
        ".safetensors",
        "",
    }
    loaded = fb.Predictor.load(run)
    rows = [{name: data.columns[name][row] for name in data.columns if name != "y"} for row in range(5)]
    assert [p.label for p in loaded.predict(rows)] == [p.label for p in learner.predict(rows)]
    assert evaluate_run(run.path)["metrics"] == pytest.approx(metrics, abs=EXACT)
    export(run.path, out=tmp_path / "program")


@pytest.mark.parametrize("name", ["boosted-trees", "ridge", "tfidf-linear"])
def test_onnx_answers_the_same(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    from flambeau.exports import export

    kind = "text" if name == "tfidf-linear" else "table"
    data, _ = kinds.dataset(kind, tmp_path, 60, 20)
    fb.Learner(data, model=name, run=tmp_path / "run", quiet=True, baseline=False).fit(check=False)
    export(tmp_path / "run", format="onnx", out=tmp_path / "onnx")  # which compares both on held-out rows


@pytest.mark.parametrize(
    ("kind", "name"),
    [("text", "tfidf-linear"), ("sound", "mel-linear"), ("pictures", "hog-linear"), ("series", "rocket"),
     ("series", "nearest"), ("forecast", "ridge-lags"), ("forecast", "seasonal-naive")],
)  # fmt: skip
def test_each_kind_of_data(kind: str, name: str, tmp_path: Path) -> None:
    data, settings = kinds.dataset(kind, tmp_path, 60, 20)
    settings = {key: value for key, value in settings.items() if key in ("size",)}
    learner = fb.Learner(data, model=name, run=tmp_path / "run", quiet=True, **settings)
    metrics = learner.fit(check=False)
    assert np.isfinite([*metrics.values()]).all()
    loaded = fb.Predictor.load(tmp_path / "run")
    for key, value in loaded.objective.model.state_dict().items():
        assert torch.equal(value, learner.objective.model.state_dict()[key]), key


def test_small_pictures() -> None:
    digits = load_digits()
    data = fb.Dataset.from_arrays(digits.images[:900] / 16, digits.target[:900])
    learner = fb.Learner(data, model="hog-linear", run=False, quiet=True)
    assert learner.fit(check=False)["accuracy"] > 0.93


@pytest.mark.parametrize(
    ("settings", "found"),
    [({"epochs": 3}, "epochs=3"), ({"learning_rate": 0.1}, "learning_rate=0.1"), ({"techniques": "mixup"}, "mixup"),
     ({"loss": "focal"}, "focal"), ({"pretrained": "w.safetensors"}, "weights"), ({"augment": "light"}, "augmented")],
)  # fmt: skip
def test_what_is_of_steps_is_refused(settings: dict[str, Any], found: str, tmp_path: Path) -> None:
    data = fb.Dataset.from_table(wine(tmp_path), target="y")
    with pytest.raises(FlambeauError, match=found):
        fb.Learner(data, model="ridge", run=False, quiet=True, **settings).fit(check=False)


@pytest.mark.parametrize("name", ["ridge", "nearest", "boosted-trees"])
def test_rows_count_by_their_weights(name: str) -> None:
    """Two rows to one, of the one that stands at the same place: who weighs more is right."""
    x, y = torch.tensor([[0.0], [0.0], [1.0]] * 30), np.asarray([0, 1, 1] * 30)
    for heavy in (0, 1):
        model = build(name, InputSpec("number", (1,)), 2, **({"neighbours": 60} if name == "nearest" else {})).model
        model.fit(examples(x, y, weights=np.where(y == heavy, 9.0, 1.0)), None)
        assert int(model(torch.zeros(1, 1)).argmax()) == heavy


def test_rare_classes_may_count_more(tmp_path: Path) -> None:
    data = fb.Dataset.from_table(wine(tmp_path), target="y")
    learners = [fb.Learner(data, model="ridge", run=False, quiet=True, techniques=t) for t in ([], ["class_weights"])]
    for learner in learners:
        learner.fit(check=False)
    first, second = (learner.objective.model.state_dict()["matrix"] for learner in learners)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", ["ridge", "boosted-trees"])
def test_a_class_that_alone_was_learned_is_certain(name: str) -> None:
    x = torch.rand(20, 1)
    model = build(name, InputSpec("number", (1,)), 3).model
    for only in (0, 2):
        model.fit(examples(x, np.full(20, only)), None)
        assert float(model(x).softmax(1)[:, only].min()) > 0.999


def test_the_middle_of_a_forecast_is_the_forecast_itself() -> None:
    """Where it errs to one side alone, too: the season before, of what rises."""
    model = build("seasonal-naive", InputSpec("history", (1, 12, 0, 2)), 6, season=4).model
    rising = torch.arange(40.0).unfold(0, 14, 1)
    x = PastFuture(rising[:, None, :12], torch.zeros(len(rising), 0, 2))
    model.fit(examples(x, rising[:, 12:].numpy(), True, levels=(0.1, 0.5, 0.9)), None)
    said = model(x).view(len(rising), 2, 3)
    torch.testing.assert_close(said[:, :, 1], model.steps(x).float())
    assert bool((said[:, :, 0] <= said[:, :, 1]).all()) and bool((said[:, :, 1] < said[:, :, 2]).all())


def test_several_labels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 4))
    labels = [[name for name, yes in (("a", row[0] > 0), ("b", row[1] > 0.5)) if yes] for row in x]
    columns = {f"x{i}": x[:, i] for i in range(4)}
    data = fb.Dataset({**columns, "y": labels}, target="y", fields={"y": fb.fields.MultiLabel()})
    for name in ("boosted-trees", "ridge", "nearest"):
        learner = fb.Learner(data, model=name, run=False, quiet=True, baseline=False)
        assert learner.fit(check=False)["f1"] > 0.7, name
