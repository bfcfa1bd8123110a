"""The recipes in the repository can be trained by: what they name is there, and they fit their kind of data."""

from __future__ import annotations

from pathlib import Path

import pytest

import flambeau as fb
from flambeau.recipe import Recipe
from flambeau.testing.together import pictures

RECIPES = sorted((Path(__file__).parents[2] / "examples" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_training_begins_by_it(path: Path, tmp_path: Path) -> None:
    recipe = Recipe.load(path)
    learner = fb.Learner(pictures(), recipe=recipe, run=False, quiet=True, cache=tmp_path, epochs=1, batch_size=8)
    learner.fit(check=False)
    assert learner.recipe.techniques == recipe.techniques
    assert learner.recipe.model.options == recipe.model.options
    assert learner.trainer is not None and learner.trainer.state.step > 0


def test_the_list_names_them_all() -> None:
    told = (RECIPES[0].parents[1] / "README.md").read_text(encoding="utf-8")
    assert all(f"recipes/{path.name}" in told for path in RECIPES)
