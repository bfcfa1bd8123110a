"""Every kind of data and way of training, in every format that is run here: an export answers as its run does, in
batches of 1, 7 and 64; what has no graph is refused in one line."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from kinds import DENSE, KINDS, squares, table
from PIL import Image
from sklearn.datasets import load_sample_image
from words import sentences

import flambeau as fb
from flambeau.cli.main import run as command
from flambeau.core.errors import FlambeauError
from flambeau.evaluation import held_out
from flambeau.exports import Manifest
from flambeau.objectives.generative import Generative
from flambeau.objectives.language import LanguageModel
from flambeau.objectives.prediction import Prediction
from flambeau_onnx import Answer
from flambeau_onnx import load as alone

FORMATS = "program", "onnx"
BATCHES = 1, 7, 64
NEAR = 1e-4  # of the largest number
TINY = "--epochs", "1", "--no-baseline", "--no-check"
WIDTH = "--set", "model.options.width=8"
Written = tuple[str, ...]


def photos(folder: Path) -> Written:
    """Parts of a photo in two folders."""
    china = load_sample_image("china.jpg")
    for i in range(40):
        side = folder / "photos" / ("left", "right")[i % 2]
        side.mkdir(parents=True, exist_ok=True)
        Image.fromarray(china[5 * i : 5 * i + 16, 10 * i : 10 * i + 16]).save(side / f"{i}.png")
    return "photos", "--valid", "0.3"


def made(objective: str, *settings: str) -> Callable[[Path], Written]:
    """Pictures that an objective makes anew."""
    given = [part for setting in settings for part in ("--set", setting)]
    return lambda folder: (*photos(folder), "--objective", objective, *given)


def auto_pictures(folder: Path) -> Written:
    return photos(folder)


def restored(folder: Path) -> Written:
    china = load_sample_image("china.jpg")
    (folder / "sharp").mkdir()
    for i in range(12):
        Image.fromarray(china[20 * i : 20 * i + 48, 30 * i : 30 * i + 48]).save(folder / "sharp" / f"{i}.png")
    return "sharp", "--task", "super-resolution scale=2", *WIDTH, "--set", "model.options.blocks=1"


def numbers(folder: Path) -> Written:
    table(folder)
    return "wine.csv", "--target", "alcohol"


def several_labels(folder: Path) -> Written:
    texts, topics = sentences()
    labels = [f"{topic}|{'long' if len(one) > 60 else 'short'}" for one, topic in zip(texts, topics, strict=True)]
    pl.DataFrame({"text": texts, "labels": labels}).write_csv(folder / "labels.csv")
    return "labels.csv", "--target", "labels", "--set", "fields.labels.kind=multilabel", "--input", "text"


def fusion(folder: Path) -> Written:
    texts, topics = sentences()
    sizes = [len(one) for one in texts]
    pl.DataFrame({"text": texts, "size": sizes, "topic": topics}).write_csv(folder / "both.csv")
    return "both.csv", "--target", "topic"


def answers(folder: Path) -> Written:
    who, where = ("Ada", "Bo", "Cem", "Dina", "Eli"), ("Rome", "Oslo", "Lima", "Cairo", "Perth")
    rows = [{"question": f"Where is {a}?", "context": f"{a} is in {t}.", "answer": t} for a in who for t in where]
    pl.DataFrame(rows).write_csv(folder / "asked.csv")
    columns = "--input", "question", "--input", "context", "--target", "answer"
    return "asked.csv", *columns, "--objective", "question-answering"


def unmodelled(folder: Path) -> Written:
    return *table(folder), "--objective", "autoencoder"


def language(model: str, *settings: str) -> Callable[[Path], Written]:
    def written(folder: Path) -> Written:
        (folder / "corpus.txt").write_text("\n\n".join(sentences()[0]))
        given = [part for setting in settings for part in ("--set", setting)]
        return "corpus.txt", "--model", model, "--set", "fields.text.context=16", *given

    return written


def detector(name: str) -> Callable[[Path], Written]:
    def written(folder: Path) -> Written:
        squares(folder)
        return "boxes.tsv", "--size", "64", "--model", name

    return written


CASES: dict[str, Callable[[Path], Written]] = {
    **KINDS, **DENSE, "photos": auto_pictures, "restored": restored, "number": numbers, "labels": several_labels,
    "fusion": fusion, "answers": answers, "vae": made("vae"), "cvae": made("cvae"), "autoencoder": made("autoencoder"),
    "table autoencoder": unmodelled, "gan": made("gan"), "cgan": made("cgan"),
    "cyclegan": made("cyclegan", "objective.width=4"),
    "diffusion": made("cdiffusion", "objective.width=8", "objective.steps=2"),
    "gpt": language("gpt"), "lstm-lm": language("lstm-lm"), "gru-lm": language("gru-lm"), "ensemble": numbers,
    "faster_rcnn": detector("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"),
    "ssdlite": detector("torchvision:ssdlite320_mobilenet_v3_large"),
}  # fmt: skip
LONG = ("cvae", "gru-lm")  # of which vae and cgan, and lstm-lm, are the like
JOINED = ("ensemble",)  # whose members are programs each
REFUSED = {
    "translation": "token by token", "faster_rcnn": "the model has no graph", "ssdlite": "the model has no graph",
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """By the name of a case the folder that its run is in, trained once for all formats."""
    folders: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in folders:
            folder = folders[kind] = tmp_path_factory.mktemp("kind")
            with contextlib.chdir(folder):
                given = CASES[kind](folder)
                assert command(["train", *given, *TINY, "--run", "run"]) == 0
                if kind == "ensemble":
                    assert command(["train", *given, *TINY, "--model", "linear", "--run", "other"]) == 0
                    Path("run").rename("first")
                    assert command(["ensemble", "first", "other", "--out", "run"]) == 0
        return folders[kind]

    return of


def near(ours: np.ndarray, theirs: np.ndarray) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=NEAR * np.abs(theirs).max())


def alike(ours: Answer, theirs: Prediction) -> None:
    """What answers without torch says what the run does."""
    assert set(ours.probabilities) == set(theirs.probabilities or {})
    for name, chance in ours.probabilities.items():
        assert chance == pytest.approx(theirs.probabilities[name], abs=NEAR)
    if isinstance(theirs.label, float) or theirs.times is not None:
        assert ours.label == pytest.approx(theirs.label, rel=NEAR)
        assert (ours.times, ours.series) == (theirs.times, theirs.series)
        assert set(ours.quantiles) == set(theirs.quantiles or {})
    elif theirs.tokens is not None:
        assert ours.label == list(zip(theirs.tokens, theirs.label, strict=True))
    elif isinstance(theirs.label, list) and theirs.label and isinstance(theirs.label[0], dict):
        for one, other in zip(ours.label, theirs.label, strict=True):
            assert one["label"] == other["label"] and one == pytest.approx(other, abs=0.02)
    elif isinstance(theirs.label, (str, list)) and theirs.place is None:  # which part of a text is told by torch alone
        assert ours.label == theirs.label
    else:  # pictures and masks: what the graph gave is all that there is
        assert ours.outputs


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.long] * (k in LONG)) for k in CASES])
def test_an_export_answers_as_its_run_does(kind: str, format: str, trained: Callable[[str], Path]) -> None:
    with contextlib.chdir(trained(kind)):
        if kind in REFUSED:
            with pytest.raises(FlambeauError, match=REFUSED[kind]):
                fb.export("run", format=format)
            return
        folder = fb.export("run", format=format).path
        verified = Manifest.read(folder).verified
        assert verified["difference"] <= NEAR and verified["agreement"] == 1
        if "metric" in verified:  # not of a generator, of which an export measures scores
            assert verified["export"] == pytest.approx(verified["model"], rel=1e-3)
        run, exported = fb.load("run", device="cpu"), fb.load(folder)
        reading, rows, _ = held_out(fb.Run("run"), run, None)
        values = [{c: reading.dataset.columns[c][row] for c in run.inputs} for row in rows[: max(BATCHES)]]
        encoded = [run.encode(value) for value in values]
        for count in BATCHES:
            some = [encoded[i % len(encoded)] for i in range(count)]
            near(exported.outputs(some), run.outputs(some))
        if format == "onnx" and not isinstance(run.objective, LanguageModel) and kind not in JOINED:
            asked = run.listed(pl.read_csv("light.csv").to_dicts())[0] if kind == "forecast" else values[:8]
            for ours, theirs in zip(alone(folder).predict([*asked]), run.predict([*asked]), strict=True):
                alike(ours, theirs)
        if isinstance(run.objective, Generative) and run.objective.makes_of_noise:
            ours, theirs = (one.objective.generate(7, torch.Generator().manual_seed(0)) for one in (exported, run))
            near(ours.detach().numpy(), theirs.detach().numpy())
        if isinstance(run.objective, LanguageModel):
            asked = {"max_tokens": 12, "temperature": 0}
            ours, theirs = (one.generate_text(["The", "A d"], **asked) for one in (exported, run))
            assert [one.tokens for one in ours] == [one.tokens for one in theirs]
