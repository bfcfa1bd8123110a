"""The stress test: a run measured on the same rows once more, spoilt in each way that their kind knows, at five
severities.

D. Hendrycks, T. Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", 2019,
https://arxiv.org/abs/1903.12261.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from flambeau.core.arrays import missing
from flambeau.core.errors import UsageError, check_known
from flambeau.core.randomness import mix
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.signatures import spelled_out
from flambeau.core.threads import in_order, usable_processors
from flambeau.data.batches import Batches
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.sources.asked import Labelled
from flambeau.data.store.encode import EncodeOptions
from flambeau.data.store.store import Gathered, collate
from flambeau.evaluation import held_out
from flambeau.fields.placement import following
from flambeau.objectives import OBJECTIVES
from flambeau.predictor import Predictor
from flambeau.robustness import SEVERITIES, Corruption
from flambeau.run import Run
from flambeau.training import evaluate

SAMPLES = 500
NAMED = 3
SHOWN = (1, 3, 5)  # severities of a row that the page shows


class Spoilt:
    """Batches in which one input of each row is spoilt, and encoded anew from its raw value.

    Args:
        batches: in their own order.
        level: how strongly.
        keys: with the row, what all that is drawn depends on.
    """

    def __init__(
        self, batches: Batches, dataset: Dataset, name: str, corruption: Corruption, level: float, *keys: int | str
    ):
        self.batches, self.dataset, self.name = batches, dataset, name
        self.corruption, self.level, self.keys = corruption, level, keys

    def raw(self, row: int) -> Any:
        """A raw value, spoilt; one that is missing stays so."""
        value = self.dataset.columns[self.name][row]
        if np.ndim(value) == 0 and missing(value):
            return None
        return self.corruption.change(value, self.level, np.random.default_rng(mix(*self.keys, row)))

    def _encoded(self, row: int) -> np.ndarray:
        field, value = self.dataset.fields[self.name], self.raw(row)
        form = field.encoding
        if value is None:  # one of several inputs, which a row may lack
            return np.zeros((0, *form.shape) if form.ragged else form.shape, form.dtype)
        return field.encode(value)

    def count(self, epoch: int = 0) -> int:
        """As the batches."""
        return self.batches.count(epoch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Gathered]]:
        """As the batches, with the input spoilt."""
        encoding = self.dataset.fields[self.name].encoding
        for rows, gathered in self.batches.epoch(epoch, start):
            values = list(in_order(self._encoded, rows.tolist(), usable_processors()))
            yield rows, {**gathered, self.name: collate(values, encoding)}


@spelled_out(Labelled)
def stress(
    run: str | Path | Run, data: str | Path | Dataset | None = None, *, corruptions: Sequence[str] = (),
    samples: int = SAMPLES, seed: int = 0, metric: str | None = None, device: str = "auto",
    options: EncodeOptions | None = None, reporter: Reporter = QUIET, **source_options: Unpack[Labelled],
) -> dict[str, Any]:  # fmt: skip
    """Measures a run on its held-out rows, or on other data, as they are and under each corruption at five severities.
    Raw values are spoilt, so that the whole path from them is run; the same rows are spoilt more at each severity.

    Args:
        corruptions: their names; all that the kinds of the inputs know if not given.
        samples: rows that are measured, at most, from all over the data; 0 for all.
        seed: what is drawn depends on it, the corruption and the row.

    Returns:
        plain JSON: {split, samples, metric, higher_is_better, clean, interval, mean, corruptions: [{name, input, words,
        levels, values, drop, harms, cure}], worst: names}; `values` by severity, `drop` the mean loss to the clean
        figure, in the metric's units, `harms` whether its strongest severity lies beyond the 95 % interval of the clean
        figure. The worst corruption comes first. `examples` are HTML.

    Raises:
        RunError: there is no such run. DataError: the data cannot be read. UsageError: no kind of the inputs knows a
            corruption, or none is called so.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    predictor = Predictor.load(run, device=device, reporter=reporter)
    if predictor.target is None and "target" in OBJECTIVES[run.recipe.objective.name].takes:
        raise UsageError("this run has no target to measure against", where=run.path)
    objective = predictor.objective
    if metric is not None:
        objective.measure_by(metric)
    reading, rows, split = held_out(run, predictor, data, options, reporter, **source_options)
    rows = rows[:: -(-len(rows) // samples)] if 0 < samples < len(rows) else rows
    dataset = reading.dataset
    known = corruptions_of(dataset, rows)
    check_known("no corruption of this data is called", corruptions, known)
    trained = run.recipe.training
    tokens = None if trained.max_tokens is None else 2 * trained.max_tokens
    batches = Batches(reading.store, torch.from_numpy(rows), 2 * (trained.batch_size or 32), tokens=tokens)

    def measured(source: Any) -> float:
        return evaluate(objective, predictor.engine, source, reading.prepare)[objective.monitor]

    clean = measured(batches)
    interval = objective.intervals().get(objective.monitor)
    sign = 1 if objective.higher_is_better else -1
    beyond = (interval[0] if sign > 0 else interval[1]) if interval else clean
    found: list[dict[str, Any]] = []
    chosen = {name: known[name] for name in corruptions or known}
    with reporter.bar("spoiling", len(chosen) * SEVERITIES) as bar:
        for label, (name, corruption) in chosen.items():
            sources = [Spoilt(batches, dataset, name, corruption, level, seed, label) for level in corruption.levels]
            values = []
            for source in sources:
                values.append(measured(source))
                bar.update(len(found) * SEVERITIES + len(values), label)
            field = dataset.fields[name]
            found.append({
                "name": label, "input": name, "levels": [*corruption.levels], "values": values,
                "words": [corruption.words.format(level=level) for level in corruption.levels],
                "drop": sign * (clean - float(np.mean(values))), "harms": sign * (beyond - values[-1]) > 0,
                "cure": corruption.cure.replace("COLUMN", name),
                "examples": [field.render(sources[n - 1].raw(int(rows[0]))) for n in SHOWN],
            })  # fmt: skip
    found.sort(key=lambda one: -one["drop"])
    return {
        "split": split, "samples": len(rows), "seed": seed, "metric": objective.monitor,
        "higher_is_better": objective.higher_is_better, "clean": clean, "interval": interval,
        "mean": float(np.mean([one["values"] for one in found])), "corruptions": found,
        "worst": [one["name"] for one in found if one["harms"]][:NAMED],
    }  # fmt: skip


def corruptions_of(dataset: Dataset, rows: np.ndarray) -> Mapping[str, tuple[str, Corruption]]:
    """By name, the input and how it is spoilt; of several inputs that are, `input: name`. That which the target has its
    places in stays as it is."""
    fixed = int(dataset.target is not None and dataset.fields[dataset.target].places_in_input)
    leader, followers = following(dataset.fields, dataset.inputs, dataset.target)
    by_input = {name: dataset.fields[name].corruptions(dataset.take(name, rows))
                for name in dataset.inputs[fixed:] if name != PRESENT}  # fmt: skip
    by_input = {name: known for name, known in by_input.items() if known}
    if not by_input:
        kinds = ", ".join(sorted({dataset.fields[name].kind for name in dataset.inputs}))
        raise UsageError(f"nothing is known that spoils values of the kind {kinds}", expected="pictures, texts, "
                         "sounds, numbers, tables or series; or a field with `corruptions` of its own")  # fmt: skip
    return {
        (f"{name}: {label}" if len(by_input) > 1 else label): (name, corruption)
        for name, known in by_input.items()
        for label, corruption in known.items()
        if not (corruption.moves and name == leader and followers)
    }


def lines(result: Mapping[str, Any]) -> list[str]:
    """What came out, for a terminal: a table, and the worst with what may harden against them."""
    name, found = result["metric"], result["corruptions"]
    wide = max(len("as it is"), *(len(one["name"]) for one in found))
    low, high = result["interval"] or (None, None)
    chance = "" if low is None else f"  (95 % interval {low:.4g} to {high:.4g})"
    said = [f"{'as it is':<{wide}}  {result['clean']:8.4f}{chance}",
            f"{name:<{wide}}  " + " ".join(f"{f'at {n}':>8}" for n in range(1, SEVERITIES + 1))]  # fmt: skip
    said += [f"{one['name']:<{wide}}  " + " ".join(f"{value:8.4f}" for value in one["values"]) for one in found]
    by_name = {one["name"]: one for one in found}
    for worst in result["worst"]:
        one = by_name[worst]
        first = f"{worst} harms most: {name}" if worst == result["worst"][0] else f"then {worst}:"
        said.append(f"{first} {one['values'][-1]:.4g} ({one['words'][-1]}); try {one['cure']}")
    if not result["worst"]:
        said.append(f"none of them costs more than chance would on {result['samples']:,} rows")
    return said
