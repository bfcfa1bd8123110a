"""What a training will be is said before it begins: of all kinds of data, as data, and as the training then is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from forkserver import Forkserver
from kinds import KINDS
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import flambeau as fb
from flambeau.core.errors import UsageError
from flambeau.fields import Corpus
from flambeau.learner.plan import Decision, Facts
from flambeau.learner.planning import plan
from flambeau.recipe import Recipe
from flambeau.training.engine import Machine

TEXTS = ["the red fox runs over a hill", "a blue dog sleeps by the sea", "green birds sing in an old tree"]


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def several(rows: int = 60) -> fb.Dataset:
    rng = np.random.default_rng(0)
    columns = {
        "photo": rng.random((rows, 12, 12)), "price": rng.random(rows), "note": TEXTS * (rows // 3),
        "kind": ["a", "b"] * (rows // 2),
    }  # fmt: skip
    return fb.Dataset(columns, target="kind", fields={"note": fb.fields.Text()})


def learner(data: object, **options: object) -> fb.Learner:
    return fb.Learner(data, run=False, quiet=True, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_says_what_would_be_trained_and_writes_nothing(
    flambeau: Forkserver, tmp_path: Path, kind: str
) -> None:
    arguments = KINDS[kind](tmp_path)
    before = files(tmp_path)
    done = flambeau("train", *arguments, "--technique", "ema", "--dry-run", "--json", cwd=tmp_path)
    assert done.status == 0, done.err
    assert files(tmp_path) == before
    told = json.loads(done.out)
    decided = {d["name"]: d["value"] for d in told["decisions"] if not d["later"]}
    assert all(d["why"] for d in told["decisions"])
    assert told["given"]["techniques.ema"] == {}
    assert {"training.epochs", "training.batch_size", "training.learning_rate", "objective.metric"} <= set(decided)
    assert told["recipe"]["training"]["epochs"] == decided["training.epochs"]
    assert ("model.name" in decided) != ("model.name" in told["given"])


def test_a_dry_run_is_a_table_that_has_what_was_asked_for_and_what_cannot_be(
    flambeau: Forkserver, tmp_path: Path
) -> None:
    KINDS["table"](tmp_path)
    asked = ("wine.csv", "--target", "kind", "--epochs", "2", "--batch-size", "5000", "--set", "schedule=cosine")
    done = flambeau("train", *asked, "--dry-run", cwd=tmp_path)
    rows = {line.split()[0]: line for line in done.out.splitlines()}
    assert rows["training.epochs"].endswith("as asked") and " 2 " in rows["training.epochs"]
    assert rows["training.schedule"].split()[1] == "cosine"
    assert "5000 asked, but there are only" in rows["training.batch_size"]
    assert "decided when" in rows["training.channels_last"]


def test_a_dry_run_of_an_objective_without_labels_has_its_settings(flambeau: Forkserver, tmp_path: Path) -> None:
    KINDS["pictures"](tmp_path)
    asked = ("--objective", "vae", "--set", "objective.code=4", "--size", "16")
    told = json.loads(flambeau("train", "digits", *asked, "--dry-run", "--json", cwd=tmp_path).out)
    assert told["given"] == {"objective.name": "vae", "objective.code": 4, "fields.image.size": [16, 16]}
    assert {"name": "objective.beta", "value": 1.0, "why": "the default of vae", "asked": None, "later": False} in told[
        "decisions"
    ]
    decided = {decision["name"]: decision["value"] for decision in told["decisions"]}
    assert decided["model.name"] == "conv-coder" and decided["augment"] == "none"


def test_what_does_not_go_together_is_told_by_a_dry_run(flambeau: Forkserver, tmp_path: Path) -> None:
    KINDS["pairs"](tmp_path)
    done = flambeau("train", "pairs.csv", "--target", "match", "--model", "bag", "--dry-run", cwd=tmp_path)
    assert done.status == 2
    assert "bag takes one input; the data has 2: first, second; choose one with inputs=" in done.told


@pytest.mark.parametrize("options", [{}, {"model": "fusion", "optimizer": "sgd"}])
def test_the_plan_is_what_is_trained(options: dict[str, str]) -> None:
    trained = learner(several(), epochs=1, **options)
    planned = trained.plan()
    assert trained.trainer is None and trained.recipe.model.name == options.get("model", "auto")
    trained.build()
    encoders = planned.recipe.model.options["encoders"]
    assert {name: made["name"] for name, made in encoders.items()} == {
        name: made["name"] for name, made in trained.recipe.model.options["encoders"].items()
    }
    assert list(encoders) == ["table", "photo", "note"]
    assert planned.recipe.training == trained.recipe.training and planned.recipe.fields == trained.recipe.fields
    said = {str(d) for d in planned.decisions if not d.later and d.name != "training.device"}
    assert said <= set(trained.recipe.reasons)
    later = [d.name for d in planned.decisions if d.later]
    assert {"fields.photo.augment", "training.channels_last"} <= set(later)


def test_a_plan_follows_from_what_it_is_given_and_changes_nothing_of_it() -> None:
    data = several()
    data.fit()
    facts = Facts({n: data.fields[n] for n in ("photo", "kind")}, ["photo"], "kind", 60, 42)
    recipe = Recipe.from_dict({"fields": {"photo": {"kind": "image"}, "kind": {"kind": "category"}}})
    before, machine = recipe.model_dump(), Machine()
    first = plan(recipe, facts, machine)
    assert plan(recipe, facts, machine) == first and recipe.model_dump() == before
    decided = {d.name: d for d in first.decisions}
    assert decided["model.name"].value == "lenet" and decided["training.precision"].value == "float32"
    fast = {d.name: d for d in plan(recipe, facts, Machine("cuda", bf16=True)).decisions}
    assert fast["training.precision"].later and fast["training.device"].value == "cuda"
    more = {d.name: d.value for d in plan(recipe, replace(facts, num_train=50_000), machine).decisions}
    assert more["training.batch_size"] > decided["training.batch_size"].value


def test_what_depends_on_rows_that_were_not_looked_at_is_decided_later() -> None:
    data = several()
    facts = Facts(data.fields, ["photo"], "kind", 60, 42, fitted=False)
    decisions = {d.name: d for d in plan(Recipe(), facts, Machine()).decisions}
    assert decisions["model.name"].later and decisions["objective.metric"].later
    assert decisions["training.epochs"].value == 40


def test_own_data_has_a_plan_without_fields() -> None:
    rows = TensorDataset(torch.rand(100, 8), torch.randint(3, (100,)))
    planned = learner(DataLoader(rows, batch_size=25), model=nn.Linear(8, 3), batch_size=10).plan()
    decided = {d.name: d for d in planned.decisions}
    assert (decided["training.batch_size"].value, decided["training.batch_size"].asked) == (25, 10)
    assert decided["objective.metric"].later and not any(name.startswith("fields.") for name in decided)
    assert planned.given["own_parts.model"] == "torch.nn.modules.linear.Linear"


def test_the_rate_of_an_own_optimiser_is_not_decided_before_it_is_made() -> None:
    trained = learner(several(), optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.25))
    later = {d.name for d in trained.plan().decisions if d.later}
    assert {"training.learning_rate", "training.backbone_lr_scale"} <= later
    trained.build()
    rates = [reason for reason in trained.recipe.reasons if reason.startswith(("learning_rate", "backbone"))]
    assert rates == ["learning_rate 0.25: that of your own optimiser"] and trained.recipe.training.learning_rate == 0.25


def test_a_device_that_is_not_here_is_told_before_a_row_is_read() -> None:
    with pytest.raises(UsageError, match="no device is called 'gpu7'"):
        learner(several(), device="gpu7").plan()


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (Decision("training.epochs", 3, "few rows"), "epochs 3: few rows"),
        (Decision("fields.Sepal.Length.kind", "number", "all are"), "Sepal.Length is number: all are"),
        (Decision("fields.a.b.size", [8, 8], "found"), "size [8, 8] of a.b: found"),
        (Decision("model.name", "mlp", "it is small"), "model mlp, because it is small"),
        (Decision("model.options.encoders.x.name", "mlp", "it is small"), "model mlp of x, because it is small"),
    ],
)  # fmt: skip
def test_a_decision_is_a_sentence(decision: Decision, sentence: str) -> None:
    assert str(decision) == sentence


def test_pictures_are_seen_in_the_size_that_the_weights_of_a_chosen_model_want() -> None:
    """The model is chosen by the pictures' size, and then asks for another: what is planned is what is encoded."""
    data = fb.Dataset.from_arrays(np.random.default_rng(0).random((60, 8, 8)), ["a", "b"] * 30)
    planned = learner(data, pretrained=True)
    (size,) = (d for d in planned.plan().decisions if d.name == "fields.x.size")
    assert (size.value, size.why) == ([224, 224], "that of the pretrained weights")
    looked = planned.feed.look(planned.recipe)
    assert looked.recipe.model.name.startswith("resnet")
    assert planned.data is not None and planned.data.fields["x"].encoding.shape == (224, 224, 1)
    asked = learner(data, pretrained=True, size=32)
    asked.feed.look(asked.recipe)
    assert asked.data is not None and asked.data.fields["x"].encoding.shape == (32, 32, 1)


