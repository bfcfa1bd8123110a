"""Raw input in, decoded prediction out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from realdata.pictures import digits as digit_pictures
from small import digits

import flambeau as fb
from flambeau.core.errors import DataError

PICTURES, LABELS = digit_pictures()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("predictor") / "run"
    data = fb.Dataset.from_arrays(PICTURES[:600], LABELS[:600], split=fb.Split(test=0))
    fb.Learner(data, "mlp", run=run, quiet=True, epochs=6, batch_size=32, learning_rate=0.01).fit(check=False)
    return run


@pytest.fixture(scope="module")
def predictor(trained: Path) -> fb.Predictor:
    return fb.load(trained)


def test_it_is_right_about_pictures_that_it_has_not_seen(predictor: fb.Predictor) -> None:
    guesses = [p.label for p in predictor.predict(list(PICTURES[600:900]))]
    assert np.mean([g == str(y) for g, y in zip(guesses, LABELS[600:900], strict=True)]) > 0.85


def test_paths_bytes_pil_images_and_arrays_predict_alike(predictor: fb.Predictor, tmp_path: Path) -> None:
    picture = PICTURES[700]
    PILImage.fromarray(picture).save(tmp_path / "a.png")
    forms: list[Any] = [
        tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(), PILImage.fromarray(picture),
        picture,
        picture[..., None], np.repeat(picture[..., None], 3, 2), picture / 255, torch.from_numpy(picture.copy()),
    ]  # fmt: skip
    expected = predictor.predict(picture)
    for form in forms:
        assert predictor.predict(form) == expected
    together = predictor.predict(forms)
    for one in together:
        # float32 matrix products of another size may sum in another order
        assert one.label == expected.label and one.confidence == pytest.approx(expected.confidence, rel=1e-4)


@pytest.mark.parametrize(
    "batch",
    [PICTURES[:5], PICTURES[:5] / 255, PICTURES[:3], PICTURES[:5, ..., None], PICTURES[:5, None],
     torch.from_numpy(PICTURES[:5])],
    ids=["BHW", "floats", "3HW", "BHW1", "B1HW", "tensor"],
)  # fmt: skip
def test_whole_batches_give_a_prediction_each(predictor: fb.Predictor, batch: Any) -> None:
    predictions = predictor.predict(batch)
    assert isinstance(predictions, list) and len(predictions) == len(batch)
    assert [p.label for p in predictions] == [p.label for p in predictor.predict(list(PICTURES[: len(batch)]))]


def test_one_picture_with_its_channel_first_is_one(predictor: fb.Predictor) -> None:
    assert isinstance(predictor.predict(PICTURES[:1]), fb.Prediction)


def test_the_batch_size_does_not_change_what_is_said(predictor: fb.Predictor) -> None:
    values = list(PICTURES[:50])
    for size in (1, 7, 64):
        for one, other in zip(predictor.predict(values, batch_size=size), predictor.predict(values), strict=True):
            assert one.label == other.label and one.confidence == pytest.approx(other.confidence, rel=1e-4)


def test_probabilities_are_sorted_and_cut(predictor: fb.Predictor) -> None:
    prediction = predictor.predict(PICTURES[0])
    values = list(prediction.probabilities.values())
    assert values == sorted(values, reverse=True) and len(values) == 10 and sum(values) == pytest.approx(1, abs=1e-5)
    assert prediction.confidence == values[0] and next(iter(prediction.probabilities)) == prediction.label
    assert list(prediction.top(3)) == list(prediction.probabilities)[:3]
    told = prediction.to_dict(top=2)
    assert set(told) == {"label", "confidence", "probabilities"} and len(told["probabilities"]) == 2


def test_under_a_confidence_the_label_is_unknown(predictor: fb.Predictor) -> None:
    values = list(PICTURES[600:800])
    plain = predictor.predict(values)
    for limit in (0.0, 0.9, 1.01):
        for before, after in zip(plain, predictor.predict(values, reject_below=limit), strict=True):
            assert before.confidence is not None
            assert after.label == ("unknown" if before.confidence < limit else before.label)
            assert after.probabilities == before.probabilities


def test_an_input_that_cannot_be_read_is_named(predictor: fb.Predictor, nasty: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=r"text.jpg: this is not a picture"):
        predictor.predict([nasty["plain"], nasty["text"]])
    with pytest.raises(DataError, match=r"input 1: this is not a picture"):
        predictor.predict([PICTURES[0], b"not a picture"])
    with pytest.raises(DataError, match="the file is missing"):
        predictor.predict("nowhere.png")
    assert predictor.predict([]) == []


def test_several_labels_and_numbers_decode_as_they_are() -> None:
    x, y = digits()
    tags = [[n for n, on in (("even", d % 2 == 0), ("small", d < 5)) if on] for d in y.tolist()]
    options: dict[str, Any] = {"run": False, "quiet": True, "epochs": 3, "batch_size": 32}
    several = fb.Learner(fb.Dataset.from_arrays(x, tags), "mlp", **options)
    several.fit(check=False)
    prediction = several.predict(x[0])
    assert prediction.label == [c for c in ("even", "small") if prediction.probabilities[c] >= 0.5]
    pairs = fb.Learner(fb.Dataset.from_arrays(x, np.stack([x.mean((1, 2)), x.max((1, 2)) / 3], 1)), "mlp", **options)
    pairs.fit(check=False)
    assert pairs.predict(x[0]).label.shape == (2,)
    assert len(pairs.predict(x[0]).to_dict()["label"]) == 2
    vectors = fb.Learner(fb.Dataset.from_arrays(x.reshape(200, 64) * 1.01, y), "mlp", **options)
    vectors.fit(check=False)
    assert len(vectors.predict(x.reshape(200, 64)[:4])) == 4
    assert isinstance(vectors.predict(x.reshape(200, 64)[0]), fb.Prediction)
