"""What `import flambeau` adds to `import torch`, in seconds.

    python benchmarks/import_time.py

Fresh interpreters, one after the other; the first of each warms disk cache and bytecode and is not counted.
--explain also says which modules the difference is made of.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from statistics import median

from _timing import interleave, parser, speaker, summary, table, verdict

PROMISED = 0.3  # seconds over `import torch`
STATEMENTS = {"torch": "import torch", "torch, flambeau": "import torch, flambeau"}


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter that runs the statement."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def explain(count: int) -> str:
    """The slowest modules that `import flambeau` loads after torch, by own time as -X importtime has it."""
    source = "import sys, torch; sys.stderr.write('MARK\\n'); import flambeau"
    command = [sys.executable, "-X", "importtime", "-c", source]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    rows = []
    for line in said.split("MARK\n")[1].splitlines():
        own, _, name = line.removeprefix("import time:").split("|")
        rows.append((int(own), name.strip()))
    return table([("module", "own ms"), *((name, f"{own / 1000:.1f}") for own, name in sorted(rows)[::-1][:count])])


def main() -> int:
    arguments = parser(__doc__, rounds=9)
    arguments.add_argument("--explain", action="store_true", help="list the slowest modules too")
    options = arguments.parse_args()
    for statement in STATEMENTS.values():
        seconds(statement)
    competitors = {name: lambda s=statement: seconds(s) for name, statement in STATEMENTS.items()}
    figures = interleave(competitors, options.rounds, speaker(options.quiet))
    alone, ours = figures["torch"], figures["torch, flambeau"]
    added = median([b - a for a, b in zip(alone, ours, strict=True)])
    if options.json:
        print(json.dumps({"unit": "s", "added": added, **{name: summary(v) for name, v in figures.items()}}))
    else:
        rows = [("import", "s", "min", "max")]
        rows += [(n, f"{median(v):.2f}", f"{min(v):.2f}", f"{max(v):.2f}") for n, v in figures.items()]
        print(table(rows))
        print(f"\nflambeau adds {added:.3f} s ({added / median(alone):.0%} of `import torch`)")
        print(f"fastest against fastest, which a busy machine disturbs least: {min(ours) - min(alone):.3f} s")
        print(verdict(added <= PROMISED, f"promised at most {PROMISED} s"))
        if options.explain:
            print("\n" + explain(15))
    return 0 if added <= PROMISED else 1


if __name__ == "__main__":
    sys.exit(main())
