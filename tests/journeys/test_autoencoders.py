"""Autoencoders from the command line: the oddest rows, what comes back, codes as a table; of pictures and of tables."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from forkserver import Forkserver
from PIL import Image

import flambeau as fb


@pytest.fixture(scope="module")
def flat(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits in one folder, and one picture of noise."""
    folder = tmp_path_factory.mktemp("autoencoders") / "flat"
    folder.mkdir()
    for i, file in enumerate(sorted(digits_folder.glob("*/*"))[::12]):
        shutil.copy(file, folder / f"{i:03}.png")
    return folder


@pytest.fixture(scope="module")
def run(flambeau: Forkserver, flat: Path) -> Path:
    options = ("--objective", "autoencoder", "--set", "objective.code=8", "--set", "model.options.width=8")
    trained = flambeau("train", flat, *options, "--epochs", 8, "--run", "ae", cwd=flat.parent)
    assert trained.status == 0 and "next: flambeau predict ae FILE" in trained.err, trained.err
    return flat.parent / "ae"


def test_predict_names_the_oddest(run: Path, flambeau: Forkserver, flat: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    asked = ("predict", run, *sorted(flat.glob("*.png"))[:20], tmp_path / "noise.png")
    told = flambeau(*asked, "--json", cwd=tmp_path).json
    assert len(told["predictions"]) == 21 and len(told["oddest"]) == 5
    assert told["oddest"][0] == max(told["predictions"], key=lambda row: row["label"])
    assert told["oddest"][0]["file"].endswith("noise.png")
    assert f"the oddest: {tmp_path / 'noise.png'} (" in flambeau(*asked, cwd=tmp_path).err


def test_three_pictures_are_enough_and_what_to_type_next_is_what_a_shell_takes(
    flambeau: Forkserver, flat: Path, tmp_path: Path
) -> None:
    (tmp_path / "three").mkdir()
    for file in sorted(flat.iterdir())[:3]:
        shutil.copy(file, tmp_path / "three")
    asked = ("--objective", "vae", "--set", "model.options.width=8", "--epochs", 1, "--run", "my run")
    done = flambeau("train", "three", *asked, cwd=tmp_path)
    assert done.status == 0, done.err
    assert "next: flambeau generate 'my run' --grid new.png, or flambeau serve 'my run'" in done.err
    shown = fb.Run.open(tmp_path / "my run").evaluation["portrait"]
    assert {"samples", "reconstructed"} <= shown.keys() and "between" not in shown, "one held-out row has no other"


def test_what_comes_back_and_the_codes(run: Path, flambeau: Forkserver, flat: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    some = sorted(flat.glob("*.png"))[:3]
    done = flambeau("reconstruct", run, *some, tmp_path / "bad.png", "--out", "back", "--json", cwd=tmp_path)
    assert done.status == 2 and "error" in done.json["reconstructed"][3]
    for file in some:
        before, after = (np.asarray(Image.open(f), float) for f in (file, tmp_path / "back" / file.name))
        assert before.shape == after.shape and np.abs(before - after).mean() < np.abs(before - before.mean()).mean()
    encoded = flambeau("encode", run, flat, "--out", "codes.parquet", "--json", cwd=tmp_path)
    assert (encoded.json["rows"], encoded.json["size"]) == (len([*flat.iterdir()]), 8), encoded.err
    table = pl.read_parquet(tmp_path / "codes.parquet")
    assert table.columns == ["place", "vector"] and table["vector"].to_numpy().shape == (len(table), 8)
    flambeau("encode", run, "--out", "codes.csv", cwd=tmp_path)
    assert next(csv.reader((tmp_path / "codes.csv").open()))[:3] == ["place", "v0", "v1"]
    for command, why in {
        ("encode", run): "where are the codes to be written?",
        ("encode", run, "--out", "codes.txt"): "expected .parquet or .csv",
        ("reconstruct", run, "--out", "b"): "what is to be made again",
        ("generate", run, "--count", 2, "--out", "n"): "makes nothing new",
    }.items():
        refused = flambeau(*command, cwd=tmp_path)
        assert refused.status == 2 and why in refused.told, refused.err


def test_series_come_back_in_their_own_units(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    waves = [5 + 2 * np.sin(np.arange(40) / 4 + random.uniform(0, 6)) for _ in range(80)]
    data = fb.Dataset.from_arrays(np.stack(waves)[:, None], fields={"x": fb.fields.Series()}, split="random")
    learner = fb.Learner(data, objective="vae", epochs=3, run=False, quiet=True)
    learner.fit(check=False)
    (made,) = learner.predictor.generate(1)
    assert made.shape == (1, 40) and 3 < made.mean() < 7
    odd = learner.predictor.predict([waves[0][None], np.tile([2.0, 8.0], 20)[None]])
    assert odd[1].label > odd[0].label


def test_series_in_files(flambeau: Forkserver, tmp_path: Path) -> None:
    """A row for each step, and which series it is of: trained on, measured, made again and made anew in that form; told
    apart by a column that has one value for each; .ts files without what their series are of."""
    random = np.random.default_rng(0)
    rows = ["who,at,up,down,kind"]
    for i in range(40):
        level, kind = random.uniform(1, 2) + 3 * (i % 2), "slow fast".partition(" ")[i % 2 * 2]
        rows += [f"s{i},2024-01-01 {t:02}:00,{level + np.sin(t * (1 + i % 2)):.3f},{-level:.3f},{kind}"
                 for t in random.permutation(24) if t != 7 or i]  # fmt: skip
    (tmp_path / "long.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "odd.csv").write_text(
        "\n".join([*rows[:100], *(f"odd,2024-01-01 {t:02}:00,9,9,low" for t in range(24))])
    )
    named = ("--time", "at", "--id", "who")
    short = ("--epochs", 5, "--set", "objective.code=2", "--no-check")
    trained = flambeau("train", "long.csv", *named, "--objective", "vae", *short, "--input", "up", "--input", "down",
                       "--run", "run", cwd=tmp_path)  # fmt: skip
    assert trained.status == 0 and "40 rows" in trained.err, trained.err
    told = flambeau("predict", "run", "odd.csv", "--json", cwd=tmp_path).json
    assert told["oddest"][0]["series"] == "odd" and len(told["predictions"]) == 6
    assert "the oddest: odd (" in flambeau("predict", "run", "odd.csv", cwd=tmp_path).err
    for command in (("evaluate", "run", "long.csv"), ("reconstruct", "run", "odd.csv", "--out", "back.csv"),
                    ("generate", "run", "--count", 2, "--out", "new.csv", "--grid", "new.png"),
                    ("encode", "run", "long.csv", "--out", "codes.csv"),
                    ("reconstruct", "run", "odd.csv", "--out", "back")):  # fmt: skip
        done = flambeau(*command, cwd=tmp_path)
        assert done.status == 0, done.err
    assert "next: flambeau generate run --out new.csv" in flambeau("evaluate", "run", cwd=tmp_path).err
    back, made = (pl.read_csv(tmp_path / f"{name}.csv") for name in ("back", "new"))
    assert back.columns == made.columns == ["at", "who", "up", "down"] and made.height == 48
    assert set(back["who"]) == {"odd", *(f"s{i}" for i in range(5))} and (tmp_path / "back/odd.csv").exists()
    assert flambeau("predict", "run", "new.csv", cwd=tmp_path).status == 0, "what was made is read as what was given"
    classified = flambeau("train", "long.csv", *named, "--target", "kind", "--model", "rocket", "--run", "kinds",
                          "--no-check", cwd=tmp_path)  # fmt: skip
    assert classified.status == 0, classified.err
    again = flambeau("evaluate", "kinds", "long.csv", "--json", cwd=tmp_path)
    assert again.json["samples"] == 40 and again.json["metrics"]["accuracy"] > 0.9, again.err

    series = [",".join(f"{np.sin(t / 3 + i):.3f}" for t in range(20)) for i in range(20)]
    for name, head, end in (("with", "true a b", ":a"), ("without", "false", "")):
        text = f"@problemName p\n@classLabel {head}\n@data\n" + "\n".join(one + end for one in series)
        (tmp_path / f"{name}.ts").write_text(text)
        asked = ("--objective", "autoencoder", *short, "--run", name)
        done = flambeau("train", f"{name}.ts", *asked, cwd=tmp_path)
        assert done.status == 0, done.err
        scores = flambeau("predict", name, f"{name}.ts", "--json", cwd=tmp_path)
        assert len(scores.json["predictions"]) == 20, scores.err
    for arguments, said in (
        (("long.csv", "--time", "at", "--objective", "vae"), "the whole table is one series"),
        (("without.ts",), "train without, such as by --objective autoencoder"),
        (("long.csv", *named, "--objective", "vae", "--input", "kind"), "no column holds numbers"),
        (("long.csv", *named, "--objective", "cvae", "--target", "nix"), "there is no column 'nix'"),
    ):
        refused = flambeau("train", *arguments, cwd=tmp_path)
        assert refused.status == 2 and said in refused.told, refused.err


def test_a_table_of_numbers_dates_gaps_and_categories(flambeau: Forkserver, tmp_path: Path) -> None:
    """What comes back is in its own units; a row that breaks the pattern is the oddest."""
    random = np.random.default_rng(0)
    rows = ["day,size,weight,kind"]
    for i in range(300):
        size = random.uniform(1, 9)
        weight = "" if i % 11 == 0 else f"{2 * size:.3f}"
        rows.append(f"2024-01-{i % 28 + 1:02},{size:.3f},{weight},{'large' if size > 5 else 'small'}")
    (tmp_path / "rows.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "odd.csv").write_text("\n".join([*rows[:30], "2024-01-03,8.5,2.1,small"]) + "\n")
    asked = ("--objective", "vae", "--set", "objective.code=3", "--epochs", 15, "--run", "run")
    trained = flambeau("train", "rows.csv", *asked, cwd=tmp_path)
    assert trained.status == 0, trained.err
    told = flambeau("predict", "run", "odd.csv", "--json", cwd=tmp_path).json
    assert told["oddest"][0]["row"] == 30
    done = flambeau("reconstruct", "run", "rows.csv", "--out", "back.csv", cwd=tmp_path)
    assert done.status == 0, done.err
    back, before = pl.read_csv(tmp_path / "back.csv"), pl.read_csv(tmp_path / "rows.csv")
    assert back.columns == ["day", "size", "weight", "kind"] and set(back["kind"]) <= {"large", "small"}
    assert (back["kind"] == before["kind"]).mean() > 0.9 and back["day"].str.starts_with("202").all()
    assert np.corrcoef(back["size"], before["size"])[0, 1] > 0.9
    made = flambeau("generate", "run", "--count", 4, "--out", "new.csv", cwd=tmp_path)
    assert made.status == 0 and len(pl.read_csv(tmp_path / "new.csv")) == 4, made.err


def test_where_the_truth_is_known_it_is_measured(run: Path, flambeau: Forkserver, flat: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for i, file in enumerate(sorted(flat.glob("*.png"))[:30]):
        folder = tmp_path / "truth" / ("noise" if i % 3 == 0 else "digit")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / f"{i}.png")
        if i % 3 == 0:
            Image.fromarray(noise.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{i}.png")
    told = flambeau("evaluate", run, "truth", "--positive", "noise", "--json", cwd=tmp_path)
    assert told.status == 0, told.err
    assert (told.json["rows"], told.json["odd_rows"], told.json["odd"]) == (30, 10, "noise")
    assert told.json["metrics"]["roc_auc"] > 0.95 and len(told.json["missed"]) == 5
    rows = [f"{file.resolve()},{file.parent.name}" for file in sorted((tmp_path / "truth").glob("*/*.png"))]
    (tmp_path / "truth.csv").write_text("\n".join(["image,what", *rows]))
    table = flambeau("evaluate", run, "truth.csv", "--target", "what", "--json", cwd=tmp_path)
    assert table.status == 0 and table.json["odd"] == "noise", table.err
    assert table.json["metrics"] == pytest.approx(told.json["metrics"])
    asked = ("predict", run, *(tmp_path / "truth" / "noise").glob("*"), "--json")
    scores = {one["file"]: one["label"] for one in flambeau(*asked, cwd=tmp_path).json["predictions"]}
    least = min(scores, key=scores.__getitem__)
    assert told.json["missed"][0]["place"].endswith(Path(least).name)
    for arguments, said in (
        (("truth", "--positive", "cat"), "'label' is nowhere 'cat'"),
        (("truth.csv", "--target", "colour"), "no column 'colour'"),
        (("truth.csv", "--target", "image"), "the run sees 'image' as one of its inputs"),
        (("--positive", "noise"), "nothing says which rows are odd"),
    ):
        refused = flambeau("evaluate", run, *arguments, cwd=tmp_path)
        assert refused.status == 2 and said in refused.err and len(refused.err.splitlines()) == 1, refused.err
