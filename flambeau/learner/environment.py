"""What a training was done with: versions, machine, threads and command, for `environment.json`; and what of it lets a
resumed training end with other weights, in their last bits, than one that was never stopped."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from flambeau.core.files import write_json
from flambeau.core.reporter import Reporter
from flambeau.run import Run
from flambeau.training.engine import computing
from flambeau.version import __version__


def environment() -> dict[str, Any]:
    """Versions, machine and command, for `environment.json`."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "flambeau": __version__, "python": platform.python_version(), "platform": platform.platform(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()), "gpu": gpu,
        "threads": torch.get_num_threads(), "packages": {**packages()}, "command": _command(sys.argv),
    }  # fmt: skip


@cache
def packages() -> Mapping[str, str]:
    """Versions of those packages, of them that are here, whose numbers a training ends with."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for name in ("torch", "torchvision", "timm", "numpy", "pillow", "simplejpeg", "polars", "safetensors"):
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _command(arguments: Sequence[str]) -> str:
    """The command line, its paths from where it was given; of another program than `flambeau` its name only: its
    arguments are its own."""
    program = Path(arguments[0] if arguments else "")
    if program.name == "main.py" and program.parent.name == "cli":
        program = Path("flambeau")  # python -m flambeau.cli.main
    here = Path.cwd()
    told = [str(Path(a).relative_to(here)) if a.startswith(f"{here}{os.sep}") else a for a in arguments[1:]]
    return shlex.join([program.name, *(told if program.name == "flambeau" else ())])


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What of two environments lets the same training end with other weights in their last bits."""
    found = []
    for name in ("processor", "gpu"):
        if name in before and before[name] != now[name]:
            found.append(f"{name} {now[name] or 'none'}, before {before[name] or 'none'}")
    torches = [e.get("packages", {}).get("torch") for e in (before, now)]
    if torches[0] and torches[0] != torches[1]:
        found.append(f"torch {torches[1]}, before {torches[0]}")
    return found


def write(run: Run, begun: bool, reporter: Reporter) -> None:
    """Writes `environment.json`; of a training that was begun, adds to it what goes on with it, and tells what is not
    as it was."""
    now = environment()
    if not begun:
        write_json(run.path / "environment.json", now)
        return
    before = run.environment
    _warn(differences(before, now), reporter)
    write_json(run.path / "environment.json", {**before, "resumed": [*before.get("resumed", []), now]})


@contextlib.contextmanager
def compute_threads(run: Run, begun: bool, asked: int | None, reporter: Reporter) -> Iterator[None]:
    """While entered, torch computes with as many threads as are asked for, else as the training began with."""
    before, here = run.environment.get("threads") if begun else None, torch.get_num_threads()
    if asked is None and before not in (None, here):
        reporter.say(f"compute threads: {before}, as the training began (torch has {here} here)")
    elif before not in (None, asked or here):
        _warn([f"{asked} compute threads, before {before}"], reporter)
    with computing(asked or before):
        yield


def compare_engines(before: Sequence[str], now: Sequence[str], reporter: Reporter) -> None:
    """Tells where a training goes on on another device or in another precision than the reasons that it began with."""
    began = {reason.partition(":")[0] for reason in before}
    _warn([reason for reason in now if reason.partition(":")[0] not in began], reporter)


def _warn(changes: Sequence[str], reporter: Reporter) -> None:
    if changes:
        told = "; ".join(changes)
        reporter.say(f"not as the training began, so the weights can differ in their last bits: {told}", "yellow")
