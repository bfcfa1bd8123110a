"""Any encoder-decoder of transformers (T5, Marian, BART, …), by the name of a folder or of a hub repository.

As with encoders, only a configuration and safetensors are read; see `models.text.huggingface`.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from flambeau.core.errors import ModelError, check_known, needed
from flambeau.fields import Ragged
from flambeau.models.language.seq2seq import Reading, Seq2Seq
from flambeau.models.spec import Built, InputSpec
from flambeau.models.text.huggingface import PREFIX, config_for, loaded, plain
from flambeau.models.text.parts import mask_padding
from flambeau.models.weights import load_weights, read_weights


def build_seq2seq(
    source: str, spec: InputSpec, num_outputs: int, pretrained: bool | str | Path | None, options: dict[str, Any]
) -> Built:
    """The encoder-decoder of a folder or hub repository; arguments and errors as of `build_huggingface`, whose only
    option here is `config`."""
    where = f"{PREFIX}{source}"
    transformers = needed("transformers", "text", where)
    check_known(f"the model {where} has no option", options, ("config",))
    config, file, from_source = config_for(source, spec, pretrained, options.get("config"))
    if not config.is_encoder_decoder:
        raise ModelError(f"models of type '{config.model_type}' write no texts", where=where,
                         fix="take an encoder-decoder, such as T5, Marian or BART")  # fmt: skip
    if num_outputs > config.vocab_size:
        raise ModelError(f"it writes {config.vocab_size:,} tokens, the answers have {num_outputs:,}", where=where,
                         fix=f"use its tokeniser for them: fields.TARGET.tokens={where}")  # fmt: skip
    config._attn_implementation = "eager"  # which alone tells where it looks
    network = loaded(transformers.AutoModelForSeq2SeqLM, source if from_source else None, config, where)
    model = PretrainedSeq2Seq(network, num_outputs)
    notes = load_weights(model, read_weights(file), head=(), where=file.name) if file is not None else []
    return Built(model, notes=notes, options={"config": plain(config)})


@dataclass
class PretrainedReading(Reading):
    """The encoder's states (B, S, D) and mask (B, S), and transformers' keys and values of what was written."""

    states: Tensor
    mask: Tensor
    past: Any
    attention: Tensor

    def keep(self, rows: Tensor) -> PretrainedReading:
        if self.past is not None:
            self.past.reorder_cache(rows)
        return PretrainedReading(self.states[rows], self.mask[rows], self.past, self.attention[rows])


class PretrainedSeq2Seq(Seq2Seq):
    """An encoder-decoder of transformers.

    Args:
        network: with `get_encoder()`, and called as `AutoModelForSeq2SeqLM` gives it.
        num_outputs: V, of its scores, which may be more.
    """

    def __init__(self, network: nn.Module, num_outputs: int):
        super().__init__()
        self.network: Any = network
        self.vocabulary = num_outputs
        accepted = inspect.signature(network.forward).parameters
        self.takes_cache = "cache" if "cache" in accepted else "past_key_values"  # before version 5.24 of transformers

    def begin(self, source: Ragged) -> PretrainedReading:
        values, mask = mask_padding(source)
        states = self.network.get_encoder()(input_ids=values, attention_mask=mask.long()).last_hidden_state
        return PretrainedReading(states, mask, None, states.new_zeros(mask.shape))

    def _write(self, tokens: Tensor, reading: PretrainedReading, keeps: bool) -> tuple[Tensor, Tensor, Any]:
        """Scores (B, T, V) of what follows tokens, where the last layer looked (B, T, S), and keys and values."""
        said = self.network(
            encoder_outputs=(reading.states,), attention_mask=reading.mask.long(), decoder_input_ids=tokens,
            use_cache=keeps, output_attentions=True, **{self.takes_cache: reading.past},
        )  # fmt: skip
        return said.logits[..., : self.vocabulary], said.cross_attentions[-1].mean(1), getattr(said, self.takes_cache)

    def taught(self, source: Ragged, tokens: Tensor) -> tuple[Tensor, Tensor]:
        scores, looked, _ = self._write(tokens, self.begin(source), False)
        return scores, looked

    def step(self, tokens: Tensor, reading: Reading) -> tuple[Tensor, Reading]:
        assert isinstance(reading, PretrainedReading)
        scores, looked, past = self._write(tokens[:, None], reading, True)
        return scores[:, 0], PretrainedReading(reading.states, reading.mask, past, looked[:, 0])
