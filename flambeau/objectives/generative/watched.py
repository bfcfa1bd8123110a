"""What goes wrong with a generative model in silence, told of what it shows at the ends of its epochs: pure functions
of a course of `Signs` to Findings. Each speaks of what no healthy training shows, most of what holds two epochs after
another, names the step, and says what to try.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flambeau.core.findings import Finding, Severity

IN_A_ROW = 2  # epochs that a symptom must hold
BEGUN, SETTLED = 50, 1000  # steps before which a healthy training looks ill: of a discriminator or a code, of samples
NARROW = 0.25  # of how far real samples lie apart
ALIKE = 0.5  # share of samples with another nearly the same
LEFT, GONE = 0.1, 0.1  # of what a discriminator's loss is where it knows nothing; of the largest gradient so far
UNUSED = 0.01  # nats of a number of a code that says nothing: Burda et al. 2015, arXiv:1509.00519
LITTLE = 0.1  # nats of a whole code that says nothing
SWINGS, WIDE = 6, 1.0  # epochs of going to and fro; of how far samples lie apart
COPIED = 0.2  # share of samples that are training rows


@dataclass(frozen=True)
class Signs:
    """What a generative model shows after an epoch, on the same noise and the same rows each time; None for what it
    does not have.

    Attributes:
        step: of the training.
        diversity, duplicates, copied: of samples beside training rows, see `measures`.
        moved: how far the samples of the same noise have gone since the epoch before, over how far they lie apart.
        told_apart: share of real and generated samples that a discriminator is right on.
        left: the discriminator's mean loss in the epoch, 0 where it cannot be lower and 1 where it knows nothing; None
            where a generator learns from one that is always right as well.
        gradient: that reaches a generator, its norm for each sample.
        divergence: of each number of a code from the prior, nats (D).
    """

    step: int = 0
    diversity: float | None = None
    duplicates: float | None = None
    copied: float | None = None
    moved: float | None = None
    told_apart: float | None = None
    left: float | None = None
    gradient: float | None = None
    divergence: Sequence[float] | None = None

    def numbers(self) -> dict[str, float]:
        """For a logger."""
        names = ("diversity", "duplicates", "copied", "moved", "told_apart", "left", "gradient")
        found = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.divergence is not None:
            found["used_numbers_of_the_code"] = float(sum(value > UNUSED for value in self.divergence))
        return found


Rule = Callable[[Sequence[Signs]], Iterator[Finding]]


def mode_collapse(course: Sequence[Signs]) -> Iterator[Finding]:
    """Samples are nearly all the same: less apart than they were, or long after they should have come apart."""
    largest = max((one.diversity or 0.0 for one in course), default=0.0)

    def narrow(one: Signs) -> bool:
        if one.diversity is None or one.duplicates is None:
            return False
        late = one.step >= SETTLED or one.diversity < largest / 2
        return late and (one.diversity < NARROW or one.duplicates > ALIKE)

    if (now := _in_a_row(course, narrow)) is None:
        return
    told = (f"mode collapse: generated samples lie apart by {now.diversity:.0%} of what real ones do, and "
            f"{now.duplicates:.0%} of them have another that is nearly the same")  # fmt: skip
    yield _finding("mode-collapse", told, now, "a lower learning rate of the generator, larger batches, "
                   "--objective wgan-gp, or objective.norm=spectral for the discriminator")  # fmt: skip


def discriminator_wins(course: Sequence[Signs]) -> Iterator[Finding]:
    """Over an epoch it was hardly ever wrong, so nothing that the generator tries makes a difference."""
    now = course[-1] if course else Signs()
    if now.left is None or now.left >= LEFT or now.step < BEGUN:
        return
    gradients = [one.gradient for one in course if one.gradient is not None]
    faded = f", and the generator's gradient is {gradients[-1] / max(gradients):.1%} of its largest" if (
        gradients and gradients[-1] < GONE * max(gradients)) else ""  # fmt: skip
    told = f"the discriminator wins: its loss is {now.left:.0%} of what it is where it knows nothing{faded}"
    yield _finding("discriminator-wins", told, now, "a lower rate for it, such as "
                   "training.phases.discriminator.learning_rate=1e-4; objective.norm=spectral; "
                   "objective.smoothing=0.1; or --objective wgan-gp, which learns from one that is right")  # fmt: skip


def oscillation(course: Sequence[Signs]) -> Iterator[Finding]:
    """From epoch to epoch each noise gives another sample, as far away as any, and it does not settle."""
    last = [one for one in course[-SWINGS:] if one.step >= SETTLED and (one.diversity or 0) >= NARROW]
    moved = [one.moved for one in last if one.moved is not None]
    if len(moved) < SWINGS or min(moved) < WIDE or moved[-1] < 0.9 * max(moved):
        return
    told = (f"it goes to and fro: in each of {SWINGS} epochs the same noise has come to give another sample, "
            f"{moved[-1]:.1f} times as far away as samples lie apart")  # fmt: skip
    yield _finding("oscillation", told, course[-1], "lower learning rates of both networks, a schedule that lets them "
                   "fall, the mean of the generator's weights (--technique ema), or betas=[0.5, 0.999]")  # fmt: skip


def latent_ignored(course: Sequence[Signs]) -> Iterator[Finding]:
    """The posterior is the prior: a code says nothing of a sample."""
    now = _in_a_row(course, lambda one: one.step >= BEGUN and sum(one.divergence or [LITTLE]) < LITTLE)
    if now is None:
        return
    of = now.divergence or ()
    told = f"the code is ignored: its {len(of)} numbers say {sum(of):.2g} nats of a sample, all together"
    yield _finding("latent-ignored", told, now, "a smaller objective.beta, its warm-up (objective.warm_up), free "
                   "bits (objective.free_bits), or a smaller decoder")  # fmt: skip


def memorised(course: Sequence[Signs]) -> Iterator[Finding]:
    """Samples are training rows, learned by heart."""
    if (now := _in_a_row(course, lambda one: (one.copied or 0) >= COPIED)) is None:
        return
    told = f"{now.copied:.0%} of generated samples are training samples, which it has learned by heart"
    yield _finding("memorised", told, now, "fewer epochs, a smaller model, more data, or "
                   "objective.diffaugment=true")  # fmt: skip


RULES: tuple[Rule, ...] = (mode_collapse, discriminator_wins, oscillation, latent_ignored, memorised)


def _in_a_row(course: Sequence[Signs], ill: Callable[[Signs], bool]) -> Signs | None:
    """The last epoch, where it and those before it are ill."""
    last = course[-IN_A_ROW:]
    return last[-1] if len(last) == IN_A_ROW and all(map(ill, last)) else None


def _finding(check: str, told: str, now: Signs, fix: str) -> Finding:
    return Finding(check, Severity.WARNING, told, [f"step {now.step}"], fix=f"try {fix}")
