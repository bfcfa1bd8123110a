from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flambeau.core.files import write_json
from flambeau.core.findings import Finding, Severity
from flambeau.objectives.intervals import wilson
from flambeau.recipe import Recipe
from flambeau.report.advice import advise
from flambeau.report.facts import Facts
from flambeau.report.words import Words, languages
from flambeau.run import Run
from flambeau.training.logging import Log


def matrix(rows: list[list[int]], names: str = "abcdefgh", **more: Any) -> dict[str, Any]:
    """An evaluation of a classifier with this confusion matrix."""
    k = len(rows)
    total, hits = sum(map(sum, rows)), sum(rows[i][i] for i in range(k))
    per_class = [{"class": names[i], "count": sum(rows[i]), "recall": rows[i][i] / max(sum(rows[i]), 1),
                  "precision": 0.5, "f1": 0.5} for i in range(k)]  # fmt: skip
    detail = {"kind": "classification", "classes": list(names[:k]), "confusion": rows, "per_class": per_class, **more}
    return {"split": "test", "samples": total, "metrics": {"accuracy": hits / total}, "detail": detail}


GOOD = matrix([[950, 50], [50, 950]])


@pytest.fixture
def facts_of(tmp_path: Path):
    def make(
        train: Sequence[float] = (), valid: Sequence[float] = (), evaluation: dict[str, Any] | None = None,
        findings: Sequence[Finding] = (), finished: bool = True, speed: dict[str, float] | None = None,
        accuracy: Sequence[float] = (), rows: int = 0, inputs: str = "", monitors: Sequence[Finding] = (),
    ) -> Facts:  # fmt: skip
        run = Run(tmp_path / "run")
        run.path.mkdir()
        Recipe().with_settings({"epochs": 8, "learning_rate": 0.1}).save(run.path / "recipe.yaml")
        log = Log(run.path)
        for i, loss in enumerate(train):
            line: dict[str, Any] = {"epoch": i + 1, "train_loss": loss, "speed": speed or {}}
            if valid:
                line["valid"] = {"loss": valid[i]} | ({"accuracy": accuracy[i]} if accuracy else {})
            log.write(10 * (i + 1), **line)
        if monitors:
            log.write(15, epoch=2, findings=[finding.to_dict() for finding in monitors])
        log.close()
        told = {"findings": [f.to_dict() for f in findings], "thumbnails": []}
        write_json(run.path / "findings.json", told | ({"overview": {"rows": {"train": rows}}} if rows else {}))
        if inputs:
            write_json(run.path / "fields.json", {"fields": {"x": {"kind": inputs}}, "inputs": ["x"]})
        write_json(run.path / "evaluation.json", evaluation or {})
        if finished:
            (run.path / "model.safetensors").touch()
        return Facts(run)

    return make


def test_the_epoch_that_is_kept_is_the_one_the_training_keeps(facts_of: Any) -> None:
    """Of equal scores the one with the lowest loss."""
    facts = facts_of(train=[1.0] * 4, valid=[0.9, 0.4, 0.2, 0.1], accuracy=[0.5, 1.0, 1.0, 0.9], evaluation=GOOD)
    assert facts.best_epoch == 3


def keys(facts: Facts) -> list[str]:
    return [a.key.removeprefix("advice.") for a in advise(facts)]


LEAK = Finding("leakage", Severity.WARNING, "7 pictures are in two splits", ["a"] * 7)
CONFLICT = Finding("label-conflict", Severity.WARNING, "3 pictures carry two labels", ["a"] * 3)
COLUMN = Finding("target-leakage", Severity.WARNING, "the column 'paid_back' alone tells 'default'", ["paid_back"])
SLOW = Finding("rate-too-low", Severity.WARNING, "the learning rate 1e-07 is too low", ["step 9"], fix="try 3e-06")
BARELY = matrix([[65, 35], [45, 55]])
WAITING = {"data": 0.45, "seconds": 100.0}
SURE = {"error": 0.12, "count": [0, 300], "confidence": [0.0, 0.95], "accuracy": [0.0, 0.83]}
MODEST = {"error": 0.12, "count": [0, 300], "confidence": [0.0, 0.71], "accuracy": [0.0, 0.83]}
TREES = {"name": "trees", "seconds": 1.5, "metrics": {"accuracy": 0.97}}
CHANCE = {"accuracy": [-0.02, -0.05, 0.01]}
RARE = [[90, 5, 5], [5, 90, 5], [12, 8, 10]]
HARD = [[90, 5, 5], [5, 90, 5], [25, 25, 50]]

