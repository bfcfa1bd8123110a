"""Plug-ins as others write them: each is one file, which touches none of the package, and is called by its name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from forkserver import Forkserver
from safetensors.torch import load_file

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"
TECHNIQUES = ("sam", "cutmix", "layerwise_rates", "lora")
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
    assert (weights.keys() != plain.keys()) == (name == "lora")
    assert any(not tensor.equal(plain[key]) for key, tensor in weights.items() if key in plain)
    told = flambeau("predict", run, photos / "3", *plugin, "--json", cwd=photos.parent)
    assert told.status == 0 and len(told.json["predictions"]) == 12, told.err
    without = flambeau("predict", run, photos / "3", cwd=photos.parent)
    assert without.status == 2 and f"trained with the plug-in {name}.py; --plugin {name}.py" in without.told


def test_a_sampler_a_logger_and_a_model(flambeau: Forkserver, photos: Path) -> None:
    given = [x for name in ("balanced", "csv_logger", "strided") for x in ("--plugin", PLUGINS / f"{name}.py")]
    for file in sorted((photos / "0").iterdir())[3:]:
        file.unlink()  # a rare class
    settings = ("training.sampler={name: balanced, power: 1.0}", "training.loggers=[csv]", "training.log_every=1",
                "model.options.width=8")  # fmt: skip
    more = [x for setting in settings for x in ("--set", setting)]
    command = ("train", photos, *given, "--model", "strided", *SETTINGS[2:], *more)
    first, second = (flambeau(*command, "--run", run, cwd=photos.parent) for run in ("first", "second"))
    assert first.status == 0, first.err
    weights, again = (load_file(photos.parent / run / "model.safetensors") for run in ("first", "second"))
    assert second.status == 0 and all(tensor.equal(again[key]) for key, tensor in weights.items())
    assert weights["0.weight"].shape[0] == 8
    lines = (photos.parent / "first" / "figures.csv").read_text().splitlines()
    assert any(",valid/accuracy," in line for line in lines) and not (photos.parent / "first" / "tensorboard").exists()
    refused = flambeau(*command, "--set", "training.sampler={name: balanced, nome: 3}", "--run", "third",
                       cwd=photos.parent)  # fmt: skip
    assert refused.status == 2 and "nome" in refused.told


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
