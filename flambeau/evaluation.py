"""Evaluation: a model measured on rows of a dataset, with what the report shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError, UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.encode import EncodeOptions, encode
from flambeau.data.grouping import PRESENT, regrouped
from flambeau.data.prepare import Preparer
from flambeau.data.sources import from_path, from_source
from flambeau.data.tables import SUFFIXES as TABLE_SUFFIXES
from flambeau.objectives import Objective
from flambeau.predictor import Predictor
from flambeau.run import Run
from flambeau.training import Prepare, Source, evaluate
from flambeau.training.engine import Engine


def measure(
    objective: Objective, engine: Engine, source: Source, prepare: Prepare, side: str, dataset: Dataset | None = None,
    samples: int | None = None, reporter: Reporter = QUIET,
) -> dict[str, Any]:  # fmt: skip
    """{side, samples, metrics, detail} as plain JSON; the worst mistakes carry their place and a thumbnail."""
    metrics = evaluate(objective, engine, source, prepare, reporter, detail=True)
    detail = objective.detail()
    if dataset is not None:
        for mistake in detail.get("worst", []):
            mistake["place"] = dataset.place(mistake["row"])
            mistake["html"] = render(dataset, mistake["row"])
    return {"side": side, "samples": samples, "metrics": metrics, "detail": detail}


def render(dataset: Dataset, row: int) -> str:
    """The inputs of a row as HTML."""
    return " ".join(dataset.fields[c].render(dataset.columns[c][row]) for c in dataset.inputs if c != PRESENT)


def evaluate_run(
    run: str | Path | Run, data: str | Path | Dataset | None = None, *, options: EncodeOptions | None = None,
    device: str = "auto", reporter: Reporter = QUIET, **source_options: Any,
) -> dict[str, Any]:  # fmt: skip
    """Measures a run on its own held-out rows, or on other data (a folder, a table, a Dataset): all rows of it.

    Raises:
        RunError: there is no such run. DataError: the data has none of the run's classes, or cannot be read.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    predictor = Predictor.load(run, device=device)
    if predictor.target is None:
        raise UsageError("this run has no target to measure against", where=run.path)
    if data is None:
        dataset = from_source({k: v for k, v in run.recipe.data.items() if k != "fingerprint"})
        side = dataset.evaluation_side
    else:
        if not isinstance(data, Dataset) and Path(data).suffix.lower() in TABLE_SUFFIXES:
            source_options = {"target": predictor.target, "inputs": predictor.columns, **source_options}
        dataset = data if isinstance(data, Dataset) else from_path(data, split="none", **source_options)
        side = "all"
    try:
        dataset = regrouped(dataset, predictor.fields, predictor.inputs, predictor.target)
    except DataError as error:
        raise DataError(error.found, where=data, expected=error.expected) from None
    if side == "all":
        dataset.split = np.zeros(len(dataset), np.int8)
    store = encode(dataset, options, reporter)
    for finding in store.findings:
        reporter.say(str(finding), style="yellow")
    rows = store.good.numpy() if side == "all" else np.intersect1d(dataset.rows(side), store.good.numpy())
    source = Batches(store, torch.from_numpy(rows), 2 * (run.recipe.training.batch_size or 32))
    prepare = Preparer(dataset.fields, predictor.inputs, predictor.target, predictor.engine.device)
    result = measure(predictor.objective, predictor.engine, source, prepare, side, dataset, len(rows), reporter)
    kept = run.evaluation if data is None else {}
    if kept.get("side") == side and kept.get("baselines"):
        result["baselines"] = kept["baselines"]  # fitted on the training rows when the model was, measured on these
    return {**result, "left_out": [f.to_dict() for f in store.findings]}