def test_a_detector_with_weights_learns_in_its_head_first() -> None:
    boxes = fb.fields.Boxes(["cat"])
    image = fb.fields.Image(64)
    image.fit([np.zeros((64, 64, 3), np.uint8)])
    data = Facts({"x": image, "y": boxes}, ["x"], "y", num_train=900, rows=1000, fitted=True)
    recipe = Recipe(model={"name": "timm:resnet18", "pretrained": True})
    planned = plan(recipe, data, Machine.here("cpu")).recipe
    assert planned.techniques["fine_tune"]["head_epochs"] == planned.training.epochs // 2 > 0
    assert not plan(Recipe(model={"name": "detector"}), data, Machine.here("cpu")).recipe.techniques
    own = recipe.model_copy(update={"techniques": {"ema": {}}})
    assert plan(own, data, Machine.here("cpu")).recipe.techniques == {"ema": {}}, "what is named is what is taken"


def test_a_language_model_on_a_processor_is_of_a_size_that_ends_in_minutes() -> None:
    """Some millions of tokens in all, of the smallest GPT; a device that is faster takes the usual one for longer."""
    field = Corpus()
    field.fit(["It burns, and so on. " * 20_000])
    planned = {d: {decision.name: decision.value for decision in plan(
        Recipe(fields={"text": {"kind": "corpus"}}, objective={"name": "language-model"}),
        Facts({"text": field}, ["text"], None, 100, field.samples_in_epoch(100)), Machine(d)).decisions}
        for d in ("cpu", "cuda")}  # fmt: skip
    assert planned["cpu"]["model.options.size"] == "nano" and planned["cuda"]["model.options.size"] == "tiny"
    assert field.size * planned["cpu"]["training.epochs"] < 10_000_000
    asked = Recipe(model={"name": "gpt", "options": {"size": "tiny"}}, objective={"name": "language-model"},
                   fields={"text": {"kind": "corpus"}})  # fmt: skip
    same = plan(asked, Facts({"text": field}, ["text"], None, 100, 1_000), Machine("cpu"))
    assert same.recipe.model.options == {"size": "tiny"}
    for rows in (100, 1_000, 5_000, 20_000, 300_000):
        facts = Facts({"text": field}, ["text"], None, 100, rows)
        epochs = plan(asked, facts, Machine("cpu")).recipe.training.epochs
        assert epochs == 1 or epochs * rows * 256 < 11_000_000
