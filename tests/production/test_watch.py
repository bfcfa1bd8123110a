"""A model in use, watched: quiet on what it knows, loud on what it does not, and trained again on what it met."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import flambeau as fb
from flambeau.cli.main import run as flambeau
from flambeau.production.drift import drifts
from flambeau.production.log import LogSettings, PredictionLog
from flambeau.production.statistics import Statistics, statistics_of
from flambeau.production.tables import LogTables
from flambeau.serve import background_server

DIGITS = load_digits()
ORDER = np.random.default_rng(0).permutation(len(DIGITS.target))  # as they come, later ones are of other writers
PICTURES, TRUTHS = (DIGITS.images * (255 / 16)).astype(np.uint8)[ORDER], DIGITS.target[ORDER]


def png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the first 900 digits, files in folders."""
    folder = tmp_path_factory.mktemp("digits")
    for i in range(900):
        (folder / "pictures" / str(TRUTHS[i])).mkdir(parents=True, exist_ok=True)
        (folder / "pictures" / str(TRUTHS[i]) / f"{i}.png").write_bytes(png(PICTURES[i]))
    fb.Learner(
        fb.Dataset.from_folder(folder / "pictures"), model="mlp", run=folder / "run", quiet=True, epochs=6,
        baseline=False, cache=folder / "cache",
    ).fit(check=False)  # fmt: skip
    return folder / "run"


@pytest.fixture
def served(digits: Path, tmp_path: Path) -> Iterator[Any]:
    """`served(pictures, truths)` asks a server of the run, and gives it the truths where there are some."""
    place = str(tmp_path / "log.db")

    def ask(pictures: np.ndarray, truths: Any = ()) -> str:
        log = PredictionLog(LogTables(place), tmp_path / "waiting", LogSettings(inputs=True))
        with background_server(digits, kept_in=log) as url, httpx.Client(base_url=url, timeout=60) as client:
            for start in range(0, len(pictures), 32):
                files = [("file", ("a.png", png(picture))) for picture in pictures[start : start + 32]]
                for i, answer in enumerate(client.post("/predict", files=files).json()["predictions"], start):
                    if i < len(truths):
                        given = client.post(f"/v1/feedback/{answer['id']}", json={"target": str(truths[i])})
                        assert given.status_code == 202
        return place

    yield ask


