"""Runs side by side on the same rows: which is better and whether by chance, what differs in their recipes, and which
samples only one of them gets right."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from flambeau.core.errors import UsageError
from flambeau.core.files import finite, write_atomic
from flambeau.core.printable import duration
from flambeau.core.reporter import QUIET, Reporter
from flambeau.core.signatures import spelled_out
from flambeau.data.dataset import Dataset
from flambeau.data.sources.asked import Labelled
from flambeau.data.store.encode import EncodeOptions
from flambeau.evaluation import render
from flambeau.learner.verdicts import MEASURED
from flambeau.objectives.intervals import bounded, holm
from flambeau.objectives.names import higher_is_better
from flambeau.recipe import Recipe
from flambeau.report import comparison as page
from flambeau.report.parts import figure_of
from flambeau.report.words import Words
from flambeau.run import Run
from flambeau.studies import paired
from flambeau.studies.paired import Difference
from flambeau.studies.rows import Answers, answers

SHOWN = 12  # samples that only one run gets right, of each run
LEAST = 6  # independent rows, or groups of them, under which nothing is said of chance
NOT_SETTINGS = ("flambeau", "format", "reasons", "plugins", "own_parts")


@dataclass
class Entry:
    """What is compared: a run, or the runs of one variant with several seeds."""

    name: str
    runs: list[Run]


@dataclass
class Comparison:
    """A comparison as plain JSON: {kind, metric, higher_is_better, numbers, split, samples, data, seeds, notes,
    reference, entries, differences, recipes, curves, samples_apart}. A difference is above 0 where its first is the
    better one."""

    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Without pictures of samples, which are for the page."""
        apart = [{k: v for k, v in one.items() if k != "html"} for one in self.facts["samples_apart"]]
        return {**self.facts, "samples_apart": apart}

    def lines(self) -> list[str]:
        """What is to be said in a terminal: each entry, what is sure of their differences, what differs in recipes."""
        facts, words = self.facts, Words()
        name = facts["metric"]
        width = max(len(entry["name"]) for entry in facts["entries"])
        lines = [f"{facts['samples']:,} {MEASURED[facts['split']]}, the same for all; {name}:"]
        for entry in facts["entries"]:
            low, high = entry["intervals"].get(name, (None, None))
            chance = "" if low is None or high is None else f" ({figure_of(name, low)} to {figure_of(name, high)})"
            lines.append(f"  {entry['name']:{width}}  {figure_of(name, entry['metrics'][name])}{chance}  "
                         f"{duration(entry['seconds'])}")  # fmt: skip
        lines += [page.sentence(facts, one, words) for one in page.beside_reference(facts)]
        if facts["kind"] == "ablate":
            return lines
        settings = [f"  {key}: {' / '.join(map(_short, values))}" for key, values in facts["recipes"].items()]
        return [*lines, *(["what differs in the recipes:"] if settings else []), *settings[:SHOWN]]

    def write(self, path: str | Path, language: str = "en") -> Path:
        """Writes the page: one HTML file that asks nothing of any server.

        Raises:
            UsageError: it does not speak the language.
        """
        write_atomic(Path(path), page.page(self.facts, language).encode("utf-8"))
        return Path(path)


@spelled_out(Labelled)
def compare(
    runs: Sequence[str | Path | Run], data: str | Path | Dataset | None = None, *, metric: str | None = None,
    options: EncodeOptions | None = None, device: str = "auto", reporter: Reporter = QUIET,
    **source_options: Unpack[Labelled],
) -> Comparison:  # fmt: skip
    """Puts runs side by side on the same rows.

    Args:
        runs: two or more finished ones, with the same target.
        data: other labelled data: a path, all of whose rows are compared on; or a Dataset, whose held-out rows are,
            and all where it is not split. The rows that all runs held out, if not given.
        metric: what they are compared by; the first run's measure if not given.
        options: where and how rows are encoded.
        source_options: how the data is read.

    Raises:
        UsageError: fewer than two runs, ones of other targets, or ones that hold out other rows.
        RunError: one is not there or unfinished. DataError: the data cannot be read.
    """
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    paths = {run.path.resolve() for run in opened}
    if len(opened) < 2 or len(paths) < len(opened):
        raise UsageError("fewer than two runs are compared" if len(opened) < 2 else "a run is given twice",
                         expected="two or more run folders")  # fmt: skip
    short = len({path.name for path in paths}) == len(opened)
    entries = [Entry(run.path.resolve().name if short else str(run.path), [run]) for run in opened]
    return compare_entries(
        entries, data, metric=metric, options=options, device=device, reporter=reporter, **source_options
    )


