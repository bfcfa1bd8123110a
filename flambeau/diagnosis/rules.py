"""What measured steps mean: pure functions of a `Course` to Findings. Each speaks where harm shows in the loss or is
certain to follow, names the layer and the step, and keeps silent where chance or a healthy training looks the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from flambeau.core.findings import Finding, Severity
from flambeau.diagnosis.meter import Sample

LOSS_FROM = 100  # steps before which nothing is said of how the loss falls
ROW = 3  # samples in a row that a symptom must be in
FIRST = 20  # steps whose losses tell where a training began
BLOCK = 25  # steps whose mean loss is one number
DEAD = 0.6  # share of a layer's units
GONE = 1e-4  # of the largest learning rate


@dataclass
class Course:
    """What is known of a training so far.

    Attributes:
        samples: the last ones, oldest first.
        first: losses of the first steps.
        blocks: (last step, mean, standard deviation) of the losses of `BLOCK` steps after another.
        epochs: of each epoch its training loss, its validation loss, and whether the measure of the model was the best
            so far.
        largest_rate: so far.
        whole: whether it was watched from its first step.
    """

    samples: list[Sample] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    blocks: list[tuple[int, float, float]] = field(default_factory=list)
    epochs: list[tuple[float, float, bool]] = field(default_factory=list)
    largest_rate: float = 0.0
    whole: bool = True

    @property
    def recent(self) -> Sequence[Sample]:
        """The last samples; fewer where there are not so many."""
        return self.samples[-ROW:]

    @property
    def began(self) -> float:
        """The loss at the beginning; that of the first step alone where it exploded in the next."""
        mean, first = fmean(self.first), self.first[0]
        return first if mean > 2 * first > 0 else mean

    @property
    def scale(self) -> float:
        """What a loss is large against: the one at the beginning, or what it differs by from step to step there."""
        return max(abs(self.began), spread(self.first[:3]), 1e-12)

    @property
    def slopes(self) -> list[float]:
        """Along the steps that were measured."""
        return [s.slope for s in self.samples if s.slope is not None and math.isfinite(s.slope)]

    @property
    def done(self) -> int:
        """Steps whose losses are known."""
        return self.blocks[-1][0] + 1 if self.blocks else 0


def spread(values: Sequence[float]) -> float:
    """The standard deviation of some numbers, of which statistics' own takes a thousand times as long."""
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))


Rule = Callable[[Course], Iterator[Finding]]


def causes(course: Course) -> Iterator[Finding]:
    """What a loss that does not fall, or rises, may come from: the most certain first."""
    last = course.recent
    if len(last) < ROW:
        return
    updates = [median([weight.update for weight in s.weights.values()] or [0.0]) for s in last]
    rate, where = last[-1].rate, f"step {last[-1].step}"
    yield from (*_gone(course), *still_weights(course), *faded_gradients(course), *_dead(course))
    if _over(course.slopes):
        told = f"the learning rate {rate:.3g} is too high: each step goes beyond the lowest point on its way"
        yield Finding("rate-too-high", Severity.WARNING, told, [where], fix=_rate(rate / 10))
    elif median(updates) > 0.1:
        told = f"the learning rate {rate:.3g} is too high: a step changes the weights by {median(updates):.0%}"
        yield Finding("rate-too-high", Severity.WARNING, told, [where], fix=_rate(rate / 10))
    elif 0 < max(updates) < 1e-4 and rate >= 0.5 * course.largest_rate:
        told = (
            f"the learning rate {rate:.3g} is too low: a step changes the weights by {median(updates):.1g} of their "
            "size, where about 0.001 is usual"
        )
        yield Finding("rate-too-low", Severity.WARNING, told, [where], fix=_rate(rate * 30))


def _rate(rate: float) -> str:
    return f"try a learning rate of {rate:.1g}"


def _with_cause(course: Course, symptom: Finding) -> Finding:
    """A symptom, told with what it comes from where that shows: under the cause's name, place and cure."""
    if (cause := next(causes(course), None)) is None:
        return symptom
    severity = min(symptom.severity, cause.severity, key=list(Severity).index)
    places = [*(place for place in cause.places if place.startswith("layer")), *symptom.places]
    return Finding(cause.check, severity, f"{symptom.message}; {cause.message}", places, fix=cause.fix)


