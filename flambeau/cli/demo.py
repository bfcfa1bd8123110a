"""`flambeau demo`: the whole way on real data, from a folder or a table to a prediction over HTTP."""

from __future__ import annotations

import json as jsonlib
import time
import urllib.request
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flambeau.cli import common, demo_data

if TYPE_CHECKING:
    from flambeau.data.dataset import Dataset

NAME = "demo"


class What(StrEnum):
    """What a demo is about."""

    PICTURES = "pictures"
    TEXT = "text"
    TAGS = "tags"
    AUDIO = "audio"
    TABLE = "table"
    SERIES = "series"
    SERVE = "serve"


def command(
    what: Annotated[What, typer.Argument(help="The kind of data.")] = What.PICTURES,
    folder: Annotated[Path, typer.Option(help="Where the data and the run go.")] = Path("runs/demo"),
    json: common.Json = False,
) -> None:
    """Check, train, evaluate, predict and serve, on real data: takes about half a minute.

    `pictures` are scikit-learn's 1,797 handwritten digits, `text` is 3,000 sentences of reviews, `tags` the parts of
    speech in 4,600 sentences of the press (the Brown corpus), `audio` names of things spoken in four languages,
    `table` the passengers of the Titanic and who survived, `series` the electricity that Victoria needed in each half
    hour of 2014, a day ahead; `tags` and `audio` are downloaded once. `audio` needs flambeau[audio], and serving
    flambeau[serve]; without it that step is left out.

    `serve` is a model in use: digits are served, with right answers for some and a scanner that begins to turn black
    and white; what is amiss is seen, the model trained again on what it met, and swapped while it answers.

    Example: `flambeau demo text`

    Example: `flambeau demo serve`
    """
    from flambeau import report
    from flambeau.core.errors import MissingExtra
    from flambeau.evaluation import evaluate_run
    from flambeau.learner import Learner
    from flambeau.predictor import Predictor
    from flambeau.run import Run

    began = time.perf_counter()
    reporter = common.reporter()
    if what is What.SERVE:
        from flambeau.cli.demo_serving import circle

        done = circle(folder, reporter)
        seconds = time.perf_counter() - began
        reporter.say(f"done in {seconds:.0f} s", style="bold green")
        if json:
            common.emit({**done, "seconds": round(seconds, 1)})
        return
    reporter.say(f"1. real {what.value} in {folder}", style="bold")
    data = _dataset(what, folder)
    reporter.say("2. check", style="bold")
    reporter.say(data.describe())
    run = Run.free("run", folder)
    learner = Learner(data, run=run.path, reporter=reporter, **SETTINGS.get(what, {}))
    reporter.say("3. train", style="bold")
    learner.fit()
    path = report.write(run)
    reporter.say("4. evaluate", style="bold")
    metrics = evaluate_run(run)["metrics"]
    reporter.say(common.show_metrics(metrics))
    reporter.say("5. predict", style="bold")
    row = int(data.rows("valid")[0])
    value: Any = {name: data.columns[name][row] for name in data.inputs}
    value = next(iter(value.values())) if len(value) == 1 else value
    if what is What.SERIES:
        value = _latest(folder)
    (prediction,) = Predictor.load(run).predict([value])
    reporter.say(_in_a_line(value, prediction))
    reporter.say("6. serve", style="bold")
    answer = None
    try:
        answer, url = _serve_one(run.path, what, value)
        reporter.say(f"POST {url}/predict → {jsonlib.dumps(answer['predictions'][0])[:100]}")
    except MissingExtra as missing:
        reporter.say(f"left out: {missing}", style="yellow")
    seconds = time.perf_counter() - began
    reporter.say(f"done in {seconds:.0f} s; report: {path}", style="bold green")
    if json:
        common.emit({"run": str(run.path), "report": str(path), "metrics": metrics, "seconds": round(seconds, 1),
                     "prediction": prediction.to_dict(3), "served": answer})  # fmt: skip


def _dataset(what: What, folder: Path) -> Dataset:
    from flambeau.data.dataset import Dataset
    from flambeau.data.split import Split

    match what:
        case What.PICTURES:
            return Dataset.from_folder(demo_data.write_digits(folder / "digits"))
        case What.TEXT:
            return Dataset.from_table(demo_data.write_packed("sentences", folder / "sentences.csv"), inputs=["text"])
        case What.TAGS:
            return Dataset.from_tagged(demo_data.write_press(folder / "press.pos"))
        case What.AUDIO:
            sounds, split = demo_data.write_speech(folder / "speech"), Split("grouped", by="stamp")
            return Dataset.from_folder(sounds, pattern="{class}-{stamp}", split=split)
        case What.TABLE:
            return Dataset.from_table(demo_data.write_packed("titanic", folder / "titanic.csv"), target="survived")
        case What.SERIES:
            table = demo_data.write_packed("demand", folder / "demand.csv")
            return Dataset.from_series(table, time="Time", target="Demand", horizon=48)
    raise AssertionError(f"{what} has its own way")


def _latest(folder: Path) -> list[dict[str, Any]]:
    """The last three weeks, from which the next day is forecast."""
    from flambeau.data.sources.tables import read_table

    return read_table(folder / "demand.csv").frame.tail(21 * 48).to_dicts()


def _in_a_line(value: Any, prediction: Any) -> str:
    """A prediction in a line."""
    if prediction.times is not None:
        steps = [f"{time} {number:.3g}" for time, number in zip(prediction.times, prediction.label, strict=True)]
        return ", ".join(steps[::8])
    if prediction.tokens is not None:
        return " ".join(f"{word}/{tag}" for word, tag in zip(prediction.tokens, prediction.label, strict=True))
    return f"{value}: {prediction.label} ({prediction.confidence:.1%})"


SETTINGS: dict[What, dict[str, Any]] = {What.TAGS: {"epochs": 6}, What.AUDIO: {"epochs": 8}, What.SERIES: {"epochs": 4}}


def _serve_one(run: Path, what: What, value: Any) -> tuple[dict[str, Any], str]:
    """One prediction over HTTP from a real server on a free port."""
    from flambeau.core.errors import FlambeauError
    from flambeau.serve import background_server

    if what in (What.PICTURES, What.AUDIO):
        body, kind = Path(value).read_bytes(), "image/png" if what is What.PICTURES else "audio/ogg"
    else:
        body, kind = jsonlib.dumps({"inputs": [value]}).encode(), "application/json"
    with background_server(run) as url:
        request = urllib.request.Request(f"{url}/predict", data=body, headers={"Content-Type": kind}, method="POST")
        with urllib.request.urlopen(request, timeout=30) as response:
            if response.status != 200:
                raise FlambeauError(f"the server answered {response.status}")
            return jsonlib.loads(response.read()), url
