"""What the report shows of a language model: where in a window it foretells well, what surprised it most in held-out
text, and what the texts that it makes have of the training texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from flambeau.core.spans import covered, shared
from flambeau.data.batch import Batch
from flambeau.fields import Corpus
from flambeau.objectives.language.measures import copies, distinct, documents, looped, span_of, texts_in
from flambeau.objectives.language.samples import continued

if TYPE_CHECKING:
    from flambeau.objectives.language.base import LanguageModel

TEXTS, LENGTH = 16, 300  # that are made
PLACES, AROUND = 6, 40  # that surprised it, and tokens shown to each side
POINTS = 32  # of the curve over a window
MOST = 2**23  # training tokens that are looked through
SHOWN = 400  # characters of what was copied


def portrait(objective: LanguageModel, held_out: Iterable[Batch], train: Iterable[Batch]) -> dict[str, Any]:
    """Plain JSON, {language: …}:

    by_position: [[tokens before it in the window, mean nats]]; surprising: [{row, tokens: [[text, nats]]}], the places
    of held-out windows that cost most; copied, usual: what of texts made of nothing, and of as much held-out text,
    stands in training texts, {share, tokens, text} of the longest span; contamination: that share of all the held-out
    text looked at; looped, distinct, distinct_usual: as of `measures`.
    """
    field = objective.field
    costs, places, windows = _Costs(), list[dict[str, Any]](), list[np.ndarray]()
    with torch.inference_mode():
        for batch in held_out:
            each, counts = objective.costs(batch.input)
            each, counts = each.float().cpu(), counts.cpu()
            costs.add(each, counts)
            places += _surprising(field, batch, each)
            windows += texts_in(batch.input)
    training, span = documents(_few(train)), span_of(field.input_shape[0])
    held = documents(windows)
    inside = covered(shared(held, training, span), span)
    found = {"by_position": costs.curve(), "surprising": _worst(places),
             "contamination": float(inside.mean()) if len(inside) else 0.0}  # fmt: skip
    length = min(LENGTH, field.length, (objective.model.context or LENGTH + 1) - 1)
    texts = continued(objective.model, [[field.begin]] * TEXTS, length, {field.end, *field.stops},
                      torch.Generator().manual_seed(0))  # fmt: skip
    made, usual = (
        documents(texts),
        documents(text[:length] for text in windows[:: max(1, len(windows) // TEXTS)][:TEXTS]),
    )
    for name, of in (("copied", made), ("usual", usual)):
        copied = copies(of, training, span)
        text = field.text_of(of.flat[copied.start : copied.start + copied.longest].tolist())
        found[name] = {"share": copied.share, "tokens": copied.longest, "text": text[:SHOWN]}
    found |= {"looped": float(np.mean([looped(text) for text in texts])), "span": span,
              "distinct": distinct(made), "distinct_usual": distinct(usual)}  # fmt: skip
    return {"language": found}


def _few(train: Iterable[Batch]) -> Iterable[np.ndarray]:
    count = 0
    for batch in train:
        for text in texts_in(batch.input):
            yield text
            count += len(text)
        if count >= MOST:
            return


class _Costs:
    """Mean costs by place in a window."""

    def __init__(self) -> None:
        self.sums, self.counts = torch.zeros(0), torch.zeros(0)

    def add(self, costs: torch.Tensor, counts: torch.Tensor) -> None:
        if not len(self.sums):
            self.sums, self.counts = torch.zeros(costs.shape[1]), torch.zeros(costs.shape[1])
        self.sums, self.counts = self.sums + costs.sum(0), self.counts + counts.sum(0)

    def curve(self) -> list[list[float]]:
        """[tokens before, mean nats], of parts that double in length: what matters happens at the beginning."""
        found, start = [], 0
        while start < len(self.sums):
            end = min(len(self.sums), start + max(1, start // 4, len(self.sums) // (8 * POINTS)))
            if count := float(self.counts[start:end].sum()):
                found.append([(start + end - 1) / 2 + 1, float(self.sums[start:end].sum()) / count])
            start = end
        return found


def _surprising(field: Corpus, batch: Batch, costs: torch.Tensor) -> list[dict[str, Any]]:
    """Of each window the token that cost most, with those around it in its document."""
    packed, found = batch.input, []
    for row, at in enumerate(costs.argmax(1).tolist()):
        segment = packed.segments[row].tolist()
        inside = [i for i in range(max(1, at + 1 - AROUND), min(len(segment), at + 2 + AROUND))
                  if segment[i] == segment[at + 1]]  # fmt: skip
        ids = packed.tokens[row, inside].tolist()
        of = int(batch.rows[row] if packed.rows is None else packed.rows[row, at + 1])
        nats = costs[row, [i - 1 for i in inside]].tolist()
        found.append({"cost": float(costs[row, at]), "row": of, "tokens": whole(field, ids, nats)})
    return _worst(found)


def _worst(places: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The most surprising places, no two of them the same."""
    found: dict[str, dict[str, Any]] = {}
    for place in sorted(places, key=lambda place: -place["cost"]):
        if math.isfinite(place["cost"]):
            found.setdefault("".join(text for text, _ in place["tokens"]), place)
    return [*found.values()][:PLACES]


def whole(field: Corpus, ids: Sequence[int], nats: Sequence[float]) -> list[list[Any]]:
    """[text, nats] of tokens; those that are parts of a character are together."""
    found: list[list[Any]] = []
    held, cost = b"", 0.0
    for token, each in zip(ids, nats, strict=True):
        held, cost = held + field.bytes_of([token]), cost + each
        try:
            text = held.decode()
        except UnicodeDecodeError:
            if len(held) < 4:
                continue
            text = held.decode("utf-8", "replace")
        found.append([text, round(cost, 3)])
        held, cost = b"", 0.0
    return found + ([[held.decode("utf-8", "replace"), round(cost, 3)]] if held else [])
