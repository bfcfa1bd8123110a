"""Test-time augmentation: several views of each input, whose answers are averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from forkserver import Forkserver
from PIL import Image as PILImage
from tones import write_tones
from words import sentences

import flambeau as fb
from flambeau.core.errors import FlambeauError, UsageError
from flambeau.data.store.encode import EncodeOptions
from flambeau.evaluation import evaluate_run
from flambeau.fields import Image, Text


@pytest.fixture(scope="module")
def pictures(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> fb.Learner:
    root = tmp_path_factory.mktemp("tta")
    data = fb.Dataset.from_folder(digits_folder, split=fb.Split("stratified", valid=0.8, test=0.1))
    learner = fb.Learner(
        data, "lenet", run=root / "run", quiet=True, epochs=2, batch_size=16, cache=root / "cache", 
        precision="float32", augment={"rotation": 15, "gaussian_noise": 0.1}, baseline=False,
    )  # fmt: skip
    learner.fit(check=False)
    return learner


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> fb.Learner:
    words, topics = sentences()
    frame = pl.DataFrame({"text": words, "label": topics})
    data = fb.Dataset.from_frame(frame, target="label")
    data.fields["text"] = Text(max_length=6)
    run = tmp_path_factory.mktemp("tta") / "run"
    learner = fb.Learner(data, run=run, quiet=True, epochs=2, baseline=False)
    learner.fit(check=False)
    return learner


def run_of(learner: fb.Learner) -> Path:
    assert learner.run is not None
    return learner.run.path


def probabilities(predictions: list[fb.Prediction]) -> np.ndarray:
    return np.array([[p.probabilities[name] for name in sorted(p.probabilities)] for p in predictions])


def test_answers_are_the_mean_of_the_probabilities_of_mirrored_pictures(
    pictures: fb.Learner, digits_folder: Path
) -> None:
    files = sorted((digits_folder / "4").iterdir())[:5]
    arrays = [np.asarray(PILImage.open(file)) for file in files]
    plain, mirrored = (probabilities(pictures.predict(a)) for a in (arrays, [a[:, ::-1].copy() for a in arrays]))
    assert np.abs(plain - mirrored).max() > 0.01
    both = probabilities(pictures.predict(arrays, tta="flip"))
    np.testing.assert_allclose(both, (plain + mirrored) / 2, atol=1e-6)


def test_drawn_views_are_those_of_training_and_an_answer_does_not_hang_on_the_others(
    pictures: fb.Learner, digits_folder: Path
) -> None:
    files = sorted((digits_folder / "4").iterdir())[:3]
    predictor = fb.load(run_of(pictures))
    together = probabilities(predictor.predict(files, tta=4))
    alone = probabilities([predictor.predict(file, tta=4) for file in files])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert np.abs(together - probabilities(predictor.predict(files))).max() > 1e-4
    other = probabilities(predictor.predict(files, tta={"views": 4, "seed": 1}))
    assert np.abs(together - other).max() > 1e-4
    none = probabilities(predictor.predict(files, tta="4 rotation=0"))
    np.testing.assert_allclose(none, probabilities(predictor.predict(files)), atol=1e-6)


def test_an_evaluation_measures_what_is_predicted(pictures: fb.Learner) -> None:
    result = pictures.evaluate(tta="flip")
    data = pictures.data
    assert data is not None
    rows = data.rows("test")
    files, labels = ([data.columns[name][row] for row in rows] for name in (data.inputs[0], data.target or ""))
    answers = pictures.predict(files, tta="flip")
    right = np.mean([answer.label == label for answer, label in zip(answers, labels, strict=True)])
    assert result["tta"]["views"] == 2 and result["tta"]["metrics"]["accuracy"] == pytest.approx(right)
    assert result["tta"]["intervals"]["accuracy"][0] < right
    # raw outputs divided by the temperature are as sure as it says: so is the loss of the joint ones
    temperature = pictures.objective.calibration["temperature"]
    sure = np.array([[a.probabilities[c] for c in data.fields[data.target or ""].classes] for a in answers])
    raw = temperature * np.log(sure)
    true = [pictures.predictor.classes.index(label) for label in labels]
    losses = np.log(np.exp(raw).sum(1)) - raw[np.arange(len(raw)), true]
    assert result["tta"]["metrics"]["loss"] == pytest.approx(losses.mean(), rel=1e-4)
    assert result["metrics"] == pytest.approx(pictures.evaluate()["metrics"])


def test_a_run_is_measured_as_its_learner_and_alike_each_time(pictures: fb.Learner) -> None:
    options = EncodeOptions(run_of(pictures).parent / "cache")
    first, again = (evaluate_run(run_of(pictures), tta=3, options=options, baseline=False)["tta"] for _ in range(2))
    assert first == again and first["views"] == 3
    assert first["metrics"] == pytest.approx(pictures.evaluate(tta=3)["tta"]["metrics"])
    assert first["metrics"]["loss"] != pytest.approx(pictures.evaluate()["metrics"]["loss"], rel=1e-3)


def test_long_texts_are_read_to_their_end(texts: fb.Learner) -> None:
    words = sentences()[0]
    long = next(text for text in words if 14 < len(text.split()) < 18)
    assert texts.data is not None
    field: Any = texts.data.fields["text"]
    parts = field.parts_of(long, 3)
    assert parts[0] == long and long.endswith(parts[2])
    assert [piece[:1] == " " for piece in field.tokenise(parts[2])[:7]] == [False] * 6 + [True]  # then its characters
    assert 0 < long.index(parts[1]) < long.index(parts[2])
    alone = probabilities(texts.predict(parts))
    np.testing.assert_allclose(probabilities([texts.predict(long, tta=3)]), alone.mean(0)[None], atol=1e-6)
    short = "a short one"
    assert field.parts_of(short, 3) == [short] and texts.predict(short, tta=3).label == texts.predict(short).label
    measured, plain = texts.evaluate(tta=3), texts.evaluate()
    assert measured["metrics"] == pytest.approx(plain["metrics"])
    test = texts.data.rows("test")
    answers = texts.predict([texts.data.columns["text"][row] for row in test], tta=3)
    right = np.mean([a.label == texts.data.columns["label"][row] for a, row in zip(answers, test, strict=True)])
    assert measured["tta"]["metrics"]["accuracy"] == pytest.approx(right)


def test_sounds_are_heard_in_several_windows(tmp_path: Path) -> None:
    write_tones(tmp_path / "tones")
    learner = fb.Learner(
        fb.Dataset.from_folder(tmp_path / "tones"), run=False, quiet=True, epochs=1, cache=tmp_path / "cache",
        augment="light",
    )  # fmt: skip
    learner.fit(check=False)
    result = learner.evaluate(tta=3)
    assert result["tta"]["metrics"]["loss"] != result["metrics"]["loss"]


def test_what_has_no_views_is_refused_in_a_line(pictures: fb.Learner, texts: fb.Learner) -> None:
    table = fb.Dataset({"x": [0.0, 1.0] * 30, "y": ["a", "b"] * 30}, target="y")
    of_table = fb.Learner(table, run=False, quiet=True, epochs=1)
    with pytest.raises(UsageError, match="no meaning for inputs of the kind number; expected pictures"):
        of_table.evaluate(tta=4)
    for tta, said in (("mirror", "have no views called 'mirror'"), (1, "1 views do not fit"), ("4 wag=2", "wag")):
        with pytest.raises(FlambeauError, match=said):
            pictures.predict(np.zeros((8, 8), np.uint8), tta=tta)
    with pytest.raises(UsageError, match="inputs of the kind text have no views called 'flip'; give a number"):
        texts.evaluate(tta="flip")
    data = fb.Dataset({"x": [np.zeros((8, 8), np.uint8)] * 20, "y": ["a", "b"] * 10}, target="y")
    with pytest.raises(UsageError, match="nothing is varied in this run's training"):
        fb.Learner(data, "mlp", run=False, quiet=True, epochs=1, augment="none").evaluate(tta=4)


def test_the_crops_of_a_picture_are_its_middle_and_corners() -> None:
    field = Image(size=16, colour="grey")
    field.fit([np.arange(256, dtype=np.uint8).reshape(16, 16)] * 2)
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1)
    crops = [field.named_view("ten_crops", i).prepare(ramp)[0, 0] for i in range(10)]
    whole = field.prepare(ramp)[0, 0]
    assert torch.equal(crops[1][0, 0], whole[0, 0]) and torch.equal(crops[4][-1, -1], whole[-1, -1])
    assert torch.equal(crops[2][0, -1], whole[0, -1]) and torch.equal(crops[3][-1, 0], whole[-1, 0])
    assert field.std is not None
    step = 1.01 / 255 / field.std[0]  # bytes may be rounded the other way
    for crop, mirrored in zip(crops[:5], crops[5:], strict=True):
        assert torch.allclose(crop.flip(1), mirrored, atol=step)


def test_the_command_says_both(pictures: fb.Learner, flambeau: Forkserver, digits_folder: Path, tmp_path: Path) -> None:
    told = flambeau("evaluate", run_of(pictures), "--tta", "flip", "--no-baseline", cwd=tmp_path)
    assert told.status == 0, told.err
    assert "with test-time augmentation, 2 views flip:" in told.out
    document = json.loads(flambeau("evaluate", run_of(pictures), "--tta", "3", "--json", cwd=tmp_path).out)
    assert document["tta"]["views"] == 3 and document["tta"]["metrics"].keys() == document["metrics"].keys()
    file = next((digits_folder / "4").iterdir())
    row = json.loads(flambeau("predict", run_of(pictures), file, "--tta", "3", "--json", cwd=tmp_path).out)
    expected = pictures.predict(file, tta=3).to_dict(3)["probabilities"]
    assert row["predictions"][0]["probabilities"] == pytest.approx(expected, abs=1e-5)


def test_filters_are_views_that_leave_little_of_small_changes() -> None:
    from flambeau.fields.picture.views import bits, jpeg, median

    images = torch.randint(0, 256, (2, 9, 7, 3), generator=torch.Generator().manual_seed(0)).byte()
    for view in (bits, jpeg, median):
        assert view(images).shape == images.shape and view(images).dtype == torch.uint8
        assert view(images[..., :1]).shape == (2, 9, 7, 1)
    assert bits(images).unique().tolist() == [17 * level for level in range(16)]
    assert (bits(images).int() - images.int()).abs().max() <= 8
    pixel = torch.full((1, 5, 5, 1), 100, dtype=torch.uint8)
    pixel[0, 2, 2] = 255
    assert (median(pixel) == 100).all(), "one pixel alone is gone"
    ramp = torch.arange(5, dtype=torch.uint8).view(1, 5, 1, 1).expand(1, 5, 5, 1).contiguous()
    assert torch.equal(median(ramp), ramp)
