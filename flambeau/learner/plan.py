"""The plan of a training: what is decided for it before it begins, each decision with its reason, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flambeau.core.errors import UsageError, shown
from flambeau.core.reporter import Reporter
from flambeau.data.grouping import PRESENT
from flambeau.fields import FIELDS, Field, Wanted
from flambeau.learner import choices
from flambeau.models import FUSION, InputSpec, auto, compares, default_encoder, starts_pretrained, takes_several, wanted
from flambeau.objectives import OBJECTIVES, defaults
from flambeau.objectives.tasks import task_of
from flambeau.recipe import ModelChoice, Recipe
from flambeau.techniques import TECHNIQUES, made, name_of
from flambeau.training.engine import Machine, decide_precision
from flambeau.training.settings import FIND

OF_COLUMN = re.compile(r"(?:fields|model\.options\.encoders)\.(.+)\.(\w+)")  # a column's name may hold dots
OF_OPTIMIZER = ("training.learning_rate", "training.backbone_lr_scale")
LOOKED_AT = "decided when the training rows have been looked at"
CUTTING = ("tokens", "lower", "max_vocabulary", "min_count", "characters")  # settings that a vocabulary depends on


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
    """

    fields: Mapping[str, Field]
    inputs: Sequence[str] = ()
    target: str | None = None
    rows: int = 0
    num_train: int = 0
    fitted: bool = True
    kinds: Mapping[str, str] | None = None
    batch_size: int | None = None


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


def plan(recipe: Recipe, data: Facts, machine: Machine) -> Plan:
    """Decides what a recipe leaves open. The same arguments give the same plan, and stay as they are.

    Raises:
        UsageError: what the recipe asks for does not go together, or with the data.
    """
    return _Planning(recipe, data, machine).plan()


def given(recipe: Recipe) -> dict[str, Any]:
    """The settings of a recipe that are not what they are where nothing is said, by their names."""
    default, found = Recipe(), dict[str, Any]()
    for section in ("model", "objective", "training"):
        plain, asked = (dict(getattr(one, section)) if section != "training" else vars(one.training)
                        for one in (default, recipe))  # fmt: skip
        found |= {f"{section}.{name}": value for name, value in asked.items() if value != plain.get(name)}
    found |= {} if recipe.augment == default.augment else {"augment": recipe.augment}
    return found | {
        f"{section}.{name}": value
        for section in ("techniques", "own_parts")
        for name, value in getattr(recipe, section).items()
    }


