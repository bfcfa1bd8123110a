"""Attribution: how much each token of a text spoke for an answer.

Gradient × input: Shrikumar et al., "Not just a black box" (2016), https://arxiv.org/abs/1605.01713; on texts, summed
over a token's vector.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flambeau.fields import Ragged


def token_table(model: nn.Module) -> nn.Embedding | None:
    """The table that a model of texts looks its tokens up in; None where it has none that can be found."""
    for module in model.modules():
        if callable(getter := getattr(module, "get_input_embeddings", None)):
            table = getter()
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
    if callable(own := getattr(model, "attribute", None)):
        training = model.training
        model.eval()
        with torch.no_grad():
            shares: Tensor = own(texts, outputs)
        model.train(training)
        return shares.float()
    table = token_table(model)
    if table is None:
        return None
    seen: list[Tensor] = []

    def watch(module: nn.Module, given: object, vectors: Tensor) -> Tensor:
        if vectors.shape[:2] != texts.values.shape:  # a table of something else
            return vectors
        seen.append(vectors.detach().requires_grad_())
        return seen[-1]

    training = model.training
    model.eval()
    handle = table.register_forward_hook(watch)
    try:
        # recurrent layers of cuDNN have no gradient outside training
        with torch.inference_mode(False), torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            given = Ragged(texts.values.clone(), texts.lengths.clone())
            scores = model(given).reshape(len(outputs), -1).gather(1, outputs.clone()[:, None]).sum()
            if not seen:
                return None
            (gradient,) = torch.autograd.grad(scores, seen[0])
    finally:
        handle.remove()
        model.train(training)
    inside = torch.arange(texts.values.shape[1], device=texts.lengths.device) < texts.lengths[:, None]
    return (gradient * seen[0]).detach().sum(2).float() * inside
