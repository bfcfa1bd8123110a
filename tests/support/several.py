"""Commands of several processes, as real ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

SUPPORT = Path(__file__).parent
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
FLAMBEAU = (sys.executable, "-m", "flambeau")


def ran(*command: Any, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command, in a folder, to its end."""
    return subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=180, check=False)
