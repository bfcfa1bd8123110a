"""Any causal language model of transformers, by the name of a folder, of a hub repository, or of a file of llama.cpp.

As with encoders, only a configuration and safetensors are read; see `models.text.huggingface`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flambeau.core.errors import ModelError, check_known, needed
from flambeau.core.shapes import Float
from flambeau.models.language.attention import causal_mask, places_in
from flambeau.models.language.base import CausalLanguageModel, State, by_document, last_of
from flambeau.models.spec import Built, InputSpec
from flambeau.models.text.huggingface import PREFIX, config_for, loaded, plain
from flambeau.models.text.pretrained import positions
from flambeau.models.weights import load_weights, read_weights


def build_causal(
    source: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The language model of a folder, hub repository or file of llama.cpp.

    Args:
        source: a folder with config.json and model.safetensors, a name on the hub, or a .gguf file.
        pretrained: None or True for the source's weights, False for fresh ones, or a .safetensors file.
        options: `config`, its configuration as a dict: then the source is not looked at, and the weights are fresh.

    Raises:
        ModelError: as for encoders; or it sees what comes later, or keeps no keys and values of what it read.
        UsageError: there is no such option.
        MissingExtra: transformers is not installed.
    """
    where = f"{PREFIX}{source}"
    transformers = needed("transformers", "text", where)
    check_known(f"the model {where} has no option", options, ("config",))
    config, file, from_source = config_for(source, spec, pretrained, options.get("config"))
    network = loaded(transformers.AutoModelForCausalLM, source if from_source else None, config, where)
    if getattr(network, "_is_stateful", False):
        raise ModelError(f"models of type '{config.model_type}' keep no keys and values of each token", where=where,
                         fix="take one that is made of attention alone")  # fmt: skip
    model = Pretrained(network, num_outputs)
    if _looks_ahead(model):
        raise ModelError(f"models of type '{config.model_type}' see what comes later: it is an encoder", where=where,
                         fix="take a causal language model")  # fmt: skip
    notes = load_weights(model, read_weights(file), head=(), where=file.name) if file is not None else []
    return Built(model, notes=notes, options={"config": plain(config)})


def _looks_ahead(model: Pretrained) -> bool:
    """Whether what it says of a token hangs on the next one."""
    embeddings = model.network.get_input_embeddings()
    if embeddings.weight.is_meta or model.vocabulary < 2:
        return False
    model.eval()
    with torch.no_grad():
        first, second = model(torch.tensor([[0, 0], [0, 1]]))[:, 0]
    model.train()
    return not torch.allclose(first, second, rtol=1e-3, atol=1e-4)


