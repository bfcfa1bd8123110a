"""Bad input gets one clear line and the right exit status, and nothing is lost."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forkserver import Command, Forkserver

Run = Callable[..., Command]
QUICK = ("--model", "lenet", "--epochs", "1")


def refused(command: Command, *says: str) -> str:
    """The line that a command was refused with, which holds all of these; checks that it was exit status 2."""
    assert command.status == 2, f"{command.status}: {command.err}"
    assert all(text in command.told for text in says), command.told
    assert command.out == ""
    return command.told


def went(command: Command, *says: str) -> str:
    """What a command that came to its end has said, which holds all of these."""
    assert command.status == 0, command.err
    assert "Traceback" not in command.err
    assert all(text in command.err for text in says), command.err
    return command.err


def table(path: Path, digits: Path, column: str, value: Callable[[str, int], Any]) -> Path:
    """A CSV of the digits' paths and a column."""
    files = sorted(digits.glob("*/*.png"))
    rows = [f"{f.relative_to(path.parent)},{value(f.parent.name, i)}" for i, f in enumerate(files)]
    path.write_text("\n".join([f"file,{column}", *rows]) + "\n")
    return path


# -- what is not data ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["train", "check"])
def test_empty_folder(run: Run, tmp_path: Path, verb: str) -> None:
    (tmp_path / "empty").mkdir()
    refused(run(verb, "empty"), "empty: the folder holds no files that Flambeau can read", "one folder per class")


@pytest.mark.parametrize("verb", ["train", "check"])
def test_a_path_that_is_not_there(run: Run, digits: Path, verb: str) -> None:
    refused(run(verb, "digit"), "digit: there is no such folder", "did you mean 'digits'?")


def test_a_file_in_place_of_a_folder(run: Run, digits: Path) -> None:
    file = next(digits.glob("*/*.png"))
    refused(run("train", file), f"{file}: this is a file", "expected a folder")


