"""What benchmarks printed, kept with where and when, and the tables of `docs/explanation/performance.md` made of it.

    python benchmarks/results.py import_time.py --rounds 5     runs it, and keeps what it printed
    python benchmarks/results.py                               writes the page anew

`benchmarks/results/` has a file for each script, of its last run. A figure that lies there was printed by the script,
with the arguments, versions and processor that stand beside it.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DOCS = HERE.parent / "docs"
PAGES = {"en": DOCS / "explanation" / "performance.md", "zh-CN": DOCS / "zh-CN" / "explanation" / "performance.md"}
HEADS = {"en": "## As the scripts print it", "zh-CN": "## 脚本的原样输出"}
WORDS = {
    "en": "{command}, {date}: {processor}, {cores} cores, load {load}; {versions}",
    "zh-CN": "{command},{date}:{processor},{cores} 核,负载 {load};{versions}",
}
NAMED = ("torch", "numpy", "scikit-learn")


def keep(script: str, arguments: list[str]) -> Path:
    """Runs a benchmark and keeps what it printed on stdout. Its exit status 1 says that a promise did not hold, which
    the printed lines say too. Raises SystemExit where it does not come to its end."""
    load = os.getloadavg()[0]  # what else the machine did, which disturbs a time
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise SystemExit(f"{script} ended with {done.returncode}; nothing is kept")
    found = {
        "command": f"benchmarks/{script} {' '.join(arguments)}".strip(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(max(load, os.getloadavg()[0]), 1),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("flambeau", *NAMED)}},
        "holds": done.returncode == 0,
        "printed": done.stdout.rstrip().splitlines(),
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{Path(script).stem}.json"
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file


def processor() -> str:
    """The name that Linux gives the processor, or what Python knows of it."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return named[1] if named else platform.processor() or platform.machine()


def section(language: str) -> str:
    """What the results say, by the name of the script."""
    parts = [HEADS[language] + "\n"]
    for file in sorted(RESULTS.glob("*.json")):
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        said = WORDS[language].format(**{**found, "command": f"`{found['command']}`", "versions": versions})
        parts.append(f"### `{file.stem}.py`\n{said}\n```text\n" + "\n".join(found["printed"]) + "\n```\n")
    return "\n".join(parts)


def with_results(page: str, language: str) -> str:
    """A page that ends with what the results say."""
    return page.partition(HEADS[language])[0].rstrip() + "\n\n" + section(language)


def main(given: list[str]) -> None:
    """Keeps what a script prints, if one is named, and writes the pages."""
    if given:
        keep(given[0], given[1:])
    for language, page in PAGES.items():
        page.write_text(with_results(page.read_text(encoding="utf-8"), language), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
