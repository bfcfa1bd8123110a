"""A dataset of what a model met in use: answered rows to train on, and unsure and strange ones to be labelled."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from flambeau.core.errors import DataError, UsageError
from flambeau.core.files import write_atomic
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
    rows = [*tables.read(name, version, since, inputs=True)]
    if not rows:
        raise DataError("the log has no inputs of this run", where=str(tables),
                        fix="serve it with --log … --log-inputs")  # fmt: skip
    predictor = Predictor.load(run, reporter=reporter)
    readable: list[tuple[Logged, dict[str, Any]]] = []
    for row in rows:
        try:
            readable.append((row, raw_of(predictor, row.input)))
        except DataError:
            continue
    answered = [(row, values) for row, values in readable if row.answered]
    others = [(row, values) for row, values in readable if not row.answered]
    reasons: dict[str, str] = {}
    sure = sorted((row for row, _ in others if row.confidence is not None), key=lambda row: row.confidence or 0)
    for row in sure[:unsure]:
        reasons[row.id] = "unsure"
    for id in _strangest(run, predictor, others, drifted, reporter):
        reasons[id] = f"{reasons[id]}, drifted" if id in reasons else "drifted"
    chosen = [(row, values) for row, values in others if row.id in reasons]
    columns = predictor.columns
    target = predictor.target or "target"
    (out / "files").mkdir(parents=True)
    head = [*columns, target]
    _write(out / "train.csv", head, [[*_cells(predictor, v, out, row.id), _cell(row.target)] for row, v in answered])
    guesses = [[_cell(row.output.get("label")), row.confidence, reasons[row.id], row.id] for row, _ in chosen]
    cells = [_cells(predictor, values, out, row.id) for row, values in chosen]
    _write(
        out / "label.csv",
        [*columns, "guess", "confidence", "why", "id"],
        [[*a, *b] for a, b in zip(cells, guesses, strict=True)],
    )
    if not any((out / "files").iterdir()):
        (out / "files").rmdir()
    return {"out": str(out), "train": str(out / "train.csv"), "label": str(out / "label.csv"), "target": target,
            "inputs": columns, "answered": len(answered), "unsure": sum("unsure" in r for r in reasons.values()),
            "drifted": sum("drifted" in r for r in reasons.values())}  # fmt: skip


def _strangest(
    run: Run, predictor: Predictor, rows: list[tuple[Logged, dict[str, Any]]], most: int, reporter: Reporter
) -> list[str]:
    """The rows that the model sees least like those of the training."""
    before = reference(run, predictor, reporter)
    if before is None or before.embedding is None or not rows or predictor.parts != [predictor]:
        return []
    vectors = np.asarray(predictor.embed([values for _, values in rows]))
    if vectors.shape[1] != before.embedding.shape[1]:
        return []
    strange = strangeness(before.embedding, vectors)
    order = np.argsort(-strange, kind="stable")[:most]
    return [rows[i][0].id for i in order.tolist() if strange[i] >= STRANGE]


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
                write_atomic(out / path, value)
                value = str(path)
            cells.append(_cell(value))
    return cells


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value


def _write(path: Path, head: list[str], rows: list[list[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())
