"""Installed as users install: each page and each demo runs in an environment with exactly the extras that it names.

These tests make environments under `.venv-extras/` (kept, by what `pyproject.toml` says), so they need a package
registry; they run where they are asked for, with `-m extras`, as continuous integration does.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from environments import ROOT, run
from pages import blocks

NEEDS = re.compile(r"pip install (?:-c constraints.txt )?(?:-e )?'(?:flambeau|\.)\[([\w,]+)\]'")
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "zh-CN" not in page.parts]
RUNNABLE = [page for page in PAGES if any(block.language in ("python", "console") for block in blocks(page))]
A_CLASS = 24
DEMOS = {"pictures": (), "text": (), "tags": (), "table": (), "series": (), "audio": ("audio",)}
pytestmark = pytest.mark.extras


def needs(page: Path) -> tuple[str, ...]:
    """The extras that a page names."""
    return tuple(sorted({extra for found in NEEDS.findall(page.read_text("utf-8")) for extra in found.split(",")}))


@pytest.fixture
def folder(digits_folder: Path, tmp_path: Path) -> Path:
    """An empty working folder but for `photos/`: the first real digits of each class."""
    for of_class in digits_folder.iterdir():
        (tmp_path / "photos" / of_class.name).mkdir(parents=True)
        for file in sorted(of_class.iterdir())[:A_CLASS]:
            shutil.copy(file, tmp_path / "photos" / of_class.name)
    return tmp_path


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_a_page_runs_with_the_extras_that_it_names(page: Path, folder: Path) -> None:
    done = run(needs(page), ["python", ROOT / "tests" / "support" / "pages.py", page], folder)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("what", DEMOS)
def test_a_demo_runs_and_says_what_it_leaves_out(what: str, tmp_path: Path) -> None:
    done = run(DEMOS[what], ["flambeau", "demo", what], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pip install 'flambeau[serve]'" in done.stderr  # which is not here


def test_the_extra_of_the_server_serves(tmp_path: Path) -> None:
    done = run(("serve",), ["flambeau", "demo"], tmp_path)
    assert done.returncode == 0 and "/predict → " in done.stderr, done.stderr[-2000:]


def killed_once(stop: threading.Event, named: bytes) -> list[int]:
    """The process of that name, once there is one, which is killed then."""
    while not stop.is_set():
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if process.name.isdigit() and named in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
                    return [int(process.name)]
    return []


def test_a_cluster_answers_as_one_process_does_though_a_worker_is_killed(tmp_path: Path) -> None:
    sizes = [i / 10 for i in range(600)]
    table = pl.DataFrame({"size": sizes, "label": ["large" if size > 30 else "small" for size in sizes]})
    table.write_csv(tmp_path / "sizes.csv")
    (tmp_path / "new").mkdir()
    for number in range(3):
        table[number * 200 : number * 200 + 200, :1].write_parquet(tmp_path / "new" / f"{number}.parquet")
    learned = ["train", "sizes.csv", "--target", "label", "--model", "linear", "--epochs", "3", "--run", "run"]
    assert run(("ray",), ["flambeau", *learned], tmp_path).returncode == 0
    stop, pool = threading.Event(), ThreadPoolExecutor(1)
    killed = pool.submit(killed_once, stop, b"ray::MapWorker(MapBatches(Answering))")
    ray = ["predict", "run", *(f"new/{n}.parquet" for n in range(3)), "--ray", "--out", "answers", "--batch-size", "20"]
    done = run(("ray",), ["flambeau", *ray], tmp_path)
    stop.set()
    assert done.returncode == 0 and "600 rows answered by " in done.stdout, done.stderr[-2000:]
    assert len(killed.result()) == 1
    alone = run(("ray",), ["flambeau", "predict", "run", "sizes.csv", "--csv", "alone.csv", "--top", "1"], tmp_path)
    assert alone.returncode == 0, alone.stderr[-2000:]
    answers = pl.read_parquet(tmp_path / "answers" / "*.parquet").sort("size")
    expected = pl.read_csv(tmp_path / "alone.csv")
    assert answers["size"].to_list() == sizes and answers["prediction"].to_list() == expected["label"].to_list()
    assert answers["error"].null_count() == 600
    again = run(("ray",), ["flambeau", *ray], tmp_path)
    assert again.returncode == 2 and "answers: the folder of the answers is not empty" in again.stderr


def test_a_cluster_trains_on_though_a_worker_is_killed_and_the_curve_is_that_of_one_process(tmp_path: Path) -> None:
    rows = [f"{i % 7},{i % 5},{'even' if i % 2 else 'odd'}" for i in range(150)]
    (tmp_path / "data.csv").write_text("a,b,label\n" + "\n".join(rows))
    learned = ["train", "data.csv", "--model", "linear", "--epochs", "3", "--batch-size", "16", "--no-baseline",
               "--no-check", "--set", "log_every=1", "--precision", "float32"]  # fmt: skip
    alone = run(("ray",), ["flambeau", *learned, "--run", "alone"], tmp_path)
    assert alone.returncode == 0, alone.stderr[-2000:]
    strike = ["--plugin", ROOT / "tests" / "support" / "strike.py", "--technique", "strike at=12 rank=1"]
    done = run(("ray",), ["flambeau", *learned, *strike, "--ray", "2", "--run", "run"], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "another process of this training has ended" in done.stderr and (tmp_path / "struck").exists()
    losses = [
        {line["step"]: line["loss"] for line in map(json.loads, text.splitlines()) if "loss" in line}
        for text in ((tmp_path / name / "metrics.jsonl").read_text() for name in ("run", "alone"))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    again = run(("ray",), ["flambeau", *learned, "--ray", "2", "--run", "run"], tmp_path)
    assert again.returncode == 2 and "run: this folder is there already" in again.stderr


def test_a_cluster_encodes_as_one_process_does(folder: Path) -> None:
    learned = ["train", "photos", "--objective", "autoencoder", "--epochs", "1", "--run", "run", "--no-check"]
    assert (done := run(("ray",), ["flambeau", *learned], folder)).returncode == 0, done.stderr[-2000:]
    (folder / "photos" / "bad.png").write_bytes(b"no picture")
    done = run(("ray",), ["flambeau", "encode", "run", "photos", "--ray", "--out", "codes"], folder)
    assert done.returncode == 0 and ", 1 failed: codes" in done.stdout, done.stdout + done.stderr[-2000:]
    (folder / "photos" / "bad.png").unlink()
    alone = run(("ray",), ["flambeau", "encode", "run", "photos", "--out", "alone.parquet"], folder)
    assert alone.returncode == 0, alone.stderr[-2000:]
    codes = pl.read_parquet(folder / "codes" / "*.parquet").filter(pl.col("error").is_null()).sort("file")
    expected = pl.read_parquet(folder / "alone.parquet").sort("place")
    assert len(codes) == len(expected) > 100
    for ours, theirs in zip(codes["code"], expected["vector"], strict=True):
        assert ours.to_list() == pytest.approx(theirs.to_list(), rel=1e-4, abs=1e-5)


def test_a_missing_extra_is_one_line_that_names_it(tmp_path: Path) -> None:
    for extra, command in {
        "audio": "demo audio", "serve": "serve run", "vision": "train photos --model timm/resnet18",
        "ray": "predict run photos --ray --out answers",
    }.items():  # fmt: skip
        done = run((), ["flambeau", *command.split()], tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
        assert f"flambeau[{extra}]" in done.stderr or "photos" in done.stderr
