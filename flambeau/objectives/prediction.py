"""What a model says of one input, as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from typing import Any

import numpy as np

from flambeau.core.display import as_html
from flambeau.fields import Field
from flambeau.fields.tags import Span

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Question:
    """What a prediction was made from: raw values by input, and how they are read."""

    value: Mapping[str, Any]
    fields: Mapping[str, Field]
    inputs: Sequence[str]
    target: str | None


@dataclass
class Prediction:
    """What a model says of one input.

    Attributes:
        label: the likeliest class, the list of classes at or above the threshold, or the number; of a sentence a tag
            for each token; of a series the numbers forecast. `unknown` where the confidence is under `reject_below`.
        confidence: probability of the likeliest class, 0…1; None for numbers; of a sentence that of its least sure tag.
        probabilities: by class, likeliest first; empty for numbers and tags.
        tokens: of a sentence, what the tags are of.
        spans: of a sentence, where its tags mark spans.
        quantiles: of a forecast, the numbers of each quantile.
        times: of a forecast, when its steps are.
        series: of a forecast, whose it is.
        place: of an answer that is a part of a text, its characters in it: from, and up to.
        field: of an answer that is a file, the target's, which makes JSON of it.
        asked: what it was made from, where `Predictor.predict` made it.
    """

    label: Any
    confidence: float | None = None
    probabilities: dict[str, float] = default(default_factory=dict)
    tokens: list[str] | None = None
    spans: list[Span] | None = None
    quantiles: dict[str, list[float]] | None = None
    times: list[str] | None = None
    series: str | None = None
    place: tuple[int, int] | None = None
    field: Field | None = None
    asked: Question | None = default(default=None, repr=False, compare=False)

    _repr_html_ = as_html

    def top(self, k: int) -> dict[str, float]:
        """The k likeliest classes."""
        return dict(list(self.probabilities.items())[:k])

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Plain JSON, with the `top` likeliest classes only if given."""
        label = self.label.tolist() if isinstance(self.label, np.ndarray) else self.label
        out: dict[str, Any] = {"label": self.field.portable(self.label) if self.field else label}
        if self.tokens is not None:
            out["tokens"] = self.tokens
        if self.spans is not None:
            assert self.tokens is not None
            out["spans"] = [{**s._asdict(), "text": " ".join(self.tokens[s.start : s.end])} for s in self.spans]
        named = {"series": self.series, "times": self.times, "quantiles": self.quantiles}
        out |= {name: value for name, value in named.items() if value is not None}
        if self.place is not None:
            out["place"] = [*self.place]
        if self.confidence is not None:
            out["confidence"] = round(self.confidence, 6)
        if self.probabilities:
            shown = self.top(top) if top else self.probabilities
            out["probabilities"] = {k: round(v, 6) for k, v in shown.items()}
        return out
