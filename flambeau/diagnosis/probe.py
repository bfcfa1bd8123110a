"""Probes: what is tried on a patient before the first step, each one small function, entered by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from flambeau.core.errors import first_line
from flambeau.core.findings import Finding, Severity, worst_first
from flambeau.core.registry import Registry
from flambeau.diagnosis.patient import Patient, Unfit

Probe = Callable[[Patient], Iterable[Finding]]
"""Looks at a patient and tells what is wrong: where (the layer, as the finding's places), why, and what to do."""

PROBES: Registry[Probe] = Registry("probe")
"""In the order they are tried in: what is told first is the cause of what follows."""


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
            except Exception as error:  # noqa: BLE001 -- a user's model may raise anything on what it never saw
                findings.append(
                    Finding(name, Severity.NOTE, f"the probe {name} could not be carried out ({first_line(error)})")
                )
    return worst_first(findings)
