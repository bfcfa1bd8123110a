"""Small runs of language models, for what is done with them: they have seen little and write nonsense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flambeau as fb
from flambeau.fields import Corpus

SENTENCE = "It is a truth universally acknowledged, that a man in possession of a fortune must be in want of a wife. "
CHATS = [[{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": f"It is {i}."}]
         for i in range(20)]  # fmt: skip


def learner(run: Path | bool, cache: Path, chats: bool = False) -> fb.Learner:
    """Of a GPT of one block that looks back at 96 bytes."""
    texts: list[Any] = CHATS if chats else [(2 * SENTENCE)[i : i + 90] for i in range(20)]
    return fb.Learner(
        fb.Dataset({"text": texts}, fields={"text": Corpus(context=96, tokens="bytes")}), model="gpt",
        objective="language-model", epochs=1, run=run, quiet=True, cache=cache, baseline=False,
        options={"layers": 1, "heads": 2, "width": 16},
    )  # fmt: skip


def trained(run: Path, chats: bool = False) -> None:
    """Leaves a run of an epoch."""
    learner(run, run.parent / "cache", chats).fit(check=False)
