"""`flambeau demo`: the whole way on real data, from a folder of pictures to a prediction over HTTP."""

from __future__ import annotations

import json as jsonlib
import time
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common

NAME = "demo"


def command(
    folder: Annotated[Path, typer.Argument(help="Where the pictures and the run go.")] = Path("runs/demo"),
    json: common.Json = False,
) -> None:
    """Check, train, evaluate, predict and serve scikit-learn's 1,797 handwritten digits; takes about half a minute.

    Example: `flambeau demo`
    """
    from flambeau import report
    from flambeau.data.dataset import Dataset
    from flambeau.data.realdata.pictures import write_digits
    from flambeau.evaluation import evaluate_run
    from flambeau.learner import Learner
    from flambeau.predictor import Predictor
    from flambeau.run import Run

    began = time.perf_counter()
    reporter = common.reporter()
    pictures = folder / "digits"
    reporter.say(f"1. real digits as a folder of pictures: {pictures}", style="bold")
    write_digits(pictures)
    data = Dataset.from_folder(pictures)
    reporter.say("2. check", style="bold")
    reporter.say(data.describe())
    run = Run.free("run", folder)
    learner = Learner(data, run=run.path, reporter=reporter)
    reporter.say("3. train", style="bold")
    learner.fit()
    path = report.write(run)
    reporter.say("4. evaluate", style="bold")
    metrics = evaluate_run(run)["metrics"]
    reporter.say(common.show_metrics(metrics))
    reporter.say("5. predict", style="bold")
    picture = Path(data.columns[data.inputs[0]][int(data.rows("valid")[0])])
    prediction = Predictor.load(run).predict(picture)
    reporter.say(f"{picture}: {prediction.label} ({prediction.confidence:.1%})")
    reporter.say("6. serve", style="bold")
    answer, url = _serve_one(run.path, picture)
    reporter.say(f"POST {url}/predict → {jsonlib.dumps(answer['predictions'][0])[:100]}")
    seconds = time.perf_counter() - began
    reporter.say(f"done in {seconds:.0f} s; report: {path}", style="bold green")
    if json:
        common.emit({"run": str(run.path), "report": str(path), "metrics": metrics, "seconds": round(seconds, 1),
                     "prediction": prediction.to_dict(3), "served": answer})  # fmt: skip


def _serve_one(run: Path, picture: Path) -> tuple[dict[str, Any], str]:
    """One prediction over HTTP from a real server on a free port."""
    from flambeau.core.errors import FlambeauError
    from flambeau.serve import background_server

    with background_server(run) as url:
        request = urllib.request.Request(
            f"{url}/predict", data=picture.read_bytes(), headers={"Content-Type": "image/png"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            if response.status != 200:
                raise FlambeauError(f"the server answered {response.status}")
            return jsonlib.loads(response.read()), url
