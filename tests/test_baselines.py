"""Simple rivals on the same rows, and what each input brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from kinds import sound, tags, text
from realdata.texts import write_sentences
from sklearn.datasets import load_digits, load_iris, load_wine

import flambeau as fb
from flambeau import report
from flambeau.baselines import RIVALS, baselines
from flambeau.evaluation import evaluate_run
from flambeau.learner.verdicts import unrelated_line, verdict


def built(data: fb.Dataset, **settings: object) -> fb.Learner:
    return fb.Learner(data, run=False, quiet=True, **settings).build()  # type: ignore[arg-type]


def by_name(learner: fb.Learner) -> dict[str, dict[str, float]]:
    return {b["name"]: b["metrics"] for b in learner.baselines()}


def wine() -> fb.Dataset:
    bunch = load_wine()
    return fb.Dataset({**dict(zip(bunch.feature_names, bunch.data.T, strict=True)), "y": bunch.target}, target="y")


def test_trees_for_a_table() -> None:
    found = by_name(built(wine()))
    assert found["gradient-boosted trees"]["accuracy"] > 0.9
    assert found["most frequent class"]["accuracy"] == pytest.approx(0.4, abs=0.05)


def test_the_most_frequent_class_at_the_mean_boxes() -> None:
    """Two cats are in every picture, each at a place of its own; there are dogs in some."""
    generator = np.random.default_rng(0)
    pictures = [generator.integers(0, 255, (48, 64, 3)).astype(np.uint8) for _ in range(40)]
    cats = [(4, 4, 24, 24, "cat"), (40, 20, 60, 44, "cat")]
    boxes = [[*cats, (10, 10, 30, 30, "dog")] if row % 4 == 0 else cats for row in range(40)]
    found = by_name(built(fb.Dataset.from_arrays(pictures, boxes)))
    (figures,) = found.values()
    assert figures["map50"] == pytest.approx(0.5), "all cats, and no dog"
    assert [*found] == ["the most frequent class at the mean boxes"]


def test_a_number_is_measured_in_its_own_units() -> None:
    iris = load_iris()
    columns = {"a": iris.data[:, 0] * 1000, "b": iris.data[:, 1], "y": iris.data[:, 2] * 1000}
    data = fb.Dataset(columns, target="y", fields={"y": fb.fields.Number(transform="log")})
    found = by_name(built(data))
    valid = data.rows("valid")
    assert found["gradient-boosted trees"]["rmse"] < 0.5 * found["mean"]["rmse"]
    assert 0.5 * columns["y"][valid].std() < found["mean"]["rmse"] < 2 * columns["y"][valid].std()


def test_words_for_texts(tmp_path: Path) -> None:
    data = fb.Dataset.from_table(write_sentences(tmp_path / "s.csv"), inputs=["text"])
    assert by_name(built(data))["TF-IDF and a linear model"]["accuracy"] > 0.77


def test_pixels_for_small_pictures() -> None:
    digits = load_digits()
    data = fb.Dataset.from_arrays(digits.images[:600] / 16, digits.target[:600])
    assert by_name(built(data, model="mlp"))["a linear model on small pixels"]["accuracy"] > 0.85


def test_masks_have_the_most_frequent_class_and_a_linear_model_on_colours() -> None:
    """One class is told by its colour, one by its place; that of the third is unknown."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 2, (24, 6, 6)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    pictures = np.array([[200, 40, 40], [40, 40, 40]])[masks] + rng.integers(-20, 21, (24, 24, 24, 3))
    masks[:, :4] = 2
    masks[:, -4:] = 255
    columns = {"x": list(pictures.clip(0, 255).astype(np.uint8)), "y": list(masks)}
    data = fb.Dataset(columns, target="y", fields={"y": fb.fields.Mask(["ground", "thing", "sky"])})
    found = by_name(built(data))
    assert found["a linear model on each pixel's colour"]["mean_iou"] > 0.8
    frequent, known = found["most frequent class"], masks[data.rows("valid")]
    counts = np.bincount(known[known != 255], minlength=3)
    assert np.isclose(counts / counts.sum(), frequent["pixel_accuracy"]).any()
    assert frequent["mean_iou"] == pytest.approx(frequent["pixel_accuracy"] / 3)


