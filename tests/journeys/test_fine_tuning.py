"""Fine-tuning a language model of transformers on chats: what counts, what is kept, what others load."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from forkserver import Forkserver
from safetensors.torch import load_file

import flambeau as fb
from flambeau.predictor.merging import merge

pytest.importorskip("transformers")
from fine_tune import chats, dataset, tiny

KILLED = """
import os, signal
from flambeau.techniques import TECHNIQUES, Technique

@TECHNIQUES.register("killed")
class Killed(Technique):
    def on_step_end(self, objective, step):
        if step == 6 and not os.path.exists("killed"):
            open("killed", "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
"""
COMMON: dict[str, Any] = {
    "objective": "language-model", "batch_size": 2, "device": "cpu", "baseline": False, "quiet": True, "epochs": 2,
    "learning_rate": 1e-2,
}  # fmt: skip
ROWS = chats("Seven.") + chats("That is more than I know.")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("models") / "tiny", width=16)


@pytest.fixture(scope="module")
def tuned(base: Path, tmp_path_factory: pytest.TempPathFactory) -> fb.Learner:
    """A run of LoRA upon it."""
    learner = fb.Learner(dataset(ROWS), f"hf:{base}", techniques=["lora rank=2"],
                         run=tmp_path_factory.mktemp("runs") / "run", **COMMON)  # fmt: skip
    learner.fit(check=False)
    return learner


def by_transformers(folder: Path, rows: list[list[dict[str, str]]]) -> float:
    """The mean cost of what the assistant says and the end of it, by transformers alone."""
    import transformers

    cut = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    total, count = 0.0, 0
    for row in rows:
        asked = cut.apply_chat_template(row[:1], add_generation_prompt=True, tokenize=False)
        whole = cut.apply_chat_template(row, tokenize=False)
        before, ids = cut(asked)["input_ids"], [*cut(whole)["input_ids"], cut.eos_token_id]
        labels = torch.tensor([[-100] * len(before) + ids[len(before) :]])
        counted = len(ids) - len(before)
        total += model(torch.tensor([ids]), labels=labels).loss.item() * counted
        count += counted
    return total / count


def test_only_what_the_assistant_says_counts_as_transformers_would_count_it(base: Path, tuned: fb.Learner) -> None:
    merged = merge(tuned.run, tuned.run.path.parent / "merged")
    predictor = fb.load(tuned.run.path, device="cpu")
    _, costs, counts = predictor.outputs([predictor.encode(row) for row in ROWS[:10]]).T  # each a window of its own
    measured = float((costs * counts).sum() / counts.sum())
    assert measured == pytest.approx(by_transformers(merged, ROWS[:10]), abs=1e-3)
    assert measured < by_transformers(base, ROWS[:10])


def test_a_run_is_its_adapter_which_peft_loads(base: Path, tuned: fb.Learner) -> None:
    peft = pytest.importorskip("peft")
    import transformers

    assert tuned.recipe.techniques["lora"]["adapter"], "by default, where all of the model was pretrained"
    held = [name for file in tuned.run.path.rglob("*.safetensors") for name in load_file(file)]
    assert held and not any("original" in name or "embed" in name or "norm" in name for name in held)
    theirs = peft.PeftModel.from_pretrained(
        transformers.AutoModelForCausalLM.from_pretrained(base), str(tuned.run.path / "adapter")
    )
    tokens = torch.arange(40)[None]
    ours = fb.load(tuned.run.path, device="cpu").objective.model
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, ours(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize("part", ["", "adapter"])
def test_an_adapter_given_as_weights_is_gone_on_from(base: Path, tuned: fb.Learner, tmp_path: Path, part: str) -> None:
    again = fb.Learner(dataset(ROWS), pretrained=str(tuned.run.path / part), run=tmp_path / "again",
                       **{**COMMON, "epochs": 1, "learning_rate": 1e-9})  # fmt: skip
    assert again.evaluate("valid")["metrics"] == pytest.approx(tuned.evaluate("valid")["metrics"], rel=1e-4)
    again.fit(check=False)
    first, second = (
        load_file(run / "adapter" / "adapter_model.safetensors") for run in (tuned.run.path, again.run.path)
    )
    torch.testing.assert_close(second, first, rtol=0, atol=1e-6)


def test_killed_and_gone_on_with_by_commands_the_weights_are_the_same(
    base: Path, flambeau: Forkserver, tmp_path: Path
) -> None:
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps({"messages": row}) + "\n" for row in ROWS))
    (tmp_path / "killed.py").write_text(KILLED)
    train = ["train", "chats.jsonl", "--model", f"hf:{base}", "--epochs", 2, "--batch-size", 2, "--no-baseline",
             "--set", "fields.text.context=64", "--technique", "lora rank=2 dropout=0.1",
             "--technique", "killed", "--plugin", "killed.py", "--set", "training.checkpoint_minutes=0"]  # fmt: skip
    killed = flambeau(*train, "--run", "killed-run", cwd=tmp_path)
    assert killed.status == -signal.SIGKILL, killed.err
    done = flambeau("resume", "killed-run", "--plugin", "killed.py", cwd=tmp_path)
    assert done.status == 0, done.err
    whole = flambeau(*train, "--run", "whole", cwd=tmp_path)
    assert whole.status == 0, whole.err
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed-run" / name).read_bytes()
    merged = flambeau("merge", "whole", "--out", "merged", "--plugin", "killed.py", cwd=tmp_path)
    assert merged.status == 0 and "--model hf:merged" in merged.out, merged.err
    again = flambeau("merge", "whole", "--out", "merged", "--plugin", "killed.py", cwd=tmp_path)
    assert again.status == 2 and "something lies there already" in again.err
