"""Plug-ins as others write them: each is one file, which touches none of the package, and is called by its name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from forkserver import Forkserver
from safetensors.torch import load_file

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"
TECHNIQUES = ("adaptive_clip",)
CHECKED = """
import torch
from flambeau.core import plugins
from flambeau.fields import FIELDS
from flambeau.objectives import OBJECTIVES
from flambeau.techniques import TECHNIQUES
from flambeau.testing import check_field, check_loss, check_model, check_objective, check_task, check_technique

plugins.load([{file!r}])
{check}
"""
PROMISES = {
    **{name: f"check_technique(TECHNIQUES[{name!r}])" for name in TECHNIQUES},
    "strided": "check_model('strided', width=4)",
    "angle": "check_task(FIELDS['angle'], [17.0 * i for i in range(12)])\n"
    "check_field(FIELDS['angle'], [17.0 * i for i in range(12)], [None, 'north', float('inf')])",
    "points": "check_model('pointnet')\n"
    "check_field(FIELDS['points'], [b'0 1 2\\n3 4 5'] * 12, [None, 3, b'1 2', 'no.xyz'])",
    "r_drop": "check_objective(OBJECTIVES['r_drop'].build)",
    "tversky": "check_loss(dict(name='tversky', alpha=0.7), torch.randn(8, 3), torch.arange(8) % 3)",
}
SETTINGS = ("--model", "lenet", "--epochs", 2, "--no-check", "--no-baseline")


@pytest.fixture(scope="module")
def photos(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugins") / "photos"
    for of_class in digits_folder.iterdir():
        (folder / of_class.name).mkdir(parents=True)
        for file in sorted(of_class.iterdir())[:12]:
            shutil.copy(file, folder / of_class.name)
    return folder


@pytest.fixture(scope="module")
def plain(flambeau: Forkserver, photos: Path) -> dict[str, object]:
    """The weights of the same training without a technique."""
    trained = flambeau("train", photos, *SETTINGS, "--run", "plain", cwd=photos.parent)
    assert trained.status == 0, trained.err
    return load_file(photos.parent / "plain" / "model.safetensors")


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_technique_trains_and_is_loaded_again(
    name: str, flambeau: Forkserver, photos: Path, plain: dict[str, object]
) -> None:
    plugin, run = ("--plugin", PLUGINS / f"{name}.py"), photos.parent / name
    trained = flambeau("train", photos, *plugin, "--technique", name, *SETTINGS, "--run", run, cwd=photos.parent)
    assert trained.status == 0, trained.err
    recipe = yaml.safe_load((run / "recipe.yaml").read_text())
    assert recipe["plugins"] == [f"{name}.py"] and name in recipe["techniques"]
    weights = load_file(run / "model.safetensors")
    assert weights.keys() == plain.keys()
    assert any(not tensor.equal(plain[key]) for key, tensor in weights.items() if key in plain)
    told = flambeau("predict", run, photos / "3", *plugin, "--json", cwd=photos.parent)
    assert told.status == 0 and len(told.json["predictions"]) == 12, told.err
    without = flambeau("predict", run, photos / "3", cwd=photos.parent)
    assert without.status == 2 and f"trained with the plug-in {name}.py; --plugin {name}.py" in without.told


def test_a_sampler_a_logger_and_a_model(flambeau: Forkserver, photos: Path) -> None:
    given = [x for name in ("thinned", "textfile_logger", "strided") for x in ("--plugin", PLUGINS / f"{name}.py")]
    settings = ("training.sampler={name: thinned, share: 0.5}", "training.loggers=[textfile, csv]",
                "training.log_every=1", "model.options.width=8")  # fmt: skip
    more = [x for setting in settings for x in ("--set", setting)]
    command = ("train", photos, *given, "--model", "strided", *SETTINGS[2:], *more)
    first, second = (flambeau(*command, "--run", run, cwd=photos.parent) for run in ("first", "second"))
    assert first.status == 0, first.err
    weights, again = (load_file(photos.parent / run / "model.safetensors") for run in ("first", "second"))
    assert second.status == 0 and all(tensor.equal(again[key]) for key, tensor in weights.items())
    assert weights["0.weight"].shape[0] == 8
    lines = (photos.parent / "first" / "figures.csv").read_text().splitlines()
    assert "flambeau_valid_accuracy " in (photos.parent / "first" / "newest.prom").read_text()
    assert any(",valid/accuracy," in line for line in lines) and not (photos.parent / "first" / "tensorboard").exists()
    refused = flambeau(
        *command, "--set", "training.sampler={name: thinned, nome: 3}", "--run", "third", cwd=photos.parent
    )
    assert refused.status == 2 and "nome" in refused.told


def test_a_loss_with_options_and_metrics(flambeau: Forkserver, photos: Path) -> None:
    plugins = [x for name in ("tversky", "kappa") for x in ("--plugin", PLUGINS / f"{name}.py")]
    command = ("train", photos, *plugins, "--model", "mlp", "--epochs", 2, "--no-check", "--loss", "tversky")
    named = ("--metric", "cohens_kappa", "--set", "metrics=[{name: cohens_kappa, weights: 1}]")
    trained = flambeau(*command, "--set", "objective.loss.alpha=0.7", *named, "--run", "tversky", cwd=photos.parent)
    assert trained.status == 0, trained.err
    run = photos.parent / "tversky"
    chosen = yaml.safe_load((run / "recipe.yaml").read_text())["objective"]
    assert (chosen["loss"], chosen["metric"]) == ({"name": "tversky", "alpha": 0.7}, "cohens_kappa")
    assert chosen["metrics"] == [{"name": "cohens_kappa", "weights": 1}]
    kept = json.loads((run / "evaluation.json").read_text())
    assert kept["metric"] == "cohens_kappa" and "cohens_kappa" in kept["intervals"]
    assert all("cohens_kappa" in rival["differences"] for rival in kept["baselines"])
    assert (
        "cohens_kappa" in (run / "report.html").read_text()
        and "tversky (alpha 0.7)" in (run / "recipe.yaml").read_text()
    )
    measured = flambeau("evaluate", run, *plugins, "--json", cwd=photos.parent)
    assert measured.json["metrics"] == pytest.approx(kept["metrics"]), measured.err
    (listed,) = (r for r in flambeau("runs", ".", "--json", cwd=photos.parent).json["runs"] if r["run"] == "tversky")
    assert listed["metrics"]["cohens_kappa"] == kept["metrics"]["cohens_kappa"]
    told = flambeau("predict", run, photos / "3", *plugins, "--json", cwd=photos.parent)
    assert len(told.json["predictions"]) == len([*(photos / "3").iterdir()]), told.err

    unasked = flambeau(*command, "--run", "unasked", cwd=photos.parent)
    other = flambeau("evaluate", "unasked", *plugins, "--metric", "cohens_kappa", "--json", cwd=photos.parent)
    assert unasked.status == 0 and other.json["metric"] == "cohens_kappa", other.err
    wrong = {
        "objective.loss.alfa=3": "the loss tversky has no setting 'alfa'; did you mean 'alpha'?",
        "objective.loss.alpha=much": "expected a number",
        "metrics=[kohens_kappa]": "did you mean 'cohens_kappa'?",
        "metrics=[{name: cohens_kappa, weight: 1}]": "did you mean 'weights'?",
    }
    for setting, answer in wrong.items():
        refused = flambeau(*command, "--set", setting, "--run", "wrong", cwd=photos.parent)
        assert refused.status == 2 and answer in refused.told, refused.err


def test_a_metric_says_which_targets_it_is_for(flambeau: Forkserver, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,y\n" + "".join(f"{i},{i * 1.5}\n" for i in range(60)))
    command = ("train", "rows.csv", "--plugin", PLUGINS / "kappa.py", "--target", "y", "--metric", "cohens_kappa")
    refused = flambeau(*command, cwd=tmp_path)
    assert refused.status == 2 and "cohens_kappa is not for a target of the kind number" in refused.told


def test_a_reader_of_tables(flambeau: Forkserver, tmp_path: Path) -> None:
    rows = "".join(f"{i % 2:<6}{['007', '7'][i % 2]}\n" for i in range(60))
    (tmp_path / "rows.fwf").write_text(f"x     label\n{rows}")
    plugin = ("--plugin", PLUGINS / "fixed_width.py")
    unknown = flambeau("check", "rows.fwf", cwd=tmp_path)
    assert unknown.status == 2 and "rows.fwf" in unknown.told
    trained = flambeau("train", "rows.fwf", *plugin, "--model", "linear", "--epochs", 20, "--learning-rate", 0.3,
                       "--no-baseline", "--run", "run", cwd=tmp_path)  # fmt: skip
    assert trained.status == 0, trained.err
    told = flambeau("predict", "run", "rows.fwf", *plugin, "--json", cwd=tmp_path)
    assert [p["label"] for p in told.json["predictions"][:2]] == ["007", "7"], told.err


def test_a_source(flambeau: Forkserver, tmp_path: Path) -> None:
    """Claimed, trained on, named in the recipe, and got back from it; options that are not for it are refused."""
    (tmp_path / "notes").mkdir()
    for i in range(60):
        (tmp_path / "notes" / f"{i:02}.json").write_text(json.dumps({"x": i % 2, "y": i % 7, "label": "ab"[i % 2]}))
    plugin = ("--plugin", PLUGINS / "records.py")
    unknown = flambeau("check", "notes", cwd=tmp_path)
    assert unknown.status == 2 and "several tables lie in the folder" in unknown.told
    trained = flambeau("train", "notes", *plugin, "--model", "linear", "--epochs", 20, "--learning-rate", 0.3,
                       "--no-baseline", "--run", "run", cwd=tmp_path)  # fmt: skip
    assert trained.status == 0, trained.err
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert recipe["data"]["kind"] == "records" and recipe["plugins"] == ["records.py"]
    own = flambeau("evaluate", "run", *plugin, "--json", cwd=tmp_path)
    other = flambeau("evaluate", "run", "notes", *plugin, "--json", cwd=tmp_path)
    assert own.json["metrics"]["accuracy"] == other.json["metrics"]["accuracy"] == 1, other.err
    assert own.json["samples"] < other.json["samples"] == 60
    told = flambeau("predict", "run", "notes", *plugin, "--json", cwd=tmp_path)
    assert [p["label"] for p in told.json["predictions"]] == [*"ab"] * 30, told.err
    refused = flambeau("train", "notes", *plugin, "--encoding", "gb18030", cwd=tmp_path)
    assert refused.status == 2 and "encoding is for tables, corpora, folders" in refused.told
    (tmp_path / "notes" / "60.json").write_text("[1]")
    damaged = flambeau("check", "notes", *plugin, cwd=tmp_path)
    assert damaged.status == 2 and "60.json" in damaged.told and "expected a JSON object" in damaged.told


@pytest.mark.parametrize("name", PROMISES)
def test_a_plugin_holds_what_its_contract_promises(name: str) -> None:
    """In a process of its own, for what is registered stays so."""
    code = CHECKED.format(file=str(PLUGINS / f"{name}.py"), check=PROMISES[name])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "there is no such plug-in"), ("1 / 0", "the plug-in fails (ZeroDivisionError")],
    ids=["missing", "failing"],
)
def test_what_is_wrong_with_a_plugin_is_one_line(
    text: str | None, message: str, flambeau: Forkserver, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "mine.py").write_text(text)
    done = flambeau("runs", "--plugin", "mine.py", cwd=tmp_path)
    assert done.status == 2 and "mine.py" in done.told and message in done.told


def test_an_installed_package_brings_plugins(tmp_path: Path) -> None:
    """By its entry points: they are loaded when a part is looked for, and not by the import of Flambeau."""
    shutil.copy(PLUGINS / "adaptive_clip.py", tmp_path / "their_clip.py")
    (tmp_path / "theirs-1.0.dist-info").mkdir()
    (tmp_path / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    points = "[flambeau.plugins]\nclip = their_clip\n"
    (tmp_path / "theirs-1.0.dist-info" / "entry_points.txt").write_text(points)
    code = """
import sys
import flambeau, flambeau.cli.main, flambeau.evaluation, flambeau.learner
assert "their_clip" not in sys.modules
from flambeau.techniques import TECHNIQUES
assert "adaptive_clip" in list(TECHNIQUES) and TECHNIQUES["adaptive_clip"].__module__ == "their_clip"
"""
    paths = os.pathsep.join([str(tmp_path), str(PLUGINS.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_two_plugins_that_enter_one_name_are_refused(flambeau: Forkserver, photos: Path, tmp_path: Path) -> None:
    code = (PLUGINS / "adaptive_clip.py").read_text()
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(code.replace('"adaptive_clip"', '"mine"'))
    done = flambeau("train", photos, "--plugin", "one.py", "--plugin", "two.py", "--dry-run", cwd=tmp_path)
    assert done.status == 2 and "two.py" in done.told and "two are called 'mine', a technique of" in done.told
    (tmp_path / "one.py").write_text(code.replace('"adaptive_clip"', '"mixup"'))
    done = flambeau("train", photos, "--plugin", "one.py", "--dry-run", cwd=tmp_path)
    assert done.status == 2 and "two are called 'mixup'" in done.told
