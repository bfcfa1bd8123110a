"""What a report of a bug needs of the machine: versions, processor, memory, threads. It names no path and no user."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from flambeau.core.threads import usable_processors
from flambeau.version import __version__

CGROUP = Path("/sys/fs/cgroup")
VARIABLES = re.compile(
    r"(OMP|MKL|TORCH\w*|GOMP|KMP|OPENBLAS|MALLOC|PYTORCH|CUDA|NVIDIA|NCCL|GLOO|HF|TOKENIZERS|FLAMBEAU)_\w+"
    r"|LC_ALL|LANG|PYTHONHASHSEED|PYTHONWARNINGS|LD_PRELOAD|RANK|WORLD_SIZE"
)
SECRET = re.compile(r"TOKEN|KEY|SECRET|PASS")
SHOWN = re.compile(r"[\w.:,+=-]{1,60}")  # values of variables that hold no path; of others only that they are set


def facts() -> dict[str, Any]:
    """Plain JSON: what `flambeau doctor --environment` prints."""
    import torch

    can = torch.cpu.get_capabilities()
    return {
        "flambeau": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {platform.python_compiler()})",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "packages": packages(),
        "torch": {
            "build": torch.__version__, "debug": bool(torch.version.debug), "cuda": torch.version.cuda,
            "capability": torch.backends.cpu.get_cpu_capability(), "mkl": torch.backends.mkl.is_available(),
            "onednn": torch.backends.mkldnn.is_available(), "distributed": torch.distributed.is_available(),
        },
        "processor": {
            "name": str(can.get("cpu_name", platform.processor())), "cores": os.cpu_count(),
            "usable": usable_processors(), "limit": _limit("cpu.max"),
            "flags": sorted(name for name, there in can.items() if there is True),
        },
        "memory": {name: f"{size / 2**30:.1f} GiB" for name, size in memory().items()},
        "threads": {"compute": torch.get_num_threads(), "between": torch.get_num_interop_threads()},
        "gpus": [_gpu(number) for number in range(torch.cuda.device_count())],
        "encoding": f"{sys.getfilesystemencoding()}, stdout {getattr(sys.stdout, 'encoding', None)}",
        "variables": variables(os.environ),
    }  # fmt: skip


def packages() -> dict[str, str]:
    """Versions of those packages that Flambeau or an extra of it names, as far as they are here."""
    named = sorted({re.split(r"[^\w.-]", one, maxsplit=1)[0].lower() for one in _needed()})
    found = {}
    for name in named:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {name: number for name, number in found.items() if name != "flambeau"}


def _needed() -> list[str]:
    try:
        return requires("flambeau") or []
    except PackageNotFoundError:  # a checkout that is not installed
        return []


def memory() -> dict[str, int]:
    """Bytes: of the machine, free of it, and what a container allows."""
    sizes: dict[str, int] = {}
    if (path := Path("/proc/meminfo")).exists():
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
        for name, key in (("total", "MemTotal"), ("available", "MemAvailable"), ("swap", "SwapTotal")):
            sizes[name] = int(lines.get(key, "0 kB").split()[0]) * 1024
    elif hasattr(os, "sysconf"):
        sizes["total"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _limit("memory.max")
    return sizes | ({"limit": int(limit)} if limit and limit.isdigit() else {})


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those that change how torch computes; of what may be a path or a secret only that it is set.

    >>> variables({"OMP_NUM_THREADS": "2", "HF_HOME": "/home/ada/hf", "HF_TOKEN": "abc", "HOME": "/home/ada"})
    {'HF_HOME': '(set)', 'HF_TOKEN': '(set)', 'OMP_NUM_THREADS': '2'}
    """
    named = sorted(name for name in environ if VARIABLES.fullmatch(name))
    plain = {name for name in named if SHOWN.fullmatch(environ[name]) and not SECRET.search(name)}
    return {name: environ[name] if name in plain else "(set)" for name in named}


def _limit(name: str) -> str | None:
    """What a container allows, as the kernel says it; None where nothing does."""
    try:
        said = (CGROUP / name).read_text().strip()
    except OSError:
        return None
    return None if said.startswith("max") else said


def _gpu(number: int) -> dict[str, Any]:
    import torch

    known = torch.cuda.get_device_properties(number)
    return {"name": known.name, "memory": f"{known.total_memory / 2**30:.1f} GiB",
            "capability": f"{known.major}.{known.minor}"}  # fmt: skip


def lines(found: Mapping[str, Any]) -> list[str]:
    """The facts for a person: one line each, a group of them on one."""
    told = []
    for name, value in found.items():
        if isinstance(value, Mapping):
            parts = [f"{key} {' '.join(one) if isinstance(one, list) else one}" for key, one in value.items()
                     if one not in (None, [], "")]  # fmt: skip
            told.append(f"{name}: {', '.join(parts) or 'none'}")
        elif isinstance(value, list):
            told.append(f"{name}: {'; '.join(' '.join(map(str, one.values())) for one in value) or 'none'}")
        else:
            told.append(f"{name}: {value}")
    return told
