"""What a course of epochs means, on courses as healthy and as ill trainings have shown them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from flambeau.core.findings import Finding
from flambeau.objectives.generative.watched import RULES, Signs

# a small GAN of convolutions on 6,000 pictures, 94 steps an epoch
HEALTHY = [
    Signs(94 * i, diversity, 0.0, 0.0, moved, left=left, gradient=gradient)
    for i, (diversity, moved, left, gradient) in enumerate(
        [(0.46, None, 0.30, 0.6), (0.4, 2.7, 0.24, 0.65), (0.74, 0.93, 0.58, 0.51), (0.85, 0.41, 0.76, 0.49)], 1
    )
]
# one of dense layers, whose samples come apart late
SLOW = [
    Signs(94 * i, diversity, 0.0, 0.0, moved, left=left, gradient=gradient)
    for i, (diversity, moved, left, gradient) in enumerate(
        [(0.12, None, 0.76, 0.3), (0.11, 3.8, 0.50, 0.6), (0.11, 4.0, 0.35, 0.9), (0.12, 4.3, 0.27, 1.2),
         (0.18, 2.9, 0.27, 1.3), (0.41, 1.3, 0.36, 1.3)], 1,
    )
]  # fmt: skip
CODES = [Signs(100 * i, 0.7, 0.0, 0.0, 0.3, divergence=(2.0, 1.0, 0.0, 0.0)) for i in range(1, 4)]

BEGINNING = [Signs(3 * i, 0.7, 0.0, 0.0, 0.3, divergence=(0.03, 0.0)) for i in range(1, 4)]


def told(course: Sequence[Signs]) -> list[Finding]:
    return [finding for rule in RULES for finding in rule(course)]


@pytest.mark.parametrize("course", [HEALTHY, SLOW, CODES, BEGINNING])
def test_healthy_trainings_are_left_in_peace(course: list[Signs]) -> None:
    for epochs in range(len(course) + 1):
        assert told(course[:epochs]) == []


@pytest.mark.parametrize(
    ("check", "course", "said"),
    [
        ("mode-collapse", [*HEALTHY, *(replace(HEALTHY[-1], step=s, diversity=0.1) for s in (470, 564))], "by 10%"),
        ("mode-collapse", [replace(SLOW[0], step=s) for s in (1000, 1100)], "by 12%"),
        ("mode-collapse", [replace(HEALTHY[0], step=s, duplicates=0.7) for s in (1000, 1100)], "70% of them have"),
        ("discriminator-wins", [HEALTHY[0], replace(HEALTHY[0], step=200, left=0.02)], "its loss is 2% of"),
        ("oscillation", [replace(HEALTHY[-1], step=1000 + s, moved=1.2) for s in range(6)], "each of 6 epochs"),
        ("latent-ignored", [replace(CODES[0], step=s, divergence=(0.02, 0.0)) for s in (100, 200)], "0.02 nats"),
        ("memorised", [replace(HEALTHY[-1], step=s, copied=0.5) for s in (100, 200)], "50% of generated"),
    ],
)
def test_what_is_ill_is_named_with_its_step_and_what_to_try(check: str, course: list[Signs], said: str) -> None:
    assert told(course[:-1]) == []
    (finding,) = told(course)
    assert finding.check == check and said in finding.message and finding.fix.startswith("try ")
    assert finding.places == [f"step {course[-1].step}"]


def test_a_gradient_that_is_gone_is_told() -> None:
    course = [HEALTHY[0], replace(HEALTHY[0], step=200, left=0.0, gradient=0.003)]
    assert "the generator's gradient is 0.5% of its largest" in told(course)[0].message
