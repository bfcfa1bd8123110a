"""How long looking for mistakes takes: 60,000 pictures of 28×28, and 2,000 photos of about 500×375.

    python benchmarks/check.py [--rounds 3] [--threads 2] [--json]

Promised: under 60 s for the 60,000 PNGs of Fashion-MNIST's training set, on two cores. Each round is a process of
its own; the files are read once before, so that what is measured is the check and not the disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

from _data import cached_fashion_mnist, cached_photos
from _timing import parser, run_child, speaker, summary, table, verdict

BOUND = 60.0


def measure(folder: Path, threads: int | None) -> dict[str, object]:
    """Seconds of one check, how many pictures it saw, and its findings by kind."""
    from flambeau.data.dataset import Dataset

    for path in folder.rglob("*.*"):
        path.read_bytes()
    dataset = Dataset.from_folder(folder)
    wall, processor = time.perf_counter(), time.process_time()
    findings = dataset.check(threads=threads)
    return {
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "pictures": len(dataset),
        "findings": dict(Counter({finding.check: finding.count for finding in findings})),
    }


def main() -> int:
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--threads", type=int, help="threads that read pictures (default: all processors)")
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.folder:
        options.out.write_text(json.dumps(measure(options.folder, options.threads)))
        return 0
    folders = {"60,000 PNGs 28×28": cached_fashion_mnist() / "train", "2,000 JPEGs 500×375": cached_photos(2000)}
    say = speaker(options.quiet)
    rows = [("check", "s", "min", "max", "processor s", "images/s", "findings")]
    seconds: dict[str, list[float]] = {}
    for name, folder in folders.items():
        command = [str(Path(__file__).resolve()), "--folder", str(folder.resolve())]
        command += [f"--threads={options.threads}"] if options.threads else []
        rounds = []
        for number in range(options.rounds):
            rounds.append(run_child(command))
            if say:
                say(f"round {number + 1}/{options.rounds}  {name}: {rounds[-1]['seconds']:.1f} s")
        seconds[name] = [float(r["seconds"]) for r in rounds]
        middle = median(seconds[name])
        found = ", ".join(f"{count} {kind}" for kind, count in rounds[0]["findings"].items()) or "none"
        rows.append(
            (name, f"{middle:.1f}", f"{min(seconds[name]):.1f}", f"{max(seconds[name]):.1f}",
             f"{median(r['processor_seconds'] for r in rounds):.1f}", f"{rounds[0]['pictures'] / middle:,.0f}", found)
        )  # fmt: skip
    holds = median(seconds["60,000 PNGs 28×28"]) <= BOUND
    if options.json:
        print(json.dumps({"unit": "s", **{name: summary(values) for name, values in seconds.items()}}))
    else:
        print(table(rows))
        print(verdict(holds, f"promised under {BOUND:.0f} s for 60,000 pictures"))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
