"""Environments with some extras of Flambeau alone, under `.venv-extras/`: kept, by what `pyproject.toml` says."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-extras"


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
