"""What the data was in a training, small enough to lie in its run: `statistics.json` and `statistics.safetensors`.

Made at the end of a training from rows that are encoded already: costs one forward pass of at most 1,000 rows. What
goes through the model (its answers, how sure it is, what it makes of an input before its last layer) is of held-out
rows where there are such, for a model is surer of rows that it learned by heart, and they would look like drift.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from flambeau.core.errors import DataError, FlambeauError, ModelError, RunError, UsageError, first_line
from flambeau.core.files import read_json, write_atomic, write_json
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.dataset import Dataset
from flambeau.data.grouping import PRESENT
from flambeau.data.several import Prepare
from flambeau.data.store.store import Store
from flambeau.evaluation import trained_on
from flambeau.fields import Ragged
from flambeau.predictor import Predictor
from flambeau.predictor.embedding import head_of, vectors, whole
from flambeau.run import Run

ROWS, EMBEDDED, QUANTILES, WIDEST = 1000, 500, 256, 512
NAMES = 200
"""Of a column of names, the most frequent; the others are one, OTHERS."""
OTHERS = "…"
CONFIDENCE, ANSWER = "confidence", "answer"
BATCH = 64
Values = Mapping[str, Any]
Chunk = tuple[Sequence[Values], Sequence[Mapping[str, np.ndarray]], Callable[[], np.ndarray]]
"""Raw values by input, the same encoded, and what gives the model's outputs for them."""


@dataclass
class Statistics:
    """What some rows are like.

    Attributes:
        rows: how many.
        numbers: by signal (see `Field.signals`), float64 (N): NaN where it is missing.
        names: by signal, how often each name is there; None where it is missing.
        embedding: of rows what the model makes of them before its last layer, float32 (R, F); None where it has no one
            vector for a row, or several models answer.
    """

    rows: int = 0
    numbers: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, Counter[str | None]] = field(default_factory=dict)
    embedding: np.ndarray | None = None

    def add(self, signals: Iterable[Mapping[str, float | str | None]]) -> None:
        """The signals of rows."""
        columns: dict[str, list[float | str | None]] = {}
        for row in signals:
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        for name, values in columns.items():
            if all(isinstance(value, float) for value in values):
                self.numbers[name] = np.asarray(values, np.float64)
            else:
                self.names[name] = Counter(None if value is None else str(value) for value in values)

    def write(self, run: Run) -> None:
        """Into a run: of numbers quantiles, of names the most frequent."""
        numbers = {}
        for name, values in self.numbers.items():
            known = values[np.isfinite(values)]
            at = np.linspace(0, 1, min(len(known), QUANTILES))
            quantiles = np.quantile(known, at).tolist() if len(known) else []
            numbers[name] = {"rows": len(values), "missing": len(values) - len(known), "quantiles": quantiles}
        names = {name: _frequent(counts) for name, counts in self.names.items()}
        if self.embedding is not None:
            rounded = torch.from_numpy(self.embedding).half()
            write_atomic(run.path / "statistics.safetensors", safetensors.torch.save({"embedding": rounded}))
        write_json(run.path / "statistics.json", {"rows": self.rows, "numbers": numbers, "names": names})

    @classmethod
    def read(cls, run: Run) -> Statistics | None:
        """Those of a run; None where it has none.

        Raises:
            RunError: they are damaged.
        """
        path, beside = run.path / "statistics.json", run.path / "statistics.safetensors"
        if not path.exists():
            return None
        state = read_json(path)
        try:
            numbers = {
                name: np.r_[np.asarray(of["quantiles"], np.float64), _missing(of)]
                for name, of in state["numbers"].items()
            }
            names = {name: Counter({one: int(count) for one, count in pairs}) for name, pairs in state["names"].items()}
            embedding = None
            if beside.exists():
                embedding = safetensors.torch.load(beside.read_bytes())["embedding"].float().numpy()
            return cls(int(state["rows"]), numbers, names, embedding)
        except (KeyError, TypeError, ValueError, AttributeError, safetensors.SafetensorError) as error:
            fix = "take statistics.json away: they are made again from the data"
            raise RunError(f"the statistics are damaged ({error!r})", where=path, fix=fix) from None


def _frequent(counts: Counter[str | None]) -> list[tuple[str | None, int]]:
    frequent = counts.most_common(NAMES)
    rest = sum(counts.values()) - sum(count for _, count in frequent)
    return [*frequent, *([(OTHERS, rest)] if rest else [])]


def _missing(of: Mapping[str, Any]) -> np.ndarray:
    """As many NaN as keep the share of missing ones beside the quantiles."""
    known = of["rows"] - of["missing"]
    return np.full(round(len(of["quantiles"]) * of["missing"] / known) if known else of["rows"], np.nan)


def statistics_of(predictor: Predictor, chunks: Iterable[Chunk], more: Iterable[Chunk] = ()) -> Statistics:
    """What rows are like.

    Args:
        chunks: rows that the model answers.
        more: rows whose raw values are looked at alone.
    """
    signals: list[dict[str, float | str | None]] = []
    answers: list[dict[str, float | str | None]] = []
    embedded: list[np.ndarray] = []
    with _before_the_head(predictor) as caught:
        for values, encoded, outputs in chunks:
            signals += [signals_of(predictor, v, e) for v, e in zip(values, encoded, strict=True)]
            answered = outputs()
            answers += [answer_signals(predictor, o, v) for o, v in zip(answered, values, strict=True)]
            if caught is not None:
                try:
                    embedded.append(vectors(caught, len(values)))
                except ModelError:
                    caught = None
    for values, encoded, _ in more:
        signals += [signals_of(predictor, v, e) for v, e in zip(values, encoded, strict=True)]
    made = Statistics(len(signals))
    made.add(signals)
    made.add(answers)
    if caught is not None and embedded:
        made.embedding = _narrow(np.concatenate(embedded))
    return made


