"""`flambeau attack`: what is left of a run where its inputs are changed, told as figures, as JSON and as a page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from forkserver import Command, Forkserver
from PIL import Image
from words import sentences

import flambeau as fb
from flambeau.core.reporter import QUIET
from flambeau.robustness import Ball
from flambeau.studies.attacks import METHODS, Threat
from flambeau.studies.victim import Victim

Run = Callable[..., Command]
SMALL: dict[str, Any] = {"samples": 24, "device": "cpu"}


def accuracies(found: dict[str, Any]) -> list[float]:
    return [point["metrics"]["accuracy"] for point in found["curve"]]


@pytest.fixture(scope="session")
def of_texts(flambeau: Forkserver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a text CNN on real sentences; read only."""
    folder = tmp_path_factory.mktemp("attacked")
    texts, topics = sentences()
    pl.DataFrame({"text": texts, "label": topics}).write_csv(folder / "topics.csv")
    done = flambeau("train", "topics.csv", "--target", "label", "--model", "textcnn", "--epochs", 8, cwd=folder)
    assert done.status == 0, done.err
    return folder / "runs" / "topics"


def test_accuracy_falls_with_epsilon_and_a_page_shows_what_was_changed(trained: Path, run: Run, tmp_path: Path) -> None:
    asked = ("attack", trained, "--epsilon", "8/255,0.1,0.3", "--samples", 30)
    told = run(*asked, "--page", "a.html", "--json").json
    right = accuracies(told)
    assert right == sorted(right, reverse=True) and right[0] > 0.9 and right[-1] < 0.3
    assert [point["epsilon"] for point in told["curve"]] == ["0", "8/255", "0.1", "0.3"] and told["rows"] == 30
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.count("<img") == 4 * len(told["examples"]) > 0 and "<svg" in page
    lines = run(*asked).out.splitlines()
    assert lines[0].startswith("pgd (linf) on 30 rows of ")
    assert [float(line.split()[1]) for line in lines[2:]] == [round(share, 4) for share in right], "the same again"


def test_the_runs_own_report_shows_it_in_the_language_that_it_has(trained: Path, run: Run, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    assert run("report", "run", "--language", "zh-CN").status == 0
    told = run("attack", "run", "--epsilon", "8/255,0.3", "--samples", 30, "--target", "3", "--json").json
    assert told["report"] == "run/report.html" and not (tmp_path / "run" / "attack.html").exists()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert '<html lang="zh-CN"' in page and '<a href="#attack">' in page
    shown = page.partition('id="attack"')[2].partition("</table>")[0]
    assert all(f"<td>{point['epsilon']}</td>" in shown for point in told["curve"]) and "回答为 3" in shown
    assert all(one["place"] in page for one in told["examples"]) and told["examples"]


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_is_measured_lies_within_epsilon_of_the_pictures_as_they_are_saved(trained: Path, norm: str) -> None:
    victim = Victim(trained, None, rows=12, seed=0)
    epsilon = {"linf": 40 / 255, "l2": 1.0}[norm]
    rounding = {"linf": 0.0, "l2": 8 * 0.5 / 255}[norm]  # of 8 × 8 pixels, each by half a level
    for method in ("fgsm", "pgd", "hopskipjump"):
        plain, moved = METHODS[method](victim, Threat(method, (epsilon,), norm, steps=4), QUIET)
        assert all(picture.dtype == np.uint8 for picture in moved)
        changes = torch.tensor(np.stack(moved) / 255 - np.stack(plain) / 255)
        assert 0 < float(Ball(1, norm).lengths(changes).max()) <= epsilon + rounding + 1e-6, method
    originals = [np.asarray(Image.open(path)) for path in victim.dataset.take(victim.name, victim.drawn)]
    assert all(np.array_equal(a.squeeze(), b) for a, b in zip(plain, originals, strict=True))


def test_the_model_is_led_to_a_class_and_answers_alone_are_enough(trained: Path) -> None:
    aimed = fb.attack(trained, epsilon=[0.4], target="3", **SMALL)
    assert aimed["curve"][0]["reached"] < 0.1 and aimed["curve"][1]["reached"] > 0.5
    nearest = fb.attack(trained, method="hopskipjump", epsilon=[0.05, 0.5], steps=6, **SMALL)
    before, near, far = accuracies(nearest)
    assert before >= near > far and far < 0.1
    copied = fb.attack(trained, method="surrogate", epsilon=["0.4"], **{**SMALL, "samples": 10})
    assert accuracies(copied)[1] < accuracies(copied)[0] - 0.2


def test_a_filter_stands_between_the_attack_and_the_model(trained: Path, run: Run) -> None:
    plain = fb.attack(trained, epsilon=[0.1], **SMALL)
    filtered = fb.attack(trained, epsilon=[0.1], tta="median", **SMALL)
    assert filtered["tta"]["name"] == "median" and accuracies(filtered) != accuracies(plain)


def test_words_are_swapped_and_the_texts_are_measured_as_they_would_be_written(of_texts: Path) -> None:
    found = fb.attack(of_texts, method="words", epsilon=[1, 4], **SMALL)
    before, one, four = accuracies(found)
    assert before > one > four
    victim = Victim(of_texts, None, rows=24, seed=0)
    plain, *changed = METHODS["words"](victim, Threat("words", (1, 4)), QUIET)
    for most, texts in zip((1, 4), changed, strict=True):
        for before_, after in zip(plain, texts, strict=True):
            old, new = victim.field.encode(before_), victim.field.encode(after)
            assert len(old) == len(new) and (old != new).sum() <= most
    assert any(a != b for a, b in zip(plain, changed[0], strict=True))


def test_the_smoothed_model_is_certain_within_a_radius(trained: Path, run: Run) -> None:
    told = run("attack", trained, "--certify", "sigma=0.2 n=100", "--samples", 10, "--json").json
    shares = [point["accuracy"] for point in told["curve"]]
    assert shares == sorted(shares, reverse=True) and 0 < shares[0] <= 1 and told["sigma"] == 0.2
    # 100 hits of 100 are certain within 0.2 · Φ⁻¹(0.001 ** 0.01) = 0.300
    assert [point["radius"] for point in told["curve"]][3] == 0.3 and 0 < told["mean_radius"] < 0.301


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("--method", "pdg"), "did you mean 'pgd'"),
    (("--norm", "l1"), "no norm is called 'l1'"),
    (("--epsilon", "x"), "'x' is no number"),
    (("--epsilon", "8"), "an epsilon of 8 does not fit"),
    (("--target", "cat"), "there is no class 'cat'"),
    (("--method", "words"), "words cannot be swapped in inputs of the kind image"),
    (("--method", "hopskipjump", "--target", "3"), "leads away from a class"),
    (("--method", "surrogate", "--samples", "1000"), "attack fewer rows"),
    (("--certify", "foo=1"), "no setting 'foo'"),
    (("--certify", "n=1.5"), "a whole number"),
    (("--tta", "blur"), "no views called 'blur'"),
    (("nowhere",), "no such"),
]


@pytest.mark.parametrize(("asked", "told"), REFUSED, ids=lambda value: " ".join(value) if type(value) is tuple else "")
def test_what_has_no_meaning_is_refused_in_a_line(trained: Path, run: Run, asked: tuple[str, ...], told: str) -> None:
    done = run("attack", trained, *asked)
    assert done.status == 2 and told in done.err and len(done.err.strip().splitlines()) == 1


def test_a_text_has_no_epsilon(of_texts: Path, run: Run) -> None:
    done = run("attack", of_texts)
    assert done.status == 2 and "--method words" in done.err
