"""What serving a run takes, measured in a process that does only that: the most memory that it had, and the packages
that were imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

from flambeau.core.errors import FlambeauError, RunError
from flambeau.deployment.package import normal

PROGRAM = "import sys; from flambeau.deployment import probe; probe.alone(sys.argv[1:])"
SMALL = """
import json, resource, sys
sys.modules["torch"] = sys.modules["flambeau"] = None
from flambeau_onnx import ExportError, load
try:
    packages = load(sys.argv[1]).packages
except (ExportError, ImportError) as error:
    sys.exit(str(error))
try:  # ru_maxrss has what the process was forked from in it
    told = open("/proc/self/status").read().split("VmHWM:")[1]
    memory = 1024 * int(told.split()[0])
except (OSError, IndexError):
    memory = (1 if sys.platform == "darwin" else 1024) * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"memory": memory, "packages": packages}))
"""
OWN = ("flambeau", "flambeau-onnx")


def probe(run: Path, plugins: Sequence[Path] = ()) -> dict[str, Any]:
    """{memory, packages, slow}: bytes at most after a forward pass of the largest batch; distributions by name; whether
    it writes texts, which take long.

    Raises:
        RunError: the model cannot be loaded as it will be where it is deployed.
    """
    return _told((PROGRAM, str(run), *map(str, plugins)), run, "a process of its own cannot serve it",
                 "see that flambeau serve does")  # fmt: skip


def probe_small(export: Path) -> dict[str, Any]:
    """{memory, packages}: the same of an export in a process that has no torch.

    Raises:
        RunError: it cannot be read there.
    """
    return _told((SMALL, str(export)), export, "it cannot be served without torch", "leave --without-torch out")


def _told(program: Sequence[str], where: Path, wrong: str, fix: str) -> dict[str, Any]:
    """What a program in a process of its own prints in its last line."""
    done = subprocess.run([sys.executable, "-c", *program], capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise RunError(f"{wrong}: {said[-1]}", where=where, fix=fix)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(run: str, *plugins: str) -> None:
    """Loads the run, makes a forward pass and prints what that took."""
    from flambeau.core import plugins as parts
    from flambeau.predictor import Predictor
    from flambeau.serve import server as _all_that_it_imports  # noqa: F401
    from flambeau.serve.limits import Limits
    from flambeau.serve.writing import Writer

    parts.load(plugins)
    predictor = Predictor.load(run, device="cpu")
    limits = Limits()
    predictor.outputs([predictor.blank()] * limits.max_batch)
    slow = Writer.of(predictor, limits) is not None
    print(json.dumps({"memory": peak(), "packages": imported(), "slow": slow}))  # noqa: T201


def peak() -> int:
    """Bytes of memory that this process had at the most."""
    import resource

    try:
        told = Path("/proc/self/status").read_text()
        return 1024 * int(next(line for line in told.splitlines() if line.startswith("VmHWM")).split()[1])
    except (OSError, StopIteration):
        scale = 1 if sys.platform == "darwin" else 1024
        return scale * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def imported() -> list[str]:
    """Installed packages of which modules are imported here, by the names that they are installed by."""
    modules = {name.partition(".")[0] for name in sys.modules}
    named = {one for top, all_ in packages_distributions().items() if top in modules for one in all_}
    return sorted({normal(name) for name in named} - {*OWN})


def alone(arguments: Sequence[str]) -> None:
    """`main` in a process of its own, whose errors are a line on stderr."""
    try:
        main(*arguments)
    except FlambeauError as error:
        sys.exit(str(error))
