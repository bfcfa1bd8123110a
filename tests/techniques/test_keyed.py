"""Techniques in their order, as often as wanted, with their settings: in Python, in a recipe, on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from forkserver import Forkserver
from sklearn.datasets import load_digits

import flambeau as fb
from flambeau.core.errors import RunError, UsageError
from flambeau.data.batch import Batch
from flambeau.recipe import Recipe
from flambeau.techniques import EMA, Clip, EarlyStopping, Mixup, Technique, keyed
from flambeau.testing.small import Stop, fit_until_stopped, identical, trainer, weights
from flambeau.training import Trainer, checkpoint


def test_any_form_is_read_in_its_order() -> None:
    assert list(keyed(["mixup", EMA(0.9)]).items()) == [("mixup", {}), ("ema", {"decay": 0.9})]
    assert keyed({"mixup": {"alpha": 0.1}, "ema": None}) == {"mixup": {"alpha": 0.1}, "ema": {}}
    assert keyed(None) == {} and keyed(Mixup()) == {"mixup": {"alpha": 0.2, "p": 1.0}} and keyed("clip") == {"clip": {}}
    assert keyed(["sam rho=5e-2 sizes=[1, 2]"]) == {"sam": {"rho": 0.05, "sizes": [1, 2]}}
    assert list(keyed([Mixup(), {"mixup": {"alpha": 1}}, "clip", "mixup"])) == ["mixup", "mixup@2", "clip", "mixup@3"]


@pytest.mark.parametrize(
    ("technique", "told"),
    [
        ("mixup alfa=1", "did you mean 'alpha'"),
        ("mixap alpha=1", "did you mean 'mixup'"),
        ("mixup 0.4", "expected a name, then its settings"),
        ("alpha=0.4", "expected a name, then its settings"),
        ("mixup alpha=[", "is not YAML"),
        (3, "expected a name, a Technique"),
        (Technique(), "Technique is a technique without a name"),
    ],
)
def test_what_is_no_technique_is_told(technique: object, told: str) -> None:
    data = fb.Dataset.from_arrays(*load_digits(return_X_y=True))
    with pytest.raises(UsageError, match=told):
        fb.Learner(data, techniques=[technique], run=False, quiet=True).fit(check=False)  # type: ignore[list-item]


class Watch(Technique):
    """A technique of the user's own, between two that have names."""

    name = "watch"

    def on_batch(self, batch: Batch, generator: object) -> Batch:
        return batch


def test_a_learner_has_them_in_the_order_of_its_recipe(tmp_path: Path) -> None:
    bunch = load_digits()
    data = fb.Dataset.from_arrays(bunch.images[:200] / 16, bunch.target[:200])
    given = ["mixup alpha=0.4", Watch(), {"clip": {"norm": 2}}, "mixup"]
    learner = fb.Learner(data, model="mlp", techniques=given, run=tmp_path / "run", quiet=True, epochs=1)
    learner.fit(check=False)
    kinds = [(type(technique), technique.to_dict()) for technique in learner.techniques]
    assert kinds == [
        (Mixup, {"alpha": 0.4, "p": 1.0}),
        (Watch, {}),
        (Clip, {"norm": 2}),
        (Mixup, {"alpha": 0.2, "p": 1.0}),
    ]
    recipe = Recipe.load(tmp_path / "run" / "recipe.yaml")
    assert list(recipe.techniques) == ["mixup", "watch", "clip", "mixup@2"]
    assert fb.load(tmp_path / "run").predict(bunch.images[0] / 16).label


def test_a_recipe_may_list_them_or_map_them() -> None:
    listed = Recipe.from_dict({"techniques": [{"clip": {"norm": 1}}, "mixup", "mixup alpha=1"]})
    mapped = Recipe.from_dict({"techniques": {"clip": {"norm": 1}, "mixup": None, "mixup@2": {"alpha": 1}}})
    assert listed == mapped and Recipe.from_dict(listed.model_dump()) == listed


def test_each_has_its_state_in_the_checkpoint(tmp_path: Path) -> None:
    def training(folder: Path | None, stop: int | None) -> Trainer:
        techniques = [EMA(0.1), Clip(1.0), EMA(0.9), Stop(stop)]
        return trainer(folder=folder, techniques=techniques, checkpoint_minutes=0)

    whole, broken = training(None, None), training(tmp_path, 7)
    whole.fit()
    fit_until_stopped(broken)
    path = checkpoint.listed(tmp_path / "checkpoints")[0]
    tree, facts = checkpoint.load(path)
    assert list(tree["techniques"]) == ["ema", "clip", "ema@2", "stop"]
    assert not identical(tree["techniques"]["ema"]["average"], tree["techniques"]["ema@2"]["average"])
    with pytest.raises(RunError, match=r"\(ema, clip, ema@2, stop\) than it is resumed with \(ema, clip\)"):
        trainer(folder=tmp_path, techniques=[EMA(0.5), Clip(1.0)]).fit(resume=True)
    without = trainer(techniques=[Clip(1.0), Stop(6)])
    fit_until_stopped(without)
    assert identical(tree["model"], weights(without)), "validation leaves the weights as they were"
    # as versions before wrote them
    checkpoint.save(path, tree | {"techniques": [*tree["techniques"].values()]}, facts)
    resumed = training(tmp_path, None)
    resumed.fit(resume=True)
    assert identical(weights(whole), weights(resumed))


def test_mixup_of_what_is_mixed_already() -> None:
    training = trainer(techniques=[Mixup(0.4), Mixup(0.4), EarlyStopping(3)])
    training.fit()
    assert training.state.step == 10


def test_on_the_command_line(flambeau: Forkserver, digits_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("techniques: [clip, {ema: {decay: 0.9}}]\n")
    options = ["--technique", "mixup alpha=0.4", "--technique", "mixup", "--technique", "clip norm=3"]
    options += ["--set", "techniques.mixup@2.alpha=0.1", "--recipe", "mine.yaml", "--run", "run", "--no-baseline"]
    command = flambeau("train", digits_folder, "--model", "mlp", "--epochs", 1, *options, cwd=tmp_path)
    assert command.status == 0, command.err
    said = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["techniques"]
    assert list(said.items()) == [("clip", {"norm": 3}), ("ema", {"decay": 0.9}), ("mixup", {"alpha": 0.4}),
                                  ("mixup@2", {"alpha": 0.1})]  # fmt: skip
