"""The plan of a training: what is decided for it before it begins, each decision with its reason, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from flambeau.core.reporter import Reporter
from flambeau.fields import Field
from flambeau.recipe import Recipe

OF_COLUMN = re.compile(r"(?:fields|model\.options\.encoders)\.(.+)\.(\w+)")  # a column's name may hold dots


@dataclass(frozen=True)
class Facts:
    """What a plan depends on of the data.

    Attributes:
        fields: by column; none of a user's own data.
        inputs: columns that are predicted from.
        target: the column to predict.
        rows: how many there are.
        num_train: how many are trained on, as far as is known.
        fitted: whether the fields have seen the training rows; what depends on it is decided later if not.
        kinds: why each column is taken for what it is, where that was recognised: {column: "kind: why"}.
        batch_size: of a user's own DataLoader, which has one.
        own: settings of the fields as the data was read, before anything was asked for: {column: {setting: value}}.
    """

    fields: Mapping[str, Field]
    inputs: Sequence[str] = ()
    target: str | None = None
    rows: int = 0
    num_train: int = 0
    fitted: bool = True
    kinds: Mapping[str, str] | None = None
    batch_size: int | None = None
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """One setting that was left open, or that cannot be what was asked for.

    Attributes:
        name: of the setting, in full: `training.epochs`, `fields.photo.size`.
        value: what it is; None where it is decided later.
        why: the reason, a clause; of what is decided later: when.
        asked: what was asked for, where it is not to be had.
        later: whether it depends on what is known only once rows are read or the model is built.
    """

    name: str
    value: Any
    why: str
    asked: Any = None
    later: bool = False

    def __str__(self) -> str:
        found = OF_COLUMN.fullmatch(self.name)
        column, setting = found.groups() if found else ("", "")
        if setting == "kind":
            return f"{column} is {self.value}: {self.why}"
        what, of = setting or self.name.rpartition(".")[2], f" of {column}" if column else ""
        if what == "name":
            return f"model {self.value}{of}, because {self.why}"
        return f"{what} {self.value}{of}: {self.why}"


@dataclass(frozen=True)
class Plan:
    """What will be trained, and why so.

    Attributes:
        recipe: what was asked for, with the decisions in place of what was left open.
        decisions: in the order in which they follow from one another.
        given: settings that were asked for, by their names.
        num_train: how many rows are trained on.
        alike: inputs that must have one vocabulary: two texts of which the model asks which words both have.
    """

    recipe: Recipe
    decisions: tuple[Decision, ...]
    given: Mapping[str, Any]
    num_train: int = 0
    alike: tuple[str, ...] = ()

    def reasons(self, without: Sequence[str] = ()) -> list[str]:
        """What is decided, and why, a sentence each; of the settings that are named without."""
        return [str(d) for d in self.decisions if not d.later and d.name not in without]

    def after(self, decided: Sequence[Decision]) -> Plan:
        """The plan with what was decided before it, which is given no more."""
        names = {decision.name for decision in decided}
        given = {name: value for name, value in self.given.items() if name not in names}
        others = (decision for decision in self.decisions if decision.name not in names)
        return replace(self, decisions=(*decided, *others), given=given)

    def say(self, reporter: Reporter) -> None:
        """Says the model, and what is not as it was asked for."""
        for decision in self.decisions:
            if decision.asked is not None or (decision.name == "model.name" and not decision.later):
                reporter.say(str(decision), style=None if decision.asked is None else "yellow")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        decisions = [asdict(decision) for decision in self.decisions]
        return {"given": dict(self.given), "decisions": decisions, "recipe": self.recipe.model_dump(mode="json")}


def given(recipe: Recipe, own: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The settings of a recipe that are not what they are where nothing is said, by their names.

    Args:
        own: as of Facts; settings of other columns are left out.
    """
    default, found = Recipe(), dict[str, Any]()
    for section in ("model", "objective", "training"):
        plain, asked = (dict(getattr(one, section)) if section != "training" else vars(one.training)
                        for one in (default, recipe))  # fmt: skip
        found |= {f"{section}.{name}": value for name, value in asked.items() if value != plain.get(name)}
    found |= {f"model.options.{name}": value for name, value in found.pop("model.options", {}).items()}
    for column, usual in (own or {}).items():
        settings = recipe.fields.get(column, {})
        found |= {f"fields.{column}.{name}": value for name, value in settings.items() if value != usual.get(name)}
    found |= {} if recipe.augment == default.augment else {"augment": recipe.augment}
    return found | {
        f"{section}.{name}": value
        for section in ("techniques", "own_parts")
        for name, value in getattr(recipe, section).items()
    }
