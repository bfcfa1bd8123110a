"""Installed as users install: each page and each demo runs in an environment with exactly the extras that it names.

These tests make environments under `.venv-extras/` (kept, by what `pyproject.toml` says), so they need a package
registry; they run where they are asked for, with `-m extras`, as continuous integration does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import blocks

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-extras"
NEEDS = re.compile(r"pip install (?:-c constraints.txt )?(?:-e )?'(?:flambeau|\.)\[([\w,]+)\]'")
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "zh-CN" not in page.parts]
RUNNABLE = [page for page in PAGES if any(block.language in ("python", "console") for block in blocks(page))]
A_CLASS = 24
DEMOS = {"pictures": (), "text": (), "tags": (), "table": (), "series": (), "audio": ("audio",)}
pytestmark = pytest.mark.extras


def needs(page: Path) -> tuple[str, ...]:
    """The extras that a page names."""
    return tuple(sorted({extra for found in NEEDS.findall(page.read_text("utf-8")) for extra in found.split(",")}))


def environment(extras: tuple[str, ...]) -> Path:
    """The `bin` folder of an environment with Flambeau and these extras alone.

    It sees the packages of the one without extras, which are large, by a path file.
    """
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    folder = ENVIRONMENTS / ("-".join(extras) or "core")
    base = environment(()) if extras else None
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not (made.exists() and made.read_text() == wanted):
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            if base is not None:
                (site,), (seen,) = ((f.parent / "lib").glob("*/site-packages") for f in (folder / "bin", base))
                (site / "base.pth").write_text(f"{seen}\n")
            what = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
            quiet = ["--quiet", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
            subprocess.run([folder / "bin" / "python", "-m", "pip", "install", *quiet, "-e", what], check=True)
            made.write_text(wanted)
    return folder / "bin"


def run(extras: tuple[str, ...], arguments: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    program, *others = arguments
    command = [environment(extras) / program, *others]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)


@pytest.fixture
def folder(digits_folder: Path, tmp_path: Path) -> Path:
    """An empty working folder but for `photos/`: the first real digits of each class."""
    for of_class in digits_folder.iterdir():
        (tmp_path / "photos" / of_class.name).mkdir(parents=True)
        for file in sorted(of_class.iterdir())[:A_CLASS]:
            shutil.copy(file, tmp_path / "photos" / of_class.name)
    return tmp_path


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.stem)
def test_a_page_runs_with_the_extras_that_it_names(page: Path, folder: Path) -> None:
    done = run(needs(page), ["python", ROOT / "tests" / "support" / "pages.py", page], folder)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("what", DEMOS)
def test_a_demo_runs_and_says_what_it_leaves_out(what: str, tmp_path: Path) -> None:
    done = run(DEMOS[what], ["flambeau", "demo", what], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "pip install 'flambeau[serve]'" in done.stderr  # which is not here


def test_the_extra_of_the_server_serves(tmp_path: Path) -> None:
    done = run(("serve",), ["flambeau", "demo"], tmp_path)
    assert done.returncode == 0 and "/predict → " in done.stderr, done.stderr[-2000:]


def test_a_missing_extra_is_one_line_that_names_it(tmp_path: Path) -> None:
    for extra, command in {
        "audio": "demo audio", "serve": "serve run", "vision": "train photos --model timm/resnet18",
    }.items():  # fmt: skip
        done = run((), ["flambeau", *command.split()], tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
        assert f"flambeau[{extra}]" in done.stderr or "photos" in done.stderr
