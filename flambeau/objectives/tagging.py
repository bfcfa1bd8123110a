"""Tags: how predictions of one class for each token are scored against the truth."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.core.errors import UsageError
from flambeau.core.shapes import Float, Int64
from flambeau.fields import Ragged, Tags
from flambeau.fields.tags import NO_TAG, UNSEEN, spans
from flambeau.fields.tokens import words_seen
from flambeau.models.text.crf import Chain, marginals, negative_log_likelihood
from flambeau.objectives.classification import Classification
from flambeau.objectives.intervals import GROUPS, groups_of
from flambeau.objectives.probabilities import coverage, logit
from flambeau.objectives.ranking import Curve, Ranking

UNKNOWN_SPAN = "(not in training)"  # what a span is called whose tags training never saw


def tag_cross_entropy(
    output: Float[Tensor, "B T K"] | Chain,
    target: Int64[Tensor, "B T2"],
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""] | Float[Tensor, " B"]:
    """The mean over all tokens, or over each sentence's where `reduction` is "none".

    Output (B, T, K) as logits, or a `Chain`, whose negative log-likelihood it is, a token; target int64 (B, T'), below
    0 where there is nothing to learn. A sentence that the model has cut off (T < T') is scored as far as it goes.

    Raises:
        UsageError: label smoothing is asked of a chain, which has no one distribution for each token.
    """
    scores = output.scores if isinstance(output, Chain) else output
    target = target[:, : scores.shape[1]]
    there = target >= 0
    if isinstance(output, Chain):
        if label_smoothing:
            raise UsageError("a conditional random field has no label smoothing", fix="leave out one of the two")
        chain = output._replace(scores=scores[:, : target.shape[1]], mask=output.mask[:, : target.shape[1]])
        loss = negative_log_likelihood(chain, target)
    else:
        flat = F.cross_entropy(scores[:, : target.shape[1]].flatten(0, 1), target.where(there, NO_TAG).flatten(),
                               reduction="none", label_smoothing=label_smoothing)  # fmt: skip
        loss = flat.view(target.shape).sum(1)
    if reduction == "none":
        return loss / there.sum(1).clamp_min(1)
    return loss.sum() / there.sum().clamp_min(1)


def tag_probabilities(output: Float[Tensor, "B T K"] | Chain) -> Float[Tensor, "B T K"]:
    """(B, T, K): of each tag at each token."""
    return marginals(output) if isinstance(output, Chain) else output.float().softmax(-1)


def seen(target: Tensor, tokens: Any) -> Tensor:
    """Tags (B, T) of which those of words that the model does not see are marked as never seen: nothing is learned of
    them, and whatever is said there is wrong.

    Args:
        tokens: the input as `Tokens.prepare` gives it; anything else is taken to be whole.
    """
    if not isinstance(tokens, Ragged) or tokens.values.ndim != 3:
        return target
    behind = torch.arange(target.shape[1], device=target.device) >= words_seen(tokens)[:, None]
    return target.masked_fill(behind & (target != NO_TAG), UNSEEN)


def answered(probabilities: Tensor, tokens: Any) -> Tensor:
    """Probabilities (B, T, K), 0 where a sentence has no more words that the model sees. `tokens` as for `seen`."""
    if not isinstance(tokens, Ragged) or tokens.values.ndim != 3:
        return probabilities
    behind = torch.arange(probabilities.shape[1], device=probabilities.device) >= words_seen(tokens)[:, None]
    return probabilities.masked_fill(behind[:, :, None], 0)


class Tagging(Classification):
    """Accuracy of tokens, macro F1 of tags and, where tags mark spans, F1 of whole spans, from probabilities
    (B, T, K), all 0 where the model says nothing, and targets (B, T')."""

    proportions = ()  # words of one sentence are not independent

    def __init__(self, field: Tags, detail: bool):
        super().__init__(field.classes, detail)
        k = len(self.classes)
        # beside those of classes: lost words, and spans that are right, predicted and true
        self.sums = torch.zeros(GROUPS, 3 * k + 4, dtype=torch.int64)
        self.lost = 0  # tokens whose tag training never saw, or that the model has cut off: wrong whatever is said
        self.spans: dict[str, Counter[str]] | None = None
        if field.has_spans:
            self.spans = {"right": Counter(), "predicted": Counter(), "true": Counter()}

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        length = target.shape[1]
        output = F.pad(output[:, :length], (0, 0, 0, length - min(output.shape[1], length)))
        said = output.sum(2) > 0
        groups = groups_of(rows)
        lost = ((target != NO_TAG) & ~(said & (target != UNSEEN))).sum(1).cpu()
        self.lost += int(lost.sum())
        self.sums[:, -4].index_add_(0, groups, lost)
        if self.spans is not None:
            self._count_spans(output.argmax(2).masked_fill(~said, UNSEEN), target, groups.tolist())
        beside = ((target == UNSEEN) & said).nonzero()
        self.count_groups(1, output[beside[:, 0], beside[:, 1]].argmax(1).cpu(), groups[beside[:, 0].cpu()])
        at = ((target >= 0) & said).nonzero()
        self._at = at[:, 1].tolist() if self.keep else []
        super().update(output[at[:, 0], at[:, 1]], target[at[:, 0], at[:, 1]], rows.to(at.device)[at[:, 0]])

    def tell_more(self, i: int) -> dict[str, Any]:
        return {"at": self._at[i]}

    def _count_spans(self, predicted: Tensor, target: Tensor, groups: list[int]) -> None:
        assert self.spans is not None
        for guessed, true, group in zip(predicted.tolist(), target.tolist(), groups, strict=True):
            length = sum(tag != NO_TAG for tag in true)
            found = {
                what: set(spans([self.classes[tag] if tag >= 0 else other for tag in tags[:length]]))
                for what, tags, other in (("predicted", guessed, "O"), ("true", true, f"I-{UNKNOWN_SPAN}"))
            }
            both = {"right": found["predicted"] & found["true"], **found}
            for i, (what, there) in enumerate(both.items()):
                self.spans[what].update(span.label for span in there)
                self.sums[group, i - 3] += len(there)

    def _span_scores(self, labels: list[str]) -> tuple[float, float, float]:
        assert self.spans is not None
        right, predicted, true = (sum(self.spans[w][x] for x in labels) for w in ("right", "predicted", "true"))
        return right / max(predicted, 1), right / max(true, 1), 2 * right / max(predicted + true, 1)

    @property
    def count(self) -> int:
        return super().count + self.lost

    def score(self, sums: Tensor) -> dict[str, Tensor]:
        lost, right, predicted, true = sums[:, -4:].double().unbind(1)
        by_class = sums[:, :-4].unflatten(1, (3, -1))
        found = super().score(by_class)
        words = by_class[:, 2].sum(1).double()
        found["accuracy"] = found["accuracy"] * words / (words + lost).clamp_min(1)
        if self.spans is not None:
            found["span_precision"] = right / predicted.clamp_min(1)
            found["span_recall"] = right / true.clamp_min(1)
            found["span_f1"] = 2 * right / (predicted + true).clamp_min(1)
        return found

    @property
    def by_class(self) -> Tensor:
        return self.sums[:, :-4].unflatten(1, (3, -1))

    def detail(self) -> dict[str, Any]:
        detail = super().detail() | {"tokens": self.count, "lost": self.lost}
        if self.spans is not None:
            detail["spans"] = []
            for label in sorted(self.spans["true"] | self.spans["predicted"]):
                precision, recall, f1 = self._span_scores([label])
                entry = {"class": label, "precision": precision, "recall": recall, "f1": f1}
                detail["spans"].append({**entry, "count": self.spans["true"][label]})
        return detail


class TagConfidence:
    """How sure the answer to each token is, from probabilities (B, T, K), all 0 where the model says nothing, and
    targets (B, T')."""

    def __init__(self) -> None:
        self.sure = Ranking()

    def update(self, output: Tensor, target: Tensor, rows: Tensor) -> None:
        length = min(output.shape[1], target.shape[1])
        output, target = output[:, :length], target[:, :length]
        at = ((target != NO_TAG) & (output.sum(2) > 0)).nonzero()
        confidence, guess = output[at[:, 0], at[:, 1]].float().max(1)
        right = guess == target[at[:, 0], at[:, 1]]
        self.sure.add(logit(confidence.cpu()), right.cpu().numpy(), groups_of(rows)[at[:, 0].cpu()].numpy())

    def values(self) -> dict[str, float]:
        return {}

    def curves(self) -> dict[str, Curve]:
        return {}

    def confidence(self) -> Curve:
        return self.sure.curve()

    def detail(self) -> dict[str, Any]:
        return {"coverage": coverage(self.confidence())}


__all__ = ["TagConfidence", "Tagging", "answered", "seen", "tag_cross_entropy", "tag_probabilities"]
