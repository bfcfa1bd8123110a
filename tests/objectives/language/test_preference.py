"""Of two answers the chosen one becomes likelier, beside the model as it was before."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import flambeau as fb
from flambeau import report
from flambeau.core.errors import FlambeauError
from flambeau.data.sources.opening import from_path
from flambeau.fields import Packed, Preferences
from flambeau.models.added import left_out
from flambeau.techniques import Technique

pytest.importorskip("transformers")
from fine_tune import NUMBERS, tiny

ROWS = [{"prompt": f"What comes after {n}?", "chosen": " I know it.", "rejected": " Who knows?"} for n in NUMBERS] * 2


class Stop(Technique):
    name = "stop"

    def __init__(self, at: int):
        self.at = at

    def on_step_end(self, objective: Any, step: int) -> None:
        if step == self.at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"hf:{tiny(tmp_path_factory.mktemp('models') / 'tiny', width=16)}"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "preferences.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    return file


def learner(file: Path, base: str, run: Path, **options: Any) -> fb.Learner:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "device": "cpu", "quiet": True,
                                "baseline": False, "checkpoint_minutes": 0}  # fmt: skip
    return fb.Learner(from_path(file), base, run=run, **settings | options)


@pytest.fixture(scope="module")
def trained(file: Path, base: str, tmp_path_factory: pytest.TempPathFactory) -> fb.Learner:
    learned = learner(file, base, tmp_path_factory.mktemp("runs") / "run")
    before = learned.evaluate("valid")["metrics"]
    assert before == {"loss": pytest.approx(math.log(2)), "accuracy": 0.0, "margin": 0.0}
    learned.fit(check=False)
    return learned


def test_the_chosen_answer_becomes_likelier_than_the_rejected_one(trained: fb.Learner) -> None:
    assert trained.recipe.objective.name == "preference" and "lora" in trained.recipe.techniques
    after = trained.evaluate("valid")["metrics"]
    assert after["accuracy"] == 1 and after["margin"] > 1 and after["loss"] < 0.65
    loaded = fb.load(trained.run.path, device="cpu")
    (told,) = loaded.predict([trained.data.columns["text"][0]])
    assert told.label > 1, "the model as it was is there after loading"
    assert loaded.generate_text("What comes after one?", max_tokens=3).tokens
    assert "margin" in report.write(trained.run).read_text("utf-8")


def test_the_margin_is_that_of_two_models_and_each_answer_is_read_alone(trained: fb.Learner) -> None:
    objective = trained.objective
    field, model = objective.field, objective.model.eval()
    assert isinstance(field, Preferences)

    def likelihood(answer: str) -> float:
        ids = [field.begin, *field.tokens_of(ROWS[0]["prompt"]), *field.tokens_of(answer), field.end]
        asked = 1 + len(field.tokens_of(ROWS[0]["prompt"]))
        scores = model(torch.tensor([ids]))[0].log_softmax(1)
        return float(sum(scores[place - 1, ids[place]] for place in range(asked, len(ids))))

    def gap() -> float:
        return likelihood(ROWS[0]["chosen"]) - likelihood(ROWS[0]["rejected"])

    with torch.no_grad():
        with left_out(model):
            before = gap()
        encoded = torch.from_numpy(field.encode(trained.data.columns["text"][0]).astype("int64"))[None]
        packed = Packed(encoded[..., 0], encoded[..., 1] >> 1, (encoded[..., 1] & 1).bool())
        assert float(objective.margins(packed)) == pytest.approx(gap() - before, abs=1e-4)


def test_a_training_that_was_stopped_ends_with_the_same_weights(
    trained: fb.Learner, file: Path, base: str, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        learner(file, base, tmp_path / "run", techniques=["lora", Stop(3)]).fit(check=False)
    learner(file, base, tmp_path / "run", techniques=["lora", Stop(-1)]).fit(resume=True)
    first, second = (load_file(run / "model.safetensors") for run in (trained.run.path, tmp_path / "run"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_chats_that_differ_in_their_last_message_are_pairs(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "What burns?"}
    chats = [[asked, {"role": "assistant", "content": answer}] for answer in ("A torch.", "Water.")]
    rows = [{"prompt": "What burns?", "chosen": chats[0], "rejected": chats[1]}] * 5
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = from_path(tmp_path / "chats.jsonl")
    data.fit()
    field = data.fields["text"]
    encoded = field.encode(data.columns["text"][0])
    answers = [field.text_of(encoded[encoded[:, 1] == told, 0].tolist()) for told in (1, 3)]
    assert answers == ["A torch.", "Water."]
    rows[3] = {**rows[0], "rejected": [{"role": "user", "content": "Why?"}, chats[1][1]]}
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(FlambeauError, match=r"chats\.jsonl, line 4: .* differ in more than their last message"):
        from_path(tmp_path / "chats.jsonl")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"techniques": ["lora adapter=false"]}, "beside the model as it was, which is not kept; train with"),
        ({"techniques": ["ema"]}, "beside the model as it was, which is not kept; train with"),
        ({"objective": {"name": "preference", "beta": 0}}, "beta=0 does not fit; expected a number above 0"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(
    options: dict[str, Any], message: str, file: Path, base: str, tmp_path: Path
) -> None:
    with pytest.raises(FlambeauError, match=message):
        learner(file, base, tmp_path / "run", **options).fit(check=False)


def test_texts_are_no_pairs(tmp_path: Path, base: str) -> None:
    (tmp_path / "a.txt").write_text("It burns.\n\n" * 900)
    with pytest.raises(FlambeauError, match="learned of pairs, and the input is of the kind"):
        learner(tmp_path / "a.txt", base, tmp_path / "run", objective="preference").fit(check=False)