CASES: list[tuple[str, dict[str, Any], list[str]]] = [
    # key, what the run says, the numbers that the sentence must cite
    ("fine", {"evaluation": GOOD}, []),
    ("unfinished", {"finished": False, "train": [1.0, 0.9]}, ["2 of 8"]),
    ("leakage", {"findings": [CONFLICT, LEAK], "evaluation": matrix([[40, 10], [10, 40]])},
     ["7 pictures", "7 of the 100", "7%"]),
    ("leakage_unknown", {"findings": [CONFLICT, LEAK]}, ["7 pictures"]),
    ("small_leakage", {"findings": [LEAK], "evaluation": GOOD}, ["7 pictures", "7 of the 2,000", "0.4%"]),
    ("telling_column", {"findings": [COLUMN], "evaluation": GOOD}, ["'paid_back'"]),
    ("conflict", {"findings": [CONFLICT]}, ["3 pictures"]),
    ("small_conflict", {"findings": [CONFLICT], "rows": 1000}, ["3 pictures"]),
    ("data_error", {"findings": [Finding("unreadable", Severity.ERROR, "4 files are cut off")]}, ["4 files"]),
    ("diverged", {"train": [1.0, 5.5]}, ["0.1", "from 1 ", "5.5"]),
    ("not_finite", {"train": [1.0, float("nan")]}, ["nan", "0.1"]),
    ("not_finite", {"train": [float("nan")]}, ["nan"]),
    ("monitored", {"train": [2.31, 2.3], "valid": [2.31, 2.3], "monitors": [SLOW]}, ["rate 1e-07", "try 3e-06"]),
    ("stuck", {"train": [2.31, 2.3], "valid": [2.31, 2.3]}, ["2.31", "stayed at 2.3.", "0.1"]),
    ("stuck", {"train": [0.75, 0.69], "valid": [0.75, 0.69], "evaluation": BARELY}, ["0.75", "0.69"]),
    ("guessing", {"evaluation": matrix([[52, 0], [48, 0]])}, ["52.0%", "“a”"]),
    ("guessing_mean", {"evaluation": {"metrics": {"r2": -0.25}, "detail": {"kind": "regression"}}}, ["-0.25"]),
    ("baseline", {"evaluation": {**GOOD, "baselines": [TREES]}},
     ["trees", "1.5 s", "97.0%", "95.0%"]),
    ("tie", {"evaluation": {**GOOD, "metric": "accuracy", "baselines": [{**TREES, "differences": CHANCE}]}},
     ["trees", "1.5 s", "97.0%", "95.0%"]),
    ("no_held_out", {"evaluation": {**GOOD, "split": "train"}}, []),
    ("overfits", {"train": [1, 0.5, 0.2], "valid": [1, 0.7, 0.65]}, ["0.2", "0.65"]),
    ("overfits_rising", {"train": [1, 0.5, 0.2], "valid": [1, 0.7, 0.9]}, ["0.2", "0.7", "0.9", "epoch 2"]),
    ("more_epochs", {"train": [2, 1.5, 1.2], "valid": [2, 1.4, 1.1]}, ["1.4 in epoch 2", "1.1 in epoch 3", "6 epochs"]),
    ("settled", {"train": [0.6, 0.5, 0.5, 0.5], "valid": [0.6, 0.5, 0.5, 0.5],
                 "evaluation": matrix([[80, 20], [20, 80]])}, ["80.0%", "(0.5)"]),
    ("few_samples", {"evaluation": matrix(RARE)}, ["“c”", "33%", "71%", "30 samples", "100 are usual"]),
    ("weak_class", {"evaluation": matrix(HARD)}, ["“c”", "50%", "77%", "100 samples"]),
    ("confused_pair", {"evaluation": matrix([[480, 15, 5], [2, 490, 8], [1, 1, 498]])},
     ["“a” taken for “b”", "15 times", "3%", "32 mistakes"]),
    ("too_sure", {"evaluation": matrix([[83, 17], [17, 83]], calibration=SURE)}, ["12 points too high", "12.0%"]),
    ("too_modest", {"evaluation": matrix([[83, 17], [17, 83]], calibration=MODEST)}, ["12 points too low", "12.0%"]),
    ("data_path", {"train": [0.4], "speed": WAITING, "inputs": "audio"}, ["45%"]),
    ("data_path_pictures", {"train": [0.4], "speed": WAITING, "inputs": "image"}, ["45%", "picture size"]),
    ("rough", {"evaluation": matrix([[27, 3], [3, 27]])}, ["60", "90.0%", "80%", "95%"]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "said", "numbers"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)])
