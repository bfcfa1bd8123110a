"""Watches a language model's training after each epoch: what it makes of the same prompts, by the same draws. The texts
are kept in the run, `samples/texts.jsonl`, what goes wrong is told as the monitors tell, and the numbers go to the
loggers. It costs 8 texts of up to 200 tokens an epoch, and leaves training as it would be without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flambeau.core.files import write_atomic
from flambeau.core.randomness import isolated
from flambeau.objectives.language import LanguageModel
from flambeau.objectives.language.measures import copies, distinct, documents, looped, span_of, texts_in
from flambeau.objectives.language.samples import continued
from flambeau.objectives.language.watched import Signs, watched
from flambeau.training.measure import Source, some
from flambeau.training.samples import FOLDER, as_evaluated

if TYPE_CHECKING:
    from flambeau.training.trainer import Trainer

SAMPLES, LENGTH, PROMPT = 8, 200, 32
KEPT = 2**19  # tokens of training windows that texts are looked for among
FILE, MOST_BYTES = "texts.jsonl", 2**26  # what is larger is none of ours


class LanguageWatch:
    """Looks at a `LanguageModel`.

    Attributes:
        course: what it showed after each epoch since the training began or was resumed.
    """

    def __init__(self, trainer: Trainer, objective: LanguageModel):
        self._trainer, self._objective, self.course = trainer, objective, list[Signs]()
        field = objective.field
        room = min(LENGTH + PROMPT, objective.model.context or LENGTH + PROMPT, 2 * field.length)
        prompt = min(PROMPT, room // 4)
        self._length, self._span = room - prompt - 1, span_of(field.input_shape[0])
        with isolated(0):
            held_out = [*self._windows(trainer.valid or trainer.train, SAMPLES * field.length)]
            self._training = documents(self._windows(trainer.train, KEPT))
        long = [text for text in held_out if len(text) > prompt]
        chosen = long[:: max(1, len(long) // (SAMPLES - 1))][: SAMPLES - 1]
        self._prompts = [[field.begin], *([int(token) for token in text[:prompt]] for text in chosen)]
        usual = documents(text[: self._length] for text in chosen)
        self._distinct = distinct(usual)
        self._usual = copies(usual, self._training, self._span).share if trainer.valid is not None else 0.0
        self._path = None if trainer.folder is None else Path(trainer.folder) / FOLDER / FILE
        if self._path is not None and self._path.exists():  # of epochs that are to be trained again
            kept = [line for line in texts_of(self._path) if line["epoch"] <= trainer.state.epoch]
            write_atomic(self._path, "".join(f"{json.dumps(line)}\n" for line in kept).encode())

    def _windows(self, source: Source, most: int) -> Iterator[np.ndarray]:
        """Parts of documents that are in windows from all over, of so many tokens."""
        count = 0
        for batch in some(source, self._trainer.prepare, max(1, most // self._objective.field.length)):
            for text in texts_in(batch.input):
                yield text
                count += len(text)
            if count >= most:
                return

    def __call__(self, epoch: int, metrics: dict[str, float]) -> None:
        trainer, objective = self._trainer, self._objective
        field = objective.field
        if self._length < 1:
            return
        with as_evaluated(trainer):
            texts = continued(objective.model, self._prompts, self._length, {field.end, *field.stops},
                              torch.Generator().manual_seed(0))  # fmt: skip
        made = documents(texts)
        self.course.append(
            Signs(trainer.state.step, looped=float(np.mean([looped(text) for text in texts])),
                  distinct=distinct(made) / max(self._distinct, 1e-9),
                  empty=float(np.mean([not text for text in texts])),
                  copied=copies(made, self._training, self._span).share, usual=self._usual)
        )  # fmt: skip
        trainer.observer.record(trainer.state.step, self.course[-1].numbers())
        trainer.observer.tell(watched(self.course))
        if self._path is not None:
            told = [{"prompt": field.text_of(prompt), "text": field.text_of(text)}
                    for prompt, text in zip(self._prompts, texts, strict=True)]  # fmt: skip
            self._path.parent.mkdir(exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps({'epoch': epoch, 'texts': told})}\n")


def texts_in_run(run: Path) -> list[dict[str, Any]]:
    """What a run's model made after each epoch, as `texts_of`; nothing where none was kept."""
    path = run / FOLDER / FILE
    return texts_of(path) if path.is_file() and path.stat().st_size <= MOST_BYTES else []


def texts_of(path: Path) -> list[dict[str, Any]]:
    """What a model made after each epoch, {epoch, texts: [{prompt, text}]}; lines that were not written whole are left
    out."""
    found = []
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in found if isinstance(line, dict) and {"epoch", "texts"} <= line.keys()]
