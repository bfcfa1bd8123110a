"""What all verbs have in common: help, JSON, exit statuses, one line for each error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from forkserver import Forkserver

from flambeau.cli.main import app
from flambeau.cli.train import parse_size
from flambeau.core.errors import UsageError
from flambeau.version import __version__

VERBS = sorted(command.name or "" for command in app.registered_commands)


def test_the_verbs_are_those_of_the_readme() -> None:
    of_readme = "demo ablate board check clean compare convert cv ensemble find-lr train resume evaluate predict report"
    of_readme += " runs models techniques serve tune launch stress embed attack explain profile doctor memory generate"
    of_readme += " interpolate reconstruct encode merge export augment bench watch dataset deploy completion"
    assert sorted(of_readme.split()) == VERBS


def test_the_list_of_verbs_has_a_line_for_each(flambeau: Forkserver, tmp_path: Path) -> None:
    assert all(len(command.short_help or "") in range(5, 66) for command in app.registered_commands)
    listed = [line.split()[1] for line in flambeau("--help", cwd=tmp_path).out.split("Commands")[1].splitlines()[1:-2]]
    assert listed[:3] == ["demo", "check", "train"] and sorted(listed) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(flambeau: Forkserver, tmp_path: Path, verb: str) -> None:
    command = flambeau(verb, "--help", cwd=tmp_path)
    assert command.status == 0
    assert f"flambeau {verb}" in command.out.split("Example", 1)[1]
    assert "--json" in command.out or verb == "completion"  # what it prints is for a shell


@pytest.mark.parametrize("verb", sorted({*VERBS} - {"demo", "runs", "models", "techniques", "dataset", "completion"}))
def test_errors_are_one_json_document_and_one_line(flambeau: Forkserver, tmp_path: Path, verb: str) -> None:
    more = {
        "predict": ["a.png"],
        "explain": ["a.png"],
        "clean": ["--from", "nowhere"],
        "augment": ["--forth", "nowhere", "--back", "nowhere"],
        "launch": ["--target", "slurm"],
        "deploy": ["--target", "docker"],
        "convert": ["out", "--to", "coco"],
        "encode": ["--out", "codes.csv"],
        "generate": ["--out", "new"],
        "merge": ["--out", "merged"],
        "watch": ["--log", "log.db"],
        "interpolate": ["--seed", "1", "--seed", "2", "--out", "way.png"],
        "reconstruct": ["photos", "--out", "again"],
    }.get(verb, [])
    command = flambeau(verb, "nowhere", *more, "--json", cwd=tmp_path)
    assert command.status == 2
    told = json.loads(command.out)
    assert set(told) == {"error", "code", "found", "where", "expected", "fix"}
    assert told["code"] == ("unknown-name" if verb == "launch" else "not-found")  # of a command, not of a file
    assert told["error"] == command.told
    assert told["found"].startswith("there is no such")
    assert command.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["traain"], "no such command 'traain'. Did you mean 'train'?; see flambeau --help"),
        (["predict"], "missing argument 'run'; see flambeau predict --help"),
        (["check", "--jsn"], "no such option: --jsn"),
        (["train", "photos", "--bs", "3"], "no such option: --bs; did you mean --batch-size?"),
        (["train", "photos", "--num-epochs=3"], "no such option: --num-epochs; did you mean --epochs?"),
        (["train", "photos", "--warmup", "0.1"], "no such option: --warmup; say --set warmup=…"),
        (["train", "photos", "--weight_decay", "0"], "no such option: --weight_decay; did you mean --weight-decay?"),
        (["find-lr", "photos", "--stepps", "9"], "no such option: --stepps; did you mean --steps?"),
        (["train", "photos", "--val-split", "0.1"], "no such option: --val-split; did you mean --valid?"),
        (["evaluate", "run", "--gpu", "0"], "no such option: --gpu; did you mean --device?"),
        (["predict", "run", "a.png", "--top", "0"], "--top"),
        (["serve", "run", "--port", "http"], "--port"),
        (["--json"], "no such option: --json"),
        (["train", "--recipe", "run/recipe.yaml", "--test", "0"], "--test says how data is split, and a recipe has"),
        (["train", "--recipe", "run/recipe.yaml", "--target", "x"], "--target says how data is read, and a recipe has"),
        (["predict", "run", "a.csv", "--ray", "--csv", "b.csv"], "--csv means nothing with --ray; leave it out"),
        (["predict", "run", "a.csv", "--ray"], "--ray answers tables or files into a folder; give them, and --out"),
        (["train", "run"], "run: this is a run, and data was expected; give --recipe run/recipe.yaml"),
        (["ablate", "joint"], "joint/recipe.yaml: an ensemble is not trained; give the recipe of one of its members"),
    ],
)
def test_mistakes_on_the_command_line(flambeau: Forkserver, tmp_path: Path, arguments: list[str], says: str) -> None:
    for name, model in (("run", "mlp"), ("joint", "ensemble")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text(f"model: {{name: {model}}}\n")
        (tmp_path / name / "fields.json").write_text("{}")
    command = flambeau(*arguments, cwd=tmp_path)
    assert command.status == 2
    assert says in command.told
    assert command.err.count("\n") == 1
    command = flambeau(*arguments, "--json", cwd=tmp_path)
    assert command.status == 2
    assert json.loads(command.out)["error"] == command.told


def test_a_table_of_predictions_holds_several_numbers_too(tmp_path: Path) -> None:
    from flambeau.cli.predict import _write_csv

    _write_csv(tmp_path / "out.csv", [{"file": "a.png", "label": [0.5, 2.0]}], 3)
    assert (tmp_path / "out.csv").read_text().splitlines() == ["file,label", "a.png,0.5;2.0"]


def test_version_and_no_verb(flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("--version", cwd=tmp_path)
    assert (command.status, command.out) == (0, f"flambeau {__version__}\n")
    command = flambeau(cwd=tmp_path)
    assert command.status == 2
    assert "Usage" in command.out + command.err
    assert flambeau("--help", cwd=tmp_path).status == 0


def test_a_place_that_cannot_be_written(flambeau: Forkserver, digits_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where a folder should be")
    command = flambeau("train", digits_folder, "--run", "run", "--epochs", 1, cwd=tmp_path)
    assert command.status == 2
    assert "run" in command.told


def test_a_reader_that_has_enough(tmp_path: Path) -> None:
    """`flambeau models | head -1` in a shell: no traceback, and no complaint as the interpreter ends."""
    command = f"{sys.executable} -m flambeau.cli.main models | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("text", ["", "1.2.3", "GB", "-1", "five", "1 2", "10XB", "."])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("100", 100), ("1k", 1024), ("2 MB", 2 << 20), ("1.5GiB", 3 << 29), (".5g", 1 << 29), ("1T", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size