def test_they_learn_from_training_rows_alone() -> None:
    """The labels of held-out rows are turned round: what rivals say of them must not change."""
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    sides = ["train"] * 200 + ["valid"] * 100
    scores = []
    for turned in (False, True):
        y = np.where(x > 0, "p", "q")
        y[200:] = np.where((x[200:] > 0) ^ turned, "p", "q")
        learner = built(fb.Dataset({"x": x, "z": x**2, "y": y.tolist()}, target="y", split=sides))
        scores.append(by_name(learner)["gradient-boosted trees"]["accuracy"])
    assert scores[0] > 0.95 and scores[0] + scores[1] == pytest.approx(1.0)


def test_a_rival_of_ones_own_comes_first_and_of_too_much_data_learns_some() -> None:
    learner = built(wine())
    rows = {s: r.numpy() for s, r in learner.feed.rows.items()}  # type: ignore[attr-defined]
    RIVALS.insert(0, RIVALS[0]._replace(title="trees of few rows", most=100))
    try:
        found = baselines(learner.feed.dataset, learner.feed.store, rows["train"], rows["valid"])  # type: ignore[attr-defined]
    finally:
        del RIVALS[0]
    assert [(b.name, b.note) for b in found] == [
        ("most frequent class", ""),
        ("trees of few rows", f"fitted on 100 of {len(rows['train'])} rows"),
    ]
    assert found[1].metrics["accuracy"] > 0.8


def test_a_rival_is_stopped_in_time_and_that_is_said() -> None:
    learner = built(wine())
    rows = {s: r.numpy() for s, r in learner.feed.rows.items()}  # type: ignore[attr-defined]
    feed = learner.feed
    found = baselines(feed.dataset, feed.store, rows["train"], rows["valid"], limit=0)  # type: ignore[attr-defined]
    assert [b.note for b in found] == ["", "stopped at 0 s, after 1 of 100 iterations"]
    whole = baselines(feed.dataset, feed.store, rows["train"], rows["valid"])  # type: ignore[attr-defined]
    assert whole[1].note == "" and whole[1].metrics["accuracy"] > found[1].metrics["accuracy"] - 0.1


def test_the_line_says_plainly_who_wins() -> None:
    found = [{"name": "trees", "seconds": 1.31, "metrics": {"accuracy": 0.822, "rmse": 2.0}}]
    line = "baseline 0.822 in 1.3 s (trees); this model 0.899 (accuracy)"
    assert verdict(found, {"accuracy": 0.899}, "accuracy") == f"{line}: this model wins"
    assert str(verdict(found, {"accuracy": 0.8}, "accuracy")).endswith("the baseline wins")
    assert str(verdict(found, {"rmse": 2.1}, "rmse")).endswith("the baseline wins")
    assert str(verdict(found, {"rmse": 1.9}, "rmse")).endswith("this model wins")
    assert verdict([], {"accuracy": 0.8}, "accuracy") is None


def test_a_difference_that_may_be_chance_is_a_tie() -> None:
    rival = {
        "name": "trees",
        "seconds": 1.3,
        "metrics": {"accuracy": 0.89},
        "differences": {"accuracy": [0.01, -0.01, 0.03]},
    }
    line = str(verdict([rival], {"accuracy": 0.9}, "accuracy"))
    assert line.endswith("the difference is +0.01 (-0.01 to +0.03): a tie")
    sure = {**rival, "differences": {"accuracy": [0.01, 0.002, 0.018]}}
    assert str(verdict([sure], {"accuracy": 0.9}, "accuracy")).endswith("this model wins")


def test_a_run_keeps_them_and_what_each_column_brings(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=600)
    columns = {"used": x.tolist(), "noise": random.normal(size=600).tolist(), "y": ["pq"[int(v > 0)] for v in x]}
    pl.DataFrame(columns).write_csv(tmp_path / "t.csv")
    data = fb.Dataset.from_table(tmp_path / "t.csv", target="y")
    fb.Learner(data, model="resmlp", epochs=8, run=tmp_path / "run", quiet=True).fit()
    kept = fb.Run.open(tmp_path / "run").evaluation
    assert [b["name"] for b in kept["baselines"]] == ["most frequent class", "gradient-boosted trees"]
    without = kept["shuffled"]["without"]
    assert without["used"] < 0.65 < 0.85 < without["noise"]
    assert evaluate_run(tmp_path / "run")["baselines"] == kept["baselines"]
    fb.Learner(data, model="linear", epochs=1, run=tmp_path / "bare", quiet=True, baseline=False).fit()
    assert "baselines" not in fb.Run.open(tmp_path / "bare").evaluation


