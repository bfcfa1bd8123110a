"""Which way of answering is quickest here: a run and its exports beside one another, on the same rows.

They take turns, so that what slows the machine for a while slows all of them. At batch 1 each call is timed (p50, p99);
then larger batches, of which the best counts. One is recommended where it was quicker than the first in every round,
and never one that is slower.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flambeau.core.errors import DataError, FlambeauError, ModelError, UsageError
from flambeau.core.reporter import QUIET, Reporter
from flambeau.evaluation import held_out
from flambeau.exports.base import export
from flambeau.exports.deployed import Deployed, as_arrays, columns_of
from flambeau.exports.loaded import ExportedPredictor
from flambeau.exports.manifest import Manifest, is_export
from flambeau.exports.program import called
from flambeau.objectives.programs import Runtime
from flambeau.predictor import Predictor
from flambeau.run import Run

FORMATS = ("compiled", "onnx", "onnx-int8")
BATCHES = (8, 32, 64)
SECONDS, LEAST = 0.3, 3
"""How long a contender is timed in a round at batch 1, and how many calls at least."""
QUICKER = 0.95
"""A recommended one's time may be this share of the first's: less of a gain is not worth a change."""


@dataclass
class Contender:
    """One way of answering.

    Attributes:
        name: `eager`, `eager bf16`, or the name of an export's folder.
        run: from arrays by name to arrays by name.
        folder: of the export; None for the run's own model.
        size: bytes of its programs or weights.
        verified: what was found beside the model; empty for the model itself.
        memory: bytes, the peak of a process that loads it and answers the largest batch; None where nobody can say.
        single: seconds of each call at batch 1, by round.
        processor: seconds of all processors for such a call, by round.
        batches: by batch the seconds of a call, one a round.
    """

    name: str
    run: Runtime
    folder: Path | None
    size: int
    verified: dict[str, Any] = field(default_factory=dict)
    memory: int | None = None
    single: list[list[float]] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    batches: dict[int, list[float]] = field(default_factory=dict)

    def figures(self, first: Contender) -> dict[str, Any]:
        """Plain JSON: times in milliseconds (`processor`: of all processors), rows a second at the best batch, and how
        often it is as quick as the first, as medians and in the worst round."""
        calls = np.concatenate([np.asarray(calls) for calls in self.single])
        rates = {batch: batch / float(np.median(seconds)) for batch, seconds in self.batches.items()}
        best = max(rates, key=lambda batch: rates[batch])
        ratios = [float(np.median(a) / np.median(b)) for a, b in zip(first.single, self.single, strict=True)]
        return {
            "name": self.name, "folder": None if self.folder is None else str(self.folder),
            "p50": 1000 * float(np.median(calls)), "p99": 1000 * float(np.percentile(calls, 99)),
            "processor": 1000 * float(np.median(self.processor)),
            "batch": best, "rate": rates[best], "quicker": float(np.median(ratios)), "least": min(ratios),
            "size": self.size, "memory": self.memory, "verified": self.verified,
        }  # fmt: skip


def bench(
    sources: Sequence[str | Path], *, formats: Sequence[str] = FORMATS, rounds: int = 5, processor_time: bool = False,
    memory: bool = True, reporter: Reporter = QUIET,
) -> dict[str, Any]:  # fmt: skip
    """Measures runs' models and exports beside one another; the first is what the others are compared with.

    Args:
        sources: folders of runs or of exports, all of the same inputs. Beside a run stand the exports that lie in it.
        formats: exports of a run that are made where they are missing: a format of EXPORTERS, or with its precision,
            such as `onnx-int8`.
        rounds: how often the contenders take turns.
        processor_time: time of processors in place of that of the clock, for a machine that others use; several
            threads count several times.
        memory: also measure the memory, each in a process of its own.

    Returns:
        {rows, rounds, clock, threads, contenders, left_out, recommended, why} as plain JSON.

    Raises:
        RunError: there is no such run. UsageError: two take other inputs.
    """
    if not sources:
        raise UsageError("nothing to measure", expected="a run, or folders of exports")
    if rounds < 1:
        raise UsageError(f"{rounds} rounds do not fit", expected="1 or more")
    left_out: list[dict[str, str]] = []
    contenders: list[Contender] = []
    arrays: Callable[[int], Mapping[str, np.ndarray]] | None = None
    names: tuple[str, ...] = ()
    for source in map(Path, sources):
        run = Run.open(source)
        predictor = Predictor.load(run, device="cpu", reporter=reporter)
        taken = tuple(columns_of(predictor))
        if arrays is None:
            arrays, names = _batches(run, predictor, reporter), taken
        if taken != names:
            raise UsageError(f"{source} takes other inputs than {sources[0]}: {', '.join(taken)}",
                             expected=", ".join(names))  # fmt: skip
        contenders += _contenders(run, predictor, formats, left_out, reporter)
    assert arrays is not None
    for one in list(contenders):
        try:
            one.run(arrays(1))
        except (ModelError, KeyError) as error:
            contenders.remove(one)
            why = str(error) if isinstance(error, ModelError) else f"nothing of a row is its input {error}"
            left_out.append({"name": one.name, "why": why})
    if not contenders:
        raise ModelError(f"none of them answers: {left_out[0]['why']}")
    clock = time.process_time if processor_time else time.perf_counter
    with reporter.bar("measuring", rounds) as bar:
        for number in range(rounds):
            for one in contenders if number % 2 == 0 else contenders[::-1]:
                _time(one, arrays, clock)
            bar.update(number + 1)
    if memory:
        for one in contenders:
            one.memory = _memory(one, Path(sources[0]), reporter)
    figures = [one.figures(contenders[0]) for one in contenders]
    recommended, why = recommendation(figures)
    return {"rows": 1, "rounds": rounds, "clock": "processor" if processor_time else "wall",
            "threads": torch.get_num_threads(), "contenders": figures, "left_out": left_out,
            "recommended": recommended, "why": why}  # fmt: skip


def recommendation(figures: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The name of the contender to take, and why: the quickest at batch 1 of those that were verified and quicker than
    the first in every round; else the first."""
    first = figures[0]
    quicker = [one for one in figures[1:] if one["verified"] and one["least"] * QUICKER >= 1]
    if not quicker:
        return first["name"], f"none of the others is verified and surely quicker than {first['name']} at batch 1"
    best = min(quicker, key=lambda one: one["p50"])
    seen = best["verified"]
    cost = ""
    if "metric" in seen:
        cost = f"; {seen['metric']} {seen['export']:.4f}, {seen['model']:.4f} of the model"
    return best["name"], (f"{best['quicker']:.1f} times as quick as {first['name']} at batch 1, "
                          f"{best['least']:.1f} in the worst round{cost}")  # fmt: skip