def compare_entries(
    entries: Sequence[Entry], data: str | Path | Dataset | None = None, *, kind: str = "compare",
    reference: str | None = None, metric: str | None = None, options: EncodeOptions | None = None,
    device: str = "auto", reporter: Reporter = QUIET, **source_options: Any,
) -> Comparison:  # fmt: skip
    """Puts variants side by side; those that were trained with several seeds are paired by seed, others by row. Raises
    as `compare`.

    Args:
        kind: `compare` or `ablate`, as the page is headed.
        reference: the entry that each other is put beside, and no two others; all pairs, and the best, if not given.
    """
    runs = [run for entry in entries for run in entry.runs]
    found, split, notes = answers(runs, data, options=options, device=device, reporter=reporter, **source_options)
    for note in notes:
        reporter.say(note, style="yellow")
    name = _measure(found[0], metric)
    keys, rest, seeds = [entry.name for entry in entries], iter(found), len(entries[0].runs)
    of_entry = {entry.name: [next(rest) for _ in entry.runs] for entry in entries}
    measured = {key: [one.values(name) for one in own] for key, own in of_entry.items()}
    sign = 1 if higher_is_better(name) else -1
    means = {key: sign * float(np.mean([one[name] for one in own])) for key, own in measured.items()}
    best = reference or max(means, key=means.__getitem__)
    pairs = [(best, key) for key in keys if key != best] if reference else list(combinations(keys, 2))
    if seeds > 1:
        merits = {key: [sign * one[name] for one in own] for key, own in measured.items()}
        differences = [paired.by_seed(merits[one], merits[two]) for one, two in pairs]
    else:
        differences = _by_row({key: own[0] for key, own in of_entry.items()}, pairs, name, sign)
    adjusted = holm([one.p for one in differences])
    listed = [
        {"first": one, "second": two, **asdict(difference), "p_adjusted": p,
         **({} if seeds > 1 else _alone(of_entry[one][0], of_entry[two][0]))}
        for (one, two), difference, p in zip(pairs, differences, adjusted, strict=True)
    ]  # fmt: skip
    firsts = {key: own[0] for key, own in of_entry.items()}
    facts = {
        "kind": kind, "metric": name, "higher_is_better": sign > 0, "numbers": found[0].task.numbers, "split": split,
        "samples": len(found[0].rows), "data": None if data is None or isinstance(data, Dataset) else str(data),
        "seeds": seeds, "notes": notes, "reference": best,
        "entries": [_entry(entry, of_entry[entry.name], measured[entry.name], name) for entry in entries],
        "differences": listed,
        "recipes": differing([entry.runs[0].recipe for entry in entries]),
        "curves": {entry.name: [_curve(run, name) for run in entry.runs] for entry in entries},
        "samples_apart": [] if reference else _apart(firsts),
    }  # fmt: skip
    return Comparison(finite(facts))


def differing(recipes: Sequence[Recipe]) -> dict[str, list[Any]]:
    """Settings by their full names that are not the same in all recipes, with the value in each; None where there is
    none."""
    flat = [_flat({k: v for k, v in r.model_dump(mode="json").items() if k not in NOT_SETTINGS}) for r in recipes]
    columns = set.intersection(*({*recipe.fields} for recipe in recipes))  # what a column of others is says data.inputs
    flat = [{n: v for n, v in one.items() if not n.startswith("fields.") or _column(n, columns)} for one in flat]
    names = dict.fromkeys(name for one in flat for name in one)
    found = {name: [one.get(name) for one in flat] for name in names}
    return {n: v for n, v in found.items() if n != "data.fingerprint" and any(value != v[0] for value in v[1:])}


def _column(name: str, columns: Collection[str]) -> bool:
    return any(name.startswith(f"fields.{column}.") for column in columns)


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping) and value
        flat |= _flat(value, f"{before}{key}.") if nested else {f"{before}{key}": value}
    return flat


def _measure(first: Answers, asked: str | None) -> str:
    """The metric that is compared: what is asked for, or the first run's measure, or what is usual where that is its
    loss, which the loss function of another run is not."""
    name, _ = first.task.measure(asked or first.predictor.objective.monitor)
    if name == "loss":
        name = first.task.usual
    if name not in first.values(name):
        known = ", ".join(first.values(name))
        raise UsageError(f"these rows have no {name}", expected=known)
    return name