def test_the_circle_closes(digits: Path, served: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Serve, predict, feedback, watch; a shift, and watch; a dataset of it, and a training on that."""
    place = served(PICTURES[900:1060], TRUTHS[900:980])
    watch = ["watch", str(digits), "--log", place, "--json", "--out", str(tmp_path / "page.html")]
    assert flambeau(watch) == 0, capsys.readouterr().out
    quiet = json.loads(capsys.readouterr().out)
    assert quiet["alerts"] == [] and quiet["predictions"] == 160 and len(quiet["drift"]) >= 5
    right = quiet["feedback"]
    assert right["rows"] == 80 and right["low"] < right["value"] <= right["high"] and right["value"] > 0.7
    assert 0 < right["before"] <= 1

    darker = 255 - PICTURES[1100:1300]
    served(darker, TRUTHS[1100:1200])
    gauges = tmp_path / "watch.prom"
    assert flambeau([*watch, "--metrics", str(gauges)]) == 1
    loud = json.loads(capsys.readouterr().out)
    alerts = " ".join(loud["alerts"])
    assert loud["alerts"][0].startswith("accuracy is") and "brightness of image has drifted: 0.3" in alerts, alerts
    assert re.search(r'flambeau_watch_drift\{model="run",version="\w{12}",signal="brightness of \w+",test="ks"\} 0\.',
                     gauges.read_text())  # fmt: skip
    page = (tmp_path / "page.html").read_text()
    assert "brightness of" in page and "<script" not in page

    out = tmp_path / "met"
    assert flambeau(["dataset", "from-log", str(digits), "--log", place, "--out", str(out), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["answered"] == 180 and made["unsure"] == 100 and made["drifted"] >= 30
    rows = polars.read_csv(out / "train.csv", infer_schema=False)
    assert rows.height == 180 and all((out / file).is_file() for file in rows[made["inputs"][0]])
    drifted = polars.read_csv(out / "label.csv").filter(polars.col("why").str.contains("drifted"))
    seen = [np.asarray(Image.open(out / file)).mean() for file in drifted[made["inputs"][0]]]
    assert np.mean(np.asarray(seen) > 128) > 0.9  # the darker ones
    again = [
        "train",
        str(out / "train.csv"),
        "--target",
        made["target"],
        "--input",
        made["inputs"][0],
        "--run",
        str(tmp_path / "again"),
        "--model",
        "mlp",
        "--epochs",
        "2",
        "--no-check",
        "--set",
        "baseline=false",
    ]
    assert flambeau(again) == 0, capsys.readouterr().err
    assert fb.Run(tmp_path / "again").finished and Statistics.read(fb.Run(tmp_path / "again")) is not None
    assert flambeau(["dataset", "from-log", str(digits), "--log", place, "--out", str(out)]) == 2


def test_a_run_from_before_has_its_statistics_made_of_its_data(digits: Path, served: Any, tmp_path: Path) -> None:
    kept = Statistics.read(fb.Run(digits))
    assert kept is not None and kept.rows == 900 and kept.embedding is not None
    (digits / "statistics.json").unlink()
    place = served(PICTURES[900:940])
    assert flambeau(["watch", str(digits), "--log", place]) == 0
    again = Statistics.read(fb.Run(digits))
    assert again is not None and again.names == kept.names
    for name, numbers in kept.numbers.items():
        np.testing.assert_allclose(again.numbers[name], numbers, rtol=1e-5)


@pytest.mark.parametrize("words", [["--log", "missing.db"], ["--log", "mysql://x/y"], ["--since", "soon"],
                                   ["--language", "xx"], ["--model", "another"]])  # fmt: skip
def test_what_cannot_be_watched_is_told_in_a_line(
    words: list[str], digits: Path, served: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = served(PICTURES[900:901])
    assert flambeau(["watch", str(digits), "--log", place, *words]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def rows(seed: int, count: int, shift: float = 0.0, towns: str = "aaabbc", gaps: float = 0.05) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [
        {"age": None if random.random() < gaps else float(random.normal(40 + shift, 10)),
         "pay": float(random.lognormal()), "town": str(random.choice([*towns]))}
        for _ in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[fb.Predictor, Statistics]:
    folder = tmp_path_factory.mktemp("table")
    data = polars.DataFrame([{**row, "y": "old" if (row["age"] or 0) > 40 else "young"} for row in rows(0, 1500)])
    data.write_csv(folder / "t.csv")
    learner = fb.Learner(fb.Dataset.from_table(folder / "t.csv", target="y"), run=folder / "run", quiet=True, epochs=1,
                         baseline=False, cache=folder / "cache")  # fmt: skip
    learner.fit(check=False)
    kept = Statistics.read(fb.Run(folder / "run"))
    assert kept is not None
    return fb.load(folder / "run"), kept


def drifted(table: tuple[fb.Predictor, Statistics], live: list[dict[str, Any]]) -> list[str]:
    predictor, before = table
    encoded = [predictor.encode(row) for row in live]
    values = [predictor.by_input(row) for row in live]
    now = statistics_of(predictor, [(values, encoded, lambda: predictor.outputs(encoded))])
    return [drift.name for drift in drifts(before, now) if drift.alert]


def test_rows_like_the_trainings_raise_no_alarm(table: tuple[fb.Predictor, Statistics]) -> None:
    """At most one of 40 watches, where 40 × 1 % are expected without the bounds on sizes."""
    alarms = [drifted(table, rows(seed, size)) for seed in range(1, 21) for size in (60, 600)]
    assert sum(map(bool, alarms)) <= 1, alarms


def test_what_was_shifted_is_named_and_nothing_else(table: tuple[fb.Predictor, Statistics]) -> None:
    own = {"answer", "confidence", "what the model makes of its input"}  # which hang on the rest
    assert {*drifted(table, rows(99, 300, shift=8))} - own == {"age"}
    assert {*drifted(table, rows(99, 300, towns="cccab"))} - own == {"town"}
    assert {*drifted(table, rows(99, 300, towns="aaabbcddd"))} - own == {"town"}  # one that is new
    assert {*drifted(table, rows(99, 300, gaps=0.5))} - own == {"age"}
