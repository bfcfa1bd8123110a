"""Variants of one training on the same data, each with the same seeds: settings against one another, and an ablation,
which leaves out one part at a time (Meyes et al. 2019, "Ablation studies in artificial neural networks")."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flambeau.core.errors import FlambeauError, ModelError, TrainingError, UsageError
from flambeau.data.dataset import Dataset
from flambeau.learner import Learner, records
from flambeau.learner.feeds import FieldFeed
from flambeau.objectives import OBJECTIVES
from flambeau.objectives.generative import Generative
from flambeau.run import Run
from flambeau.studies.base import Study, variant
from flambeau.studies.comparison import Comparison, Entry, compare_entries
from flambeau.studies.space import space_of

WHOLE = "all"
"""What the variant of an ablation is called that nothing is left out of."""
PARTS = ("techniques", "augmentation", "inputs")
MOST = 200  # trainings of one study


@dataclass
class Variant:
    """What differs from the learner: settings of its recipe, and data, where it is not the same."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Dataset | None = None


def compare_settings(
    learner: Learner, over: Mapping[str, Any] | Iterable[str], *, seeds: int = 1, metric: str | None = None,
    check: bool = True, study: str | Path | None = None,
) -> tuple[Study, Comparison]:  # fmt: skip
    """Trains a Learner with each combination of some settings, and compares what came out. One that was stopped goes
    on when it is asked for again.

    Args:
        learner: what is trained; it is left as it is.
        over: what each setting may be: {"optimizer": ["sgd", "adamw"]}, or as typed, `optimizer=sgd,adamw`.
        seeds: trainings of each, paired by seed; the rows that are held out are the same.
        metric: what they are compared by; the measure of the model if not given.
        check: look for mistakes in the data first, once.
        study: the folder; under `runs/` if not given.

    Raises:
        UsageError: there is no such setting, or a value does not fit. DataError, TrainingError: as `Learner.fit`.
    """
    space = space_of(over)
    if endless := next((name for name, values in space.items() if values.listed is None), None):
        raise UsageError(f"the values of {endless} are without number", expected="a list such as 1e-3,1e-2")
    values = [one.listed or [] for one in space.values()]
    grid = [dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*values)]
    variants = [Variant(", ".join(f"{k}={v}" for k, v in settings.items()), settings) for settings in grid]
    for one in variants:  # what does not fit is told before the first training
        other = variant(learner, one.settings, False)
        _check_answers(other)
        other.plan()
    asked = {"over": {name: one.listed for name, one in space.items()}}
    here = _study(learner, "compare", {**asked, "seeds": seeds}, study)
    entries = _trained(here, learner, variants, seeds, check)
    return here, _compared(here, learner, entries, "compare", None, metric)


def _check_answers(learner: Learner) -> None:
    """Raises UsageError where what is trained gives rows no answers that could be compared."""
    name = learner.recipe.objective.name
    if name in OBJECTIVES and issubclass(OBJECTIVES[name], Generative):
        raise UsageError(f"variants of {name} give rows no answers that could be compared",
                         fix="train each, and flambeau evaluate RUN --features CLASSIFIER")  # fmt: skip
    if learner.data is not None and learner.data.target is None:
        raise UsageError(
            "variants without a target give rows no answers that could be compared",
            fix="train each, and flambeau evaluate RUN; flambeau tune searches by the measure itself",
        )


def ablate(
    learner: Learner, *, seeds: int = 3, parts: Sequence[str] = PARTS, metric: str | None = None, check: bool = True,
    study: str | Path | None = None,
) -> tuple[Study, Comparison]:  # fmt: skip
    """Trains a Learner whole, and without each technique, each augmentation and each input, one at a time: what each
    brings, and what it costs. It costs as many trainings as there are parts, and one, for each seed.

    Args:
        learner: what is trained; it is left as it is.
        seeds: trainings of each, paired by seed.
        parts: of `PARTS`, which are left out.
        metric, check, study: as for `compare_settings`.

    Raises:
        UsageError: there is nothing to leave out. DataError, TrainingError: as `Learner.fit`.
    """
    if odd := next((part for part in parts if part not in PARTS), None):
        raise UsageError(f"'{odd}' cannot be left out", expected=", ".join(PARTS))
    _check_answers(learner)
    whole = Variant(WHOLE)
    if learner.data is not None:
        inputs = learner.data.inputs
        there = {"techniques": bool(learner.plan().recipe.techniques), "inputs": len(inputs) > 1,
                 "augmentation": any(learner.data.fields[name].varies for name in inputs)}  # fmt: skip
        if not any(there[part] for part in parts):
            raise UsageError(f"there is nothing to leave out of {', '.join(parts)}",
                             fix="switch something on, such as --technique label_smoothing")  # fmt: skip
    here = _study(learner, "ablate", {"parts": sorted(parts), "seeds": seeds}, study)
    first = _trained(here, learner, [whole], seeds, check)
    base = copy.copy(learner)  # what was decided for the whole holds for all: else a part left out is another model too
    base.recipe = first[0].runs[0].recipe.model_copy(update={"data": learner.recipe.data, "reasons": []})
    without = (_fitting(one, base, learner) for one in _without(base, first[0].runs[0], parts))
    variants = [one for one in without if one is not None]
    if not variants:
        raise UsageError(f"there is nothing to leave out of {', '.join(parts)}",
                         fix="switch something on, such as --technique label_smoothing")  # fmt: skip
    entries = _trained(here, base, [whole, *variants], seeds, check=False)
    return here, _compared(here, learner, entries, "ablate", WHOLE, metric)