def not_falling(course: Course) -> Iterator[Finding]:
    """The loss is where it began, beyond what chance would hide; or fell by little, as to chance, and stays there."""
    if not course.whole or course.done < LOSS_FROM + FIRST or _warming_up(course):
        return
    means = [mean for _, mean, _ in course.blocks]
    _, lowest, noise = min(course.blocks, key=lambda block: block[1])
    noise = max(spread(course.first) / math.sqrt(FIRST), noise / math.sqrt(BLOCK))
    fall, third = course.began - lowest, -(-len(means) // 3)
    settled = fmean(means[-third:]) > fmean(means[-2 * third : -third]) - noise / math.sqrt(third)
    if fall > max(0.02 * course.scale, 2 * noise) and not (fall < 0.05 * course.scale and settled):
        return
    if 0 <= lowest < 1e-3:
        return
    told = f"the loss does not fall: {course.began:.3g} at the beginning, {means[-1]:.3g} at step {course.done}"
    fix = (
        "see whether it can learn one batch by heart; if so, inputs and targets do not belong together, or inputs "
        "are not scaled"
    )
    symptom = Finding("loss-not-falling", Severity.WARNING, told, [f"step {course.done}"], fix=fix)
    yield _with_cause(course, symptom)


def slow(course: Course) -> Iterator[Finding]:
    """The loss falls, and each step could go much further."""
    if not course.whole or course.done < 2 * LOSS_FROM or _warming_up(course) or len(course.recent) < ROW:
        return
    fall = (course.began - course.blocks[-1][1]) / course.scale
    if 0 < fall < 0.1 and _still_falls(course):
        for cause in causes(course):
            if cause.check == "rate-too-low":
                cause.message += (
                    f"; the loss has fallen by {fall:.1%} in {course.done} steps and still falls along each"
                )
                yield cause


def diverging(course: Course) -> Iterator[Finding]:
    """The loss is far above where it began or had come to, twice after another."""
    if len(course.blocks) < 3:
        return
    means = [mean for _, mean, _ in course.blocks]
    best = min(means)
    where = means.index(best)
    late = min(means[-2:])
    above = course.began + 2 * course.scale if course.whole else math.inf
    gained = course.began - best
    rises = course.whole and gained > 0.2 * course.scale and late > best + max(0.6 * gained, 0.2 * course.scale)
    if not (late > above or (rises and where < len(means) - 3)):
        return
    step = next(s for (s, m, _) in course.blocks[where:] if m > best + 0.3 * (late - best))
    rate = course.samples[-1].rate if course.samples else 0.0
    told = f"the loss rises: {best:.3g} by step {course.blocks[where][0]}, {means[-1]:.3g} by step {course.done}"
    fix = f"{_rate(rate / 10)} (it is {rate:.3g}), clip the gradients, or look at the batches there"
    yield _with_cause(course, Finding("loss-rises", Severity.WARNING, told, [f"step {step}"], fix=fix))


def not_finite(step: int, value: float, course: Course) -> Finding:
    """A loss that is NaN or infinite."""
    rate = course.samples[-1].rate if course.samples else 0.0
    fix = (
        f"{_rate(rate / 10)} (it is {rate:g}), clip the gradients, look for a logarithm or root of 0 or extreme inputs"
    )
    symptom = Finding(
        "loss-not-finite", Severity.ERROR, f"the loss is {value} at step {step}", [f"step {step}"], fix=fix
    )
    return _with_cause(course, symptom)


def dead_units(course: Course) -> Iterator[Finding]:
    """Units that nothing reaches any more, most of a layer, while there is much to learn yet."""
    # of samples that are learned nothing sends gradients
    if course.blocks and (not course.whole or course.blocks[-1][1] > 0.3 * course.began):
        yield from _dead(course)


def _dead(course: Course) -> Iterator[Finding]:
    """The layer with the largest share of dead units, of the output layer none."""
    last = course.recent
    if len(last) < ROW:
        return
    shares = [(min(s.weights[n].dead for s in last if n in s.weights), n) for n in [*last[-1].weights][:-1]]
    share, name = max(shares, default=(0.0, ""))
    if share < DEAD:
        return
    told = f"{share:.0%} of the units of '{name}' are dead: in three batches no sample sent them a gradient"
    fix = f"a lower learning rate (it is {last[-1].rate:g}), a bias that begins at 0, or LeakyReLU in place of ReLU"
    yield Finding("dead-units", Severity.WARNING, told, [f"layer {name}", f"step {last[-1].step}"], fix=fix)


def faded_gradients(course: Course) -> Iterator[Finding]:
    """Gradients that are a million times smaller at the input's side than at the output's."""
    last = course.recent
    if len(last) < ROW:
        return
    names, small = [*last[-1].weights], {*last[-1].weights}
    for sample in last:
        largest = max((weight.gradient for weight in sample.weights.values()), default=0.0)
        small &= {n for n, weight in sample.weights.items() if 0 < weight.gradient < 1e-6 * largest}
    faded = [n for i, n in enumerate(names) if {*names[: i + 1]} <= small]
    if not faded:
        return
    told = f"gradients fade away: from the output down to '{faded[-1]}' they become less than a millionth"
    yield Finding("gradients-vanish", Severity.WARNING, told, [f"layer {faded[-1]}", f"step {last[-1].step}"],
                  fix="ReLU in place of sigmoid or tanh, normalisation, or shortcuts around layers")  # fmt: skip


def still_weights(course: Course) -> Iterator[Finding]:
    """Layers that get gradients and are not changed, though these are large enough to show."""
    last = course.recent
    if len(last) < ROW:
        return

    def still(name: str, sample: Sample) -> bool:
        weight = sample.weights.get(name)
        if weight is None or weight.update or not weight.gradient:
            return False
        return weight.rate is None or weight.rate * weight.gradient > 1e-6

    if names := [n for n in last[-1].weights if all(still(n, s) for s in last)]:
        told = f"{len(names)} layer{'s' * (len(names) > 1)} with gradients, first of all '{names[0]}', never change"
        fix = "give the optimiser these parameters; it was made before they were there, or of a part of the model"
        yield Finding("weights-still", Severity.ERROR, told, [f"layer {n}" for n in names], fix=fix)


def collapsed(course: Course) -> Iterator[Finding]:
    """Every sample gets the same answer where targets differ."""
    last = course.samples[-ROW - 1 :]
    known = [(s.predicted, s.wanted) for s in last if s.predicted is not None and s.wanted is not None]
    if len(known) <= ROW or last[-1].step < LOSS_FROM or len({p[0] for p, _ in known}) > 1:
        return
    if not all(p[1] >= 0.99 and w[1] <= 0.6 for p, w in known):
        return
    (index, share), (_, wanted) = known[-1]
    told = f"the model answers class {index} for {share:.0%} of a batch whose most frequent class is {wanted:.0%}"
    fix = "a lower learning rate, scaled inputs, class weights; see whether inputs differ at all"
    place = f"step {last[-1].step}"
    yield _with_cause(course, Finding("class-collapse", Severity.WARNING, told, [place], fix=fix))


def batch_statistics(course: Course) -> Iterator[Finding]:
    """Batches whose means are far from the running ones, which evaluation goes by."""
    last = course.recent
    if len(last) < ROW or last[0].step < LOSS_FROM:
        return
    apart = [n for n in last[-1].shifts if min(s.shifts.get(n, 0.0) for s in last) > 1.0]
    if apart:
        shift = median(s.shifts[apart[0]] for s in last)
        told = (
            f"'{apart[0]}' sees batches whose means are {shift:.1f} standard deviations from the running ones, "
            "which evaluation goes by: it will see another model than training does"
        )
        fix = "larger and shuffled batches, a momentum of 0.1, or GroupNorm; see that inputs are scaled alike in both"
        yield Finding("batch-statistics", Severity.WARNING, told, [f"layer {n}" for n in apart[:20]], fix=fix)


def wrong_mode(course: Course) -> Iterator[Finding]:
    """A model left in evaluation mode while it trains."""
    if len(course.samples) > ROW and not any(s.training for s in course.recent) and course.samples[0].training:
        step = next(s.step for s in course.samples if not s.training)
        told = "the model is in evaluation mode while it trains: dropout is off and batch statistics stand still"
        yield Finding("evaluation-mode", Severity.WARNING, told, [f"step {step}"],
                      fix="call model.train() after each validation")  # fmt: skip


def rate_gone(course: Course) -> Iterator[Finding]:
    """A learning rate that has fallen to nothing long before the end, as far as it has come."""
    gone = [s for s in course.samples if s.rate <= GONE * course.largest_rate]
    if len(gone) >= ROW and gone[0].step < 0.8 * gone[-1].step:
        yield from _gone(course)


def _gone(course: Course) -> Iterator[Finding]:
    """A learning rate that is next to nothing now."""
    last = course.samples[-1]
    if course.largest_rate == 0 or last.rate > GONE * course.largest_rate:  # a warm-up may begin at 0
        return
    first = next(s.step for s in course.samples if s.rate <= GONE * course.largest_rate)
    told = f"the learning rate has been next to 0 since step {first} ({last.rate:.1g}): nothing is learned any more"
    fix = "step the schedule once an epoch if it counts epochs, or give it as many steps as there are"
    yield Finding("rate-gone", Severity.WARNING, told, [f"step {first}"], fix=fix)


def overfitting(course: Course) -> Iterator[Finding]:
    """The validation loss has risen for three epochs while the training loss fell, and the measure got no better."""
    if len(course.epochs) < 4:
        return
    valid = [v for _, v, _ in course.epochs]
    best = min(range(len(valid)), key=valid.__getitem__)
    since = course.epochs[best:]
    if len(since) < 4 or not all(math.isfinite(v) for v in valid) or valid[best] <= 0:
        return
    rose = min(v for _, v, _ in since[-3:]) > 1.1 * valid[best]
    if rose and since[-1][0] < since[0][0] and not any(better for _, _, better in since[1:]):
        told = (
            f"it has learned by heart since epoch {best + 1}: the validation loss rose from {valid[best]:.3g} to "
            f"{valid[-1]:.3g} while the training loss fell from {since[0][0]:.3g} to {since[-1][0]:.3g}"
        )
        yield Finding("overfitting", Severity.NOTE, told, [f"epoch {best + 1}"],
                      fix="more data, stronger augmentation, or early_stopping")  # fmt: skip


def spike(losses: Sequence[float], step: int, course: Course) -> Iterator[Finding]:
    """A loss that leaps back to where the training began, of steps that end before `step`."""
    before = [block for block in course.blocks[-4:] if block[0] < step - len(losses)]
    if not before or not losses or not course.whole:
        return
    _, mean, noise = before[-1]
    if max(losses) <= max(3 * abs(mean), 0.8 * course.scale):
        return
    for behind, value in zip(range(len(losses), 0, -1), losses, strict=True):
        if value > mean + 20 * max(noise, 1e-12) and value > max(3 * abs(mean), 0.8 * course.scale):
            number = step - behind
            told = f"the loss leapt from {mean:.3g} to {value:.3g} at step {number}"
            yield Finding("loss-spike", Severity.NOTE, told, [f"step {number}"],
                          fix="clip the gradients, or look at the batch of that step")  # fmt: skip
            return


RULES: tuple[Rule, ...] = (
    wrong_mode, still_weights, rate_gone, collapsed, not_falling, slow, diverging, dead_units, faded_gradients,
    batch_statistics, overfitting,
)  # fmt: skip


# -- symptoms that several rules ask for ------------------------------------------------------------------------


def _over(slopes: Sequence[float]) -> bool:
    """Whether steps go beyond the lowest point on their way, by more than chance."""
    if len(slopes) < 4:
        return False
    return fmean(slopes) > max(0.02, 2 * spread(slopes) / math.sqrt(len(slopes)))


def _still_falls(course: Course) -> bool:
    """Whether the loss would have fallen on, further along each step, by more than chance."""
    slopes = course.slopes
    return len(slopes) >= 4 and fmean(slopes) < -max(0.005, 2 * spread(slopes) / math.sqrt(len(slopes)))


def _warming_up(course: Course) -> bool:
    rates = [s.rate for s in course.samples]
    return len(rates) > 1 and rates[-1] > rates[-2]
