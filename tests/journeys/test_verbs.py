"""Every verb as a user types it, in the order that they come in."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forkserver import Command

Run = Callable[..., Command]


def document(command: Command, status: int = 0) -> dict[str, Any]:
    """The one JSON document on stdout of a command that ended with this status."""
    assert command.status == status, command.err
    text = command.out
    value, end = json.JSONDecoder().raw_decode(text)
    assert text[end:] == "\n"
    return value


# -- check --------------------------------------------------------------------------------------------------------


def test_check_of_good_data(run: Run, digits: Path) -> None:
    command = run("check", "digits")
    assert command.status == 0, command.err
    assert "200 rows (140 train, 30 validate and choose the epoch, 30 test): image (" in command.err
    found = document(run("check", "digits", "--json"))
    assert found["data"].startswith("200 rows")
    assert not [f for f in found["findings"] if f["severity"] == "error"]


def test_check_exits_with_one_on_errors(run: Run, digits: Path) -> None:
    for folder in sorted(digits.iterdir())[1:]:
        shutil.rmtree(folder)
    found = document(run("check", "digits", "--json"), status=1)
    assert found["findings"][0]["severity"] == "error"
    assert found["findings"][0]["fix"]


# -- train --------------------------------------------------------------------------------------------------------


def test_train_leaves_a_run_and_says_what_to_do_next(run: Run, digits: Path, tmp_path: Path) -> None:
    command = run("train", "digits", "--model", "lenet", "--epochs", 2)
    assert command.status == 0, command.err
    assert "next: flambeau predict runs/digits FILE, or flambeau serve runs/digits" in command.err
    files = {p.name for p in (tmp_path / "runs" / "digits").iterdir()}
    assert files >= {"recipe.yaml", "fields.json", "model.safetensors", "metrics.jsonl", "report.html", "checkpoints"}
    assert not [name for name in files if name.endswith((".tmp", ".pkl", ".pt", ".pth"))]
    again = document(run("train", "digits", "--model", "lenet", "--epochs", 2, "--json"))
    assert again["run"] == "runs/digits-2"
    assert again["epochs"] == 2
    assert 0 <= again["metrics"]["accuracy"] <= 1
    listed = document(run("runs", "--json"))["runs"]
    assert [r["run"] for r in listed] == ["runs/digits", "runs/digits-2"]
    assert all(r["finished"] and r["epochs_done"] == 2 and r["model"] == "lenet" for r in listed)
    shown = run("runs")
    assert len(shown.out.splitlines()) == 2


def test_train_from_a_recipe_with_other_settings(run: Run, trained: Path, tmp_path: Path) -> None:
    command = run("train", "--recipe", trained / "recipe.yaml", "--epochs", 1, "--run", "again", "--json")
    assert document(command)["epochs"] == 1
    recipe = (tmp_path / "again" / "recipe.yaml").read_text()
    assert "name: lenet" in recipe and "batch_size: 20" in recipe


def test_fields_of_a_recipe_hold_for_other_data_too(run: Run, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("fields: {image: {size: [12, 10], colour: grey}}\ntraining: {epochs: 1}\n")
    document(run("train", "digits", "--recipe", "mine.yaml", "--model", "mlp", "--run", "run", "--json"))
    fields = json.loads((tmp_path / "run" / "fields.json").read_text())["fields"]
    assert fields["image"]["size"] == [12, 10]


@pytest.mark.parametrize(
    ("options", "holds"),
    [
        (("--size", "16"), lambda run: fields_of(run)["image"]["size"] == [16, 16]),
        (("--set", "optimizer=sgd", "--set", "weight_decay=1e-2"), lambda run: "weight_decay: 0.01" in recipe_of(run)),
        (("--set", "techniques.mixup.alpha=0.4"), lambda run: "alpha: 0.4" in recipe_of(run)),
        (("--set", "techniques=mixup"), lambda run: "mixup: {}" in recipe_of(run)),
        (("--set", "model=mlp"), lambda run: "name: lenet" in recipe_of(run)),  # --model is more to the point
        (("--set", "optimizer_options.eps=1e-6"), lambda run: "eps: 1.0e-06" in recipe_of(run)),
        (("--set", "fields.label.kind=number"), lambda run: fields_of(run)["label"]["kind"] == "number"),
        (("--set", "augment=none"), lambda run: "augment: none" in recipe_of(run)),
        (("--set", "accumulate=4"), lambda run: "accumulate: 4" in recipe_of(run)),
        (("--split", "random", "--valid", "0.5", "--test", "0"), lambda run: evaluation_of(run)["samples"] == 100),
        (("--valid", "0.1", "--test", "0.3"), lambda run: evaluation_of(run)["split"] == "test"),
        (("--split", "none"), lambda run: evaluation_of(run)["split"] == "train"),
        (("--cache-limit", "0", "--threads", "2"), lambda run: True),
        (("--no-check",), lambda run: json.loads((run / "findings.json").read_text())["checked"] is False),
        (("--pretrained", "{trained}/model.safetensors"), lambda run: "pretrained: /" in recipe_of(run)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_train_options(
    run: Run, some_digits: Path, trained: Path, tmp_path: Path, options: tuple[str, ...], holds: Callable[[Path], bool]
) -> None:
    given = [o.format(trained=trained) for o in options]
    quick = ("--model", "lenet", "--epochs", 1, "--run", "run", "--json")
    document(run("train", some_digits, *given, *quick))
    assert holds(tmp_path / "run")


def fields_of(run: Path) -> Any:
    return json.loads((run / "fields.json").read_text())["fields"]


def recipe_of(run: Path) -> str:
    return (run / "recipe.yaml").read_text()


def evaluation_of(run: Path) -> Any:
    return json.loads((run / "evaluation.json").read_text())


def test_train_on_tables(run: Run, digits: Path, tmp_path: Path) -> None:
    """A number to predict, groups that stay together, time, and a column that says which split."""
    files = sorted(digits.glob("*/*.png"))
    rows = [
        f"{f.relative_to(tmp_path)},{f.parent.name},{i % 7},{2000 + i * 37 % 200},{'test' if i % 5 == 0 else 'train'}"
        for i, f in enumerate(files)
    ]
    (tmp_path / "all.csv").write_text("\n".join(["photo,digit,writer,year,split", *rows]) + "\n")
    quick = ("--model", "lenet", "--epochs", 1, "--target", "digit", "--input", "photo", "--no-check", "--json")
    for options, split in (
        (("--split", "grouped", "--by", "writer"), "valid"),
        (("--split", "time", "--by", "year"), "test"),
        (("--split", "given"), "test"),
    ):
        name = options[1]
        done = document(run("train", "all.csv", *quick, *options, "--run", name))
        assert evaluation_of(tmp_path / name)["split"] == split
        assert "accuracy" in done["metrics"]
    number = ("--target", "year", "--input", "photo", "--set", "fields.year.kind=number")
    done = document(run("train", "all.csv", "--model", "lenet", "--epochs", 1, "--no-check", "--json", *number))
    assert "mae" in done["metrics"] or "rmse" in done["metrics"], done
    predicted = document(run("predict", "runs/all", files[0], "--json"))["predictions"][0]
    assert isinstance(predicted["label"], float)


def test_train_on_an_archive(run: Run, digits: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "digits")
    done = document(run("train", "packed.zip", "--model", "lenet", "--epochs", 1, "--json"))
    assert "accuracy" in done["metrics"]
    document(run("evaluate", done["run"], "--json"))


# -- evaluate -----------------------------------------------------------------------------------------------------


def test_evaluate_held_out_and_other_data(run: Run, trained: Path, digits: Path) -> None:
    held_out = document(run("evaluate", trained, "--json"))
    assert (held_out["split"], held_out["samples"]) == ("test", 30)
    assert held_out["metrics"] == json.loads((trained / "evaluation.json").read_text())["metrics"]
    shutil.rmtree(digits / "0")
    other = document(run("evaluate", trained, "digits", "--json"))
    assert (other["split"], other["samples"]) == ("all", 160)
    shown = run("evaluate", trained, "digits", "--metric", "f1")
    assert shown.status == 0
    assert shown.out.splitlines()[0].startswith("f1 0.") and "(95 % interval" in shown.out
    assert "160 rows of digits" in shown.err
    assert "30 test rows" in run("evaluate", trained).err
    wrong = run("evaluate", trained, "--metric", "acuracy")
    assert wrong.status == 2 and "did you mean 'accuracy'?" in wrong.err


def test_evaluate_on_data_of_other_classes(run: Run, trained: Path, digits: Path) -> None:
    for label in "01234":
        (digits / label).rename(digits / f"{label}x")
    told = run("evaluate", trained, "digits")
    assert told.status == 2
    assert "'0x' is not among the 5 classes" in told.told


# -- predict ------------------------------------------------------------------------------------------------------


def test_predict_files_and_folders_a_bad_one_among_them(run: Run, trained: Path, digits: Path, tmp_path: Path) -> None:
    (digits / "bad.png").write_text("no picture")
    good = sorted((digits / "3").iterdir())
    command = run("predict", trained, good[0], "digits/bad.png", "digits/4", "--csv", "out.csv", "--json", "--top", 2)
    rows = document(command, status=2)["predictions"]
    assert len(rows) == 42
    assert rows[0]["file"] == str(good[0]) and len(rows[0]["probabilities"]) == 2
    assert rows[1]["file"] == "digits/bad.png" and "this is not a picture" in rows[1]["error"]
    assert sum(row["label"] == "4" for row in rows[2:]) > 30
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as handle:
        table = list(csv.DictReader(handle))
    assert [r["file"] for r in table] == [r["file"] for r in rows]
    assert table[0]["label"] == rows[0]["label"] == table[0]["class_1"]
    assert float(table[0]["confidence"]) == float(table[0]["probability_1"]) >= float(table[0]["probability_2"])
    assert table[1]["error"] and not table[1]["label"]


def test_predict_shows_a_line_a_file(run: Run, trained: Path, digits: Path) -> None:
    command = run("predict", trained, "digits/2")
    assert command.status == 0, command.err
    assert len(command.out.splitlines()) == 40
    assert command.out.startswith("digits/2/")


def test_predict_rejects_what_it_is_not_sure_of(run: Run, trained: Path, digits: Path) -> None:
    rows = document(run("predict", trained, "digits/2", "--reject-below", 0.999999, "--json"))["predictions"]
    assert all(row["label"] == "unknown" for row in rows if row["confidence"] < 0.999999)
    assert any(row["label"] == "unknown" for row in rows)


def test_a_prediction_does_not_depend_on_its_company(run: Run, trained: Path, digits: Path) -> None:
    many = document(run("predict", trained, "digits", "--json", "--batch-size", 64))["predictions"]
    single = document(run("predict", trained, "digits", "--json", "--batch-size", 1))["predictions"]
    assert [r["label"] for r in many] == [r["label"] for r in single]
    assert all(abs(a["confidence"] - b["confidence"]) < 1e-5 for a, b in zip(many, single, strict=True))


def test_predict_what_is_not_there(run: Run, trained: Path, tmp_path: Path) -> None:
    rows = document(run("predict", trained, "nowhere.png", "--json"), status=2)["predictions"]
    assert rows == [{"file": "nowhere.png", "error": "the file is missing"}]
    (tmp_path / "empty").mkdir()
    command = run("predict", trained, "empty")
    assert command.status == 2
    assert command.out == "empty: error: the folder holds no files that this run can read\n"
    command = run("predict", trained.parent / "digit", "a.png")
    assert command.status == 2
    assert "there is no such run; did you mean 'digits'?" in command.told


# -- report, runs, models -----------------------------------------------------------------------------------------


def test_report_is_written_anew(run: Run, trained: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    (copy / "report.html").unlink()
    command = run("report", "copy")
    assert (command.status, command.out) == (0, "copy/report.html\n")
    english = (copy / "report.html").read_text()
    assert document(run("report", "copy", "--language", "zh-CN", "--json")) == {"report": "copy/report.html"}
    assert (copy / "report.html").read_text() != english
    command = run("report", "copy", "--language", "fr")
    assert command.status == 2
    assert "en" in command.told and "zh-CN" in command.told


def test_an_unfinished_run_says_so_and_names_are_clean(run: Run, trained: Path, digits: Path, tmp_path: Path) -> None:
    half = shutil.copytree(trained, tmp_path / "runs" / "half")
    (half / "model.safetensors").unlink()
    bad = shutil.copyfile(next((digits / "1").iterdir()), tmp_path / "a\x1b[2J.png")
    note = "runs/half: the training is unfinished (6 of 6 epochs); the weights of epoch "
    for verb, more in (("evaluate", []), ("predict", [bad.name])):
        command = run(verb, "runs/half", *more)
        assert command.status == 0, command.err
        (said,) = [line for line in command.err.splitlines() if line.startswith(note)]
        assert said.endswith(", the best so far, are used; go on with: flambeau resume runs/half")
        assert "\x1b" not in command.out + command.err
    assert r"a\x1b[2J.png: " in command.out
    assert document(run("evaluate", "runs/half", "--json"))["note"].startswith(note)
    assert document(run("predict", "runs/half", bad.name, "--json"))["predictions"][0]["file"] == bad.name
    (listed,) = document(run("runs", "--json"))["runs"]
    assert listed["status"] == "stopped" and "flambeau resume runs/half" in run("runs").out


def test_runs_goes_on_past_a_damaged_one(run: Run, trained: Path, tmp_path: Path) -> None:
    for name in ("good", "bad"):
        shutil.copytree(trained, tmp_path / "runs" / name)
    (tmp_path / "runs" / "bad" / "recipe.yaml").write_text("format: 99")
    rows = document(run("runs", "--json"))["runs"]
    assert "error" in rows[0] and rows[1]["finished"]
    assert run("runs", "nowhere").status == 2
    (tmp_path / "none").mkdir()
    assert document(run("runs", "none", "--json")) == {"runs": []}


def test_models_are_listed(run: Run) -> None:
    names = [m["name"] for m in document(run("models", "resnet", "--json"))["models"]]
    assert {"resnet9", "resnet18", "resnet34", "resnet50"} <= set(names)
    assert any(name.startswith("timm:") for name in names)
    assert any(name.startswith("torchvision:") for name in names)
    shown = run("models", "resnet9")
    assert shown.out.startswith("resnet9")
    nothing = run("models", "no-such-model")
    assert (nothing.status, nothing.out) == (0, "no model's name fits 'no-such-model'\n")
