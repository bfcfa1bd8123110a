"""Knowledge distillation: a student learns from a run or an ensemble."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import flambeau as fb
from flambeau.core.errors import FlambeauError
from flambeau.objectives.tasks import task_of
from flambeau.training import Interrupted


def digits(folder: Path) -> fb.Dataset:
    return fb.Dataset.from_folder(folder, split=fb.Split("stratified", valid=0.7, test=0.1))


def learner(folder: Path, run: Path, **options: Any) -> fb.Learner:
    options = {"epochs": 2, "batch_size": 32, "precision": "float32", "augment": "none", **options}
    return fb.Learner(digits(folder), options.pop("model", "mlp"), run=run, cache=run.parent / "cache", quiet=True,
                      baseline=False, **options)  # fmt: skip


@pytest.fixture(scope="module")
def joint(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> fb.Run:
    """An ensemble of two."""
    root = tmp_path_factory.mktemp("distill")
    for seed in (0, 1):
        learner(digits_folder, root / f"member {seed}", seed=seed, epochs=4).fit(check=False)
    return fb.ensemble([root / "member 0", root / "member 1"], root / "joint")


def test_a_student_of_an_ensemble_comes_nearer_to_it(joint: fb.Run, digits_folder: Path, tmp_path: Path) -> None:
    files = [file for name in "0123456789" for file in sorted((digits_folder / name).iterdir())[:40]]
    theirs = [p.probabilities for p in fb.load(joint).predict(files)]

    def distance(run: Path) -> float:
        ours = [p.probabilities for p in fb.load(run).predict(files)]
        return sum(abs(a[c] - b[c]) for a, b in zip(theirs, ours, strict=True) for c in a)

    learner(digits_folder, tmp_path / "alone", seed=3, epochs=8).fit(check=False)
    technique = {"distill": {"teacher": str(joint.path), "temperature": 4.0, "weight": 1.0}}
    learner(digits_folder, tmp_path / "student", seed=3, epochs=8, techniques=technique).fit(check=False)
    assert distance(tmp_path / "student") < distance(tmp_path / "alone")
    assert fb.Run(tmp_path / "student").recipe.techniques == technique


def test_with_all_weight_and_any_labels_it_is_the_kullback_leibler_distance() -> None:
    task = task_of(fb.fields.Category.from_dict({"kind": "category", "classes": ["a", "b", "c"]}))
    ours, theirs = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.0, 2.0, 1.0]])
    p, q = (theirs / 2).softmax(1), (ours / 2).softmax(1)
    torch.testing.assert_close(task.imitated(ours, theirs, 2.0), 4 * (p * (p / q).log()).sum(1))
    assert task.imitated(ours, ours + 5, 2.0).item() == pytest.approx(0, abs=1e-6)


def test_it_resumes_to_the_same_weights_and_only_with_the_same_teacher(
    joint: fb.Run, digits_folder: Path, tmp_path: Path
) -> None:
    from small import terminated_at

    said = f"distill teacher={joint.path}"
    whole = learner(digits_folder, tmp_path / "whole", techniques=said)
    whole.fit(check=False)
    stopped = learner(digits_folder, tmp_path / "part", techniques=[said, terminated_at(5)])
    last = [said, terminated_at(10**6)]  # the same techniques
    with pytest.raises(Interrupted):
        stopped.fit(check=False)
    resumed = learner(digits_folder, tmp_path / "part", techniques=last)
    resumed.fit(check=False, resume=True)
    state = whole.objective.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in resumed.objective.model.state_dict().items())


def test_a_teacher_that_sees_or_answers_something_else_is_refused_in_a_line(
    joint: fb.Run, digits_folder: Path, tmp_path: Path
) -> None:
    for said, more, match in (
        (joint.path, {"size": 12}, "sees other inputs than the student"),
        (joint.path, {"colour": "hsv"}, "sees other inputs than the student"),
        (tmp_path / "none", {}, "there is no such run"),
    ):
        student = learner(digits_folder, tmp_path / "student", techniques=f"distill teacher={said}", **more)
        with pytest.raises(FlambeauError, match=match) as caught:
            student.fit(check=False)
        assert "\n" not in str(caught.value)