def _without(learner: Learner, whole: Run, parts: Sequence[str]) -> Iterable[Variant]:
    """A variant without each part that was on in the whole training."""
    recipe, data = whole.recipe, learner.data
    assert data is not None
    fields, inputs = learner.recipe.fields, list(data.inputs)
    if "techniques" in parts:
        for name in recipe.techniques:
            yield Variant(
                f"without {name}", {"techniques": {key: s for key, s in recipe.techniques.items() if key != name}}
            )
    if "augmentation" in parts:
        states = {name: one.to_dict().get("augment") for name, one in whole.fields()[0].items() if name in inputs}
        varied = {name: state for name, state in states.items() if state}
        effects = [(n, e) for n, state in varied.items() for e, s in state.items() if isinstance(s, (Mapping, list))]
        if varied:
            off = {name: {**fields.get(name, {}), "augment": None} for name in varied}
            yield Variant("without augmentation", {"augment": "none", "fields": {**fields, **off}})
        for name, effect in effects if len(effects) > 1 else ():
            rest = {key: s for key, s in varied[name].items() if key != effect}
            named = effect if len(varied) == 1 else f"{effect} of {name}"
            yield Variant(f"without {named}", {"fields": {**fields, name: {**fields.get(name, {}), "augment": rest}}})
    if "inputs" in parts and len(inputs) > 1:
        for name in inputs:
            yield Variant(f"without {name}", {"fields": {n: given for n, given in fields.items() if n != name}},
                          data.narrowed([other for other in inputs if other != name]))  # fmt: skip


def _fitting(one: Variant, base: Learner, learner: Learner) -> Variant | None:
    """A variant that can be trained: with a model that is chosen anew where that of the whole does not take what is
    left; None, which is said, where a model was asked for that does not."""
    free = {f"model.{name}": value for name, value in learner.recipe.model.model_dump().items()}
    error: FlambeauError | None = None
    for settings in (one.settings, {**one.settings, **free}):
        try:
            variant(base, settings, False, one.data).plan()
        except (UsageError, ModelError) as why:
            error = why
        else:
            return Variant(one.name, settings, one.data)
    learner.reporter.say(f"{one.name}: not trained, for {error}", style="yellow")
    return None


def _study(learner: Learner, kind: str, asked: Mapping[str, Any], path: str | Path | None) -> Study:
    """The folder of what is asked, which may have begun."""
    data = learner.data
    if data is None:
        raise UsageError("only a Dataset can be compared on", fix="make one, such as fb.Dataset.from_arrays(x, y)")
    if asked["seeds"] < 1:
        raise UsageError(f"{asked['seeds']} seeds do not fit", expected="1 or more")
    recipe = learner.recipe.model_dump(mode="json", exclude={"reasons"})
    told = {**asked, "rows": len(data), "recipe": recipe}
    name = f"{Path(str(data.source.get('path') or 'data')).stem}-{kind}"
    return Study.free(name, kind, told) if path is None else Study(path, kind, told)


def _trained(study: Study, learner: Learner, variants: Sequence[Variant], seeds: int, check: bool) -> list[Entry]:
    """The runs of each variant with each seed; a variant that cannot be trained to its end is told and left out."""
    first, reporter = learner.recipe.training.seed, learner.reporter
    if len(variants) * seeds > MOST:
        raise UsageError(f"{len(variants)} variants with {seeds} seeds are {len(variants) * seeds:,} trainings",
                         expected=f"{MOST} at most", fix="give fewer values, parts or seeds")  # fmt: skip
    if check and not any(study.path.glob("*/recipe.yaml")):
        records.tell(learner.feed.check(learner.recipe, reporter, learner.own_loss), (), reporter)
    entries: list[Entry] = []
    for one in variants:
        runs: list[Run] = []
        try:
            for seed in range(first, first + seeds):
                name = f"{_file_name(one.name)}-{seed}"
                if not study.run(name).measured:
                    reporter.say(f"{one.name}, seed {seed} ({len(entries) + 1} of {len(variants)})")
                runs.append(study.trained(name, learner, {**one.settings, "seed": seed}, one.data))
        except TrainingError as error:
            if len(variants) == 1:
                raise
            reporter.say(f"{one.name} is left out: {error}", style="yellow")
        else:
            entries.append(Entry(one.name, runs))
    return entries


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "=.,-_" else "_" for c in name)[:100]


def _compared(
    study: Study, learner: Learner, entries: list[Entry], kind: str, reference: str | None, metric: str | None
) -> Comparison:
    if len(entries) < 2:
        raise TrainingError("fewer than two variants could be trained", where=study.path)
    options = learner.feed.encoding if isinstance(learner.feed, FieldFeed) else None
    comparison = compare_entries(
        entries, learner.data, kind=kind, reference=reference, metric=metric, options=options,
        device=learner.recipe.training.device, reporter=learner.reporter,
    )  # fmt: skip
    page = comparison.write(study.path / "comparison.html")
    study.finish({"page": str(page), **comparison.to_dict()})
    return comparison