def _by_row(found: Mapping[str, Answers], pairs: Sequence[tuple[str, str]], name: str, sign: int) -> list[Difference]:
    """The difference of each pair on the same rows."""
    first = next(iter(found.values()))
    values = {key: sign * own.values(name)[name] for key, own in found.items()}
    if len(first.rows) < LEAST * first.task.neighbours:
        blank = [values[one] - values[two] for one, two in pairs]
        return [Difference(value, math.nan, math.nan, math.nan, "too few independent rows") for value in blank]
    drawn: dict[str, list[float]] = {key: [] for key in found}
    summed = first.task.of_errors.get(name)
    errors: dict[str, np.ndarray] = {}
    if summed is not None:
        errors = {key: own.errors**summed.power for key, own in found.items() if own.errors is not None}
    for rows in paired.resamples(len(first.rows), neighbours=first.task.neighbours):
        for key, own in found.items():
            if summed is not None:  # of means of errors at a fraction of the cost
                drawn[key].append(sign * float(summed.of_mean(errors[key][rows].mean())))
            else:
                drawn[key].append(sign * own.values(name, rows)[name])
    differences = []
    for one, two in pairs:
        difference = paired.of_resamples(values[one] - values[two], np.subtract(drawn[one], drawn[two]))
        if summed is not None:
            difference.p = paired.sign_flip(errors[two] - errors[one])
            difference.test = "sign flips" if first.task.numbers else "McNemar"
        differences.append(difference)
    return differences


def _alone(first: Answers, second: Answers) -> dict[str, int]:
    """How many rows only one of two has right."""
    if first.errors is None or second.errors is None or first.task.numbers:
        return {}
    right, other = first.errors == 0, second.errors == 0
    return {"only_first": int((right & ~other).sum()), "only_second": int((other & ~right).sum())}


def _entry(entry: Entry, found: list[Answers], measured: list[dict[str, float]], name: str) -> dict[str, Any]:
    names = [n for n in measured[0] if all(n in one for one in measured)]
    over = {n: paired.mean_interval([one[n] for one in measured]) for n in names}
    intervals = {n: bounded(n, *v[1:]) for n, v in over.items()} if len(measured) > 1 else found[0].intervals(name)
    return {
        "name": entry.name, "runs": [str(run.path) for run in entry.runs],
        "metrics": {n: v[0] for n, v in over.items()},
        "intervals": {n: list(v) for n, v in intervals.items()}, "by_run": [one[name] for one in measured],
        "seconds": float(np.mean([_seconds(run) for run in entry.runs])),
    }  # fmt: skip


def _seconds(run: Run) -> float:
    """The time of a run's training epochs."""
    return sum(line.get("speed", {}).get("seconds", 0.0) for line in run.lines if "train_loss" in line)


def _curve(run: Run, name: str) -> dict[str, list[list[float]]]:
    """[epoch, value] of the metric and of the loss on validation rows."""
    lines = [line for line in run.lines if "train_loss" in line]
    return {n: [[line["epoch"], line["valid"][n]] for line in lines if n in line.get("valid", {})]
            for n in dict.fromkeys((name, "loss"))}  # fmt: skip


def _apart(found: Mapping[str, Answers]) -> list[dict[str, Any]]:
    """Samples that one run gets right and no other does; of numbers those where it is most the nearer one."""
    errors = [own.errors for own in found.values()]
    if any(one is None for one in errors):
        return []
    matrix = np.stack([one for one in errors if one is not None])
    shown = []
    first = next(iter(found.values()))
    for i, name in enumerate(found):
        ahead = np.delete(matrix, i, 0).min(0) - matrix[i]
        if not first.task.numbers:
            ahead = ahead * (matrix[i] == 0)
        order = np.argsort(-ahead, kind="stable")[:SHOWN]
        for at in order[ahead[order] > 0].tolist():
            row = int(first.rows[at])
            shown.append({"only": name, "place": first.dataset.place(row), "html": render(first.dataset, row),
                          "true": first.truth(at), "answers": {k: own.label(at) for k, own in found.items()},
                          "errors": dict(zip(found, matrix[:, at].tolist(), strict=True))})  # fmt: skip
    return shown


def _short(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