def test_a_folder_in_place_of_a_table(run: Run, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").mkdir()
    refused(run("train", "labels.csv"), "labels.csv: ")


def test_a_flat_folder_needs_a_pattern(run: Run, digits: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for i, file in enumerate(sorted(digits.glob("*/*.png"))):
        shutil.copy2(file, flat / f"{file.parent.name}_{i}.png")
    refused(run("train", "flat"), "lie flat in the folder", "{class}_{number}")
    refused(run("train", "flat", "--pattern", "{class}-{number}.png"), "200 of 200 file names do not fit the pattern")
    refused(run("train", "flat", "--pattern", "{kind}_{number}.png"), "does not say where the class is")
    went(run("train", "flat", "--pattern", "{class}_{number}.png", *QUICK))


def test_one_class_only(run: Run, digits: Path) -> None:
    for folder in sorted(digits.iterdir())[1:]:
        shutil.rmtree(folder)
    command = run("check", "digits")
    assert command.status == 1
    assert "there is only one class, '0'" in command.err
    refused(run("train", "digits", *QUICK), "there is only one class, '0'")


def test_a_zip_that_leads_out_of_its_folder(run: Run, digits: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.write(next(digits.glob("*/*.png")), "cat/a.png")
        archive.writestr("../../escaped.png", b"x")
    refused(run("train", "evil.zip"), "'../../escaped.png' leads out of the folder", "do not trust this archive")
    assert not list(tmp_path.rglob("escaped.png")) and not (tmp_path.parent / "escaped.png").exists()
    assert not list((tmp_path / ".flambeau" / "archives").iterdir())


def test_a_damaged_zip(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK\x03\x04 not a zip")
    refused(run("train", "photos.zip"), "photos.zip: the archive is damaged", "get it again")


# -- tables -------------------------------------------------------------------------------------------------------


def test_a_table_without_the_target(run: Run, digits: Path, tmp_path: Path) -> None:
    table(tmp_path / "labels.csv", digits, "label", lambda label, i: label)
    refused(run("train", "labels.csv", "--target", "labell"), "there is no column 'labell'", "did you mean 'label'?")
    refused(run("train", "labels.csv", "--input", "fil"), "there is no column 'fil'", "did you mean 'file'?")
    refused(run("train", "labels.csv", "--split", "grouped", "--by", "fil"), "'fil'", "did you mean 'file'?")
    table(tmp_path / "numbers.csv", digits, "digit", lambda label, i: label)
    refused(run("train", "numbers.csv"), "no column of numbers.csv looks like the target", "file, digit")


def test_labels_that_are_floats(run: Run, digits: Path, tmp_path: Path) -> None:
    table(tmp_path / "labels.csv", digits, "label", lambda label, i: f"{label}.0")
    went(run("train", "labels.csv", *QUICK, "--run", "floats"), "label (category)")
    told = run("predict", "floats", "labels.csv", "--json")  # a table of pictures: each row's picture
    went(told, "not read: label")
    files = sorted(digits.glob("*/*.png"))
    assert [row["file"] for row in told.json["predictions"]] == [str(f.relative_to(tmp_path)) for f in files]


def test_a_missing_number(run: Run, digits: Path, tmp_path: Path) -> None:
    table(tmp_path / "labels.csv", digits, "value", lambda label, i: "NaN" if i == 7 else float(label) + i / 1000)
    said = went(run("train", "labels.csv", "--target", "value", *QUICK), "value (number)", "1 sample left out")
    assert "row 8" in said  # the first row of a table is row 1


def test_a_file_that_the_table_names_and_is_not_there(run: Run, digits: Path, tmp_path: Path) -> None:
    table(tmp_path / "labels.csv", digits, "label", lambda label, i: label)
    next(digits.glob("3/*.png")).unlink()
    said = went(run("train", "labels.csv", "--no-check", *QUICK), "1 sample left out: the file is missing")
    assert "digits/3/" in said


def test_a_table_that_is_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    refused(run("train", "empty.csv"), "empty.csv: ")
    (tmp_path / "head.csv").write_text("file,label\n")
    refused(run("train", "head.csv"), "no rows")
    (tmp_path / "binary.parquet").write_bytes(b"\0" * 100)
    refused(run("train", "binary.parquet"), "binary.parquet: the table cannot be read")


# -- pictures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["truncated", "text", "empty", "huge"])
def test_a_file_that_cannot_be_used_is_named_and_left_out(
    run: Run, digits: Path, nasty: dict[str, Path], name: str
) -> None:
    bad = digits / "3" / f"bad{nasty[name].suffix}"
    shutil.copy2(nasty[name], bad)
    command = run("check", "digits")
    assert f"3/{bad.name}" in command.err
    said = went(run("train", "digits", "--no-check", *QUICK), "1 sample left out", f"3/{bad.name}")
    assert "201 rows" in said


@pytest.mark.parametrize("name", ["one_pixel", "wide", "cmyk", "grey16", "animated", "exif_6", "png_as_jpg"])
def test_an_odd_picture_is_used(run: Run, digits: Path, nasty: dict[str, Path], name: str) -> None:
    shutil.copy2(nasty[name], digits / "3" / f"odd{nasty[name].suffix}")
    said = went(run("train", "digits", "--no-check", *QUICK, "--size", 8))
    assert "left out" not in said


def test_a_class_that_no_training_row_has(run: Run, digits: Path, tmp_path: Path) -> None:
    for side, labels in (("train", "0123"), ("valid", "01234")):
        for label in labels:
            shutil.copytree(digits / label, tmp_path / "sides" / side / label)
    said = went(run("train", "sides", "--no-check", *QUICK), "the class '4' is not among the 4 classes")
    assert "40 samples left out" in said


def test_no_picture_can_be_read(run: Run, tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "broken" / label).mkdir(parents=True)
        for i in range(3):
            (tmp_path / "broken" / label / f"{i}.jpg").write_text("no picture")
    refused(run("train", "broken", "--no-check"), "pictures could be read", "flambeau check")


def test_a_batch_larger_than_the_data(run: Run, digits: Path) -> None:
    went(run("train", "digits", *QUICK, "--set", "batch_size=100000"))


def test_a_last_batch_of_one_sample(run: Run, digits: Path) -> None:
    went(
        run(
            "train",
            "digits",
            "--model",
            "resnet9",
            "--epochs",
            1,
            "--valid",
            0.195,
            "--test",
            0,
            "--set",
            "batch_size=32",
        )
    )


def test_two_pictures_are_enough(run: Run, digits: Path, tmp_path: Path) -> None:
    for label in "01":
        (tmp_path / "two" / label).mkdir(parents=True)
        shutil.copy2(next((digits / label).iterdir()), tmp_path / "two" / label)
    went(run("train", "two", *QUICK))


# -- names and values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--model", "resnet81"), ("resnet81", "did you mean 'resnet18'?")),
        (("--model", "timm:resnet8"), ("timm:resnet8", "did you mean")),
        (("--set", "epoch=3"), ("there is no setting 'epoch'", "did you mean 'epochs'?")),
        (("--set", "training.epoch=3"), ("there is no setting 'training.epoch'", "did you mean 'epochs'?")),
        (("--set", "techniques.mixupp={}"), ("mixupp", "did you mean 'mixup'?")),
        (("--set", "techniques.mixup.alfa=1"), ("alfa", "did you mean 'alpha'?")),
        (("--set", "optimizer=adamww"), ("adamww", "did you mean 'adamw'?")),
        (("--set", "schedule=one_cylce"), ("one_cylce", "did you mean 'one_cycle'?")),
        (("--set", "precision=bf61"), ("bf61", "did you mean 'bf16'?")),
        (("--set", "device=gpu"), ("gpu", "did you mean 'cuda'?")),
        (("--set", "device=cuda:0"), ("CUDA",)),
        (("--set", "loss=cross_entropi"), ("cross_entropi", "did you mean 'cross_entropy'?")),
        (("--set", "augment=lite"), ("lite",)),
        (("--set", "augment.flipp=1"), ("flipp",)),
        (("--set", "keep=worst"), ("keep='worst'", "best or last")),
        (("--set", "epochs"), ("'epochs' is not a setting", "key=value")),
        (("--set", "epochs=many"), ("epochs", "many")),
        (("--set", "epochs=0"), ("epochs=0", "1 or more")),
        (("--set", "learning_rate=-1"), ("learning_rate", "above 0")),
        (("--lr", "-1"), ("learning_rate", "above 0")),
        (("--seed", "x"), ("--seed",)),
        (("--device", "gpu"), ("no device is called 'gpu'",)),
        (("--set", "fields.a.b.size=3"), ("has a field 'a.b' that the data has not",)),
        (("--set", "batch_size=1.5"), ("batch_size", "1.5")),
        (("--set", "fields.image.colour=rbg"), ("rbg", "did you mean 'rgb'?")),
        (("--set", "fields.picture.size=8"), ("picture",)),
        (("--set", "fields.image.color=grey"), ("'color'", "did you mean 'colour'?")),
        (("--set", "fields.image.kind=imge"), ("imge", "did you mean 'image'?")),
        (("--set", "fields.image.size=big"), ("big",)),
        (("--size", "100000"), ("100000", "at most")),
        (("--set", "optimizer_options.beta=1"), ("'beta'", "did you mean 'betas'?")),
        (("--set", "checkpoint_minutes=-1"), ("checkpoint_minutes", "0 or more")),
        (("--set", "techniques=[mixup, emma]"), ("emma", "did you mean 'ema'?")),
        (("--set", "run=elsewhere"), ("there is no setting 'run'",)),
        (("--split", "stratifed"), ("stratifed", "did you mean 'stratified'?")),
        (("--split", "grouped"), ("by",)),
        (("--split", "grouped", "--by", "house"), ("house",)),
        (("--valid", "1.2"), ("1.2", "below 1")),
        (("--valid", "0.6", "--test", "0.6"), ("together below 1",)),
        (("--size", "0"), ("0",)),
        (("--threads", "0"), ("--threads", "greater than or equal to 1")),
        (("--cache-limit", "big"), ("'big' is not a size", "20GB")),
        (("--cache-limit", "1.2.3"), ("'1.2.3' is not a size",)),
        (("--recipe", "nowhere.yaml"), ("nowhere.yaml: there is no such recipe",)),
        (("--pretrained", "nowhere.safetensors"), ("nowhere.safetensors",)),
        (("--pretrained", "yes", "--model", "lenet"), ("lenet",)),
        (("--target", "label"), ("target is for tables",)),
        (("--epochs", "three"), ("--epochs", "integer")),
        (("--epohcs", "3"), ("--epohcs", "--epochs")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0].startswith("--") else "",
)
def test_names_and_values_that_do_not_fit(
    run: Run, some_digits: Path, tmp_path: Path, options: tuple[str, ...], says: tuple[str, ...]
) -> None:
    refused(run("train", some_digits, "--run", "run", "--no-check", *options), *says)
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model: [", "this is not YAML"),
        ("just words", "this is not a recipe"),
        ("model: {nam: lenet}", "did you mean 'name'?"),
        ("training: {epochs: 3, lerning_rate: 1}", "did you mean 'learning_rate'?"),
        ("trainin: {epochs: 3}", "did you mean 'training'?"),
        ("format: 99", "install a newer flambeau"),
    ],
)
def test_a_recipe_that_is_none(run: Run, some_digits: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    refused(run("train", some_digits, "--recipe", "recipe.yaml"), "recipe.yaml: ", says)


# -- memory -------------------------------------------------------------------------------------------------------


def test_a_batch_that_memory_runs_out_on_is_taken_in_parts(run: Run, digits_folder: Path) -> None:
    """A real limit of the address space, in a process of its own."""
    options = ("--model", "lenet", "--epochs", 1, "--size", 64, "--no-check", "--no-baseline", "--threads", 1)
    least = run("train", digits_folder, *options, "--set", "batch_size=16")
    went(least)
    memory = least.peak + 128 * 2**20  # a batch of 1,200 takes gigabytes; what a small one takes, the machine says
    command = run("train", digits_folder, *options, "--set", "batch_size=1200", memory=memory)
    went(command)
    said = re.findall(r"a batch of 1200 does not fit into memory: it is taken in (\d+) parts", command.err)
    assert len(said) == 1 and int(said[0]) >= 2


# -- the run folder of what was refused ---------------------------------------------------------------------------


def test_what_was_refused_leaves_no_run(run: Run, digits: Path, tmp_path: Path) -> None:
    """So that the corrected command can be given with the same --run."""
    refused(run("train", "digits", "--run", "run", "--model", "lenett"), "did you mean 'lenet'?")
    refused(run("train", "digits", "--run", "run", "--set", "fields.picture.size=8"), "picture")
    assert not (tmp_path / "run").exists()
    went(run("train", "digits", "--run", "run", "--no-check", *QUICK))


def test_a_folder_that_was_there_is_not_removed(run: Run, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    refused(run("train", "digits", "--run", "mine", "--set", "fields.picture.size=8"), "picture")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"
    went(run("train", "digits", "--run", "mine", "--no-check", *QUICK))
    assert (tmp_path / "mine" / "notes.txt").read_text() == "mine"


# -- names of files, and runs that were spoiled -------------------------------------------------------------------


def test_names_in_chinese_with_spaces_and_in_no_encoding(run: Run, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "猫 和 狗"
    for label, name in (("0", "猫"), ("1", "狗 (大)")):
        shutil.copytree(digits / label, folder / name)
    strange = os.fsencode(folder / "猫") + b"/\xff\xfe.png"
    shutil.copyfile(next((digits / "0").iterdir()), strange)
    assert run("check", folder.name, "--json").json["data"].startswith("81 rows")
    went(run("train", folder.name, *QUICK))
    command = run("predict", "runs/猫 和 狗", folder.name, "--csv", "out.csv", "--json")
    assert command.status == 0, command.err
    assert {row["label"] for row in command.json["predictions"]} <= {"猫", "狗 (大)"}
    assert (tmp_path / "out.csv").read_bytes().count(b"\xff\xfe.png") == 1
    went(run("predict", "runs/猫 和 狗", folder.name))


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("model.safetensors", "cut", "model.safetensors: the weights are damaged"),
        ("fields.json", None, "fields.json"),
        ("fields.json", "{}", "fields.json: the fields are damaged"),
        ("fields.json", "{", "fields.json: the file is not JSON"),
        ("recipe.yaml", None, "this is not a run: it holds no recipe.yaml"),
        ("recipe.yaml", "model: {name: resnet9}", "the weights do not fit the model"),
    ],
)
def test_a_spoiled_run(
    run: Run, trained: Path, digits: Path, tmp_path: Path, file: str, text: str | None, says: str
) -> None:
    spoiled = shutil.copytree(trained, tmp_path / "spoiled") / file
    spoiled.unlink() if text is None else spoiled.write_text(text)
    for verb in ("predict", "evaluate"):
        refused(run(verb, "spoiled", *([next(digits.glob("*/*.png"))] if verb == "predict" else [])), says)


def test_a_weight_of_which_one_bit_has_turned(run: Run, trained: Path, digits: Path, tmp_path: Path) -> None:
    weights = shutil.copytree(trained, tmp_path / "spoiled") / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-5] ^= 64
    weights.write_bytes(data)
    for verb in ("predict", "evaluate"):
        others = [next(digits.glob("*/*.png"))] * (verb == "predict")
        refused(run(verb, "spoiled", *others), "they are not those that were written")


def test_a_resume_without_its_data(run: Run, flambeau: Forkserver, digits: Path, tmp_path: Path) -> None:
    command = flambeau.start("train", digits, "--model", "lenet", "--run", "run", "--no-check", cwd=tmp_path)
    assert command.until(lambda: any((tmp_path / "run" / "checkpoints").glob("step-*")))
    command.kill()
    digits.rename(tmp_path / "moved")
    refused(run("resume", "run"), f"{digits}: there is no such folder")
    (tmp_path / "moved").rename(digits)
    went(run("resume", "run"))


def test_a_rate_that_is_far_too_high_is_named_with_its_step(run: Run, digits: Path) -> None:
    told = refused(run("train", "digits", "--no-check", *QUICK, "--set", "learning_rate=1e30"), "the loss became")
    assert re.search(r"at step \d+ \(epoch 1\)", told)
    assert "lower the learning rate" in told