def test_each_rule_speaks_first_where_it_holds_and_cites_its_numbers(key, said, numbers, facts_of):
    facts = facts_of(**said)
    advice = next(a for a in advise(facts) if a.key == f"advice.{key}")
    sentence = Words("en")(advice.key, **advice.values)
    for number in numbers:
        assert number in sentence
    assert keys(facts)[0] == key
    for language in languages():
        assert "{" not in Words(language)(advice.key, **advice.values)


def test_every_advice_has_a_case():
    written = {key.removeprefix("advice.") for key in languages()["en"]["words"] if key.startswith("advice.")}
    assert written == {key for key, _, _ in CASES}


SILENT: list[tuple[str, dict[str, Any]]] = [
    (
        "overfits",
        {"train": [1, 0.02], "valid": [1, 0.04], "evaluation": matrix([[995, 5], [4, 996]])},
    ),  # nothing to gain
    ("overfits", {"train": [1, 0.5], "valid": [1, 0.6]}),
    ("more_epochs", {"train": [1, 0.8, 0.8], "valid": [1, 0.8, 0.79]}),  # no longer falls
    ("guessing", {"evaluation": matrix([[60, 0], [5, 35]])}),
    ("guessing", {"evaluation": matrix([[9]])}),  # one class: nothing to guess
    ("weak_class", {"evaluation": matrix([[9, 1], [2, 3]])}),  # three of five may be chance
    ("confused_pair", {"evaluation": matrix([[98, 2, 0], [0, 100, 0], [0, 0, 100]])}),  # twice may be chance
    ("too_sure", {"evaluation": matrix([[83, 17], [17, 83]], calibration={**SURE, "count": [0, 60]})}),
    ("data_path", {"train": [0.4], "speed": {"data": 0.9, "seconds": 2.0}}),  # two seconds in all
    ("rough", {"evaluation": GOOD}),
]


RARE_CLASS = matrix([[950, 0], [50, 0]])
FAILED: list[dict[str, Any]] = [
    # a rate far too high, a loss that is wrong, pictures that are all white: nothing may be said of size or time
    {"train": [2.4, 2.31, 2.3, 2.3], "valid": [9.0, 4.0, 2.6, 2.3], "evaluation": matrix([[30, 0], [30, 0]])},
    {"train": [0.7, 0.69, 0.69, 0.69], "valid": [0.9, 0.8, 0.7, 0.6], "evaluation": matrix([[40, 60], [60, 40]])},
    {"train": [1.0, 3.0, 7.0, 9.0], "valid": [1.0, 0.9, 0.8, 0.7], "evaluation": matrix([[60, 40], [40, 60]])},
    {"train": [float("nan")] * 4, "valid": [1.0, 0.9, 0.8, 0.7], "evaluation": matrix([[60, 40], [40, 60]])},
]


@pytest.mark.parametrize("said", FAILED, ids=range(len(FAILED)))
def test_of_a_model_that_has_not_learned_nothing_else_is_said(said, facts_of):
    assert keys(facts_of(**said)) in (["guessing"], ["stuck"], ["diverged"], ["not_finite"])


def test_no_advice_speaks_of_larger_models():
    for key, sentence in languages()["en"]["words"].items():
        assert not (key.startswith("advice.") and "larger model" in sentence)


def test_where_a_class_is_rare_a_model_that_ranks_has_learned(facts_of):
    """Its accuracy is that of always answering the other class, and its loss is lower."""
    chance = -(0.95 * math.log(0.95) + 0.05 * math.log(0.05))
    facts = facts_of(train=[chance, 0.8 * chance], valid=[chance, 0.85 * chance], evaluation=RARE_CLASS)
    assert not {"guessing", "stuck"} & set(keys(facts))


def test_the_few_copies_of_a_poor_model_do_not_come_first(facts_of):
    few = Finding("leakage", Severity.WARNING, "3 pairs of sounds are in different splits", ["a"] * 3)
    told = keys(facts_of(findings=[few], evaluation=matrix([[110, 43], [45, 107]])))
    assert "leakage" not in told and told[-1] == "small_leakage"


def test_sounds_and_texts_have_no_picture_size(facts_of):
    assert "data_path_pictures" not in keys(facts_of(train=[0.4], speed=WAITING, inputs="audio"))


@pytest.mark.parametrize(("key", "said"), SILENT, ids=[f"{c[0]}-{i}" for i, c in enumerate(SILENT)])
def test_rules_are_silent_where_chance_would_explain_it_or_nothing_is_to_gain(key, said, facts_of):
    assert key not in keys(facts_of(**said))


def test_the_interval_holds_the_share_and_stays_within_0_and_1():
    for right in (0.0, 0.5, 1.0):
        low, high = wilson(right, 20)
        assert -1e-12 <= low <= right <= high + 1e-12 <= 1 + 1e-9
