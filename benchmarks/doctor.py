"""What `fb.doctor` names of planted faults, what it says of healthy programs, and what it costs.

    python benchmarks/doctor.py
    python benchmarks/doctor.py --quick

The programs are in `_programs.py`. A fault counts as named where the finding that is meant for it tells its place and a
cure; the same program without the fault, and each healthy one, must leave nothing above a note. The cost is that of the
probes on a ResNet-18 with 32 pictures of 64 px, the median of three; that of the monitors is a share of a training step
of the same. Ends with status 1 where under 20 faults of 24, or as large a share of more, are named, where there is a
false alarm, where the probes take over 5 s, or where the monitors take over 3 %.

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
from flambeau.diagnosis import Monitors

SHARE, SECONDS, MONITORS, LARGE = 20 / 24, 5.0, 0.03, ("resnet18", "mobilenet")


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


def share_of_monitors(every: int = 50, steps: int = 4, rounds: int = 3) -> float:
    """What monitors add to the processor time of a step of ResNet-18 with 32 pictures of 64 px: a measured step and the
    one after it beside plain ones, spread over `every`."""
    torch.manual_seed(0)
    program = HEALTHY["resnet18"]()
    model, optimizer = program.model.train(), torch.optim.AdamW(program.model.parameters(), 1e-3)
    x, y = torch.randn(32, 3, 64, 64), torch.randint(10, (32,))
    monitors = Monitors(model, every=steps)
    times: dict[bool, list[float]] = {True: [], False: []}
    for number in range(-1, rounds * steps):  # the first warms up
        begun = time.process_time()
        if number >= 0 and number % steps == 0:
            monitors.watch()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        if number >= 0 and number % steps < 2:
            monitors.before(number, [optimizer], y)
        optimizer.step()
        if number >= 0 and number % steps == 0:
            monitors.after()
        if number >= 0:
            times[number % steps < 2].append(time.process_time() - begun)
    plain = statistics.median(times[False])
    return 2 * (statistics.mean(times[True]) - plain) / plain / every


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
    share = 0.0 if quick else share_of_monitors()
    if not quick:
        print(f"{share:.2%} of a training step of the same for the monitors, on every fiftieth")
    return int(named < SHARE * len(FAULTS) or false > 0 or cost > SECONDS or share > MONITORS)


if __name__ == "__main__":
    sys.exit(main())
