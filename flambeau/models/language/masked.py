"""Encoders of transformers with the head that names hidden tokens, by those on both sides of them.

Devlin et al. 2018, "BERT", arXiv:1810.04805, section 3.1. As with encoders, only a configuration and safetensors are
read; see `models.text.huggingface`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from flambeau.core.errors import check_known, needed
from flambeau.core.shapes import Float
from flambeau.models.language.base import sizes_of
from flambeau.models.spec import Built, InputSpec
from flambeau.models.text.huggingface import PREFIX, config_for, loaded, plain
from flambeau.models.text.pretrained import positions
from flambeau.models.weights import load_weights, read_weights


def build_masked(
    source: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The encoder of a folder or hub repository, with its head; one that has none, such as an encoder of sentences,
    gets a fresh one. Arguments and errors as of `build_causal`."""
    where = f"{PREFIX}{source}"
    transformers = needed("transformers", "text", where)
    check_known(f"the model {where} has no option", options, ("config",))
    config, file, from_source = config_for(source, spec, pretrained, options.get("config"))
    fresh: list[str] = []
    network = loaded(transformers.AutoModelForMaskedLM, source if from_source else None, config, where, fresh=fresh)
    model = MaskedEncoder(network, num_outputs)
    notes = load_weights(model, read_weights(file), head=(), where=file.name) if file is not None else []
    if fresh:
        notes.append(f"the head that names hidden tokens begins fresh: {where} has none")
    return Built(model, notes=notes, options={"config": plain(config)})


class MaskedEncoder(nn.Module):
    """Scores of tokens by all that stand in their document.

    Args:
        network: of transformers, a base model with a head; gives `logits`.
        num_outputs: V, of its scores the first so many.
    """

    def __init__(self, network: Any, num_outputs: int):
        super().__init__()
        self.network = network
        self.vocabulary, self.context = num_outputs, positions(network.config)
        self.padding = getattr(network.config, "pad_token_id", None) or 0
        self._asked: Tensor | None = None
        network.base_model.register_forward_hook(self._choose)

    def get_input_embeddings(self) -> nn.Module | None:
        """The table of tokens' vectors."""
        return self.network.get_input_embeddings()

    def _choose(self, _: nn.Module, __: Any, output: Any) -> Any:
        """Leaves of the states (N, T, D) those that are asked about, (1, M, D): the head is half of the work."""
        if self._asked is not None:
            output.last_hidden_state = output.last_hidden_state[self._asked][None]
        return output

    def forward(
        self, tokens: Tensor, segments: Tensor | None = None, there: Tensor | None = None, asked: Tensor | None = None
    ) -> Float[Tensor, "*M V"]:
        """Scores (M, V) of the tokens that are asked about, in their order; (B, T, V) if none are named. Each document
        is a row of its own: none sees another.

        Args:
            tokens: int64 (B, T).
            segments: int64 (B, T), which document of a window each is of; one document if not given.
            there: bool (B, T), which are no padding; all if not given.
            asked: bool (B, T), of those that are there.
        """
        windows = torch.arange(len(tokens), device=tokens.device)[:, None].expand_as(tokens)
        of = windows if segments is None else windows * tokens.shape[1] + segments
        flat, of, wanted = (
            part.flatten() if there is None else part[there]
            for part in (tokens, of, torch.ones_like(tokens, dtype=torch.bool) if asked is None else asked)
        )
        sizes = sizes_of(of[None])
        rows = pad_sequence(list(flat.split(sizes)), batch_first=True, padding_value=self.padding)
        seen = torch.arange(rows.shape[1], device=rows.device) < torch.tensor(sizes, device=rows.device)[:, None]
        self._asked = torch.zeros_like(seen).masked_scatter(seen, wanted)
        try:
            logits = self.network(input_ids=rows, attention_mask=seen.long()).logits
        finally:
            self._asked = None
        scores = logits[0, :, : self.vocabulary]
        return scores.view(*tokens.shape, -1) if asked is None and there is None else scores