def _contenders(
    run: Run, predictor: Predictor, formats: Sequence[str], left_out: list[dict[str, str]], reporter: Reporter
) -> list[Contender]:
    """A run's model in float32 and bf16 with its exports, or the export that a folder is."""
    if is_export(run.path):
        return [_exported(run.path, predictor)]
    if run.members:
        raise UsageError("several models cannot be measured as one", where=run.path, fix="give the runs of its members")
    made = run.path / "exports"
    for name in formats:
        format, _, precision = name.partition("-")
        if is_export(made / name):
            continue
        reporter.say(f"exporting {name}, which takes a while")
        try:
            export(run, format=format, precision=precision or "float32", reporter=reporter)
        except FlambeauError as error:
            left_out.append({"name": name, "why": str(error)})
    size = sum(value.nbytes for value in predictor.objective.model.state_dict().values())
    eager = [Contender(name, _eager(predictor, precision), None, size)
             for name, precision in (("eager", "float32"), ("eager bf16", "bf16"))]  # fmt: skip
    folders = sorted(made.iterdir()) if made.is_dir() else []
    return [*eager, *(_exported(folder, Predictor.load(Run(folder))) for folder in folders if is_export(folder))]


def _eager(predictor: Predictor, precision: str) -> Runtime:
    deployed = Deployed(predictor, next(iter(predictor.objective.programs())), precision).eval()
    return lambda arrays: called(deployed, arrays, deployed.inputs)


def _exported(folder: Path, predictor: Predictor) -> Contender:
    manifest = Manifest.read(folder)
    size = sum((folder / program["file"]).stat().st_size for program in manifest.programs.values())
    if not isinstance(predictor, ExportedPredictor):
        raise UsageError(
            "several models cannot be measured as one", where=folder, fix="give the exports of its members"
        )
    return Contender(folder.name, next(iter(predictor.runtimes.values())), folder, size, manifest.verified)


