"""Labels that a person looks through: what is doubted in a run, and the table of corrections that is made of it.

The table is `corrections.csv` in the run's folder, as `flambeau train --corrections` takes it: a row for each sample
that was decided, with `keep` where its label is right.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flambeau.board.workplace import OWN, Workplace
from flambeau.core.errors import DataError
from flambeau.core.files import parse_json, read_bytes, write_atomic
from flambeau.core.printable import cell
from flambeau.data.corrections import COLUMNS, plain
from flambeau.report.markup import fragment
from flambeau.serve.problems import Problem

TABLE = "corrections.csv"
UNSURE = 100
"""Rows that a model is least sure of, that are shown after the suspected ones."""
RIGHT = "right"


def told(work: Workplace, name: str) -> dict[str, Any]:
    """{state, classes, samples, decided}: the state is `none`, `looking`, `failed` (with an `error`) or `ready`;
    `decided` is by place the class that was given, or None where the label was found right."""
    run = work.run(name)
    state: dict[str, Any] = {"state": "none", "classes": [], "samples": [], "decided": {}}
    if work.jobs.alive(name, "labels"):
        return {**state, "state": "looking"}
    path = _samples(work, name)
    if not path.exists():
        failed = work.jobs.failed(name, "labels")
        return {**state, "state": "failed", "error": work.jobs.told(name)} if failed else state
    found = parse_json(read_bytes(path))
    samples = [{**one, "html": fragment(one["html"])} for one in found["samples"]]
    rows = _decided(run.path / TABLE)
    decided = {place: None if row["keep"] else row["suggested"] for place, row in rows.items()}
    return {**state, "state": "ready", "classes": found["classes"], "samples": samples, "decided": decided}


def look(work: Workplace, name: str) -> None:
    """Starts to look for suspected labels and unsure answers.

    Raises:
        Problem: there is no such run, it is not at its end, or something else is done with it.
    """
    run = work.run(name)
    if not run.finished:
        raise Problem(409, "unfinished", f"'{name}' is not at its end")
    if work.jobs.busy(name):
        raise Problem(409, "busy", f"'{name}' is busy")
    for left in (path := _samples(work, name)), path.with_suffix(".csv"):
        left.unlink(missing_ok=True)
    work.jobs.start(name, "labels", [
        "clean", f"--from={run.path}", f"--unsure={UNSURE}", f"--samples={path}", f"--out={path.with_suffix('.csv')}",
    ])  # fmt: skip


def decide(work: Workplace, name: str, asked: Mapping[str, Any]) -> int:
    """Writes a decision down; how many there are.

    Args:
        asked: `place`, and `label`: a class, None where the given one is right, or nothing to take a decision back.

    Raises:
        Problem: there is no such sample or class.
    """
    run, path = work.run(name), _samples(work, name)
    found = parse_json(read_bytes(path)) if path.exists() else {"samples": [], "classes": []}
    sample = next((one for one in found["samples"] if one["place"] == asked.get("place")), None)
    if sample is None:
        raise Problem(404, "no-sample", f"no sample of '{name}' is called '{asked.get('place')}'")
    rows = _decided(run.path / TABLE)
    if "label" not in asked:
        rows.pop(sample["place"], None)
    else:
        label = asked["label"]
        if label is not None and label not in found["classes"]:
            raise Problem(422, "class", f"'{label}' is none of the classes {', '.join(found['classes'][:9])}")
        kept = label is None or label == sample["given"]
        rows[sample["place"]] = {
            "place": sample["place"], "given": sample["given"], "suggested": sample["given"] if kept else label,
            "confidence": f"{sample['confidence']:.4f}", "keep": RIGHT if kept else "",
        }  # fmt: skip
    _write(run.path / TABLE, rows)
    return len(rows)


def train(work: Workplace, name: str) -> str:
    """Trains the recipe of a run anew with its corrections, and those that it was trained with; the new run's name.

    Raises:
        Problem: no label is corrected.
    """
    run = work.run(name)
    changed = {place: row for place, row in _decided(run.path / TABLE).items() if not row["keep"]}
    if not changed:
        raise Problem(409, "no-corrections", f"no label of '{name}' is corrected")
    before = run.recipe.data.get("corrections")
    together = {place: row for place, row in _decided(Path(before)).items() if not row["keep"]} if before else {}
    for place, row in changed.items():  # what a row is corrected from is what the data has
        together[place] = {**row, "given": together[place]["given"]} if place in together else row
    made = work.free(name)
    table = work.folder / OWN / f"{made}.corrections.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    _write(table, together)
    work.jobs.start(made, "train", [
        "train", f"--recipe={run.path / 'recipe.yaml'}", f"--corrections={table}", f"--run={work.folder / made}",
    ])  # fmt: skip
    return made


def _samples(work: Workplace, name: str) -> Path:
    return work.folder / OWN / f"{name}.labels.json"


def _decided(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table of corrections by place; none where it is not there."""
    if not path.exists():
        return {}
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path).decode("utf-8-sig", "surrogateescape"))))
        read = [{column: plain(row[column] or "") for column in COLUMNS} for row in rows]
    except (csv.Error, KeyError) as error:
        raise DataError(f"this is no table of corrections ({error})", where=path) from None
    return {row["place"]: row for row in read}


def _write(path: Path, rows: Mapping[str, Mapping[str, str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows([cell(row[column]) for column in COLUMNS] for row in rows.values())
    write_atomic(path, text.getvalue().encode("utf-8", "surrogateescape"))
