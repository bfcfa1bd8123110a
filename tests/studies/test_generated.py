"""What a run generates is measured against held-out rows, by features that are in the name of each figure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from forkserver import Forkserver

from flambeau.core.errors import UsageError
from flambeau.studies.generated import difference

TRAIN = ("--no-check", "--no-baseline", "--epochs", 1)


@pytest.fixture(scope="module")
def runs(flambeau: Forkserver, digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generative run of three classes of digits, and a classifier of them."""
    folder = tmp_path_factory.mktemp("generated")
    for name in ("1", "4", "7"):
        shutil.copytree(digits_folder / name, folder / "digits" / name)
    named = {name: ("--objective", name) for name in ("vae", "cvae", "autoencoder")}
    for run, chosen in (*named.items(), ("classifier", ("--model", "lenet"))):
        trained = flambeau("train", "digits", *chosen, *TRAIN, "--run", run, cwd=folder)
        assert trained.status == 0, trained.err
    return folder


def test_evaluate_measures_and_keeps_what_a_run_generates(flambeau: Forkserver, runs: Path) -> None:
    command = ("evaluate", "vae", "--features", "classifier")
    told, again = (flambeau(*command, "--json", cwd=runs) for _ in range(2))
    assert told.status == 0, told.err
    found = told.json["generated"]
    assert found == again.json["generated"]  # the same samples, and the same hash
    name = f"@{found['features']['digest']}/{found['samples']}"
    assert [*found["metrics"]] == [f"{m}{name}" for m in ("frechet", "precision", "recall", "density", "coverage")]
    assert 0 <= found["floor"][f"frechet{name}"] < found["metrics"][f"frechet{name}"]  # of a training of an epoch
    assert found["floor"][f"precision{name}"] > 0.7 and 50 <= found["samples"] <= 90
    assert {one["class"] for one in found["classes"]} >= {"1", "4", "7"} and "of_class_asked" not in found
    assert sum(one["generated"] for one in found["classes"]) == pytest.approx(1)
    kept = json.loads((runs / "vae" / "evaluation.json").read_text())
    assert kept["generated"] == found and kept["metrics"].items() >= found["metrics"].items()
    printed = flambeau(*command, "--count", 60, cwd=runs).out
    assert "60 samples beside as many held-out rows, by what the last layer of classifier gets" in printed
    assert "/60 " in printed and "(training rows: " in printed


def test_of_a_conditional_run_it_says_how_many_are_of_the_class_asked_for(flambeau: Forkserver, runs: Path) -> None:
    found = flambeau("evaluate", "cvae", "--features", "classifier", "--json", cwd=runs).json["generated"]
    assert 0.2 < found["of_class_asked"] <= 1  # after one epoch; a third by chance


def test_without_features_it_says_what_it_sees(flambeau: Forkserver, runs: Path) -> None:
    told = flambeau("evaluate", "vae", cwd=runs)
    assert told.status == 0 and "measured by fixed random filters, which were not learned" in told.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("evaluate", "vae", "--features", "vae"), "this one generates"),
        (("evaluate", "vae", "--features", "nothing"), "there is no such run"),
        (("evaluate", "classifier", "--features", "classifier"), "this run generates nothing"),
        (("evaluate", "autoencoder", "--features", "classifier"), "makes nothing new"),
        (("evaluate", "vae", "--features", "classifier", "--count", 3), "greater than or equal to 50"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_line(
    flambeau: Forkserver, runs: Path, arguments: tuple[object, ...], said: str
) -> None:
    told = flambeau(*arguments, cwd=runs)
    assert told.status == 2 and said in told.told, told.told


def test_figures_of_other_features_or_counts_are_not_compared() -> None:
    first, same = {"frechet@abc/2000": 20.0, "recall@abc/2000": 0.4}, {"frechet@abc/2000": 12.0}
    assert difference(first, same) == 8.0
    for other in ({"frechet@abd/2000": 12.0}, {"frechet@abc/1000": 12.0}, {}):
        with pytest.raises(UsageError, match="are not the same measure"):
            difference(first, other)


def test_runs_that_generate_are_compared_by_what_was_measured_of_them(flambeau: Forkserver, runs: Path) -> None:
    shutil.rmtree(runs / "again", ignore_errors=True)
    shutil.copytree(runs / "vae", runs / "again")
    for run in ("vae", "again"):
        assert flambeau("evaluate", run, "--features", "classifier", "--count", 60, cwd=runs).status == 0
    figures = flambeau("compare", "vae", "again", "--json", cwd=runs).json
    name, values = next(iter(figures.items()))
    assert name.startswith("frechet@") and name.endswith("/60")
    assert values["vae"] == values["again"] != values["training rows"]
    flambeau("evaluate", "again", "--features", "classifier", "--count", 70, cwd=runs)
    refused = flambeau("compare", "vae", "again", cwd=runs)
    assert refused.status == 2 and "are not the same measure" in refused.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("compare digits --objective vae --over objective.beta=0.5,1", "give rows no answers that could be compared"),
        ("compare vae autoencoder", "flambeau evaluate measures each run alone"),
        ("interpolate autoencoder --seed 1 --seed 2 --out way.png", "makes nothing new"),
        ("generate vae --out vae", "vae is a run"),
        ("evaluate vae digits --target label", "target is for tables"),
        ("predict vae digits --draw --out drawn", "--draw is for boxes and masks, and this run tells nothing"),
        ("evaluate vae --features none.pth", "no such weights file"),
    ],
)
def test_what_makes_no_sense_for_such_a_run_is_refused_in_a_line(
    flambeau: Forkserver, runs: Path, command: str, said: str
) -> None:
    refused = flambeau(*command.split(), cwd=runs)
    assert refused.status == 2 and said in refused.err and len(refused.err.strip().splitlines()) == 1


def test_files_of_a_conditional_run_need_no_class_for_a_way(flambeau: Forkserver, runs: Path) -> None:
    ends = [str(sorted((runs / "digits" / name).iterdir())[0]) for name in ("1", "7")]
    made = flambeau("interpolate", "cvae", *ends, "--out", "way.png", cwd=runs)
    assert made.status == 0 and (runs / "way.png").exists(), made.err


def test_what_is_said_next_and_of_the_rows_fits_the_run(flambeau: Forkserver, runs: Path) -> None:
    assert "next: flambeau generate vae" in flambeau("evaluate", "vae", cwd=runs).err
    assert "next: flambeau predict autoencoder FILE" in flambeau("evaluate", "autoencoder", cwd=runs).err
    trained = flambeau("train", "digits", "--objective", "gan", *TRAIN, "--run", "gan", cwd=runs)
    assert trained.status == 0 and "choose the epoch" not in trained.err and "validate, " in trained.err
    written = flambeau("encode", "vae", "--out", "new/codes.csv", cwd=runs)
    assert written.status == 0 and (runs / "new" / "codes.csv").exists(), written.err
    flat = runs / "flat"
    shutil.copytree(runs / "digits" / "1", flat, dirs_exist_ok=True)
    assert flambeau("check", "flat", cwd=runs).status == 2
    assert flambeau("check", "flat", "--objective", "vae", cwd=runs).status == 0
    folds = flambeau("cv", "flat", "--objective", "autoencoder", "--folds", 2, *TRAIN[:1], *TRAIN[2:], cwd=runs)
    assert folds.err.rstrip().endswith("next: flambeau train flat --objective autoencoder")
