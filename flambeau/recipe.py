"""The Recipe: the settings of a Learner as plain data, saved with every run and enough to run it again."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from flambeau.core.errors import RunError, UsageError, nearest, shown
from flambeau.core.files import parse_yaml, read_regular, write_atomic
from flambeau.core.hints import unknown
from flambeau.core.registry import Asked
from flambeau.objectives import OBJECTIVES
from flambeau.techniques import keyed
from flambeau.training.settings import Settings
from flambeau.version import RUN_FORMAT, __version__

MOST_BYTES = 1 << 20  # of a recipe: with the names of 5,000 columns it has a tenth


class ModelChoice(BaseModel):
    """The `model` section: a name, where pretrained weights come from, arguments of the model's constructor, and
    patterns of parameters' names that part it into layer groups."""

    model_config = ConfigDict(extra="forbid")
    name: str = "auto"
    pretrained: bool | str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    groups: list[str] = Field(default_factory=list)

    @field_validator("pretrained", mode="before")
    @classmethod
    def _path(cls, value: Any) -> Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value


class ObjectiveChoice(BaseModel):
    """The `objective` section: a name, the loss with its options, metrics, and options of its own beside them."""

    model_config = ConfigDict(extra="allow")
    name: str = "supervised"
    loss: Asked = "auto"
    metric: str = "auto"
    metrics: list[Asked] = Field(default_factory=list)

    @property
    def options(self) -> dict[str, Any]:
        """What is said beside them."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> ObjectiveChoice:
        """Options are checked where the objective is known; that of a plug-in may not be loaded yet."""
        own = OBJECTIVES[self.name].settings if self.name in OBJECTIVES else self.options
        known = [*type(self).model_fields, *own]
        for option in self.options:
            if option not in known:
                raise ValueError(f"there is no setting 'objective.{option}'; {unknown(option, known)}")
        return self


class Recipe(BaseModel):
    """Everything that a training depends on besides the data itself.

    `auto` and empty values are decided by the Learner; the recipe that a run keeps has the decisions in their
    place, and the reasons beside them.
    """

    model_config = ConfigDict(extra="forbid")
    flambeau: str = __version__
    format: int = RUN_FORMAT
    data: dict[str, Any] = Field(default_factory=dict)
    fields: dict[str, dict[str, Any]] = Field(default_factory=dict)
    model: ModelChoice = Field(default_factory=ModelChoice)
    objective: ObjectiveChoice = Field(default_factory=ObjectiveChoice)
    augment: str | dict[str, Any] = "auto"
    techniques: dict[str, dict[str, Any]] = Field(default_factory=dict)
    baseline: bool | float = True  # or the seconds that each simple rival may be fitted for
    training: Settings = Field(default_factory=Settings)
    own_parts: dict[str, str] = Field(default_factory=dict)
    plugins: list[str] = Field(default_factory=list)
    reasons: list[str] = Field(default_factory=list)

    _keyed = field_validator("techniques", mode="before")(keyed)

    @property
    def trains(self) -> str:
        """What is trained, by name: a model, or an objective that brings its own."""
        own = self.own_parts.get("model") or self.own_parts.get("objective")
        brings = self.objective.name != ObjectiveChoice().name and self.model.name == "auto"
        return own or (self.objective.name if brings else self.model.name)

    def to_yaml(self) -> str:
        """The recipe as YAML, Chinese and all."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)

    def save(self, path: Path) -> None:
        """Writes the recipe whole or not at all."""
        write_atomic(path, self.to_yaml().encode())

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Reads a recipe.

        Raises:
            UsageError: it is not there, not YAML, or a setting does not exist or fit; all such are told at once.
            RunError: a newer version wrote it.
        """
        if not Path(path).exists():
            raise UsageError("there is no such recipe", where=path, code="not-found")
        try:
            values = parse_yaml(read_regular(Path(path), MOST_BYTES).decode("utf-8"))
        except ValueError as error:
            raise UsageError(f"this is not YAML ({error})", where=path) from None
        if not isinstance(values, dict):
            raise UsageError("this is not a recipe", where=path, expected="sections such as model and training")
        written = values.get("format", RUN_FORMAT)
        if isinstance(written, int) and written > RUN_FORMAT:
            raise RunError(
                f"flambeau {values.get('flambeau')} wrote this, in format {written}",
                where=path,
                expected=f"format {RUN_FORMAT} at most, which flambeau {__version__} reads",
                fix="install a newer flambeau",
            )
        return cls.from_dict(values, where=path)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: Any = None) -> Recipe:
        """A recipe from plain data; errors as for `load`. Settings under a name of before are read, with a note."""
        values = _with_names_of_today(values)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UsageError("; ".join(_tell(e) for e in error.errors()), where=where) from None

    def with_settings(self, settings: Mapping[str, Any]) -> Recipe:
        """A copy with settings changed, by their full names (`training.epochs`) or by the last part alone.

        Raises:
            UsageError: there is no such setting, or the value does not fit.
        """
        values = self.model_dump(mode="json")
        for name, value in settings.items():
            section, key = _find(values, RENAMED.get(name.removeprefix("training."), name))
            section[key] = value
            if key == "batch_size" and value == LARGEST:
                section |= {"batch_size": None, "largest_batch": True}
        return Recipe.from_dict(values)


LARGEST = "largest"  # a batch size that is looked for
RENAMED = {"body_rate": "backbone_lr_scale", "tokens": "max_tokens"}  # settings of a training: before, and today


def _with_names_of_today(values: Mapping[str, Any]) -> Mapping[str, Any]:
    training = values.get("training")
    before = {name: today for name, today in RENAMED.items() if isinstance(training, dict) and name in training}
    if not before:
        return values
    renamed = {before.get(name, name): value for name, value in values["training"].items()}
    notes = [f"{name} is called {today} now" for name, today in before.items()]
    return {**values, "training": renamed, "reasons": [*values.get("reasons", []), *notes]}


PART = re.compile(r"""\.?(?:"([^"]*)"|'([^']*)'|\[([^\]]*)\]|([^.]+))""")
NESTED = ("augment", "columns", "layout")  # settings of fields that have settings of their own
LEARNER = ("size", "run", "quiet", "threads")  # what is said beside a recipe


