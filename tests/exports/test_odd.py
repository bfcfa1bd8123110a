"""`flambeau export` as a stranger tries it: whatever is wrong is told in one line, with status 2."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from sklearn.datasets import load_wine
from typer.testing import CliRunner

import flambeau as fb
from flambeau.cli.main import app
from flambeau.cli.main import run as command
from flambeau.data.sources.opening import from_path
from flambeau.exports import EXPORTERS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a table, and an export of it."""
    wine, folder = load_wine(), tmp_path_factory.mktemp("made")
    pl.DataFrame({"ash": wine.data[:, 2], "kind": [f"kind {k}" for k in wine.target]}).write_csv(folder / "wine.csv")
    data = from_path(folder / "wine.csv", target="kind")
    fb.Learner(data, run=folder / "run", model="linear", epochs=1, baseline=False).fit()
    fb.export(folder / "run", out=folder / "export")
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """What a command says that fails: one line."""
    capsys.readouterr()
    assert command([*map(str, arguments)]) == 2
    said = capsys.readouterr()
    (line,) = said.err.strip().splitlines()
    assert not said.out
    return line


def test_what_is_no_run_or_nowhere_to_write(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, begun, later = made / "run", tmp_path / "begun", tmp_path / "later"
    shutil.copytree(run, begun, ignore=shutil.ignore_patterns("exports", "*.safetensors"))
    shutil.copytree(run, later, ignore=shutil.ignore_patterns("exports"))
    recipe = (later / "recipe.yaml").read_text()
    (later / "recipe.yaml").write_text(re.sub(r"(?m)^format: .*$", "format: 99", recipe))
    (tmp_path / "notes.txt").write_text("mine")
    for arguments, line in (
        ((tmp_path / "none",), "none"),
        ((made,), "not a run"),
        ((begun,), "the run is not finished"),
        ((later,), "99"),
        ((made / "export",), "this is an export"),
        ((run, "--format", "onx"), "did you mean onnx"),
        ((run, "--precision", "int4"), "int4"),
        ((run, "--format", "hf", "--precision", "int8"), "the format hf has no precision int8"),
        ((run, "--out", "/"), "has no name"),
        ((run, "--out", made), "something else than an export"),
        ((run, "--out", tmp_path / "notes.txt"), "something else than an export"),
        ((run, "--out", tmp_path / "notes.txt" / "export"), "not a directory"),
    ):
        assert line in told(capsys, "export", *arguments).lower().replace("'", "")
    assert not [*tmp_path.glob(".*")], "nothing is left behind"


def test_what_a_format_needs_and_is_not_there(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "g++" in told(capsys, "export", made / "run", "--format", "compiled", "--out", tmp_path / "export")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    line = told(capsys, "export", made / "run", "--format", "onnx", "--out", tmp_path / "export")
    assert "flambeau[export]" in line


@pytest.mark.parametrize("verb", ["predict", "evaluate", "serve"])
def test_a_damaged_export(verb: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("predict.pt2", "export.json", "fields.json", "recipe.yaml"):
        for damage in (lambda data: data[: len(data) // 2], lambda data: b"", None):
            folder = shutil.copytree(made / "export", tmp_path / f"{name}-{id(damage)}")
            if damage is None:
                (folder / name).unlink()
            else:
                (folder / name).write_bytes(damage((folder / name).read_bytes()))
            line = told(capsys, verb, folder, *(() if verb == "serve" else (made / "wine.csv",)))
            assert name in line or "not a run" in line


def test_the_help_names_every_format() -> None:
    shown = " ".join(CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "400"}).output.split())
    ours = {name: exporter for name, exporter in EXPORTERS.items() if exporter.__module__.startswith("flambeau.")}
    for name, exporter in ours.items():  # another test's may stand beside them
        assert name in shown and all(precision in shown for precision in exporter.precisions)


def test_export_prints_what_it_did_and_what_is_next(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["export", str(made / "run"), "--out", str(tmp_path / "export")]) == 0
    said = capsys.readouterr()
    assert "verified on" in said.out and f"flambeau predict {tmp_path / 'export'}" in said.err
    assert command(["export", str(made / "run"), "--out", str(tmp_path / "export"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]["agreement"] == 1