class Read(State):
    """Keys and values as transformers keeps them: texts end at the same place, with padding before the shorter ones.

    Attributes:
        cache: a DynamicCache of transformers.
        seen: bool (B, S), which places are no padding.
    """

    def __init__(self, cache: Any, seen: Tensor):
        self.cache, self.seen, self.lengths = cache, seen, seen.sum(1)
        self.full = bool(seen.all())

    @staticmethod
    def of(layers: Sequence[tuple[Tensor, Tensor]], seen: Tensor) -> Read:
        """Of keys and values (B, H, S, width) of each layer; padding may be anywhere in `seen`."""
        cache, longest = (
            needed("transformers", "text", "a pretrained model").DynamicCache(),
            max(seen.sum(1).tolist(), default=0),
        )
        places = seen.long().argsort(dim=1, stable=True)[:, seen.shape[1] - longest :]  # padding first

        def aligned(stored: Tensor) -> Tensor:
            return stored.gather(2, places[:, None, :, None].expand(-1, stored.shape[1], -1, stored.shape[3]))

        for layer, (keys, values) in enumerate(layers):
            cache.update(aligned(keys), aligned(values), layer)
        return Read(cache, seen.gather(1, places))

    @property
    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Keys and values of each layer; none where nothing was read."""
        return [(layer.keys, layer.values) for layer in self.cache.layers]

    def keep(self, rows: Tensor) -> Read:
        return Read.of([(keys[rows], values[rows]) for keys, values in self.layers], self.seen[rows])

    @classmethod
    def joined(cls, states: Sequence[State]) -> Read:
        parts = [state for state in states if isinstance(state, Read) and len(state.seen)]
        S = max(state.seen.shape[1] for state in parts)
        begun = next((state for state in parts if state.layers), parts[0])

        def padded(state: Read, layer: int, which: int) -> Tensor:
            stored = state.layers[layer][which] if state.layers else None
            if stored is None:  # of texts of which nothing was read
                like = begun.layers[layer][which]
                stored = like.new_zeros(len(state.seen), like.shape[1], 0, like.shape[3])
            return F.pad(stored, (0, 0, S - stored.shape[2], 0))

        layers = [
            (torch.cat([padded(one, n, 0) for one in parts]), torch.cat([padded(one, n, 1) for one in parts]))
            for n in range(len(begun.layers))
        ]
        return cls.of(layers, torch.cat([F.pad(state.seen, (S - state.seen.shape[1], 0)) for state in parts]))


class Pretrained(CausalLanguageModel):
    """A causal language model of transformers.

    Args:
        network: called with token numbers (B, T); gives `logits`.
        num_outputs: V, of its scores the first so many.

    Shapes: int64 (B, T) to (B, T, V).
    """

    scores_at_once = 1 << 27  # its layers are many, and what they keep of a token is more than its scores

    def __init__(self, network: nn.Module, num_outputs: int):
        super().__init__()
        self.network: Any = network
        self.vocabulary, self.context = num_outputs, positions(network.config)
        accepted = inspect.signature(network.forward).parameters
        self.takes_places, self.takes_wanted = "position_ids" in accepted, "logits_to_keep" in accepted
        self.takes_cache = "cache" if "cache" in accepted else "past_key_values"  # before version 5.24 of transformers
        self.window = getattr(network.config, "sliding_window", None)  # a mask of ours would stand for it

    def get_input_embeddings(self) -> nn.Module | None:
        """The table of tokens' vectors."""
        return self.network.get_input_embeddings()

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Float[Tensor, "B T V"]:
        mask = causal_mask(segments)
        if segments is None or mask is None:
            return self._scores(tokens)
        if not self.takes_places or tokens.shape[1] > (self.window or tokens.shape[1]):
            return by_document(self._scores, tokens, segments)
        hidden = torch.zeros(mask.shape, device=mask.device, dtype=self.network.dtype).masked_fill(~mask, -torch.inf)
        return self._scores(tokens, attention_mask=hidden, position_ids=places_in(segments))

    def states(self, tokens: Tensor) -> Float[Tensor, "B T D"]:
        return self.network.base_model(input_ids=tokens, use_cache=False).last_hidden_state

    def forget_scores(self) -> None:
        self.network = self.network.base_model

    def _scores(self, tokens: Tensor, **more: Any) -> Tensor:
        return self.network(input_ids=tokens, **{"use_cache": False, **more}).logits[..., : self.vocabulary]

    def begin(self, count: int) -> Read:
        return Read.of([], torch.zeros(count, 0, dtype=torch.bool, device=self.network.device))

    def step(self, tokens: Tensor, state: State, counts: Tensor | None = None) -> tuple[Float[Tensor, "B V"], Read]:
        assert isinstance(state, Read)
        T = tokens.shape[1]
        steps = torch.arange(T, device=tokens.device).expand(len(tokens), T)
        new = steps < counts[:, None] if counts is not None else torch.ones_like(steps, dtype=torch.bool)
        seen = torch.cat([state.seen, new], 1)
        more: dict[str, Any] = {self.takes_cache: state.cache, "use_cache": True}
        if not (state.full and counts is None):
            more["attention_mask"] = seen.long()
        if self.takes_places:
            more["position_ids"] = state.lengths[:, None] + steps
        if not self.takes_wanted:
            scores = last_of(self._scores(tokens, **more), counts)
        else:  # of a long prompt only what is asked for is scored
            last = counts - 1 if counts is not None else steps[:, -1]
            asked, place = last.unique(return_inverse=True)
            scores = self._scores(tokens, logits_to_keep=asked, **more)
            scores = scores[torch.arange(len(tokens), device=tokens.device), place]
        after = Read(state.cache, seen)
        return scores, after if counts is None else Read.of(after.layers, seen)
