"""What a user sees of the package."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import flambeau as fb
from flambeau.learner.given import Given
from flambeau.training.settings import Settings

ROOT = Path(fb.__file__).parents[1]


def test_the_public_names_are_shown_and_no_others() -> None:
    from flambeau.data.dataset import Dataset  # imports submodules, which Python enters as attributes

    assert fb.Dataset is Dataset
    assert [name for name in dir(fb) if not name.startswith("__")] == sorted(set(fb.__all__) - {"__version__"})


def test_every_room_is_in_a_layer() -> None:
    """Else the import contract would say nothing of it."""
    contract = (ROOT / ".importlinter").read_text(encoding="utf-8").split("ignore_imports")[0]
    layers = re.findall(r"flambeau\.\w+", contract)
    rooms = {
        path.stem for path in (ROOT / "flambeau").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == {layer.removeprefix("flambeau.") for layer in layers}


def test_arguments_that_a_person_types_are_named_and_typed() -> None:
    ways = [getattr(fb.Dataset, name) for name in dir(fb.Dataset) if name.startswith("from_") and name != "from_source"]
    shown = (fb.load, fb.Learner, fb.Learner.fit, fb.tune, fb.attack, fb.stress, fb.compare, fb.export)
    for function in (*shown, fb.Learner.predict, fb.Dataset.check, *ways):
        parameters = inspect.signature(function).parameters.values()
        assert not any(p.kind is p.VAR_KEYWORD for p in parameters), function
        assert all(p.annotation is not p.empty for p in parameters if p.name != "self"), function


def test_every_setting_of_a_training_is_an_argument_of_a_learner() -> None:
    settings = {setting.name for setting in dataclasses.fields(Settings)}
    assert settings <= inspect.signature(fb.Learner).parameters.keys() & inspect.signature(fb.tune).parameters.keys()
    for name in Given.__annotations__:  # and each of them is one of a recipe
        assert fb.Recipe().with_settings({name: _value(name)}), name


def _value(name: str) -> object:
    """What a recipe has for a setting."""
    document = fb.Recipe().model_dump(mode="json")
    sections = [*(document[section] for section in ("training", "model", "objective")), document]
    return next(section[name] for section in sections if name in section)
