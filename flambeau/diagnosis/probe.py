"""Probes: what is tried on a patient before the first step, each one small function, entered by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence

from flambeau.core.errors import first_line
from flambeau.core.findings import Finding, Severity, worst_first
from flambeau.core.registry import Registry
from flambeau.diagnosis.patient import Patient, Unfit

Probe = Callable[[Patient], Iterable[Finding]]
"""Looks at a patient and tells what is wrong: where (the layer, as the finding's places), why, and what to do."""

PROBES: Registry[Probe] = Registry("probe")
"""In the order they are tried in: what is told first is the cause of what follows."""


def told(severity: Severity, check: str, message: str, places: str | Sequence[str], fix: str) -> Finding:
    """A finding at a place, or at several: layers, parameters, the input, the target, the loss or the optimizer."""
    return Finding(check, severity, message, [places] if isinstance(places, str) else list(places), fix=fix)


error, warning, note = (functools.partial(told, severity) for severity in Severity)
"""What makes training fail; what is most likely a mistake; what may be meant so."""


def examine(patient: Patient, probes: Sequence[str] | None = None) -> list[Finding]:
    """What the probes find, the worst first. Weights, buffers, gradients, modes and randomness are as they were.

    Args:
        probes: names of those to try; all if not given.
    """
    findings: list[Finding] = []
    with patient.undisturbed():
        for name in probes if probes is not None else list(PROBES):
            try:
                findings += PROBES[name](patient)
            except Unfit as unfit:  # no forward pass, no loss: told once, and whatever needs it is left out
                findings += [unfit.finding] if unfit.finding not in findings else []
            except Exception as failure:  # noqa: BLE001 -- a user's model may raise anything on what it never saw
                why = f"the probe {name} could not be carried out ({first_line(failure)})"
                findings.append(Finding(name, Severity.NOTE, why))
    return worst_first(_causes(findings))


SYMPTOMS: dict[str, tuple[str, ...]] = {
    "zero-gradient": (
        "dead-units",
        "saturated-units",
        "inputs-alike",
        "inputs-wiped",
        "units-alike",
        "gradients-vanish",
        "loss-ignores-output",
        "constant-output",
    ),
    "constant-output": ("dead-units", "saturated-units", "inputs-alike", "inputs-wiped", "gradients-vanish"),
    "gradients-explode": ("activations-explode", "input-scale", "loss-at-start", "target-scale"),
    "loss-at-start": ("activations-explode", "input-scale"),
    "loss-ignores-target": ("broadcast",),
}
"""What follows from what, and would send a user to the wrong place where the cause is told too."""


def _causes(findings: Sequence[Finding]) -> Iterator[Finding]:
    checks = {finding.check for finding in findings if finding.severity is not Severity.NOTE}
    for finding in findings:
        others = checks - {finding.check}
        if not (others if finding.check == "one-batch" else others & {*SYMPTOMS.get(finding.check, ())}):
            yield finding
