"""A text that is written for another."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from flambeau.data.batch import Batch
from flambeau.fields import Field, TextTarget
from flambeau.models.spec import OutputSpec
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks.base import TASKS, Task
from flambeau.objectives.texts import Translated


@TASKS.register("text")
class Written(Task):
    """Cross-entropy over logits (B, T, V) of each token of an answer, given those before it; targets (B, T + 1) begin
    with the token that begins an answer, and answers are token numbers (B, T')."""

    field: TextTarget
    objective = "translation"
    default_loss = "tag_cross_entropy"
    metric_names = ("chrf", "bleu", "exact_match")
    rivals = "texts"
    unmixable = "an answer to two texts at once is none"
    greatest_error = 1.0

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.num_outputs, "text")

    def learned(self, batch: Batch) -> Tensor:
        """Each token that follows another."""
        return batch.target[:, 1:]

    def weight(self, batch: Batch) -> float:
        return int((self.learned(batch) >= 0).sum())

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        return Prediction(self.field.decode(output))

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [Translated(self.field, detail)]

    def row_errors(self, answers: Tensor, target: Tensor) -> Tensor:
        """An answer is right that is the target's text."""
        return answers.new_tensor([said != true for said, true in self.field.both(answers, target)])