def _batches(run: Run, predictor: Predictor, reporter: Reporter) -> Callable[[int], Mapping[str, np.ndarray]]:
    """Batches of any size of held-out rows; where the data is gone, of those that the run kept."""
    ports = columns_of(predictor)
    deployed = None if is_export(run.path) else Deployed(predictor, next(iter(predictor.objective.programs()))).eval()
    made: dict[int, Mapping[str, np.ndarray]] = {}
    try:
        reading, rows, _ = held_out(run, predictor, None)
    except DataError:
        kept = [predictor.encode({c: predictor.fields[c].from_portable(v) for c, v in row.items()})
                for row in predictor.examples] or [predictor.blank()]  # fmt: skip
        reporter.say("the data of the training is gone: it is measured on the rows that the run kept", style="yellow")

        def gathered(size: int) -> Any:
            return predictor.gather([kept[i % len(kept)] for i in range(size)])
    else:

        def gathered(size: int) -> Any:
            return reading.store.gather(torch.from_numpy(np.resize(rows, size)))

    def batch(size: int) -> Mapping[str, np.ndarray]:
        if size not in made:
            rows = gathered(size)
            made[size] = (as_arrays(ports, rows) if deployed is None else deployed.of_rows(rows)) or {}
        return made[size]

    return batch


def _time(one: Contender, arrays: Callable[[int], Mapping[str, np.ndarray]], clock: Callable[[], float]) -> None:
    """A round of one: calls at batch 1 for a while, and one or more of each larger batch."""
    alone = arrays(1)
    one.run(alone)  # what others left in the caches is gone then
    calls: list[float] = []
    until = time.perf_counter() + SECONDS
    spent = time.process_time()
    while len(calls) < LEAST or time.perf_counter() < until:
        begun = clock()
        one.run(alone)
        calls.append(clock() - begun)
    one.processor.append((time.process_time() - spent) / len(calls))
    one.single.append(calls)
    one.batches.setdefault(1, []).append(float(np.median(calls)))
    for size in BATCHES:
        many = arrays(size)
        begun = clock()
        one.run(many)
        one.batches.setdefault(size, []).append(clock() - begun)


def _memory(one: Contender, source: Path, reporter: Reporter) -> int | None:
    """The peak of a process that loads it and answers the largest batch."""
    code = "import sys; from flambeau.exports.bench import answer; answer(*sys.argv[1:])"
    arguments = [str(one.folder or source), "bf16" if one.name.endswith("bf16") else "float32"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    lines = done.stdout.split()
    if done.returncode:
        why = (done.stderr.splitlines() or [f"status {done.returncode}"])[-1]
        reporter.say(f"{one.name}: the process whose memory is measured failed ({why})", style="yellow")
        return None
    return int(lines[-1]) if lines and lines[-1].isdigit() else None


def answer(folder: str, precision: str) -> None:
    """In a process of its own: answers the largest batch, and prints the peak of its memory in bytes."""
    run = Run.open(folder)
    predictor = Predictor.load(run, device="cpu", reporter=QUIET)
    arrays = _batches(run, predictor, QUIET)(BATCHES[-1])
    way = _exported(run.path, predictor).run if is_export(run.path) else _eager(predictor, precision)
    way(arrays)
    status = Path("/proc/self/status")
    if status.exists():  # Linux; elsewhere nothing is printed
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        sys.stdout.write(f"{1024 * int(line.split()[1])}\n")


def lines(result: Mapping[str, Any]) -> list[str]:
    """A result as a table for a person."""
    head = ["", "p50 ms", "p99 ms", "CPU ms", "× first", "rows/s", "at batch", "MiB on disk", "MiB memory", "metric"]
    table = [head]
    for one in result["contenders"]:
        seen = one["verified"]
        table.append([
            one["name"], f"{one['p50']:.3g}", f"{one['p99']:.3g}", f"{one['processor']:.3g}",
            f"{one['quicker']:.2f}", f"{one['rate']:,.0f}", str(one["batch"]), f"{one['size'] / 2**20:.1f}",
            "–" if one["memory"] is None else f"{one['memory'] / 2**20:,.0f}",
            f"{seen['export']:.4f}" if "export" in seen else "",
        ])  # fmt: skip
    widths = [max(len(row[i]) for row in table) for i in range(len(head))]
    told = ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in table]  # fmt: skip
    told += [f"left out: {one['name']}: {one['why']}" for one in result["left_out"]]
    time_of = "of processors" if result["clock"] == "processor" else "of the clock"
    told.append(f"time {time_of}, {result['threads']} threads, {result['rounds']} rounds in turns")
    return [*told, f"recommended: {result['recommended']}: {result['why']}"]
