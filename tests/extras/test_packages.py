"""The wheel and the source distribution: whole, without what does not belong, of use where they alone are installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from environments import ROOT, environment

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel that is built from the source distribution, and that one."""
    folder = tmp_path_factory.mktemp("dist")
    copied = tmp_path_factory.mktemp("source") / "flambeau"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{ROOT}", copied], check=True)
    command = [environment(("release",)) / "python", "-m", "build", "--outdir", folder, copied]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def test_both_pass_the_checks_of_an_index(built: Path) -> None:
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    tools = environment(("release",))
    contents = [tools / "check-wheel-contents", "--toplevel", "flambeau,flambeau_onnx", wheel]
    for command in ([tools / "twine", "check", "--strict", wheel, source], contents):
        done = subprocess.run(command, capture_output=True, text=True, cwd=built)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_what_is_no_code_too(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
    tracked = subprocess.run(["git", "ls-files", "flambeau"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(tracked.stdout.split()) - names == set()
    assert not any(name.startswith(("tests/", "benchmarks/", "docs/")) for name in names)


def test_the_wheel_alone_trains_and_predicts(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "clean"], check=True)
    python = tmp_path / "clean" / "bin" / "python"
    pip = [
        python,
        "-I",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        ROOT / "constraints.txt",
    ]
    subprocess.run([*pip, wheel], check=True)
    rows = [f"{i},{'low' if i < 50 else 'high'}" for i in range(100)]
    (tmp_path / "data.csv").write_text("\n".join(["a,label", *rows]))
    learned = ["train", "data.csv", "--target", "label", "--model", "linear", "--epochs", "5", "--run", "run"]
    for command in (learned, ["predict", "run", "data.csv", "--json"], ["doctor", "--environment"]):
        program = [python.parent / "flambeau", *command]
        done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, env={})
        assert done.returncode == 0, done.stderr[-2000:]
