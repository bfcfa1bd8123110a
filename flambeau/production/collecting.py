"""A dataset of what a model met in use: answered rows to train on, and unsure and strange ones to be labelled."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import heapq
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.core.files import disk_full_named, write_atomic
from flambeau.core.reporter import QUIET, Reporter
from flambeau.data.grouping import PRESENT
from flambeau.fields import Field
from flambeau.predictor import Predictor
from flambeau.production.drift import strangeness
from flambeau.production.statistics import reference
from flambeau.production.tables import Logged, LogTables
from flambeau.production.watching import named, raw_of
from flambeau.run import Run

STRANGE = 0.99
"""Rows that are stranger than this share of the training's are drifted."""
CHUNK = 256
"""Rows whose inputs are held at one time, beside those that are chosen so far."""
ENDINGS = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".wav"),
           (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"II*\0", ".tif"), (b"MM\0*", ".tif"))  # fmt: skip


def collect(
    run: Run, tables: LogTables, out: Path, *, model: str | None = None, since: float = 0.0, unsure: int = 100,
    drifted: int = 100, reporter: Reporter = QUIET,
) -> dict[str, Any]:  # fmt: skip
    """Writes logged rows into a folder: `train.csv`, those whose right answer was given; `label.csv`, the least sure
    and the strangest of the others with the model's answer as a guess; files among the inputs under `files/`.

    Args:
        unsure, drifted: how many of them at most.

    Raises:
        DataError: the log has no inputs of this run. UsageError: the folder is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("the folder is not empty", where=out, fix="give another --out")
    name, version = named(run, tables, model)
    stream = tables.read(name, version, since, inputs=True)
    rows = [*itertools.islice(stream, CHUNK)]
    if not rows:
        raise DataError("the log has no inputs of this run", where=str(tables),
                        fix="serve it with --log … --log-inputs")  # fmt: skip
    predictor = Predictor.load(run, reporter=reporter)
    columns, target = predictor.columns, predictor.target or "target"
    strange = _strangeness(run, predictor, reporter) if drifted > 0 else None
    read, answered = 0, 0
    surest, strangest = _Few(unsure), _Few(drifted)
    with _table(out, "train.csv", [*columns, target]) as train:
        while rows:
            others: list[_Row] = []
            for row in rows:
                read += 1
                try:
                    values = raw_of(predictor, row.input)
                except DataError:
                    continue
                if row.answered:
                    train.writerow([*_cells(predictor, values, out, row.id), _cell(row.target)])
                    answered += 1
                else:
                    others.append(_Row(read, dataclasses.replace(row, input=None), values))
            for one in others:
                if one.row.confidence is not None:
                    surest.offer(-one.row.confidence, one)
            if others and strange is not None:
                for one, how in zip(others, strange([one.values for one in others]), strict=True):
                    if how >= STRANGE:
                        strangest.offer(float(how), one)
            rows = [*itertools.islice(stream, CHUNK)]
    chosen: dict[int, tuple[_Row, list[str]]] = {}
    for few, reason in ((surest, "unsure"), (strangest, "drifted")):
        for one in few.rows:
            chosen.setdefault(one.number, (one, []))[1].append(reason)
    with _table(out, "label.csv", [*columns, "guess", "confidence", "why", "id"]) as label:
        for _, (one, reasons) in sorted(chosen.items()):
            row = one.row
            guess = [_cell(row.output.get("label")), row.confidence, ", ".join(reasons), row.id]
            label.writerow([*_cells(predictor, one.values, out, row.id), *guess])
    return {"out": str(out), "train": str(out / "train.csv"), "label": str(out / "label.csv"), "target": target,
            "inputs": columns, "answered": answered, "unsure": len(surest.rows),
            "drifted": len(strangest.rows)}  # fmt: skip


@dataclass
class _Row:
    """A logged row that nobody has answered, by its place in the log, and its raw values."""

    number: int
    row: Logged
    values: dict[str, Any]


class _Few:
    """Of all rows that are offered the `most` with the largest keys, the earlier of equal ones."""

    def __init__(self, most: int):
        self.most = most
        self._heap: list[tuple[float, int, _Row]] = []

    def offer(self, key: float, row: _Row) -> None:
        """Takes a row, if it is among them."""
        if self.most > 0:
            heapq.heappush(self._heap, (key, -row.number, row))
            if len(self._heap) > self.most:
                heapq.heappop(self._heap)

    @property
    def rows(self) -> list[_Row]:
        """Those."""
        return [row for _, _, row in self._heap]


def _strangeness(
    run: Run, predictor: Predictor, reporter: Reporter
) -> Callable[[list[dict[str, Any]]], np.ndarray] | None:
    """What tells of raw values how little the model sees them like rows of the training; None where nothing can."""
    before = reference(run, predictor, reporter)
    if before is None or before.embedding is None or predictor.parts != [predictor]:
        return None
    ours = before.embedding

    def strange(values: list[dict[str, Any]]) -> np.ndarray:
        vectors = np.asarray(predictor.embed(values))
        if vectors.shape[1] != ours.shape[1]:
            return np.zeros(len(values))
        return strangeness(ours, vectors)

    return strange


def _cells(predictor: Predictor, values: dict[str, Any], out: Path, id: str) -> list[Any]:
    cells: list[Any] = []
    for name in predictor.inputs:
        if name == PRESENT:
            continue
        field: Field = predictor.fields[name]
        for column in field.columns_of(name):
            value = values.get(name) if column == name else (values.get(name) or {}).get(column)
            if field.reads_files and isinstance(value, bytes):
                ending = next((e for magic, e in ENDINGS if value.startswith(magic)), min(field.suffixes))
                path = Path("files") / f"{id}{ending}"
                (out / "files").mkdir(exist_ok=True)
                write_atomic(out / path, value)
                value = str(path)
            cells.append(_cell(value))
    return cells


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


@contextlib.contextmanager
def _table(out: Path, name: str, head: list[str]) -> Iterator[Any]:
    """Writes a CSV file row by row, which has its name once it is whole."""
    out.mkdir(parents=True, exist_ok=True)
    temporary = out / f".{name}.tmp"
    with disk_full_named(out / name):
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(head)
            yield writer
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(out / name)
