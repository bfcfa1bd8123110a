"""How a training is planned: what a recipe leaves open is decided from the data and the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flambeau.core.errors import UsageError, shown
from flambeau.data.grouping import PRESENT
from flambeau.fields import FIELDS, Field, Wanted
from flambeau.learner import choices
from flambeau.learner.plan import Decision, Facts, Plan, given
from flambeau.models import (
    FUSION,
    OWN,
    InputSpec,
    OutputSpec,
    auto,
    compares,
    default_encoder,
    starts_pretrained,
    takes_several,
    wanted,
)
from flambeau.objectives import OBJECTIVES, defaults
from flambeau.objectives.tasks import task_of
from flambeau.recipe import ModelChoice, Recipe
from flambeau.techniques import TECHNIQUES, made, name_of
from flambeau.training.engine import Machine, decide_precision
from flambeau.training.settings import FIND

OF_OPTIMIZER = ("training.optimizer", "training.learning_rate", "training.backbone_lr_scale")
LOOKED_AT = "decided when the training rows have been looked at"
CUTTING = ("tokens", "lower", "max_vocabulary", "min_count", "characters")  # settings that a vocabulary depends on


def plan(recipe: Recipe, data: Facts, machine: Machine) -> Plan:
    """Decides what a recipe leaves open. The same arguments give the same plan, and stay as they are.

    Raises:
        UsageError: what the recipe asks for does not go together, or with the data.
    """
    return _Planning(recipe, data, machine).plan()


class _Planning:
    def __init__(self, recipe: Recipe, data: Facts, machine: Machine):
        self.recipe, self.data, self.machine = recipe.model_copy(deep=True), data, machine
        self.decisions: list[Decision] = []
        self.given = given(recipe, data.own)
        own = {"model", "objective"} & recipe.own_parts.keys()
        takes = () if "objective" in recipe.own_parts else OBJECTIVES[recipe.objective.name].takes
        self.names_model = not own and bool(data.fields) and "model" in takes
        self.inputs = [n for n in data.inputs if n != PRESENT] if self.names_model else []
        self.target = data.fields[data.target] if data.target and "target" in takes else None
        self.layout = OBJECTIVES[recipe.objective.name].layout if self.names_model else ""

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
        if self.names_model and self.whole:
            choices.take_adapter(self.recipe, self.decide)
        alike = self.choose_model()
        if self.fits_itself:
            choices.check_fitted(self.recipe, self.given)
        self.suit_fields()
        self.decide_augmentation()
        self.say_fitted()
        self.decide_objective()
        self.decide_techniques()
        self.decide_frozen()
        if self.fits_itself:
            self.recipe.training = choices.fitted_settings(
                self.recipe.training, self.data.num_train, self.decide, self.paces
            )
        else:
            self.recipe.training = choices.training_settings(
                self.recipe.training, self.data.num_train, self.pretrained, self.decide, self.paces,
                self.data.batch_size,
            )  # fmt: skip
        if self.recipe.training.learning_rate == FIND:
            self.later("training.learning_rate", "looked for on a copy of the model, before the first step")
        self.decide_engine()
        decided = {decision.name for decision in self.decisions}
        given = {name: value for name, value in self.given.items() if name not in decided}
        return Plan(self.recipe, tuple(self.decisions), given, self.data.num_train, alike)

    @property
    def fits_itself(self) -> bool:
        """Whether the model is fitted to all training rows at once."""
        return self.names_model and self.recipe.model.name in OWN.fitted

    @property
    def pretrained(self) -> bool:
        """Whether what is trained was trained before."""
        own = "model" in self.recipe.own_parts
        return not own and starts_pretrained(self.recipe.model.name, self.recipe.model.pretrained)

    @property
    def whole(self) -> bool:
        """Whether pretrained weights are those of all of the model."""
        return OBJECTIVES[self.recipe.objective.name].whole

    @property
    def paces(self) -> list[choices.Pace]:
        kinds = [field.kind for field in self.data.fields.values()]
        model = self.recipe.model
        return choices.paces_of(
            kinds, len(self.data.inputs), model.name, self.machine.device, str(model.options.get("of"))
        )

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
        self.choose_size()
        if self.target is not None and self.target.shares and "tied" in OWN.options.get(choice.name, ()):
            self.choose_tied()
        return tuple(self.inputs) if together and compares(self.recipe.model.name) else ()

    def may_compare(self) -> bool:
        """Whether texts are cut in the same way, and nothing was said of encoders for each."""
        cut = [{name: self.recipe.fields[n].get(name) for name in CUTTING} for n in self.inputs]
        return all(one == cut[0] for one in cut) and not {"encoders", "fusion"} & set(self.recipe.model.options)

    def choose_one(self, fields: Sequence[Field], kind: str) -> None:
        if self.data.fitted:
            output = None if self.target is None else task_of(self.target).output_spec
            output = OutputSpec(1, self.layout) if self.layout else output
            spec, made_of = InputSpec.of(fields), fields[0].kind
            chosen = auto.choose(spec, self.data.num_train, self.recipe.model.pretrained, made_of, output)
        elif self.layout in auto.BY_LAYOUT:
            chosen = auto.BY_LAYOUT[self.layout]
        elif not self.layout and (early := auto.by_kind(kind, self.recipe.model.pretrained)) is not None:
            chosen = early
        else:
            self.later("model.name", LOOKED_AT)
            return
        self.recipe.model.name = chosen[0]
        self.decide("model.name", *chosen)

    def choose_size(self) -> None:
        """That of a model which comes in several, where nothing is said of it."""
        choice = self.recipe.model
        sizes = auto.SIZES.get(choice.name)
        if sizes is not None and not {"size", *sizes.parts} & set(choice.options):
            choice.options["size"], why = sizes.on(self.machine.device)
            self.decide("model.options.size", choice.options["size"], why)

    def choose_tied(self) -> None:
        """One vector for each token, of whichever text, where nothing is said of it."""
        options = self.recipe.model.options
        if "tied" not in options:
            options["tied"] = True
            self.decide("model.options.tied", True, "the texts that are read and written share their pieces")

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
            if own.get("name") in OWN.fitted:
                raise UsageError(f"{own['name']} is fitted at once to one input, not trained beside others",
                                 fix="name an encoder that is trained, or choose one input: inputs=")  # fmt: skip
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
        return wanted(name, choice.get("pretrained"), self.data.rows, len(self.inputs), self.layout)

    def decide_augmentation(self) -> None:
        name = self.recipe.objective.name
        if self.fits_itself:
            self.recipe.augment = "none"
            self.decide("augment", "none", f"{self.recipe.model.name} sees each row once, as it is")
        elif (
            "objective" not in self.recipe.own_parts and not OBJECTIVES[name].augments and self.recipe.augment == "auto"
        ):
            self.recipe.augment = "none"
            self.decide("augment", "none", f"{name} learns what the inputs are like, as they are")

    def say_fitted(self) -> None:
        """What fields have found in the training rows, or will; how they are augmented is found when they are read."""
        for name, settings in self.recipe.fields.items():
            field = self.data.fields.get(name)
            for setting, (value, why) in (field.choices() if field is not None and self.data.fitted else {}).items():
                self.decide(f"fields.{name}.{setting}", value, why)
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
        usual = defaults(choice.name)
        suggested = OBJECTIVES[choice.name].suggests({**usual, **choice.options}, self.data.num_train)
        for option, default in usual.items():
            if option not in choice.options:
                value, why = suggested.get(f"objective.{option}", (default, f"the default of {choice.name}"))
                setattr(choice, option, value)  # the recipe has it in words
                self.decide(f"objective.{option}", value, why)
        choices.take_suggestions(self.recipe, suggested, self.given, self.decide)
        if choice.metric != "auto" or "metric" not in OBJECTIVES[choice.name].takes:
            return
        if self.target is None or not self.data.fitted:
            when = LOOKED_AT if self.target is not None else "decided when the first batch is tried"
            self.later("objective.metric", when)
        else:
            choice.metric = task_of(self.target).measure()[0]
            self.decide("objective.metric", choice.metric, task_of(self.target).why)

    def decide_techniques(self) -> None:
        """What techniques do, and the settings that follow from theirs."""
        training = self.recipe.training
        if not self.recipe.techniques and not self.recipe.own_parts and not self.fits_itself:
            rows = self.data.num_train
            self.recipe.techniques = choices.usual_techniques(training, rows, self.pretrained, self.paces)
        for key, settings in self.recipe.techniques.items():
            technique = made(key, settings) if name_of(key) in TECHNIQUES else None  # else an own one, from Python
            if technique is None:
                continue
            if open_settings := technique.left_open(self.names_model and self.pretrained and self.whole):
                settings |= open_settings
                technique = made(key, settings)
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
        if self.fits_itself:
            self.decide("training.precision", "float32", "what was fitted is in float64, and answers in float32")
            return
        known = decide_precision(training.precision, machine, exact, None)
        if known is not None:
            self.decide("training.precision", *known)
        else:
            self.later("training.precision", "decided when the model is built, by its size and its layers")
        if training.channels_last is None:
            self.later("training.channels_last", "decided when the model is built, by its layers")
