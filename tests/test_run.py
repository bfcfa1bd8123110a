"""The folder that a training leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small import network

from flambeau.core.errors import RunError
from flambeau.core.findings import Finding, Severity
from flambeau.fields import Category, Image
from flambeau.recipe import Recipe
from flambeau.run import Run, environment
from flambeau.training import checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "photos")
    made.path.mkdir()
    Recipe().save(made.path / "recipe.yaml")
    return made


def test_a_run_that_is_not_there_names_the_nearest(run: Run) -> None:
    with pytest.raises(RunError, match=r"fotos: there is no such run; did you mean 'photos'\?"):
        Run.open(run.path.parent / "fotos")
    (run.path.parent / "void").mkdir()
    with pytest.raises(RunError, match=r"this is not a run: it holds no recipe.yaml; start a training"):
        Run.open(run.path.parent / "void")
    assert Run.open(run.path).recipe == Recipe()


def test_a_free_name_is_counted_up(run: Run) -> None:
    folder = run.path.parent
    assert Run.free("other", folder).path == folder / "other"
    second = Run.free("photos", folder)
    assert second.path == folder / "photos-2"
    second.path.mkdir()
    Recipe().save(second.path / "recipe.yaml")
    assert Run.free("photos", folder).path == folder / "photos-3"


def test_a_young_run_is_neither_started_nor_finished_and_reads_as_empty(run: Run) -> None:
    assert not run.started and not run.finished
    assert run.metrics == [] and run.evaluation == {} and run.findings == [] and run.environment == {}
    with pytest.raises(RunError, match="the run has no weights yet; finish it with: flambeau resume"):
        run.load_model(network())


def test_fields_and_findings_come_back(run: Run) -> None:
    image, label = Image(size=8, colour="grey"), Category(["猫", "dog"])
    run.save_fields({"image": image, "label": label}, ["image"], "label")
    fields, inputs, target = run.fields()
    assert [f.to_dict() for f in fields.values()] == [image.to_dict(), label.to_dict()]
    assert (inputs, target) == (["image"], "label")
    finding = Finding("x", Severity.NOTE, "a note", places=["a"])
    (run.path / "findings.json").write_text(json.dumps({"findings": [finding.to_dict()], "thumbnails": [[]]}))
    assert run.findings == [finding]


def test_weights_come_back_and_a_run_that_has_them_is_finished(run: Run) -> None:
    model, other = network(seed=1), network(seed=2)
    run.save_model(model)
    assert run.finished
    run.load_model(other)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_an_unfinished_run_gives_the_weights_of_its_newest_whole_checkpoint(run: Run) -> None:
    for step, seed in ((5, 1), (10, 2)):
        checkpoint.save(
            run.path / "checkpoints" / checkpoint.name(step, 1), {"model": network(seed=seed).state_dict()}, {}
        )
    other = network()
    run.load_model(other)
    assert torch.equal(other[1].weight, network(seed=2)[1].weight)  # type: ignore[index]
    (run.path / "checkpoints" / checkpoint.name(10, 1) / "state.safetensors").write_bytes(b"damaged")
    run.load_model(other)
    assert torch.equal(other[1].weight, network(seed=1)[1].weight)  # type: ignore[index]


def test_weights_that_do_not_fit_or_are_damaged_are_told(run: Run) -> None:
    run.save_model(network())
    with pytest.raises(RunError, match=r"do not fit the model"):
        run.load_model(network(outputs=7))
    with pytest.raises(RunError, match=r"do not fit the model: 2 tensors missing, 4 unexpected, such as weight"):
        run.load_model(torch.nn.Linear(3, 3))
    file = run.path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(RunError, match=r"model.safetensors: the weights are damaged"):
        run.load_model(network())


def test_a_lock_is_held_by_one_and_let_go(run: Run) -> None:
    with run.locked():
        with pytest.raises(RunError, match=r"another training \(process \d+\)"), Run(run.path).locked():
            pass
        with Run(run.path.parent / "other").locked():
            pass
    with Run(run.path).locked():
        pass


def test_the_environment_says_what_it_was_trained_with() -> None:
    told = environment()
    assert told["packages"]["torch"] and told["flambeau"] and told["python"]
    json.dumps(told)
