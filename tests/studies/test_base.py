"""Studies: trainings in one folder that are there once they are done."""

import pytest
import sklearn.datasets

import flambeau as fb
from flambeau.core.errors import RunError
from flambeau.studies import Study, variant


@pytest.fixture
def learner():
    digits = sklearn.datasets.load_digits()
    data = fb.Dataset.from_arrays(digits.images[:300] / 16, digits.target[:300])
    return fb.Learner(data, model="mlp", epochs=1, quiet=True, baseline=False)


def test_a_training_of_a_study_is_done_once_and_is_a_run_like_any_other(learner, tmp_path):
    study = Study(tmp_path / "s", "rates", {"rates": [1e-3]})
    run = study.trained("fast", learner, {"learning_rate": 1e-2})
    weights = (run.path / "model.safetensors").read_bytes()
    stamp = (run.path / "model.safetensors").stat().st_mtime_ns

    again = Study(tmp_path / "s", "rates", {"rates": [1e-3]}).trained("fast", learner, {"learning_rate": 1e-2})

    assert run.measured and run.recipe.training.learning_rate == 1e-2
    assert (again.path / "model.safetensors").stat().st_mtime_ns == stamp
    alone = variant(learner, {"learning_rate": 1e-2}, tmp_path / "alone")
    alone.fit(check=False)
    assert (tmp_path / "alone" / "model.safetensors").read_bytes() == weights
    assert learner.recipe.training.learning_rate is None  # the learner is as it was


def test_what_came_out_is_kept_and_another_study_is_kept_out(tmp_path):
    Study(tmp_path / "s", "rates", {"rates": [1]}).finish({"best": 1})
    assert Study(tmp_path / "s", "rates", {"rates": [1]}).result == {"best": 1}
    with pytest.raises(RunError, match="another study"):
        Study(tmp_path / "s", "rates", {"rates": [2]})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        Study(tmp_path / "full", "rates", {})


def test_a_free_study_is_the_one_that_was_stopped_or_a_new_one(tmp_path):
    first = Study.free("cv", "folds", {"folds": 5}, tmp_path)
    assert Study.free("cv", "folds", {"folds": 5}, tmp_path).path == first.path
    first.finish({})
    assert Study.free("cv", "folds", {"folds": 5}, tmp_path).path == tmp_path / "cv-2"
    assert Study.free("cv", "folds", {"folds": 3}, tmp_path).path == tmp_path / "cv-3"
