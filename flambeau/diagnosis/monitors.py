"""Monitors: a training watched while it goes on, on sampled steps, without waiting for the device.

Every fiftieth step, and a few of the first, cost a look at gradients and updates (Smith 2017, arXiv:1506.01186, and
Karpathy's "recipe" on update-to-weight ratios; the curvature along the step is what Schaul et al. 2013,
arXiv:1206.1106, set rates by). What they show is read at the next sampled step, when it has long been there.
Nothing that a training depends on is changed: weights, random numbers and running statistics are as without.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from flambeau.core.findings import Finding
from flambeau.diagnosis.meter import Meter, Sample
from flambeau.diagnosis.rules import BLOCK, FIRST, RULES, Course, Rule, not_finite, spike, spread

EVERY = 50
EARLY = (5, 10, 20, 30, 40)
SMALL = 200_000  # parameters of a model whose steps are shorter than a look at one
MOST_SAMPLES, MOST_BLOCKS = 200, 4000


class Monitors:
    """Watches one training.

    Args:
        model: what is trained.
        every: steps between two that are measured; of a small model ten times as many, after the first ten.
        tell: is told each finding once, as soon as it is found.
        record: gets (step, numbers by name) of each measured step.
        looks_inside: whether hooks may be put on modules in those steps.

    Attributes:
        findings: so far.
    """

    def __init__(
        self, model: nn.Module, *, every: int = EVERY, tell: Callable[[Finding], Any] = lambda finding: None,
        record: Callable[[int, Mapping[str, float]], Any] = lambda step, numbers: None, looks_inside: bool = True,
    ):  # fmt: skip
        self.every, self.findings = every, list[Finding]()
        size = sum(p.numel() for p in model.parameters() if not is_lazy(p))
        self._often_until = 10 * every if size < SMALL else math.inf
        self._course, self._meter = Course(), Meter(model, looks_inside)
        self._tell, self._record = tell, record
        self._read: Callable[[], Sample] | None = None
        self._losses: list[float] = []
        self._known: set[str] = set()
        self._spoken: set[Rule] = set()
        self._broken = False  # whether the loss is no number any more: then nothing else is of interest

    def due(self, step: int) -> bool:
        """Whether a step, from 0 on, is measured."""
        return step in EARLY or step % (self.every if step < self._often_until else 10 * self.every) == 0

    def watch(self) -> None:
        """Before the forward pass of a step that is due."""
        self._meter.watch()

    def before(self, step: int, optimizers: Iterable[Optimizer], target: Any = None) -> None:
        """When the gradients of a step are there, for one that is due and the one after it.

        Args:
            optimizers: that change the weights.
            target: of the batch.
        """
        if self.due(step - 1):
            self._meter.next_gradients()
            self._take()
        if self.due(step):
            self._meter.before(step, optimizers, target)

    def after(self) -> None:
        """When the weights are changed, in a step that is due."""
        self._meter.after()

    def losses(self, done: int, values: Sequence[float]) -> None:
        """The losses of the last steps, as they are read.

        Args:
            done: steps that the training has done.
        """
        course = self._course
        if self._broken:
            return
        if not course.first and done > len(values):
            course.whole = False  # it was resumed
        if not math.isfinite(sum(values)):
            behind, value = next((i, v) for i, v in zip(range(len(values), 0, -1), values, strict=True) if v - v != 0)
            self._broken = True
            self.say([not_finite(done - behind, value, course)])
            return
        course.first += values[: FIRST - len(course.first)]
        self._losses += values
        while len(self._losses) >= BLOCK:
            block, self._losses = self._losses[:BLOCK], self._losses[BLOCK:]
            course.blocks.append((done - len(self._losses) - 1, sum(block) / BLOCK, spread(block)))
        del course.blocks[1:-MOST_BLOCKS]
        self.say(spike(values, done, course))

    def epoch(self, train_loss: float, valid_loss: float, best: bool) -> None:
        """An epoch has ended; `best`: whether its model is the best so far."""
        self._course.epochs.append((train_loss, valid_loss, best))
        self._judge()

    def look(self) -> None:
        """Reads what was measured, if it was not read yet, and tells what it means."""
        if self._read is None:
            return
        sample, course = self._read(), self._course
        self._read = None
        course.samples.append(sample)
        course.largest_rate = max(course.largest_rate, sample.rate)
        del course.samples[1:-MOST_SAMPLES]
        self._record(sample.step, _numbers(sample))
        self._judge()

    def _judge(self) -> None:
        for rule in () if self._broken else RULES:
            if rule not in self._spoken and self.say(rule(self._course)):
                self._spoken.add(rule)  # under whatever name: a symptom is told once

    def close(self) -> None:
        """Takes all hooks away."""
        self._meter.leave()

    def _take(self) -> None:
        self.look()  # the sample before: it was measured long ago
        self._read = self._meter.take()

    def say(self, findings: Iterable[Finding]) -> bool:
        """Tells what is new of some findings; whether there are any."""
        there = list(findings)
        for finding in there:
            if finding.check not in self._known:
                self._known.add(finding.check)
                self.findings.append(finding)
                self._tell(finding)
        return bool(there)


def _numbers(sample: Sample) -> dict[str, float]:
    """What a logger gets: the whole, and of each layer its update over its weight."""
    weights = sample.weights
    numbers = {"gradient_norm": sample.gradient}
    if weights:
        numbers["update_ratio"] = median(weight.update for weight in weights.values())
        numbers["dead_units"] = max(weight.dead for weight in weights.values())
    if sample.slope is not None:
        numbers["slope"] = sample.slope
    if sample.shifts:
        numbers["batch_shift"] = max(sample.shifts.values())
    return {**numbers, **{f"update_ratio/{name}": weight.update for name, weight in [*weights.items()][:100]}}
