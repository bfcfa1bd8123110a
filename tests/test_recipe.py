"""The settings of a training as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flambeau.core.errors import RunError, UsageError
from flambeau.core.settings import parse_setting
from flambeau.recipe import Recipe
from flambeau.version import RUN_FORMAT


def test_it_comes_back_from_its_file_chinese_and_all(tmp_path: Path) -> None:
    recipe = Recipe(
        data={"kind": "folder", "path": "/照片/猫"}, augment={"rotation": {"degrees": 10, "p": 1.0}},
        techniques={"mixup": {"alpha": 0.3}}, fields={"image": {"kind": "image", "size": [32, 32]}},
    ).with_settings({"epochs": 7, "learning_rate": 1e-3, "optimizer_options": {"betas": [0.9, 0.95]}})  # fmt: skip
    recipe.save(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == recipe
    text = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    assert "/照片/猫" in text and "epochs: 7" in text and f"format: {RUN_FORMAT}" in text


@pytest.mark.parametrize(
    ("name", "value", "where"),
    [
        ("epochs", 3, lambda r: r.training.epochs),
        ("training.epochs", 3, lambda r: r.training.epochs),
        ("pretrained", "w.pth", lambda r: r.model.pretrained),
        ("model.name", "lenet", lambda r: r.model.name),
        ("loss", "huber", lambda r: r.objective.loss),
        ("augment", "none", lambda r: r.augment),
        ("augment.rotation", 5, lambda r: r.augment["rotation"]),
        ("fields.image.size", [32, 32], lambda r: r.fields["image"]["size"]),
        ("techniques.mixup.alpha", 0.3, lambda r: r.techniques["mixup"]["alpha"]),
        ("training.optimizer_options.eps", 1e-6, lambda r: r.training.optimizer_options["eps"]),
    ],
)
def test_settings_by_their_full_or_last_name(name: str, value: Any, where: Any) -> None:
    recipe = Recipe()
    changed = recipe.with_settings({name: value})
    assert where(changed) == value
    assert recipe == Recipe(), "a copy was changed"


@pytest.mark.parametrize(
    ("name", "column", "setting"),
    [
        ("fields.Sepal.Length.transform", "Sepal.Length", "transform"),
        ('fields."Sepal.Length".transform', "Sepal.Length", "transform"),
        ("fields.'Sepal.Length'.transform", "Sepal.Length", "transform"),
        ("fields.[Sepal.Length].transform", "Sepal.Length", "transform"),
        ("fields.a.b.c.size", "a.b.c", "size"),
        ("fields.a.b.augment.rotation", "a.b", "augment"),
    ],
)
def test_a_column_may_have_dots_in_its_name(name: str, column: str, setting: str) -> None:
    assert setting in Recipe().with_settings({name: 1}).fields[column]


def test_of_columns_that_are_known_the_longest_counts() -> None:
    recipe = Recipe(fields={"a": {"kind": "table"}, "a.columns": {"kind": "image"}})
    assert recipe.with_settings({"fields.a.columns.size": 8}).fields["a.columns"]["size"] == 8
    chosen = Recipe().with_settings({"model.options.encoders.photo.path.name": "lenet"}).model.options
    assert chosen == {"encoders": {"photo.path": {"name": "lenet"}}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, r"there is no setting 'epoch'; did you mean 'epochs'\?"),
        ({"training.learnig_rate": 1}, r"no setting 'training.learnig_rate'; did you mean 'learning_rate'\?"),
        ({"trainin.epochs": 1}, r"no section 'trainin' in 'trainin.epochs'; did you mean 'training'\?"),
        ({"bs": 3}, r"there is no setting 'bs'; did you mean 'batch_size'\?"),
        ({"lr": 3}, r"there is no setting 'lr'; did you mean 'learning_rate'\?"),
        ({"training.lr": 3}, r"there is no setting 'training.lr'; did you mean 'learning_rate'\?"),
        ({"callbacks": []}, r"there is no setting 'callbacks'; did you mean 'techniques'\?"),
        ({"criterion": []}, r"there is no setting 'criterion'; did you mean 'loss'\?"),
        ({"val_loader": []}, r"there is no setting 'val_loader'; give both at once as data=\(train, valid\)"),
        ({"val_split": 0.1}, r"there is no setting 'val_split'; say it where the data is read: .*valid="),
        ({"zzz": 1}, r"there is no setting 'zzz'; all settings: docs/reference/recipe.md"),
        ({"epochs": list(range(1000))}, r"training.epochs=a list of 1000 does not fit"),
        ({"epochs": "many"}, r"training.epochs='many' does not fit"),
        ({"learning_rate": -1}, r"learning_rate=-1.0 does not fit; expected a number above 0"),
        ({"keep": "worst"}, r"keep='worst' does not fit; expected best or last"),
    ],
)
def test_what_does_not_exist_or_fit_is_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe().with_settings(settings)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("training: {epoch: 3}", UsageError, r"no setting 'training.epoch'; did you mean 'epochs'"),
        ("trainings: {epochs: 3}", UsageError, r"no setting 'trainings'; did you mean 'training'"),
        ("model: {name: [1]}\ntraining: {seed: x}", UsageError, r"model.name=\[1\] does not fit .*; training.seed='x'"),
        ("- a\n- b", UsageError, r"this is not a recipe; expected sections such as model and training"),
        ("a: [", UsageError, r"r.yaml: this is not YAML"),
        ("a: &a [1]\nb: *a", UsageError, r"r.yaml: this is not YAML \(it refers to an anchor, with \* or <<"),
        ("training: &t {epochs: 1}\nmodel: {<<: *t}", UsageError, r"refers to an anchor"),
        ("training: {epochs: 2001-99-99}", UsageError, r"this is not YAML \(month must be in 1..12\)"),
        ("training: {epochs: 2001-09-09}", UsageError, r"training.epochs=.* does not fit"),
        (f"training: {{epochs: {'9' * 5000}}}", UsageError, r"r.yaml: "),
        (f"training: {{epochs: {'9' * 4000}}}", UsageError, r"epochs=a int does not fit|epochs=.* does not fit"),
        ("[" * 20_000, UsageError, r"this is not YAML \(exceeded maximum nesting depth|this is not YAML \(maximum rec"),
        ("training: {learning_rate: .nan}", UsageError, r"learning_rate=nan does not fit; expected a number above 0"),
        ("training: {weight_decay: .inf}", UsageError, r"weight_decay=inf does not fit"),
        ("!!timestamp x", UsageError, r"this is not YAML"),
        (f"format: {RUN_FORMAT + 1}\nflambeau: 9.9.9\nsomething: new", RunError,
         r"r.yaml: flambeau 9.9.9 wrote this, in format \d+; expected format \d+ at most.*install a newer flambeau"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told(text: str, error: type, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        Recipe.load(tmp_path / "r.yaml")


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none.yaml: there is no such recipe"):
        Recipe.load(tmp_path / "none.yaml")
    (tmp_path / "r.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="this is not YAML"):
        Recipe.load(tmp_path / "r.yaml")


def test_yaml_of_a_recipe_is_data_and_never_code(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(f"data: !!python/object/apply:pathlib.Path.touch ['{tmp_path}/evil']")
    with pytest.raises(UsageError, match="this is not YAML"):
        Recipe.load(tmp_path / "r.yaml")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("epochs=3", ("epochs", 3)),
        ("learning_rate=1e-3", ("learning_rate", 1e-3)),
        ("augment=none", ("augment", "none")),
        ("compile=true", ("compile", True)),
        ("fields.image.size=[32, 48]", ("fields.image.size", [32, 48])),
        ("model.pretrained=a=b.pth", ("model.pretrained", "a=b.pth")),
        ("keep=", ("keep", None)),
        ('fields."a=b".transform=none', ('fields."a=b".transform', "none")),
    ],
)
def test_settings_of_a_command_line(text: str, value: tuple[str, Any]) -> None:
    assert parse_setting(text) == value
    assert type(parse_setting(text)[1]) is type(value[1])


@pytest.mark.parametrize("text", ["epochs", "=3", "", "a=[", "a={b", "alpha=nan", "norm=-inf"])
def test_what_is_no_setting_is_told(text: str) -> None:
    with pytest.raises(UsageError):
        parse_setting(text)


def test_settings_under_their_names_of_before_are_read_with_a_note() -> None:
    old = Recipe.from_dict({"training": {"body_rate": 0.3, "tokens": 500}, "reasons": ["epochs 3: few rows"]})
    assert (old.training.backbone_lr_scale, old.training.max_tokens) == (0.3, 500)
    assert old.reasons == [
        "epochs 3: few rows",
        "body_rate is called backbone_lr_scale now",
        "tokens is called max_tokens now",
    ]
    assert Recipe().with_settings({"training.tokens": 9, "body_rate": 0.5}).training.max_tokens == 9
