"""Groups of samples that a model fails on are named with what they share; mistakes with nothing in common are not."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import flambeau as fb
from flambeau.core.files import to_json
from flambeau.evaluation import evaluate_run
from flambeau.report import build
from flambeau.run import Run
from flambeau.understand.groups import in_words

DIGITS = load_digits()
IMAGES = np.rint(DIGITS.images * (255 / 16)).astype(np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("groups") / "run"
    data = fb.Dataset.from_arrays(IMAGES[:800], DIGITS.target[:800])
    fb.Learner(data, model="lenet", epochs=6, run=folder, quiet=True, augment="none").fit(check=False)
    return folder


def measured(run: Path, images: np.ndarray, labels: np.ndarray) -> dict:
    data = fb.Dataset.from_arrays(images, labels, split="none")
    return evaluate_run(run, data, baseline=False)["detail"]


def test_a_group_of_dark_pictures_is_found_and_called_dark(run):
    images = IMAGES[800:1300].copy()
    dark = np.arange(60, 120)
    images[dark] = images[dark] // 8
    detail = measured(run, images, DIGITS.target[800:1300])
    worst = detail["groups"]["worst"]
    assert worst, "no group is named"
    found = [one for one in worst if any(it["name"] == "brightness" for it in one["shared"])]
    assert found and found[0]["score"] < found[0]["rest"] and found[0]["p"] < 0.05
    [light] = [it for it in found[0]["shared"] if it["name"] == "brightness"]
    assert light["median"] < light["elsewhere"] / 2
    assert {sample["row"] for sample in found[0]["samples"]} <= {*dark.tolist()}
    assert "brightness" in in_words(found[0], "accuracy") and "row " in in_words(found[0], "accuracy")


def test_mistakes_all_over_are_no_group(run):
    random = np.random.default_rng(0)
    labels = DIGITS.target[800:1300].copy()
    wrong = random.permutation(500)[:75]
    labels[wrong] = (labels[wrong] + random.integers(1, 10, 75)) % 10
    assert "groups" not in measured(run, IMAGES[800:1300], labels)


def test_classes_that_are_taken_for_another_are_named_and_shown_in_the_report(run):
    labels = DIGITS.target[:800].copy()
    data = fb.Dataset.from_arrays(IMAGES[:800], np.where(labels == 3, 5, labels), split="none")
    result = evaluate_run(run, data, baseline=False)
    one = result["detail"]["groups"]["worst"][0]
    pair = one["shared"][0]
    assert pair["name"] == "5 → 3" and pair["share"] > 0.5 > 0.1 > pair["elsewhere"]
    there = Run.open(run)
    (run / "evaluation.json").write_text(to_json(result))
    for language in ("en", "zh-CN"):
        page = build(there, language=language)
        assert "id=groups" in page.replace('"', "") and "5 → 3" in page


def test_texts_that_share_a_word(tmp_path):
    random = np.random.default_rng(0)
    words = {"sea": ["wave", "boat", "salt", "tide"], "hill": ["peak", "goat", "rock", "snow"]}

    def texts(count: int, odd: int) -> tuple[list[str], list[str]]:
        names = ["sea", "hill"] * (count // 2)
        said = [" ".join(random.choice(words[name], 6)) for name in names]
        for i in range(0, 2 * odd, 2):  # what is of the sea is said in other words
            said[i] = " ".join(random.choice(["peak", "goat", "lighthouse"], 6)) + " lighthouse"
        return said, names

    train, truth = texts(200, 0)
    data = fb.Dataset.from_arrays([*train, "lighthouse", "lighthouse"], [*truth, "sea", "hill"])
    fb.Learner(data, model="bag", epochs=10, run=tmp_path / "run", quiet=True).fit(check=False)
    held, truth = texts(200, 20)
    detail = evaluate_run(tmp_path / "run", fb.Dataset.from_arrays(held, truth, split="none"), baseline=False)["detail"]
    shared = [it for one in detail["groups"]["worst"] for it in one["shared"]]
    assert "“lighthouse”" in [it["name"] for it in shared]
