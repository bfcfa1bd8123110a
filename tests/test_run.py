"""The folder that a training leaves."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from small import network
from torch import nn

from flambeau.core.errors import RunError
from flambeau.core.files import write_json
from flambeau.core.findings import Finding, Severity
from flambeau.fields import Category, Image
from flambeau.learner.environment import environment
from flambeau.recipe import Recipe
from flambeau.run import Run
from flambeau.training import State, checkpoint


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
    assert run.lines == [] and run.evaluation == {} and run.findings == [] and run.environment == {}
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


def saved(run: Run, step: int, seed: int, best: int | None = None) -> Path:
    """A checkpoint after `step` steps, five to an epoch; `best` is the epoch that was the best by then."""
    name, facts = checkpoint.name(step, step // 5), State(epoch=step // 5, step=step)
    tree = {"model": network(seed=seed).state_dict()}
    if best is not None:
        facts.best = {"value": 0.5, "loss": 1.0, "epoch": best, "step": 5 * best,
                      "checkpoint": checkpoint.name(5 * best, best)}  # fmt: skip
        if best == facts.epoch:
            tree["best"] = network(seed=100 + seed).state_dict()
    checkpoint.save(run.path / "checkpoints" / name, tree, {"progress": vars(facts)})
    return run.path / "checkpoints" / name


def is_from(model: nn.Module, seed: int) -> bool:
    return torch.equal(model[1].weight, network(seed=seed)[1].weight)  # type: ignore[index]


def test_an_unfinished_run_gives_its_best_weights_so_far_and_says_so(run: Run) -> None:
    saved(run, 5, seed=1, best=1), saved(run, 10, seed=2, best=1)
    model = network()
    note = run.load_model(model)
    assert is_from(model, 101) and note is not None
    told = "the training is unfinished (2 of None epochs); the weights of epoch 1, the best so far, are used"
    assert note.startswith(f"{run.path}: {told}")
    assert note.endswith(f"go on with: flambeau resume {run.path}")
    with run.locked():
        assert "is still running" in str(run.load_model(model))
    Recipe().with_settings({"keep": "last"}).save(run.path / "recipe.yaml")
    assert "the weights of step 10, the last that was saved, are used" in str(run.load_model(model))
    assert is_from(model, 2)
    run.save_model(network(seed=7))
    assert run.load_model(model) is None and is_from(model, 7)


def test_a_damaged_checkpoint_of_an_unfinished_run_is_passed_over(run: Run) -> None:
    first, second = saved(run, 5, seed=1, best=1), saved(run, 10, seed=2, best=2)
    model = network()
    run.load_model(model)
    assert is_from(model, 102)
    (second / "state.safetensors").write_bytes(b"damaged")
    run.load_model(model)
    assert is_from(model, 101)
    saved(run, 12, seed=3, best=1)
    (first / "manifest.json").write_text("[" * 20_000)
    assert "the weights of step 12" in str(run.load_model(model)) and is_from(model, 3)


def test_a_run_says_whether_it_runs_was_stopped_or_killed(run: Run) -> None:
    assert run.status == "begun"
    with run.locked():
        assert run.status == "running"
        child = os.fork()
        if child == 0:  # a process that dies in a training, as by kill -9
            with Run(run.path.parent / "other").locked():
                os._exit(0)
        os.waitpid(child, 0)
    saved(run, 5, seed=1)
    assert run.status == "stopped"
    Recipe().save(run.path.parent / "other" / "recipe.yaml")
    assert Run(run.path.parent / "other").status == "killed"
    write_json(run.path / "evaluation.json", {"side": "valid", "metrics": {}, "pending": True})
    assert run.evaluation["split"] == "valid", "what a run of before called a side"
    run.save_model(network())
    assert run.status == "unmeasured" and not run.measured
    write_json(run.path / "evaluation.json", {"metrics": {"loss": float("nan"), "r2": 0.5}})
    assert run.status == "unreported" and str(run.evaluation["metrics"]) == "{'loss': nan, 'r2': 0.5}"
    (run.path / "report.html").write_text("")
    assert run.status == "finished"


BAD = {
    "brackets": b"[" * 20_000, "digits": b'{"findings": ' + b"9" * 5_000 + b"}", "bytes": b"\xff\xfe\x00",
    "list": b"[1, 2]", "half": b'{"findings": [{"check"', "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", ["findings.json", "evaluation.json", "environment.json", "fields.json"])
@pytest.mark.parametrize("bad", [*BAD, "folder", "pipe", "large"])
def test_a_file_of_a_run_that_is_none_is_told_in_a_line(run: Run, name: str, bad: str) -> None:
    path = run.path / name
    if bad == "folder":
        path.mkdir()
    elif bad == "pipe":
        os.mkfifo(path)
    elif bad == "large":
        with path.open("wb") as file:
            file.truncate(1 << 30)
    else:
        path.write_bytes(BAD[bad])
    with pytest.raises(RunError) as told:
        _ = run.fields() if name == "fields.json" else getattr(run, path.stem)
    assert str(told.value).startswith(f"{path}: ") and "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("findings.json", {"findings": [{"check": 1}]}, "findings.0.check does not fit"),
        ("findings.json", {"findings": None}, "findings does not fit"),
        ("evaluation.json", {"metrics": {"accuracy": "high"}}, "metrics.accuracy does not fit"),
        ("evaluation.json", {"baselines": [{"name": "x"}]}, "baselines.0.seconds does not fit"),
        ("environment.json", {"threads": [1]}, "threads does not fit"),
    ],
)
def test_values_of_another_type_are_told_with_their_place(run: Run, name: str, value: Any, where: str) -> None:
    write_json(run.path / name, value)
    with pytest.raises(RunError, match=rf"{name}: {where}"):
        _ = getattr(run, Path(name).stem)


def test_fields_that_were_changed_are_seen(run: Run) -> None:
    run.save_fields({"image": Image(size=8), "label": Category(["cat", "dog"])}, ["image"], "label")
    path = run.path / "fields.json"
    path.write_text(path.read_text().replace("dog", "fog"))
    with pytest.raises(RunError, match=r"fields.json: the file is damaged: its values are not those that were written"):
        run.fields()


def test_a_bad_line_of_the_log_is_named_and_last_ones_are_left_out(run: Run) -> None:
    path = run.path / "metrics.jsonl"
    good = '{"step": 1, "epoch": 1, "loss": NaN}'
    path.write_text(f"{good}\n{good}\n\0\0")
    assert str(run.lines) == str([{"step": 1, "epoch": 1, "loss": float("nan")}] * 2)
    for bad in ("nonsense", '{"step": "x"}', "[" * 20_000, '{"step": 1, "epoch": 1, "valid": {"loss": []}}'):
        path.write_text(f"{good}\n{bad}\n{good}\n")
        with pytest.raises(RunError, match=r"metrics.jsonl: line 2 is damaged .*; take that line out"):
            _ = run.lines


def test_weights_that_do_not_fit_or_are_damaged_are_told(run: Run) -> None:
    run.save_model(network())
    with pytest.raises(RunError, match=r"do not fit the model"):
        run.load_model(network(outputs=7))
    with pytest.raises(RunError, match=r"do not fit the model: 2 tensors missing, 4 unexpected, such as weight"):
        run.load_model(torch.nn.Linear(3, 3))
    file = run.path / "model.safetensors"
    run.save_model(network(), {"temperature": 1.25})
    assert run.load_model(network()) is None and run.calibration == {"temperature": 1.25}
    file.write_bytes(file.read_bytes().replace(b"1.25", b"1.26"))
    with pytest.raises(RunError, match=r"model.safetensors: the weights are damaged"):
        run.load_model(network())
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