class _Planning:
    def __init__(self, recipe: Recipe, data: Facts, machine: Machine):
        self.recipe, self.data, self.machine = recipe.model_copy(deep=True), data, machine
        self.decisions: list[Decision] = []
        self.given = given(recipe)
        own = {"model", "objective"} & recipe.own_parts.keys()
        takes = () if "objective" in recipe.own_parts else OBJECTIVES[recipe.objective.name].takes
        self.names_model = not own and bool(data.fields) and "model" in takes
        self.inputs = [n for n in data.inputs if n != PRESENT] if self.names_model else []
        self.target = data.fields[data.target] if data.target and "target" in takes else None

    def decide(self, name: str, value: Any, why: str, asked: Any = None) -> None:
        if name in OF_OPTIMIZER and "optimizer" in self.recipe.own_parts:
            self.later(name, "that of your own optimiser, once it is made")
        elif name == "training.batch_size" and self.recipe.training.largest_batch:
            self.later(name, "the largest that fits into memory, looked for when the model is built")
        else:
            self.decisions.append(Decision(name, value, why, asked))

    def later(self, name: str, when: str) -> None:
        self.decisions.append(Decision(name, None, when, later=True))

    def plan(self) -> Plan:
        for column, why in (self.data.kinds or {}).items():
            self.decide(f"fields.{column}.kind", *why.split(": ", 1))
        alike = self.choose_model()
        self.suit_fields()
        self.say_fitted()
        self.decide_objective()
        self.decide_techniques()
        self.decide_frozen()
        self.recipe.training = choices.training_settings(
            self.recipe.training, self.data.num_train, self.pretrained, self.decide,
            [field.kind for field in self.data.fields.values()], len(self.data.inputs),
            self.recipe.model.name, self.data.batch_size,
        )  # fmt: skip
        if self.recipe.training.learning_rate == FIND:
            self.later("training.learning_rate", "looked for on a copy of the model, before the first step")
        self.decide_engine()
        decided = {decision.name for decision in self.decisions}
        given = {name: value for name, value in self.given.items() if name not in decided}
        return Plan(self.recipe, tuple(self.decisions), given, self.data.num_train, alike)

    @property
    def pretrained(self) -> bool:
        """Whether what is trained was trained before."""
        own = "model" in self.recipe.own_parts
        return not own and starts_pretrained(self.recipe.model.name, self.recipe.model.pretrained)

    # -- the model ----------------------------------------------------------------------------------------------

    def choose_model(self) -> tuple[str, ...]:
        """The model of the inputs, where none is named; the inputs that it wants one vocabulary of."""
        if not self.inputs:
            return ()
        fields, choice = [self.data.fields[name] for name in self.inputs], self.recipe.model
        together = InputSpec.together([field.input_kind for field in fields])
        reads_all = takes_several(choice.name) or (choice.name == "auto" and together and self.may_compare())
        if len(fields) > 1 and not (together and reads_all):
            self.choose_encoders()
            return ()
        if choice.name == "auto":
            self.choose_one(fields, together or fields[0].input_kind)
        return tuple(self.inputs) if together and compares(self.recipe.model.name) else ()

    def may_compare(self) -> bool:
        """Whether texts are cut in the same way, and nothing was said of encoders for each."""
        cut = [{name: self.recipe.fields[n].get(name) for name in CUTTING} for n in self.inputs]
        return all(one == cut[0] for one in cut) and not {"encoders", "fusion"} & set(self.recipe.model.options)

    def choose_one(self, fields: Sequence[Field], kind: str) -> None:
        if self.data.fitted:
            output = None if self.target is None else task_of(self.target).output_spec
            spec, made_of = InputSpec.of(fields), fields[0].kind
            chosen = auto.choose(spec, self.data.num_train, self.recipe.model.pretrained, made_of, output)
        elif (early := auto.by_kind(kind, self.recipe.model.pretrained)) is not None:
            chosen = early
        else:
            self.later("model.name", LOOKED_AT)
            return
        self.recipe.model.name = chosen[0]
        self.decide("model.name", *chosen)

    def choose_encoders(self) -> None:
        """A model for each of several inputs."""
        choice, names = self.recipe.model, self.inputs
        if not self.data.fitted:  # and columns that are one input are gathered
            self.later("model.name", LOOKED_AT)
            return
        if choice.name not in ("auto", FUSION):
            columns = {n: [asked["name"] for asked in self.data.fields[n].asks(n)] for n in names}
            told = ", ".join(n if of == [n] else f"{n} ({', '.join(of)})" for n, of in columns.items())
            raise UsageError(
                f"{choice.name} takes {'two texts' if compares(choice.name) else 'one input'}; the data has "
                f"{len(names)}: {told}",
                fix=f"choose one with inputs=, or set model.options.encoders.{names[0]}.name={choice.name}",
            )
        if choice.pretrained:
            raise UsageError(
                f"pretrained={shown(choice.pretrained)} is for one model, and each of the {len(names)} inputs has its "
                "own",
                fix=f"set model.options.encoders.{names[0]}.pretrained={choice.pretrained}",
            )
        if choice.name == "auto":
            self.decide("model.name", FUSION, f"there are {len(names)} inputs, with an encoder for each")
            choice.name = FUSION
        encoders = dict(self.encoders)
        for name in names:
            own = encoders.get(name, {})
            if own.get("name", "auto") == "auto":
                spec = InputSpec.of([self.data.fields[name]])
                chosen, why = default_encoder(spec, self.data.num_train, own.get("pretrained"))
                encoders[name] = {**own, "name": chosen}
                self.decide(f"model.options.encoders.{name}.name", chosen, why)
        choice.options["encoders"] = encoders

    @property
    def encoders(self) -> Mapping[str, Mapping[str, Any]]:
        """What is said of the encoders of several inputs."""
        several = self.recipe.model.options.get("encoders") or {}
        if not isinstance(several, Mapping) or not all(isinstance(own, Mapping) for own in several.values()):
            raise UsageError(
                f"encoders={shown(several)} does not fit", expected="settings by input, such as {photo: {name: lenet}}"
            )
        return several

    # -- the fields ---------------------------------------------------------------------------------------------

    def suit_fields(self) -> None:
        """Pictures in the size, texts in the tokens, that pretrained weights were trained with; sounds and texts as
        the model takes them."""
        several = self.encoders
        one = self.wanted(vars(self.recipe.model))
        for name, settings in self.recipe.fields.items():
            wants = self.wanted(several.get(name, {})) if several else one
            for setting, (value, why) in FIELDS[settings.get("kind", "")].suit(name, settings, wants).items():
                settings[setting] = value
                self.decide(f"fields.{name}.{setting}", value, why)

    def wanted(self, choice: Mapping[str, Any]) -> Wanted:
        """What a model, by its section of the recipe, wants of fields."""
        if not self.inputs:
            return Wanted()
        name = choice.get("name") or ModelChoice().name
        return wanted(name, choice.get("pretrained"), self.data.rows, len(self.inputs))

    def say_fitted(self) -> None:
        """What fields have found in the training rows, or will; how they are augmented is found when they are read."""
        for name, settings in self.recipe.fields.items():
            field = self.data.fields.get(name)
            for setting in field.settings if field is not None else ():
                if settings.get(setting) is not None:
                    continue
                if setting == "augment":
                    if name in self.data.inputs and self.recipe.augment != "none":
                        self.later(f"fields.{name}.augment", "decided when the training rows have been read")
                elif (value := getattr(field, setting)) is not None and self.data.fitted:
                    self.decide(f"fields.{name}.{setting}", value, "found in the training rows")

    # -- how it is trained --------------------------------------------------------------------------------------

    def decide_objective(self) -> None:
        if "objective" in self.recipe.own_parts:
            return
        choice = self.recipe.objective
        for option, value in defaults(choice.name).items():
            if option not in choice.options:
                setattr(choice, option, value)  # the recipe has it in words
                self.decide(f"objective.{option}", value, f"the default of {choice.name}")
        if choice.metric != "auto" or "metric" not in OBJECTIVES[choice.name].takes:
            return
        if self.target is None or not self.data.fitted:
            when = LOOKED_AT if self.target is not None else "decided when the first batch is tried"
            self.later("objective.metric", when)
        else:
            task = task_of(self.target)
            choice.metric = task.measure()[0]
            self.decide("objective.metric", choice.metric, task.why)

    def decide_techniques(self) -> None:
        """What techniques do, and the settings that follow from theirs."""
        training = self.recipe.training
        for key, settings in self.recipe.techniques.items():
            technique = made(key, settings) if name_of(key) in TECHNIQUES else None  # else an own one, from Python
            if technique is None:
                continue
            if says := technique.describe():
                told = ", ".join(f"{name}={value}" for name, value in technique.to_dict().items() if value is not None)
                self.decide(f"techniques.{key}", told, says)
            if technique.needs_base and self.names_model and not self.pretrained:
                begins = f"{self.recipe.model.name} begins with random weights"
                raise UsageError(f"{key} keeps what was trained alone, and {begins}", fix="give pretrained=")
            for name, (value, why) in technique.decides().items():
                asked = getattr(training, name)
                if asked not in (None, value):
                    raise UsageError(f"{name}={shown(asked)} was asked for, and {key} decides {shown(value)} ({why})",
                                     fix=f"leave {name} or {key} out")  # fmt: skip
                setattr(training, name, value)
                self.decide(f"training.{name}", value, why)

    def decide_frozen(self) -> None:
        """Whether what is frozen is computed once, as far as that is known before the model is built."""
        named = {key: TECHNIQUES[name_of(key)] for key in self.recipe.techniques if name_of(key) in TECHNIQUES}
        freezes = any(kind.overridden("on_build") or kind.overridden("on_freeze") for kind in named.values())
        training, name = self.recipe.training, "training.frozen_views"
        if not training.frozen_views or not (freezes or any(own.get("frozen") for own in self.encoders.values())):
            return
        if changing := [key for key, kind in named.items() if kind.overridden("on_batch")]:
            asked, training.frozen_views = training.frozen_views if name in self.given else None, 0
            why = f"{changing[0]} changes the inputs at each step, so what is frozen is computed in each epoch"
            self.decide(name, 0, why, asked)
        else:
            self.later(name, "what is frozen is computed once where nothing before it is random: seen on the model")

    def decide_engine(self) -> None:
        training, machine = self.recipe.training, self.machine
        self.decide("training.device", machine.device, machine.why)
        exact = self.target is not None and task_of(self.target).numbers
        known = decide_precision(training.precision, machine, exact, None)
        if known is not None:
            self.decide("training.precision", *known)
        else:
            self.later("training.precision", "decided when the model is built, by its size")
        if training.channels_last is None:
            self.later("training.channels_last", "decided when the model is built, by its layers")
