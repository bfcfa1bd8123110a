"""What `fb.doctor` names of planted faults, what it says of healthy programs, and what it costs.

    python benchmarks/doctor.py
    python benchmarks/doctor.py --quick

The programs are in `_programs.py`. A fault counts as named where the finding that is meant for it tells its place and a
cure; the same program without the fault, and each healthy one, must leave nothing above a note. The cost is that of the
probes on a ResNet-18 with 32 pictures of 64 px, the median of three. Ends with status 1 where under 20 faults of 24, or
as large a share of more, are named, where there is a false alarm, or where the probes take over 5 s.

`--quick` leaves the cost and the large models out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings

import torch
from _programs import FAULTS, HEALTHY, Program

import flambeau as fb
from flambeau.core.findings import Finding, Severity

SHARE, SECONDS, LARGE = 20 / 24, 5.0, ("resnet18", "mobilenet")


def findings_of(program: Program) -> list[Finding]:
    return fb.doctor(program.model, program.loss, program.data, program.optimizer, quiet=True)


def alarms(program: Program) -> list[str]:
    return [finding.check for finding in findings_of(program) if finding.severity is not Severity.NOTE]


def seconds() -> float:
    """Of the probes on ResNet-18."""
    torch.manual_seed(0)
    program, times = HEALTHY["resnet18"](), []
    for _ in range(3):
        begun = time.perf_counter()
        findings_of(program)
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without the cost and the large models")
    quick = parser.parse_args().quick
    warnings.simplefilter("ignore")
    named, false = 0, 0
    for name, (make, check, place) in FAULTS.items():
        torch.manual_seed(0)
        findings = findings_of(make(True))
        hit = any(f.check == check and f.fix and any(place in where for where in f.places) for f in findings)
        torch.manual_seed(0)
        twin = alarms(make(False))
        named, false = named + hit, false + bool(twin)
        said = ", ".join(f.check for f in findings) or "nothing"
        print(f"{name:32} {'named' if hit else 'MISSED'} ({said}){f'; its twin: {twin}' if twin else ''}")
    for name, healthy in HEALTHY.items():
        if quick and name in LARGE:
            continue
        torch.manual_seed(0)
        said_of = alarms(healthy())
        false += bool(said_of)
        print(f"{name:32} {', '.join(said_of) or 'healthy'}")
    healthy_ones = len(FAULTS) + len(HEALTHY)
    print(
        f"\n{named} of {len(FAULTS)} faults named with place and cure, {false} false alarms in {healthy_ones} healthy"
    )
    cost = 0.0 if quick else seconds()
    if not quick:
        print(f"{cost:.1f} s for the probes on ResNet-18, 32 pictures of 64 px, {torch.get_num_threads()} threads")
    return int(named < SHARE * len(FAULTS) or false > 0 or cost > SECONDS)


if __name__ == "__main__":
    sys.exit(main())
