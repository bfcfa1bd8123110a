"""Translation: one text is written for another; also summaries, spellings, forms of dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from flambeau.core.errors import UsageError, require
from flambeau.data.batch import Batch
from flambeau.fields import Field, Text, TextTarget
from flambeau.models.language import Seq2Seq, search
from flambeau.models.language.seq2seq_pretrained import PretrainedSeq2Seq
from flambeau.objectives.base import OBJECTIVES, Context
from flambeau.objectives.programs import Program
from flambeau.objectives.supervised import Supervised
from flambeau.objectives.tasks.text import Written

SHOWN = 6  # answers whose alignment the report draws
MOST_TOKENS = 40  # of each, and of its source


@OBJECTIVES.register("translation")
class Translation(Supervised):
    """Minimises the cross-entropy of each token of the answer, given the source and the tokens before it (teacher
    forcing), the mean over tokens; measures and predicts what the model writes on its own.

    Args:
        model: a `Seq2Seq`.
        target: a `TextTarget`.
        loss, metrics, metric: as of `Supervised`.
        beams: answers that are followed side by side; 1 for the likeliest token each time (greedy).
        length_penalty: of beam search; 0 for none, more for longer answers.
        source: the field of the sources, by which the report names what was looked at.
    """

    settings = ("beams", "length_penalty")
    layout = "text"
    augments = False
    task: Written
    model: Seq2Seq

    def __init__(
        self, *of_supervised: Any, beams: int = 1, length_penalty: float = 1.0, source: Field | None = None,
    ):  # fmt: skip
        require(isinstance(beams, int) and 1 <= beams <= 64, f"beams={beams}", "1 to 64")
        require(0 <= length_penalty <= 10, f"length_penalty={length_penalty}", "0 to 10")
        super().__init__(*of_supervised)
        if not isinstance(self.model, Seq2Seq):
            raise UsageError("the model writes no texts", expected="a flambeau.models.language.Seq2Seq")
        self.beams, self.length_penalty, self.source = beams, length_penalty, source

    @classmethod
    def build(cls, context: Context, **options: Any) -> Translation:
        if not isinstance(context.target, TextTarget):
            kind = context.target.kind if context.target is not None else "none"
            raise UsageError(f"translation writes texts, and the target is of the kind {kind}",
                             fix="set fields.TARGET.kind=text-target, or leave the objective out")  # fmt: skip
        made = (context.model(), context.target, context.loss, context.metrics, context.metric)
        return cls(*made, source=context.input, **options)

    @property
    def fresh_head(self) -> bool:
        return not isinstance(self.model, PretrainedSeq2Seq)  # whose scores are by its own vectors

    @classmethod
    def fields_of(cls, target: str | None, inputs: Sequence[str]) -> dict[str, Field]:
        return {**{name: Text() for name in inputs}, **({} if target is None else {target: TextTarget()})}

    @classmethod
    def suggests(cls, options: Mapping[str, Any], num_train: int) -> Mapping[str, tuple[Any, str]]:
        why = "an answer is one of several that are as good"
        return {"techniques": ({"label_smoothing": {"amount": 0.1}}, why)}

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, T, V) of what follows each token of the target but its last."""
        return self.model(batch.input, batch.target[:, :-1].clamp_min(0))

    def programs(self) -> dict[str, Program]:
        raise UsageError("texts are written token by token, in a loop that no graph has", fix="serve the run itself")

    def answers(self, batch: Batch) -> Tensor:
        """Token numbers (B, T) that the model writes, as float32; see `search`."""
        written = search(
            self.model, batch.input, begin=self.task.field.begin, end=self.task.field.end,
            longest=self.task.field.longest, beams=self.beams, length_penalty=self.length_penalty,
        )  # fmt: skip
        return written.float()  # whole numbers up to 2**24 are exact

    def _answers(self, output: Any, batch: Batch) -> Tensor:
        return self.answers(batch)

    def predict(self, batch: Batch) -> Tensor:
        with torch.inference_mode():
            return self.answers(batch)

    def start_evaluation(self, detail: bool = False) -> None:
        super().start_evaluation(detail)
        self._aligned: list[dict[str, Any]] | None = [] if detail else None

    def evaluate_output(self, output: Any, batch: Batch) -> None:
        super().evaluate_output(output, batch)
        if self._aligned is not None and len(self._aligned) < SHOWN and batch.target is not None:
            self._aligned += self._alignments(batch)[: SHOWN - len(self._aligned)]

    def _alignments(self, batch: Batch) -> list[dict[str, Any]]:
        """Of the first rows of a batch: {row, source, answer, weights}, where the model looked for each token that it
        wrote; plain JSON."""
        few = type(batch.input)(*(part[:SHOWN] for part in batch.input))
        written = self.answers(Batch(few, None, batch.rows[:SHOWN])).long()
        field, asked = self.task.field, self.source
        begun = torch.cat([written.new_full((len(written), 1), field.begin), written[:, :-1]], 1)
        _, looked = self.model.taught(few, begun)
        names, target_names = asked.token_names if asked is not None else (), field.token_names
        found = []
        for row, ids, length, answer, weights in zip(
            batch.rows.tolist(), few.values.tolist(), few.lengths.tolist(), written.tolist(), looked.tolist(),
            strict=False,
        ):  # fmt: skip
            wide = min(length, MOST_TOKENS)
            tall = min(answer.index(field.end) if field.end in answer else len(answer), MOST_TOKENS)
            found.append({
                "row": row,
                "source": [(names[i] if i < len(names) else None) or "?" for i in ids[:wide]],
                "answer": [target_names[i] or "?" for i in answer[:tall]],
                "weights": [[round(weight, 3) for weight in line[:wide]] for line in weights[:tall]],
            })  # fmt: skip
        return found

    def detail(self) -> dict[str, Any]:
        return super().detail() | ({"alignments": self._aligned} if self._aligned else {})