def test_each_input_and_each_kind_has_its_rival(tmp_path: Path) -> None:
    sound(tmp_path)
    heard = fb.Learner(fb.Dataset.from_folder(tmp_path / "tones"), model="melcnn", epochs=1, run=False, quiet=True)
    found = by_name(heard)
    assert found["a linear model on pooled features"]["accuracy"] > 0.9 > found["most frequent class"]["accuracy"]
    waves = fb.Learner(fb.Dataset.from_folder(tmp_path / "tones"), model="m5", epochs=1, run=False, quiet=True)
    assert by_name(waves)["a linear model on pooled features"]["accuracy"] > 0.9
    (file,) = tags(tmp_path)
    tagged = fb.Learner(fb.Dataset.from_tagged(tmp_path / file), epochs=1, run=False, quiet=True)
    assert by_name(tagged)["the most frequent tag of each word"]["accuracy"] > 0.95
    text(tmp_path)
    frame = (
        pl.read_csv(tmp_path / "topics.csv")
        .with_row_index("row")
        .with_columns(length=pl.col("text").str.len_chars().cast(pl.Float64))
    )
    data = fb.Dataset.from_frame(frame, target="label", inputs=["text", "length"])
    both = by_name(fb.Learner(data, epochs=1, run=False, quiet=True))
    alone = {name.split(" on ")[-1] for name in both if "alone" in name}
    assert alone == {"text alone", "table alone"}
    assert both["TF-IDF and a linear model on text alone"]["accuracy"] > both["most frequent class"]["accuracy"]


def test_several_labels_have_rivals() -> None:
    digits = load_digits()
    labels = [[n for n, on in (("even", d % 2 == 0), ("small", d < 5)) if on] for d in digits.target.tolist()]
    data = fb.Dataset.from_arrays(digits.images / 16, labels, fields={"y": fb.fields.MultiLabel()})
    found = by_name(fb.Learner(data, model="mlp", epochs=1, run=False, quiet=True))
    assert found["a linear model on small pixels"]["f1"] > 0.75 > found["how frequent each label is"]["f1"]


@pytest.mark.parametrize("shuffled", [True, False])
def test_labels_that_have_nothing_to_do_with_the_inputs_are_told_of(shuffled: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 2))
    y = np.where(x[:, 0] + x[:, 1] > 0, "p", "q")
    data = fb.Dataset(
        {"a": x[:, 0], "b": x[:, 1], "y": (random.permutation(y) if shuffled else y).tolist()}, target="y"
    )
    learner = fb.Learner(data, epochs=5, run=tmp_path / "run", quiet=True)
    result = learner.fit(check=False)
    rivals = learner.run.evaluation["baselines"]  # type: ignore[union-attr]
    assert [rival["constant"] for rival in rivals] == [True, False]
    line = unrelated_line(rivals, result, "accuracy")
    if not shuffled:
        assert line is None
        return
    assert line is not None and "gradient-boosted trees is better than the most frequent class" in line
    for language, said in (("en", "may have nothing to do with the inputs"), ("zh-CN", "标签可能与输入无关")):
        assert said in report.build(learner.run, language=language)  # type: ignore[arg-type]


def test_a_pretrained_network_has_a_linear_model_on_what_it_gave_before(tmp_path: Path) -> None:
    digits = load_digits()
    x, y = digits.images / 16, digits.target
    first = fb.Learner(fb.Dataset.from_arrays(x[:900], y[:900]), "lenet", run=tmp_path / "first", baseline=False,
                       quiet=True, epochs=4, batch_size=32)  # fmt: skip
    first.fit(check=False)
    few = fb.Dataset.from_arrays(x[900:1200], y[900:1200] % 5)  # a head of its own
    settings: dict[str, Any] = {"pretrained": str(tmp_path / "first"), "epochs": 1, "quiet": True}
    tuned = fb.Learner(few, "lenet", run=tmp_path / "tuned", **settings)
    tuned.fit(check=False)
    name = "a linear model on the pretrained network"
    kept = fb.Run.open(tmp_path / "tuned").evaluation["baselines"]
    rivals = {rival["name"]: rival["metrics"]["accuracy"] for rival in kept}
    assert [*rivals][-1] == name and rivals[name] > 0.8
    untouched = {rival["name"]: rival["metrics"]["accuracy"] for rival in tuned.baselines()}
    assert untouched[name] == rivals[name]  # of the weights that the training began with
    for other in ({"techniques": ["freeze"]}, {"pretrained": False}):
        held = fb.Learner(few, "lenet", run=False, **settings | other)
        assert name not in [rival["name"] for rival in held.baselines()]
