"""Preferences: of two answers to a prompt the model comes to prefer the one that people chose. Direct preference
optimisation, Rafailov et al. 2023, arXiv:2305.18290. Costs a pass of the model before training beside each of its own.

flambeau train preferences.jsonl --model hf:FOLDER         # {"prompt": …, "chosen": …, "rejected": …} a line
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError, require
from flambeau.data.batch import Batch
from flambeau.fields import Corpus, Packed, Preferences
from flambeau.models.added import left_out
from flambeau.models.cut import evaluating
from flambeau.models.language import CausalLanguageModel
from flambeau.objectives.base import OBJECTIVES, Context, Objective
from flambeau.objectives.language.base import LanguageModel
from flambeau.objectives.prediction import Prediction
from flambeau.objectives.tasks import Task

MEASURES = {"loss": False, "accuracy": True, "margin": True}  # whether more is better


@OBJECTIVES.register("preference")
class Preference(LanguageModel):
    """The mean of −log σ(β · margin), where the margin is by how many nats the training has made the chosen answer
    likelier than the rejected one. What the model was before is known by leaving out what `lora` adds, so that there is
    no second model.

    Measured: `margin` in nats, and `accuracy`, the share of pairs in which it is above 0.

    Args:
        beta: how dearly the model pays for what it moves away from what it was: the higher the less it does.
    """

    settings = ("beta",)
    reads: ClassVar[Mapping[str, str]] = {}
    task: Task = Task()
    tells_oddness = False
    measures = MEASURES

    def __init__(self, model: CausalLanguageModel, field: Corpus, beta: float = 0.1):
        require(beta > 0, f"beta={beta}", "a number above 0")
        super().__init__(model, field)
        self.beta = beta

    @classmethod
    def build(cls, context: Context, **options: Any) -> Objective:
        if not isinstance(context.input, Preferences):
            raise UsageError(f"preferences are learned of pairs, and the input is of the kind {context.input.kind}",
                             fix="give a .jsonl file with prompt, chosen and rejected")  # fmt: skip
        return super().build(context, **options)

    @classmethod
    def suggests(cls, options: Mapping[str, Any], num_train: int) -> Mapping[str, tuple[Any, str]]:
        return {"techniques": ({"lora": {}}, "without it the model is what it was before")}

    def _likelihoods(self, packed: Packed) -> Tensor:
        """Log-likelihoods of the chosen and the rejected answers in nats, float32 (B, 2)."""
        costs, _ = self.costs(packed)
        rejected = packed.segments[:, 1:] == 1
        return -torch.stack([(costs * ~rejected).sum(1), (costs * rejected).sum(1)], 1)

    def margins(self, packed: Packed) -> Tensor:
        """By how many nats each chosen answer has become likelier than the rejected one, float32 (B).

        Raises:
            UsageError: the model was trained without an adapter.
        """
        with torch.no_grad(), evaluating(self.model), left_out(self.model) as parts:
            if not parts:
                raise UsageError("preferences are learned beside the model as it was, which is not kept",
                                 fix="train with --technique lora, or leave techniques out")  # fmt: skip
            before = self._likelihoods(packed)
        chosen, rejected = (self._likelihoods(packed) - before).unbind(1)
        return chosen - rejected

    def loss(self, batch: Batch, phase: str = "train") -> Tensor:
        return -F.logsigmoid(self.beta * self.margins(batch.input)).mean()

    def weight(self, batch: Batch) -> float:
        return len(batch)

    def start_evaluation(self, detail: bool = False) -> None:
        self._margins: list[Tensor] = []

    def evaluate(self, batch: Batch) -> None:
        self._margins.append(self.margins(batch.input).double().cpu())

    def metrics(self) -> dict[str, float]:
        margins = torch.cat(self._margins) if self._margins else torch.zeros(0, dtype=torch.float64)
        if not len(margins):
            return dict.fromkeys(MEASURES, float("nan"))
        loss = -F.logsigmoid(self.beta * margins)
        return {"loss": float(loss.mean()), "accuracy": float((margins > 0).double().mean()),
                "margin": float(margins.mean())}  # fmt: skip

    def intervals(self) -> dict[str, Any]:
        return {}

    def without_groups(self) -> dict[str, Any]:
        return {}

    def detail(self) -> dict[str, Any]:
        return {}

    def portrait(self, held_out: Any, train: Any) -> dict[str, Any]:
        return {}

    def predict(self, batch: Batch) -> Tensor:
        """The margins, float (B, 1)."""
        return self.margins(batch.input)[:, None]

    def decode(self, output: Any, reject_below: float = 0.0, asked: Any = None, value: Any = None) -> Prediction:
        """By how many nats the chosen answer has become likelier than the rejected one."""
        return Prediction(float(output[0]))

    def describe(self) -> str:
        return f"−log σ({self.beta:g} · margin): the chosen answer is to become likelier than the rejected one"
