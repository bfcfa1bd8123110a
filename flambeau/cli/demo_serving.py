"""`flambeau demo serve`: a model in use: served, watched, trained again on what it met, and swapped."""

from __future__ import annotations

import io
import json as jsonlib
import secrets
import shutil
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.cli import common, demo_data
from flambeau.core.errors import FlambeauError
from flambeau.core.printable import quoted
from flambeau.core.reporter import Reporter

if TYPE_CHECKING:
    from flambeau.production.tables import LogTables
    from flambeau.run import Run

NAME = "digits"
TRAINED, ORDINARY, DARK, LATER = 900, 160, 200, 300
"""Pictures: of the training; then of requests like it; of a scanner that turns black and white; kept for the end."""
A_REQUEST = 32
PATIENCE = 60.0  # seconds for what the server logs to be in the database

Sample = tuple[bytes, str]
"""A picture as a file, and what is on it."""


def circle(folder: Path, reporter: Reporter) -> dict[str, Any]:
    """Trains on digits, serves them, and goes on until the server answers by a model that has learnt what it met.

    Returns:
        as JSON: the runs, what was watched, how right both were on pictures that neither saw.

    Raises:
        MissingExtra: flambeau[serve,watch] is not installed.
    """
    from flambeau.production.collecting import collect
    from flambeau.production.log import LogSettings, PredictionLog
    from flambeau.production.tables import LogTables
    from flambeau.production.watching import lines, watch
    from flambeau.serve import Doors, background_server

    def step(text: str) -> None:
        reporter.say(text, style="bold")

    step(f"1. train on {TRAINED} real handwritten digits in {folder}")
    samples = _samples(folder)
    pictures = folder / "pictures"
    for number, (picture, digit) in enumerate(samples[:TRAINED]):
        _put(pictures / digit / f"{number:05d}.png", picture)
    run = _train(pictures, folder, reporter)
    place = folder / f"{run.path.name}.db"
    place.unlink(missing_ok=True)
    tables, key = LogTables(str(place)), secrets.token_urlsafe(24)
    ordinary = samples[TRAINED : TRAINED + ORDINARY]
    dark = [(_inverted(picture), digit) for picture, digit in samples[TRAINED + ORDINARY :][:DARK]]
    later = samples[TRAINED + ORDINARY + DARK :][:LATER]
    later_dark = [(_inverted(picture), digit) for picture, digit in later]

    log = PredictionLog(tables, folder / f"{run.path.name}-waiting", LogSettings(inputs=True))
    with background_server({NAME: run.path}, kept_in=log, doors=Doors(admin_keys=[key])) as url:
        step(f"2. serve it at {url}, with each prediction kept in {place}")
        _use(url, ordinary, right=ORDINARY // 2)
        _in_log(tables, run, ORDINARY, ORDINARY // 2)
        quiet = watch(run, tables, model=NAME)
        step(f"3. {ORDINARY} requests, {ORDINARY // 2} right answers given: watch")
        _tell(lines(quiet), reporter)
        _use(url, dark, right=3 * DARK // 4)
        _in_log(tables, run, ORDINARY + DARK, ORDINARY // 2 + 3 * DARK // 4)
        loud = watch(run, tables, model=NAME)
        step(f"4. a new scanner turns black and white: {DARK} requests, {3 * DARK // 4} right answers: watch")
        _tell(lines(loud), reporter)
        met = folder / f"{run.path.name}-met"
        shutil.rmtree(met, ignore_errors=True)
        made = collect(run, tables, met, model=NAME)
        step(f"5. dataset from-log: {made['answered']} rows with their right answer, and {made['drifted']} to label")
        before = [_right(url, later), _right(url, later_dark)]
        step("6. train again, on these too")
        again = _train(_together(pictures, met, made, folder / f"{run.path.name}-pictures"), folder, reporter)
        change = {"source": str(again.path)}
        _post(f"{url}/admin/models/{NAME}", jsonlib.dumps(change).encode(), "application/json", key)
        after, version = [_right(url, later), _right(url, later_dark)], _version(url)
        step(f"7. hot swap: the same server answers by version {version}")
        for what, old, new in zip(("as they were", "of the new scanner"), before, after, strict=True):
            reporter.say(f"right on {LATER} pictures {what}, which neither model saw: {old:.1%} before, {new:.1%} now")
    reporter.say(
        f"next: flambeau serve {NAME}={quoted(again.path)} --log {quoted(place)} --log-inputs, and open the page that "
        "it names"
    )
    reporter.say(
        f"next: flambeau watch {quoted(run.path)} --log {quoted(place)} --model {NAME}, which writes a page too"
    )
    reporter.say(
        f"next: flambeau deploy {quoted(again.path)} --target compose, for the same with PostgreSQL and Grafana"
    )
    return {"run": str(run.path), "again": str(again.path), "log": str(place), "met": str(met), "version": version,
            "quiet": quiet["alerts"], "loud": loud["alerts"], "answered": made["answered"],
            "drifted": made["drifted"], "before": before, "after": after}  # fmt: skip


def _samples(folder: Path) -> list[Sample]:
    """The digits in an order that has nothing to do with who wrote them."""
    files = sorted(demo_data.write_digits(folder / "digits").rglob("*.png"), key=lambda file: file.name)
    order = np.random.default_rng(0).permutation(len(files))
    return [(files[i].read_bytes(), files[i].parent.name) for i in order.tolist()]


def _train(pictures: Path, folder: Path, reporter: Reporter) -> Run:
    from flambeau.data.dataset import Dataset
    from flambeau.learner import Learner
    from flambeau.run import Run

    data, run = Dataset.from_folder(pictures), Run.free("served", folder)
    learner = Learner(data, model="mlp", epochs=8, baseline=False, run=run.path, cache=folder / "cache", quiet=True)
    learner.fit(check=False)
    reporter.say(f"{run.path}: {common.show_metrics(run.evaluation['metrics'])}")
    return run


def _inverted(picture: bytes) -> bytes:
    """The picture with black and white turned round."""
    from PIL import Image, ImageOps

    file = io.BytesIO()
    with Image.open(io.BytesIO(picture), formats=["PNG"]) as image:
        ImageOps.invert(image.convert("L")).save(file, "PNG")
    return file.getvalue()


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _together(pictures: Path, met: Path, made: dict[str, Any], folder: Path) -> Path:
    """A folder of what a model was trained on and of what it met."""
    import polars as pl

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pictures, folder)
    rows = pl.read_csv(made["train"], infer_schema=False)
    for file, digit in rows.select(made["inputs"][0], made["target"]).iter_rows():
        _put(folder / digit / f"met-{Path(file).name}", (met / file).read_bytes())
    return folder


def _use(url: str, samples: list[Sample], right: int) -> None:
    """Asks the server of each, and tells it the right answer to the first ones."""
    answers = _ask(url, samples)
    for answer, (_, digit) in zip(answers[:right], samples, strict=False):
        _post(f"{url}/v1/feedback/{answer['id']}", jsonlib.dumps({"target": digit}).encode(), "application/json")


def _right(url: str, samples: list[Sample]) -> float:
    """The share of samples that the server is right on; these are asked for the demo alone."""
    answers = _ask(url, samples)
    return float(np.mean([one["label"] == digit for one, (_, digit) in zip(answers, samples, strict=True)]))


def _ask(url: str, samples: list[Sample]) -> list[dict[str, Any]]:
    """What the server answers to pictures, several in a request."""
    answers: list[dict[str, Any]] = []
    for start in range(0, len(samples), A_REQUEST):
        body, mark = b"", secrets.token_hex(8)
        for picture, _ in samples[start : start + A_REQUEST]:
            head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
            body += head.encode() + picture + b"\r\n"
        told = _post(f"{url}/v1/predict", body + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}")
        answers += told["predictions"]
    return answers


def _post(url: str, body: bytes, kind: str, key: str | None = None) -> dict[str, Any]:
    headers = {"Content-Type": kind, **({"X-API-Key": key} if key else {})}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as response:
        told: dict[str, Any] = jsonlib.loads(response.read())
        return told


def _version(url: str) -> str:
    with urllib.request.urlopen(f"{url}/v1/models/{NAME}", timeout=60) as response:
        return str(jsonlib.loads(response.read())["version"])


def _in_log(tables: LogTables, run: Run, predictions: int, answered: int) -> None:
    """Waits until the server has written what it was asked into its log, which it does beside its answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        rows = [*tables.read(NAME, run.version, 0.0)]
        if len(rows) >= predictions and sum(row.answered for row in rows) >= answered:
            return
        time.sleep(0.1)
    raise FlambeauError("the log has not all that was asked", where=tables, fix="see what the server says of it")


def _tell(said: Any, reporter: Reporter) -> None:
    for line in said:
        reporter.say(line, style="red" if line.startswith("alert") else None)
