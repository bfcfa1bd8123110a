"""Effects that come together, and effects of which a sample gets one group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.core.errors import UsageError, check_known, shown
from flambeau.fields.augment.draws import MOST_TOGETHER, Draws
from flambeau.fields.augment.effects import EFFECTS, Effect, make

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Some effects of which a sample gets all or none; each still by its own probability.

    Attributes:
        p: of the samples that get them.
        effects: by name.
    """

    p: float
    effects: Mapping[str, Effect]

    def to_dict(self) -> dict[str, Any]:
        """As it is written: {p: …, name: settings, …}."""
        return {"p": self.p, **{name: effect.to_dict() for name, effect in self.effects.items()}}


def together(given: Sequence[Group | Settings] | Settings) -> tuple[Group, ...]:
    """Groups that are drawn one by one; each with a probability of a half if it names none.

    Raises:
        UsageError: they are none.

    >>> [(group.p, *group.effects) for group in together([{"p": 0.3, "blur": 1.0, "sharpness": 0.5}])]
    [(0.3, 'blur', 'sharpness')]
    """
    groups = tuple(Group(0.5 if p is None else p, effects) for p, effects in _read("together", given))
    if len(groups) > MOST_TOGETHER:
        raise UsageError(f"together has {len(groups)} groups", expected=f"{MOST_TOGETHER} at most")
    return groups


def one_of(given: Sequence[Group | Settings] | Settings) -> tuple[Group, ...]:
    """Groups of which a sample gets one: by their probabilities, those that name none share what the others leave; none
    of them where all name one and the sum is below 1.

    Raises:
        UsageError: they are none, or the sum is above 1.

    >>> [group.p for group in one_of([{"blur": 1.0}, {"p": 0.5, "solarize": 1.0}, {"equalise": 1.0}])]
    [0.25, 0.5, 0.25]
    """
    read = [*_read("one_of", given)]
    named = sum(p for p, _ in read if p is not None)
    if named > 1 + 1e-6:
        raise UsageError(f"the probabilities of one_of sum to {named:g}", expected="1 at most")
    rest = (1 - named) / max(1, sum(p is None for p, _ in read))
    return tuple(Group(rest if p is None else p, effects) for p, effects in read)


def gate(draws: Draws, together: Sequence[Group], one_of: Sequence[Group]) -> None:
    """Decides for each sample which groups it gets."""
    for i, group in enumerate(together):
        mask = draws.column("together", i) < group.p
        draws.gates.update(dict.fromkeys(group.effects, mask))
    low, drawn = 0.0, draws.column("one_of", 0)
    for group in one_of:
        mask = (drawn >= low) & (drawn < low + group.p)
        draws.gates.update(dict.fromkeys(group.effects, mask))
        low += group.p


def _read(where: str, given: Any) -> Iterator[tuple[float | None, dict[str, Effect]]]:
    for one in [given] if isinstance(given, Mapping | Group) else given:
        if isinstance(one, Group):
            one = one.to_dict()
        if not isinstance(one, Mapping) or not set(one) - {"p"}:
            expected = "effects by name, such as {p: 0.3, blur: 1.0, sharpness: 0.5}"
            raise UsageError(f"a group is {shown(one)}", where=where, expected=expected)
        p = one.get("p")
        if p is not None and (isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1):
            raise UsageError(f"p is {shown(p)}", where=where, expected="a number within 0…1")
        given_effects = {name: value for name, value in one.items() if name != "p"}
        check_known("no augmentation is called", given_effects, EFFECTS, where)
        made = {name: make(name, value) for name, value in given_effects.items()}
        yield p, {name: effect for name, effect in made.items() if effect is not None}
