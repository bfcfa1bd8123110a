"""A tag for each token of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.shapes import Float
from flambeau.data.batch import Batch
from flambeau.fields import Field, Tags
from flambeau.fields.tags import NO_TAG, UNSEEN, spans
from flambeau.models.spec import OutputSpec
from flambeau.models.text.crf import Chain
from flambeau.objectives.doubts import Doubt, wrong_parts
from flambeau.objectives.metrics import Metric
from flambeau.objectives.prediction import UNKNOWN, Prediction
from flambeau.objectives.tagging import TagConfidence, Tagging, answered, seen, tag_probabilities
from flambeau.objectives.tasks.base import TASKS, Task

SPANS = ("span_f1", "span_precision", "span_recall")


@TASKS.register("tags")
class Tagged(Task):
    """Cross-entropy over logits (B, T, K), or the likelihood of a chain; targets are tag numbers (B, T)."""

    field: Tags
    answers = "probabilities"
    default_loss = "tag_cross_entropy"
    metric_names = ("accuracy", "f1")
    rivals = "tags"
    unmixable = "each token has a tag of its own, and two texts differ in theirs"

    @property
    def output_spec(self) -> OutputSpec:
        return OutputSpec(self.field.num_outputs, "tokens")

    def learned(self, batch: Batch) -> Any:
        """Without the tags of words that the model does not see."""
        return seen(batch.target, batch.input)

    def weight(self, batch: Batch) -> float:
        return int((self.learned(batch) >= 0).sum())

    def activate(self, output: Float[Tensor, "B T K"] | Chain) -> Float[Tensor, "B T K"]:
        return tag_probabilities(output)

    def deactivate(self, answers: Float[Tensor, "B T K"]) -> Float[Tensor, "B T K"]:
        return answers.clamp_min(torch.finfo(answers.dtype).tiny).log()

    def answer(self, output: Tensor | Chain, inputs: Any) -> Tensor:
        return answered(self.activate(output), inputs)

    def decode(
        self, output: np.ndarray, reject_below: float = 0.0, asked: Field | None = None, value: Any = None
    ) -> Prediction:
        assert asked is not None
        tokens = asked.parts(value)
        output = output[: len(tokens)]  # what follows is padding
        output = output[output.sum(1) > 0]  # a sentence longer than the model takes is cut
        tags = self.field.decode(output)
        found = spans(tags) if self.field.has_spans else None
        sure, below = output.max(1), max(reject_below, self.decision.get("reject_below", 0.0))
        tags = [tag if p >= below else UNKNOWN for tag, p in zip(tags, sure, strict=True)]
        return Prediction(tags, float(sure.min(initial=1.0)), tokens=tokens[: len(tags)], spans=found)

    def doubts(self, given: Sequence[Any], predicted: Sequence[Any], outputs: Sequence[Any]) -> list[Doubt]:
        index = {name: number for number, name in enumerate(self.field.classes)}
        parts = [self.field.parts(value) for value in given]
        numbers = [[index.get(tag, -1) for tag in tags] for tags in parts]
        found = wrong_parts(numbers, [np.asarray(output) for output in outputs])
        return [doubt._replace(suggested=self._mended(doubt.suggested, given[doubt.at])) for doubt in found]

    def _mended(self, numbers: Sequence[int], given: Any) -> Any:
        """Tags by their numbers, in the form that they are given in; as they are where they have no number."""
        tags = self.field.parts(given)
        named = [self.field.classes[k] if k >= 0 else tag for k, tag in zip(numbers, tags, strict=True)]
        return " ".join(named) if isinstance(given, str) else named

    def metrics(self, detail: bool, asked: str = "auto") -> list[Metric]:
        return [Tagging(self.field, detail)]

    def further(self, asked: str = "auto") -> list[Metric]:
        return [TagConfidence()]

    def row_errors(self, answers: Float[Tensor, "B T K"], target: Tensor) -> Tensor:
        """A sentence is right whose words all are."""
        length = min(answers.shape[1], target.shape[1])
        said = answers.argmax(2).masked_fill(answers.sum(2) == 0, UNSEEN - 1)[:, :length]
        wrong = (said != target[:, :length]) & (target[:, :length] != NO_TAG)
        return (wrong.any(1) | (target[:, length:] != NO_TAG).any(1)).double()

    @property
    def known(self) -> tuple[str, ...]:
        may_have_spans = self.field.has_spans or not self.field.classes  # not yet fitted
        return (*SPANS, *super().known) if may_have_spans else super().known

    @property
    def has_rivals(self) -> bool:
        return bool(self.field.classes)
