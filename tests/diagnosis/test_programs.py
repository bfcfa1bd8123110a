"""Whole programs: each fault is named with its place and a cure, and the same program without it is left alone."""

from __future__ import annotations

import pytest
import torch
from _programs import FAULTS, HEALTHY, Program

import flambeau as fb
from flambeau.core.findings import Finding, Severity

LARGE = ("resnet18", "mobilenet")  # seconds each; the benchmark has them


def findings_of(program: Program) -> list[Finding]:
    return fb.doctor(program.model, program.loss, program.data, program.optimizer, quiet=True)


def alarms(program: Program) -> list[str]:
    return [str(finding) for finding in findings_of(program) if finding.severity is not Severity.NOTE]


@pytest.mark.parametrize("name", [name for name in HEALTHY if name not in LARGE])
def test_a_healthy_program_raises_no_alarm(name: str) -> None:
    torch.manual_seed(1)
    assert alarms(HEALTHY[name]()) == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_place_and_a_cure_and_its_twin_is_left_alone(name: str) -> None:
    make, check, place = FAULTS[name]
    torch.manual_seed(1)
    findings = findings_of(make(True))
    named = [finding for finding in findings if finding.check == check]
    assert named, list(map(str, findings))
    assert any(place in where for where in named[0].places), named[0].places
    assert named[0].fix
    torch.manual_seed(1)
    assert alarms(make(False)) == []
