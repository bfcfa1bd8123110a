"""What a language model has read of a text, made a classifier of: ULMFiT.

Howard & Ruder 2018, "Universal language model fine-tuning for text classification", arXiv:1801.06146, section 3.3. Its
hidden layer of 50 is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import UsageError, check_known
from flambeau.core.shapes import Float
from flambeau.fields import Ragged
from flambeau.models.language.base import CausalLanguageModel
from flambeau.models.language.huggingface import build_causal
from flambeau.models.spec import OWN, InputSpec, vocabulary
from flambeau.models.text.huggingface import PREFIX
from flambeau.models.text.parts import Pooling, mask_padding

LANGUAGE = "corpus"
POOLED = ("last", "mean", "max")


@OWN.register("ulmfit", kinds=("text",), of=vocabulary)
class LanguageClassifier(nn.Module):
    """A language model without its scores, the last, the mean and the largest of its states, and a linear layer.

    Texts longer than the context are read a context at a time by models that have one.

    Args:
        vocabulary_size: V.
        num_outputs: K.
        of: the language model, by its name.
        context: L, tokens that it was trained to look back at.
        options: of the language model.
        dropout: probability, before the linear layer.

    Shapes: Ragged (B, T) int64 to (B, K).

    Raises:
        UsageError: there is no language model of that name.
    """

    def __init__(
        self, vocabulary_size: int, num_outputs: int, of: str = "lstm-lm", context: int = 256,
        options: Mapping[str, Any] | None = None, dropout: float = 0.1,
    ):  # fmt: skip
        super().__init__()
        self._whole = partial(language_model, of, InputSpec(LANGUAGE, (vocabulary_size, context)), dict(options or {}))
        self.encoder = self._whole()
        self.encoder.forget_scores()
        with torch.no_grad():
            width = self.encoder.eval().states(torch.zeros(1, 1, dtype=torch.int64)).shape[2]
        self.encoder.train()
        self.pools = nn.ModuleList(Pooling(pooling, width) for pooling in POOLED)
        self.norm = nn.BatchNorm1d(len(POOLED) * width, affine=False)  # texts differ by little of their states
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(len(POOLED) * width, num_outputs)

    def forward(self, tokens: Ragged) -> Float[Tensor, "B K"]:
        values, mask = mask_padding(tokens)
        states = self._read(values)
        pooled = torch.cat([pool(states, mask) for pool in self.pools], 1)
        return self.head(self.dropout(self.norm(pooled)))

    def _read(self, values: Tensor) -> Tensor:
        """(B, T) to (B, T, D)."""
        (B, T), L = values.shape, self.encoder.context
        if L is None or T <= L:
            return self.encoder.states(values)
        parts = F.pad(values, (0, -T % L)).view(-1, L)
        states = self.encoder.states(parts)
        return states.view(B, -1, states.shape[2])[:, :T]

    def adopted(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        own = {name: value for name, value in self.state_dict().items() if not name.startswith("encoder.")}
        whole = self._whole()
        whole.load_state_dict(state)
        whole.forget_scores()
        return own | {f"encoder.{name}": value for name, value in whole.state_dict().items()}


def language_model(name: str, spec: InputSpec, options: dict[str, Any]) -> CausalLanguageModel:
    """A language model with fresh weights.

    Raises:
        UsageError: there is none of that name, or it has no such option.
    """
    tokens = spec.shape[0]
    if name.startswith(PREFIX):
        model: Any = build_causal(name.removeprefix(PREFIX), spec, tokens, False, options).model
    else:
        check_known("no language model is called", [name], OWN.suited(LANGUAGE))
        check_known(f"the model {name} has no option", options, OWN.options[name])
        model = OWN[name](spec, tokens, **options)
    if not isinstance(model, CausalLanguageModel):
        raise UsageError(f"{name} is no language model", expected=", ".join(OWN.suited(LANGUAGE)))
    return model
