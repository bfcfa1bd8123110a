"""The section of what a language model writes, of a run of one."""

from __future__ import annotations

import json
import random

import pytest

import flambeau as fb
from flambeau import report
from flambeau.fields import Corpus
from flambeau.run import Run
from tests.report.conftest import HOSTILE, Reader
from tests.support import tiny_language  # noqa: F401  enters the model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    words = ["torch", "night", "bright", "<b>burns</b>", "long", "夜"]
    texts = [" ".join(random.Random(i).choices(words, k=60)) for i in range(24)]
    data = fb.Dataset({"text": texts}, inputs=["text"], fields={"text": Corpus("characters", 32)})
    path = tmp_path_factory.mktemp("language") / "run"
    fb.Learner(
        data,
        model="tiny-lm",
        objective="language-model",
        run=path,
        epochs=5,
        batch_size=4,
        learning_rate=0.03,
        quiet=True,
    ).fit()
    return Run(path)


@pytest.mark.parametrize(("language", "heading"), [("en", "What it writes"), ("zh-CN", "模型写出的文本")])
def test_texts_surprises_and_copies_are_shown(run: Run, language: str, heading: str) -> None:
    page = Reader(report.write(run, language=language).read_text("utf-8"))
    assert page.faults == [] and "language" in page.ids and heading in page.text
    assert "b" in page.tags and "<b>burns</b>" not in report.write(run).read_text("utf-8"), "texts are cleaned"
    shown = json.loads((run.path / "evaluation.json").read_text())["portrait"]["language"]
    surprising = "".join(text for text, _ in shown["surprising"][0]["tokens"])
    assert surprising in page.text and shown["surprising"][0]["place"] in page.text
    last = json.loads((run.path / "samples/texts.jsonl").read_text().splitlines()[-1])
    texts = [one["text"] for one in last["texts"][:4] if one["text"].isprintable()]
    assert last["epoch"] == 5 and texts and all(text in page.text for text in texts)
    assert page.tags.count("details") >= 4, "four of the five epochs"
    assert shown["copied"]["text"] in page.text
    name = "Kneser-Ney of 8-grams" if language == "en" else "Kneser-Ney 平滑的 8 元语法"
    assert name in page.text, "beside its rival"


def test_what_others_wrote_into_the_files_does_no_harm(run: Run) -> None:
    file = run.path / "samples/texts.jsonl"
    kept = file.read_text()
    texts = [{"prompt": text, "text": text} for text in HOSTILE]
    file.write_text(kept + "{half a line\n" + json.dumps({"epoch": 6, "texts": texts}) + "\n[1]\n")
    page = Reader(report.write(run).read_text("utf-8"))
    assert page.faults == [] and page.handlers == [] and HOSTILE[0] in page.text
    file.write_text(kept)
