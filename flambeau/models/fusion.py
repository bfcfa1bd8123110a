"""Fusion: several inputs of different kinds, an encoder for each, put together for one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.core.errors import UsageError, check_known, nearest
from flambeau.core.shapes import Float
from flambeau.models import auto
from flambeau.models.build import build, starts_pretrained
from flambeau.models.inputs import FUSION
from flambeau.models.spec import Built, Ensemble, InputSpec, OutputSpec, Recommended

FUSIONS = ("concat", "gated")
SETTINGS = ("name", "pretrained", "frozen", "rate", "options")
PRETRAINED_RATE = 0.1


class Fusion(nn.Module):
    """An encoder for each input, whose vectors are normalised, put end to end and led to the outputs by two layers.

    Args:
        encoders: by input; each gives (B, width).
        num_outputs: K.
        width: W, numbers of each encoder's vector and of the hidden layer.
        fusion: `concat`, or `gated`: before they are put together, each number of each vector is multiplied by a
            weight from 0 to 1 that depends on all vectors (Arevalo, Solorio, Montes-y-Gómez, González, "Gated
            multimodal units", 2017, arXiv:1702.01992).
        dropout: probability, of each number of the vectors.
        optional: inputs that a row may lack, in the order of the columns of `present`; a learned vector is in place of
            what is not there.
        present: the key of the input that says so: float (B, M), 1 where an input of `optional` is there.

    Shapes: a dict of inputs, each as its encoder takes it, to (B, K).

    Raises:
        UsageError: there is no such fusion.
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], num_outputs: int, width: int = 128, fusion: str = "concat",
        dropout: float = 0.2, optional: Sequence[str] = (), present: str = "", frozen: Sequence[str] = (),
    ):  # fmt: skip
        super().__init__()
        if fusion not in FUSIONS:
            raise UsageError(f"no fusion is called '{fusion}'", expected=", ".join(FUSIONS))
        self.names, self.optional, self.present = list(encoders), list(optional), present
        # a column may have any name, and a module's must not hold dots
        self.encoders = nn.ModuleList(encoders.values())
        for encoder in encoders.values():
            if isinstance(encoder, Ensemble):
                encoder.ensemble_size = 1  # averaged in training too
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.names)
        self.missing = nn.Parameter(torch.zeros(len(self.optional), width))
        total = width * len(self.names)
        self.gate = nn.Linear(total, total) if fusion == "gated" else None
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(total, width)
        self.head = nn.Linear(width, num_outputs)
        self.frozen = list(frozen)

    def forward(self, inputs: Mapping[str, Any]) -> Float[Tensor, "B K"]:
        parts = []
        for name, encoder, norm in zip(self.names, self.encoders, self.norms, strict=True):
            part = norm(encoder(inputs[name]).float())
            if name in self.optional:
                at = self.optional.index(name)
                there = inputs[self.present][:, at, None] > 0.5
                part = torch.where(there, part, self.missing[at])
            parts.append(part)
        x = torch.cat(parts, 1)
        if self.gate is not None:
            x = x * self.gate(x).sigmoid()
        return self.head(self.hidden(self.dropout(x.relu())).relu())

    def train(self, mode: bool = True) -> Fusion:
        """As every module; frozen encoders keep their batch statistics."""
        super().train(mode)
        for name, encoder in zip(self.names, self.encoders, strict=True):
            if name in self.frozen:
                encoder.eval()
        return self


def fuse(
    specs: Mapping[str, InputSpec], num_outputs: int | OutputSpec, *,
    encoders: Mapping[str, Mapping[str, Any]] | None = None, num_samples: int = 10_000,
    vocabularies: Mapping[str, Sequence[str]] | None = None, weights: bool = True,
    optional: Sequence[str] = (), present: str = "", **options: Any,
) -> tuple[Built, dict[str, dict[str, Any]], dict[str, Recommended | None]]:  # fmt: skip
    """A `Fusion` of models by name; what each of its encoders is, as plain data that makes it again; and what the
    weights of each want of its input.

    Args:
        specs: of each input.
        encoders: by input: {name, pretrained, frozen, rate, options}, each as `build` takes it; `frozen` leaves the
            encoder as it is but for its last layer, `rate` is its share of the learning rate, 0.1 where it is
            pretrained and 1 where not. What is not said is chosen.
        num_samples: how many there are to train on.
        weights: whether pretrained weights are loaded; not where a run's are loaded afterwards.
        options: `width`, `fusion` and `dropout` of `Fusion`.

    Raises:
        UsageError, ModelError: as `build`; or there is no such input or setting.
    """
    output, given = OutputSpec.of(num_outputs), dict(encoders or {})
    if output.layout != "vector":
        raise UsageError(f"the target wants {output}, of one input", fix="choose it with inputs=")
    for name, settings in given.items():
        if name not in specs:
            raise UsageError(f"an encoder is given for '{name}', which is no input", fix=nearest(name, specs))
        check_known("an encoder has no setting", settings, SETTINGS)
    check_known(f"the model {FUSION} has no option", options, ("encoders", "width", "fusion", "dropout"))
    width = int(options.get("width", 128))
    made: dict[str, Built] = {}
    rates: dict[nn.Parameter, float] = {}
    chosen: dict[str, dict[str, Any]] = {}
    for name, spec in specs.items():
        choice = dict(given.get(name, {}))
        if choice.get("name", "auto") == "auto":
            choice["name"] = default_encoder(spec, num_samples, choice.get("pretrained"))[0]
        pretrained: bool | str | Path | None = choice.get("pretrained") if weights else None
        arguments = {k: v for k, v in dict(choice.get("options") or {}).items() if not (weights and k == "config")}
        vocabulary = (vocabularies or {}).get(name, ())
        built = build(choice["name"], spec, width, pretrained=pretrained, vocabulary=vocabulary, **arguments)
        choice["options"] = built.options
        rates |= _rates(built, choice)
        made[name], chosen[name] = built, choice
    frozen = [name for name, choice in chosen.items() if choice.get("frozen")]
    modules = {name: built.model for name, built in made.items()}
    model = Fusion(modules, output.size, optional=optional, present=present, frozen=frozen,
                   **{**options, "width": width})  # fmt: skip
    return Built(model, rates=rates), chosen, {name: built.wanted for name, built in made.items()}


VECTORS = {
    "table": ("resmlp", "an ensemble would answer each on its own, and a vector is wanted"),
    "text": ("bag", "n-grams have a weight for each output, and a vector is wanted"),
}
"""The encoder of a kind of input, where it is not the model for such inputs alone, and why."""


def default_encoder(spec: InputSpec, num_samples: int, pretrained: bool | str | None = None) -> tuple[str, str]:
    """The name of the encoder of one of several inputs, and one clause on why; see `auto.choose`."""
    return VECTORS.get(spec.kind) or auto.choose(spec, num_samples, pretrained)


def _rates(built: Built, choice: Mapping[str, Any]) -> dict[nn.Parameter, float]:
    """How fast each parameter of an encoder learns; its last layer is new, and always learns at the full rate. What is
    frozen learns nothing."""
    fresh = {id(p) for p in built.head_parameters()}
    default = PRETRAINED_RATE if starts_pretrained(choice["name"], choice.get("pretrained")) else 1.0
    rate = float(choice.get("rate") or default)
    body = [p for p in built.model.parameters() if id(p) not in fresh]
    for parameter in body if choice.get("frozen") else ():
        parameter.requires_grad_(False)
    return {parameter: rate * built.rates.get(parameter, 1.0) for parameter in body}
