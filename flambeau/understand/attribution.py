"""Attribution: how much each token of a text spoke for an answer.

Gradient × input: Shrikumar et al., "Not just a black box" (2016), https://arxiv.org/abs/1605.01713; on texts, summed
over a token's vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.fields import Ragged
from flambeau.models.spec import Attributed, Joint, TokenTable


def token_table(model: nn.Module) -> nn.Embedding | None:
    """The table that a model of texts looks its tokens up in; None where it has none that can be found."""
    for module in model.modules():
        if isinstance(module, TokenTable):
            table = module.get_input_embeddings()
            return table if isinstance(table, nn.Embedding) else None
    return next((module for module in model.modules() if isinstance(module, nn.Embedding)), None)


def attribute_tokens(model: nn.Module, texts: Ragged, outputs: Tensor) -> Tensor | None:
    """What each token added to one output of the model, to first order: float (B, T), 0 behind a text's end.

    Above 0 it spoke for the output, below 0 against it. Sums are not probabilities: only shares of one text compare.

    Args:
        texts: token numbers (B, T) int64.
        outputs: for each text, which output is asked about, int64 (B).

    Returns:
        None for a model whose tokens are not looked up in a table. A model that has a method `attribute` is asked.
    """
    weights = _asked(model, {"text": texts}, outputs, lambda given: given["text"])
    return None if weights is None else weights[0]


def attribute_pair(model: nn.Module, texts: Mapping[str, Ragged], outputs: Tensor) -> tuple[Tensor, ...] | None:
    """The same for a model that compares two texts: float (B, T) of each."""
    return _asked(model, texts, outputs, lambda given: given)


def _asked(
    model: nn.Module, texts: Mapping[str, Ragged], outputs: Tensor, form: Callable[[dict[str, Ragged]], Any]
) -> tuple[Tensor, ...] | None:
    """The shares, asked in evaluation mode; `form` makes of the texts what the model takes."""
    training = model.training
    model.eval()
    try:
        # recurrent layers of cuDNN have no gradient outside training
        with torch.inference_mode(False), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            copies = {name: Ragged(text.values.clone(), text.lengths.clone()) for name, text in texts.items()}
            weights = _attribute(model, form(copies), outputs.clone())
    finally:
        model.train(training)
    return None if weights is None else tuple(shares.detach().float() for shares in weights)


def _attribute(model: nn.Module, texts: Any, outputs: Tensor) -> Sequence[Tensor] | None:
    if isinstance(model, Attributed):
        own = model.attribute(texts, outputs)
        return (own,) if isinstance(own, Tensor) else own
    if isinstance(texts, Ragged):
        weights = _gradient_by_input(model, lambda: model(texts), texts.values.shape, outputs)
        return None if weights is None else (weights * _inside(texts),)
    listed = list(texts.values())
    if not isinstance(model, Joint) or len(listed) != 2:
        return None
    joint, both = model, model.together(*listed)
    weights = _gradient_by_input(model, lambda: joint.read(both), both.values.shape, outputs)
    if weights is None:
        return None
    # each token's share goes back to where it came from; those of marks go behind all tokens, and away
    widths = [text.values.shape[1] for text in listed]
    shares = weights.new_zeros(len(weights), sum(widths) + 1)
    shares.scatter_add_(1, both.sources.where(both.sources >= 0, sum(widths)), weights * _inside(both))
    return shares[:, :-1].split(widths, 1)


def _gradient_by_input(
    model: nn.Module, call: Callable[[], Tensor], shape: Sequence[int], outputs: Tensor
) -> Tensor | None:
    """Gradient × input of the vectors of tokens, float (B, T)."""
    table = token_table(model)
    if table is None:
        return None
    seen: list[Tensor] = []

    def watch(module: nn.Module, given: object, vectors: Tensor) -> Tensor:
        if vectors.shape[:2] != shape:  # a table of something else
            return vectors
        seen.append(vectors.detach().requires_grad_())
        return seen[-1]

    handle = table.register_forward_hook(watch)
    try:
        scores = call().reshape(len(outputs), -1).gather(1, outputs[:, None]).sum()
        if not seen:
            return None
        (gradient,) = torch.autograd.grad(scores, seen[0])
    finally:
        handle.remove()
    return (gradient * seen[0]).sum(2)


def _inside(texts: Any) -> Tensor:
    return torch.arange(texts.values.shape[1], device=texts.lengths.device) < texts.lengths[:, None]