def _parts(name: str, fields: Mapping[str, Any]) -> list[str]:
    """The sections of a setting's name, and its own. A column's name may hold dots, as R writes them, or be quoted.

    >>> _parts("fields.Sepal.Length.transform", {}), _parts('fields."a.augment.b".size', {})
    (['fields', 'Sepal.Length', 'transform'], ['fields', 'a.augment.b', 'size'])
    """
    quoted = [found for found in PART.finditer(name) if found[4] is None]
    parts = [next(group for group in found.groups() if group is not None) for found in PART.finditer(name)]
    begins = 1 if parts[:1] == ["fields"] else parts.index("encoders") + 1 if "encoders" in parts else None
    if begins is None or quoted:
        return parts or [name]
    last = len(parts) - 1
    ends = next((i for i in range(last, begins, -1) if ".".join(parts[begins:i]) in fields), None)
    if ends is None:  # a column that is not known yet: what follows is one setting, or one of a setting's own
        ends = next((i for i in range(begins + 1, last) if parts[i] in NESTED), last)
    return [*parts[:begins], ".".join(parts[begins:ends]), *parts[ends:]] if ends > begins else parts


def _find(values: dict[str, Any], name: str) -> tuple[dict[str, Any], str]:
    parts = _parts(name, values["fields"])
    if len(parts) == 1:
        homes = [s for s in ("training", "model", "objective") if name in values[s]]
        if homes:
            return values[homes[0]], name
        if name in ("model", "objective"):
            return values[name], "name"
        if name in values:
            return values, name
        known = [k for s in ("training", "model", "objective") for k in values[s]] + list(values)
        beside = "it is no part of a recipe: give it to the Learner, or as an option" if name in LEARNER else None
        raise UsageError(f"there is no setting '{name}'", fix=beside or unknown(name, [*known, *LEARNER]))
    if parts[0] == "data":
        raise UsageError(f"'{name}' cannot be set", fix="what is read, and how, is said where the data is given")
    section: Any = values
    if parts[0] in values["training"]:  # optimizer_options
        section = values["training"]
    for part in parts[:-1]:
        if not isinstance(section.get(part), dict):
            if part == "loss" and isinstance(section.get(part), str):
                section[part] = {"name": section[part]}
            elif parts[0] in ("fields", "techniques") or {"augment", "options", "phases", "then"} & {*parts[:-1]}:
                section[part] = {}
            else:
                raise UsageError(f"there is no section '{part}' in '{name}'", fix=nearest(part, section))
        section = section[part]
    free = parts[0] in ("fields", "techniques", "augment", "objective") or {
        "optimizer_options",
        "options",
        "phases",
        "then",
    } & set(parts)
    if parts[-1] not in section and not free:
        raise UsageError(f"there is no setting '{name}'", fix=unknown(parts[-1], section))
    return section, parts[-1]


def _tell(error: Any) -> str:
    place = ".".join(str(p) for p in error["loc"])
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        sections: dict[str, list[str]] = {
            "training": [f.name for f in dataclasses.fields(Settings)],
            "model": list(ModelChoice.model_fields),
            "objective": list(ObjectiveChoice.model_fields),
        }
        inside = str(error["loc"][0]) if len(error["loc"]) > 1 else ""
        known = sections.get(inside, list(Recipe.model_fields))
        return f"there is no setting '{place}'; {unknown(str(error['loc'][-1]), known)}"
    if isinstance(error.get("ctx", {}).get("error"), Exception):
        return str(error["ctx"]["error"])
    return f"{place}={shown(error['input'])} does not fit ({error['msg'].lower()})"
