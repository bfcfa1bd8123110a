"""New samples of a run, and the way from one to another, as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from forkserver import Forkserver
from PIL import Image

import flambeau as fb

SMALL = ("--set", "objective.width=8", "--set", "objective.steps=3", "--epochs", 2, "--no-check")


@pytest.fixture(scope="module")
def made(flambeau: Forkserver, some_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that knows classes and one that does not."""
    folder = tmp_path_factory.mktemp("generating")
    for name in ("cdiffusion", "flow-matching"):
        done = flambeau("train", some_digits, "--objective", name, *SMALL, "--run", name, cwd=folder)
        assert done.status == 0 and f"next: flambeau generate {name} --grid new.png" in done.err, done.err
    return folder


@pytest.mark.parametrize("name", ["cdiffusion", "flow-matching"])
def test_the_first_samples_of_a_seed_are_the_same_however_many_follow(
    name: str, made: Path, flambeau: Forkserver, tmp_path: Path
) -> None:
    for count, seed, out in ((70, 1, "many"), (5, 1, "few"), (5, 2, "others")):
        done = flambeau("generate", made / name, "--count", count, "--seed", seed, "--out", out, "--json", cwd=tmp_path)
        assert done.status == 0 and len(done.json["generated"]) == count, done.err
    many, few, others = ([np.asarray(Image.open(tmp_path / out / f"000{i}.png")).astype(int) for i in range(1, 6)]
                         for out in ("many", "few", "others"))  # fmt: skip
    for one, same in zip(many, few, strict=True):
        assert np.abs(one - same).max() <= 1, "but for rounding: other batches are summed in another order"
    assert all(np.abs(one - other).max() > 1 for one in few for other in [*others, *few] if one is not other)


def test_a_grid_holds_what_the_files_hold_and_a_class_changes_them(
    made: Path, flambeau: Forkserver, tmp_path: Path
) -> None:
    run = made / "cdiffusion"
    done = flambeau("generate", run, "--count", 6, "--class", "3", "--out", "new", "--grid", "new.png", cwd=tmp_path)
    assert done.status == 0 and done.out == "6 samples of 3, seed 0: new.png, each in new\n", done.err
    first = np.asarray(Image.open(tmp_path / "new" / "0001.png"))
    grid = Image.open(tmp_path / "new.png")
    times = grid.width // (3 * 10 - 2)  # three in a row, with 2 pixels between them
    assert np.array_equal(np.asarray(grid)[: 8 * times : times, : 8 * times : times], first)
    other = flambeau("generate", run, "--count", 6, "--class", "4", "--out", "four", cwd=tmp_path)
    assert other.status == 0 and not np.array_equal(first, np.asarray(Image.open(tmp_path / "four" / "0001.png")))


def test_a_way_leads_from_one_file_to_the_other_and_between_seeds(
    made: Path, some_digits: Path, flambeau: Forkserver, tmp_path: Path
) -> None:
    ends = [sorted((some_digits / label).iterdir())[0] for label in ("3", "4")]
    done = flambeau("interpolate", made / "flow-matching", *ends, "--count", 4, "--out", "strip.png", cwd=tmp_path)
    assert done.status == 0, done.err
    strip = Image.open(tmp_path / "strip.png")
    assert strip.width == (4 * 10 - 2) * (strip.width // 38)
    done = flambeau("interpolate", made / "cdiffusion", "--seed", 1, "--seed", 2, "--count", 5, "--out", "way.gif",
                    "--json", cwd=tmp_path)  # fmt: skip
    assert done.status == 0 and done.json["ends"] == [1, 2], done.err
    assert Image.open(tmp_path / "way.gif").n_frames == 5
    predictor = fb.load(made / "cdiffusion")
    first, last = (predictor.generate(1, seed=seed, label="3")[0].astype(int) for seed in (1, 2))
    way = predictor.interpolate(1, 2, 5, label="3")
    assert np.abs(way[0] - first).max() <= 1 and np.abs(way[-1] - last).max() <= 1, "both ends are those samples"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_rows_are_written_as_one_table(ending: str, tmp_path: Path) -> None:
    from flambeau.cli.generate import written
    from flambeau.fields import Table

    rows = [{"age": 31.5, "city": "Lyon"}, {"age": None, "city": "東京"}]
    path = tmp_path / "new" / f"rows{ending}"
    assert written(Table({}), rows, path, len(rows)) == [str(path)]
    frame = pl.read_csv(path) if ending == ".csv" else pl.read_parquet(path)
    assert frame.to_dicts() == rows


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cdiffusion", ("generate",), "where are the new samples to be written?; give --out"),
        ("cdiffusion", ("generate", "--class", "cat", "--out", "x"), "no class is called 'cat'"),
        ("flow-matching", ("generate", "--class", "3", "--out", "x"), "makes no samples of a class; train"),
        ("cdiffusion", ("generate", "--grid", "x.txt"), "'x.txt' is no name of a picture; expected .png"),
        ("cdiffusion", ("generate", "--out", "x.csv"), "values of the kind image are no rows of a table"),
        ("cdiffusion", ("interpolate", "--seed", 1, "--out", "x.png"), "a way has two ends, not 1"),
        ("cdiffusion", ("interpolate", "--out", "x.png"), "a way has two ends; give two files, or --seed twice"),
        ("cdiffusion", ("interpolate", "a.png", "b.png", "--out", "x.png"), "a.png: the file is missing"),
        ("cdiffusion", ("interpolate", "x.csv", "--seed", 1, "--out", "x.png"), "give two files, or --seed twice"),
        ("", ("generate", "--out", "x"), "Supervised generates nothing; train with an objective that does"),
        ("", ("interpolate", "--seed", 1, "--seed", 2, "--out", "x.png"), "Supervised generates nothing"),
    ],
)
def test_what_cannot_be_is_one_line(
    name: str, arguments: tuple[object, ...], message: str, made: Path, trained: Path, flambeau: Forkserver,
    tmp_path: Path,
) -> None:  # fmt: skip
    verb, *others = arguments
    done = flambeau(verb, made / name if name else trained, *others, cwd=tmp_path)
    assert done.status == 2 and message in done.told and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("path", ["cosine", "straight"])
def test_sampling_with_a_perfect_network_gives_the_picture_back(path: str) -> None:
    """Where v is known exactly, each path leads from any noise to the one picture that there is, and from it back."""
    from flambeau.objectives.generative.flow import PATHS, Diffusion
    from flambeau.testing.small import batches, context

    objective = Diffusion.build(context(), path=path, steps=7, width=8)
    (batch,) = batches("category", [1])

    def perfect(x: torch.Tensor, time: torch.Tensor, label: object = None) -> torch.Tensor:
        a, s, c, d = (part[:, None, None, None] for part in PATHS[path](time))
        noise = (x - a * batch.input) / s.clamp_min(1e-6)
        return c * noise - d * batch.input

    objective.guided = lambda x, time, label: perfect(x, torch.full((len(x),), time))  # type: ignore[method-assign]
    made = objective.generate(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(made, batch.input.expand_as(made), rtol=0, atol=1e-5)
