"""Any value in any file of a run, and any file that is none: a line that names it, or nothing; never a bug, never a
wait."""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flambeau.cli import main
from flambeau.core.files import seal

VALUES = ("x", [1], None, 10**400, -1, 1e308, {"a": [{}]}, True, "2001-99-99")
VERBS = {
    "recipe.yaml": ("evaluate", "predict", "report", "runs", "resume"), "fields.json": ("predict", "evaluate"),
    "evaluation.json": ("report", "runs", "evaluate"), "findings.json": ("report", "resume"),
    "environment.json": ("report", "resume"), "manifest.json": ("runs", "predict"), "examples.json": ("predict",),
    "metrics.jsonl": ("report", "runs"),
}  # fmt: skip
ANCHORS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
WHOLE = {
    "nothing": b"", "brackets": b"[" * 20_000, "braces": b'{"a":' * 20_000, "digits": b'{"a": ' + b"9" * 5_000 + b"}",
    "bytes": b"\xff\xfe\x00\x80", "nan": b'{"a": NaN}', "list": b"[]", "word": b"word", "anchors": ANCHORS.encode(),
    "day": b"training:\n  epochs: 2001-99-99\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of a table, and one that lost its end; the working folder, meanwhile."""
    folder, before = tmp_path_factory.mktemp("odd"), Path.cwd()
    os.chdir(folder)
    rows = [f"{i % 7},{i % 5},{'xyz'[i % 3]},{'no' if i % 7 < 4 else 'yes'}" for i in range(60)]
    (folder / "table.csv").write_text("\n".join(["a,b,c,label", *rows]) + "\n")
    (folder / "new.csv").write_text("a,b,c\n1,2,x\n")
    assert main.run(["train", "table.csv", "--model", "linear", "--epochs", "2", "--run", "whole"]) == 0
    shutil.copytree("whole", "half")
    for name in ("model.safetensors", "evaluation.json", "report.html"):
        (folder / "half" / name).unlink()
    yield folder
    os.chdir(before)


def asks(verb: str, run: str) -> list[str]:
    return {"runs": ["runs", "."], "predict": ["predict", run, "new.csv"]}.get(verb, [verb, run])


def told(verb: str, run: str, name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says, which is no bug; where it refuses, a line that names the file."""
    status = main.run(asks(verb, run))
    said = capsys.readouterr()
    assert "Traceback" not in said.err and "is a bug" not in said.err, said.err[-3000:]
    assert status in (0, 2)
    if status == 2:
        (line,) = [line for line in said.err.splitlines() if line.startswith("flambeau: ")]
        return line
    return said.err + said.out


def place(folder: Path, name: str) -> Path:
    """A file of the run that is spoiled."""
    if name == "manifest.json":
        return sorted((folder / "half" / "checkpoints").glob("step-*/manifest.json"))[-1]
    return folder / "whole" / name


def values(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a tree are."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree[:2]) if isinstance(tree, list) else ()
    for key, inside in items:
        yield (*at, key)
        yield from values(inside, (*at, key))


@pytest.mark.parametrize("name", list(VERBS))
def test_another_value_anywhere(folder: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    chance, file = random.Random(name), place(folder, name)
    text = file.read_text(encoding="utf-8")
    parse, write = (yaml.safe_load, yaml.safe_dump) if name.endswith("yaml") else (json.loads, json.dumps)
    document = parse(text.splitlines()[-1] if name.endswith("jsonl") else text)
    everywhere = list(values(document))
    for at in chance.sample(everywhere, min(30, len(everywhere))):
        changed = copy.deepcopy(document)
        holder = changed
        for key in at[:-1]:
            holder = holder[key]
        holder[at[-1]] = chance.choice(VALUES)
        if name == "manifest.json":  # as if it had been written so
            del changed["seal"]
            changed["seal"] = seal(json.loads(json.dumps(changed)))
        file.write_text(write(changed) + "\n", encoding="utf-8")
        verb = chance.choice([v for v in VERBS[name] if v != "resume"])  # a resume may rightly go on, and change it
        told(verb, file.relative_to(folder).parts[0], name, capsys)
    file.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("bad", [*WHOLE, "folder", "pipe", "large"])
@pytest.mark.parametrize("name", list(VERBS))
def test_a_file_that_is_none(folder: Path, name: str, bad: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = place(folder, name)
    run = file.relative_to(folder).parts[0]
    kept = shutil.copytree(folder / run, folder / "kept")
    file.unlink()
    if bad == "folder":
        file.mkdir()
    elif bad == "pipe":
        os.mkfifo(file)
    elif bad == "large":
        with file.open("wb") as sparse:
            sparse.truncate(1 << 30)
    else:
        file.write_bytes(WHOLE[bad])
    try:
        for verb in VERBS[name]:
            if verb != "resume" or name != "recipe.yaml" or bad in ("anchors", "brackets", "pipe"):
                said = told(verb, run, name, capsys)
                may = name.startswith(("manifest", "metrics", "examples")) or verb in ("runs", "evaluate", "resume")
                assert name in said or may or bad in ("nan", "list", "digits"), said
            if name == "manifest.json" and verb == "predict":
                assert "epoch 1, the best so far," in said or "step" in said  # the older good one is used
    finally:
        shutil.rmtree(folder / run)
        shutil.move(kept, folder / run)
