"""What goes wrong with a language model in silence, told of the texts that it makes at the ends of its epochs: pure
functions of a course of `Signs` to Findings, as of generative models. What they speak of no healthy training shows, two
epochs after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from flambeau.core.findings import Finding, Severity

IN_A_ROW, BEGUN = 2, 50  # epochs that a symptom must hold; steps before which nothing was learned
LOOPED, SAME, EMPTY, COPIED = 0.25, 0.25, 0.5, 0.2


@dataclass(frozen=True)
class Signs:
    """What the texts show that a model makes of the same prompts after an epoch, drawn as it says, token by token.

    Attributes:
        step: of the training.
        looped: share of texts that end by going in a circle.
        distinct: share of runs of four tokens that come for the first time, over that of as much held-out text.
        empty: share of texts that ended at once.
        copied: share of tokens that are in spans copied from training texts.
        usual: the same of held-out texts.
    """

    step: int
    looped: float
    distinct: float
    empty: float
    copied: float
    usual: float

    def numbers(self) -> dict[str, float]:
        """For a logger."""
        return {f"texts_{name}": value for name, value in asdict(self).items() if name not in ("step", "usual")}


def watched(course: Sequence[Signs]) -> Iterator[Finding]:
    """What is wrong with the last epochs."""
    last = [one for one in course[-IN_A_ROW:] if one.step >= BEGUN]
    if len(last) < IN_A_ROW:
        return
    now = last[-1]
    if all(one.looped >= LOOPED or one.distinct < SAME for one in last):
        told = (f"its texts repeat themselves: {now.looped:.0%} of them end by going in a circle, and they have "
                f"{now.distinct:.0%} of the variety of held-out text")  # fmt: skip
        yield _finding("repetition", told, now, "a lower learning rate, dropout, or texts that repeat themselves less: "
                       "flambeau check tells of copies and of lines that many have")  # fmt: skip
    if all(one.empty >= EMPTY for one in last):
        told = f"{now.empty:.0%} of its texts end at once"
        yield _finding("empty-texts", told, now, "longer documents: what it is trained on may be lines, not texts")
    if all(one.copied >= COPIED + one.usual for one in last):
        told = (f"{now.copied:.0%} of what it writes is copied from training texts word for word (of held-out text it "
                f"is {now.usual:.0%}): it has learned them by heart")  # fmt: skip
        yield _finding("memorised", told, now, "fewer epochs, a smaller model, dropout, more text, or less that stands "
                       "in it twice")  # fmt: skip


def _finding(check: str, told: str, now: Signs, fix: str) -> Finding:
    return Finding(check, Severity.WARNING, told, [f"step {now.step}"], fix=f"try {fix}")