def signals_of(predictor: Predictor, values: Values, encoded: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The signals of one row: see `Field.signals`; nothing of a value that has none."""
    found: dict[str, Any] = {}
    for name in predictor.inputs:
        if name != PRESENT and name in encoded and values.get(name) is not None:
            found |= predictor.fields[name].signals(name, values[name], encoded[name])
    return found


def answer_signals(predictor: Predictor, output: np.ndarray, values: Values) -> dict[str, float | str | None]:
    """The same of an answer: what it is, where it is a name or a number, and how sure."""
    target = predictor.fields[predictor.target or ""]
    if target.follows or target.answers_as_files or target.has_parts:
        return {}
    prediction = predictor.decode(output, 0.0, values)
    told = dict(target.signals(ANSWER, prediction.label, None))
    return told if prediction.confidence is None else {**told, CONFIDENCE: float(prediction.confidence)}


@contextlib.contextmanager
def _before_the_head(predictor: Predictor) -> Iterator[list[Tensor] | None]:
    """A list that holds what the last forward pass gave to the model's head; None where no one model answers."""
    seen: list[Tensor] = []

    def catch(_: Any, inputs: Any) -> None:
        seen[:] = [value for value in inputs if isinstance(value, Tensor)][:1]

    try:
        whole(predictor)
        handle = head_of(predictor.objective).register_forward_pre_hook(catch)
    except (UsageError, ModelError, AttributeError):
        yield None
        return
    try:
        yield seen
    finally:
        handle.remove()


def _narrow(embedding: np.ndarray) -> np.ndarray:
    """Rows evenly chosen, and of very many numbers random sums, always the same, which keep distances (Johnson and
    Lindenstrauss 1984)."""
    chosen = embedding[np.linspace(0, len(embedding) - 1, min(len(embedding), EMBEDDED)).astype(int)]
    if chosen.shape[1] > WIDEST:
        sums = np.random.default_rng(0).standard_normal((chosen.shape[1], WIDEST)) / np.sqrt(WIDEST)
        chosen = chosen @ sums
    return np.ascontiguousarray(chosen, np.float32)


def of_training(predictor: Predictor, dataset: Dataset, store: Store, prepare: Prepare, good: np.ndarray) -> Statistics:
    """Those of the data of a training: of held-out rows, and of training rows in place of those that are too few.

    Args:
        good: rows that could be read.
    """
    held_out = np.concatenate([dataset.rows(split) for split in ("valid", "test")])
    held_out = np.intersect1d(held_out, good)
    train = np.intersect1d(dataset.rows("train"), good)
    answered = _some(held_out if len(held_out) else train, ROWS)
    more = _some(train, max(0, ROWS - len(answered))) if len(held_out) else train[:0]
    chunks = (_chunks(predictor, dataset, store, prepare, rows) for rows in (answered, more))
    return statistics_of(predictor, *chunks)


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _chunks(
    predictor: Predictor, dataset: Dataset, store: Store, prepare: Prepare, rows: np.ndarray
) -> Iterator[Chunk]:
    inputs = [name for name in predictor.inputs if name != PRESENT]
    for start in range(0, len(rows), BATCH):
        chosen = rows[start : start + BATCH]
        numbers = torch.from_numpy(chosen)
        gathered = store.gather(numbers)
        columns = {name: dataset.take(name, chosen) for name in inputs}
        values = [{name: columns[name][i] for name in inputs} for i in range(len(chosen))]
        encoded = [{name: _row(gathered[name], i) for name in inputs} for i in range(len(chosen))]
        yield values, encoded, lambda n=numbers, g=gathered: predictor.forward(prepare(n, g, False, None))  # type: ignore[misc]


def _row(gathered: Tensor | Ragged, i: int) -> np.ndarray:
    array = gathered.values[i, : int(gathered.lengths[i])] if isinstance(gathered, Ragged) else gathered[i]
    return array.cpu().numpy()


def write(
    run: Run, predictor: Predictor, dataset: Dataset, store: Store, prepare: Prepare, good: np.ndarray,
    reporter: Reporter = QUIET,
) -> None:  # fmt: skip
    """Writes those of a training into its run, whose weights are saved: nothing may lose them."""
    if predictor.target not in predictor.fields:
        return
    try:
        of_training(predictor, dataset, store, prepare, good).write(run)
    except (RuntimeError, MemoryError, FlambeauError, OSError, ValueError) as error:
        reporter.say(f"what the data was is not kept for `flambeau watch` ({first_line(error)})", style="yellow")


def reference(run: Run, predictor: Predictor, reporter: Reporter = QUIET) -> Statistics | None:
    """Those of a run; of one that has none they are made from its data, and kept. None where the data is gone."""
    if (kept := Statistics.read(run)) is not None:
        return kept
    try:
        reading = predictor.read(trained_on(run), reporter=reporter)
        made = of_training(predictor, reading.dataset, reading.store, reading.prepare, reading.good)
    except (DataError, UsageError, RunError, LookupError):
        return None
    made.write(run)
    return Statistics.read(run)
