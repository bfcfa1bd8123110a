"""Test-time augmentation: several views of each sample, whose answers are averaged. Krizhevsky et al. 2012."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as default
from typing import Any

from flambeau.core.errors import UsageError, nearest, shown
from flambeau.core.settings import parse_setting
from flambeau.fields.base import Field

MOST = 256  # views of a sample
EXPECTED = "a number of views such as 8, a name such as flip, or either with settings: '8 rotation=10'"


@dataclass(frozen=True)
class TTA:
    """How a sample is looked at several times.

    Attributes:
        count: how often. The first view is the plain one, the others are drawn as in training.
        name: of views that a kind has by name, such as `flip`, in place of drawn ones.
        augment: settings of an augmentation that is drawn from, in place of the training's.
        seed: what is drawn follows from it.
    """

    count: int
    name: str | None = None
    augment: Mapping[str, Any] = default(default_factory=dict)
    seed: int = 0

    @classmethod
    def asked(cls, asked: int | str | Mapping[str, Any] | TTA) -> TTA:
        """From a number, a name, either with settings (`8 rotation=10`), or {views: 8, rotation: 10}.

        Raises:
            UsageError: it is none of these.

        >>> TTA.asked("8 rotation=10 seed=1")
        TTA(count=8, name=None, augment={'rotation': 10}, seed=1)
        >>> TTA.asked("flip").name
        'flip'
        """
        if isinstance(asked, TTA):
            return asked
        if isinstance(asked, Mapping):
            settings = dict(asked)
            first = settings.pop("views", None)
        else:
            first, *given = re.split(r"\s+(?=\S+=)", str(asked).strip())
            settings = dict(parse_setting(one) for one in given)
        seed = settings.pop("seed", 0)
        if isinstance(first, str) and re.fullmatch(r"-?\d+", first):
            first = int(first)
        number = isinstance(first, int) and not isinstance(first, bool)
        if number and not 2 <= first <= MOST:
            raise UsageError(f"{first} views do not fit", expected=f"2 to {MOST}")
        named = isinstance(first, str) and bool(re.fullmatch(r"\w+", first)) and not settings
        if not (number or named) or not isinstance(seed, int):
            raise UsageError(f"tta={shown(asked)} does not fit", expected=EXPECTED)
        return cls(first, None, settings, seed) if number else cls(0, first, {}, seed)

    def of(self, fields: Mapping[str, Field], target: Field | None = None) -> TTA:
        """The same, its count known where they have a name.

        Raises:
            UsageError: the fields of the inputs have no such views, or the target moves with them.
        """
        if target is not None and target.follows:
            found = "test-time augmentation would move the picture under an answer that has a place in it"
            raise UsageError(found, fix="leave tta out")
        kinds = ", ".join(sorted({field.kind for field in fields.values()}))
        if self.name is not None:
            known = {name: count for field in fields.values() for name, count in field.named_views.items()}
            if self.name not in known:
                fix = nearest(self.name, known) if known else "give a number of views"
                raise UsageError(f"inputs of the kind {kinds} have no views called '{self.name}'", fix=fix)
            if any(field.follows for field in fields.values()):
                raise UsageError(
                    f"the views {self.name} would move a picture under what has a place in it",
                    fix="give a number of views",
                )
            return replace(self, count=known[self.name])
        if not any(field.varies for field in fields.values()):
            raise UsageError(
                f"test-time augmentation has no meaning for inputs of the kind {kinds}",
                expected="pictures, sounds or texts",
            )
        if not any(field.has_views for field in self.varied(fields).values()):
            raise UsageError(
                "nothing is varied in this run's training, so that all views would be the same",
                fix="say what is to be varied, such as tta='8 rotation=10', or a name such as flip",
            )
        return self

    def fits(self, fields: Mapping[str, Field]) -> bool:
        """Whether the fields of some inputs have such views."""
        try:
            self.of(fields)
        except UsageError:
            return False
        return True

    def fields(self, fields: Mapping[str, Field], number: int) -> dict[str, Field]:
        """The fields of the inputs that prepare a view, as in training where it is a drawn one."""
        if self.name is not None:
            return {n: f.named_view(self.name, number) if self.name in f.named_views else f for n, f in fields.items()}
        return self.varied(fields) if number else dict(fields)

    def varied(self, fields: Mapping[str, Field]) -> dict[str, Field]:
        """The fields with the augmentation that is drawn from."""
        if not self.augment:
            return dict(fields)
        augment = {"augment": dict(self.augment)}
        return {n: Field.from_dict(f.to_dict() | augment) if f.varies else f for n, f in fields.items()}

    def parts(self, fields: Mapping[str, Field], row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The raw values that the views are of, by input: one for all, or one for each where a value is longer than the
        model sees at once."""
        if self.name is not None:
            return [dict(row)]
        cut = {name: field.parts_of(row[name], self.count) for name, field in fields.items() if name in row}
        if all(len(parts) == 1 for parts in cut.values()):
            return [dict(row)]
        return [{**row, **{name: _nth(parts, i) for name, parts in cut.items()}} for i in range(self.count)]


def _nth(parts: Sequence[Any], number: int) -> Any:
    return parts[number] if len(parts) > 1 else parts[0]
