"""Texts that a model makes while it is trained and when it is shown: drawn as it says, with no setting, so that what is
wrong with it shows. How texts are decoded for use is in `flambeau.predictor.decoding`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from flambeau.models.language import CausalLanguageModel


@torch.inference_mode()
def continued(
    model: CausalLanguageModel, prompts: Sequence[Sequence[int]], length: int, ends: Collection[int],
    generator: torch.Generator,
) -> list[list[int]]:  # fmt: skip
    """What prompts go on with, up to `length` tokens each, without the one that ends it.

    Args:
        model: in evaluation mode; must be able to look back at a prompt and `length`.
        prompts: tokens, one at least of each.
        generator: on the CPU.
    """
    device = next(model.parameters()).device
    counts = torch.tensor([len(prompt) for prompt in prompts])
    tokens = torch.zeros(len(prompts), int(counts.max()), dtype=torch.int64)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = torch.as_tensor(prompt)
    scores, state = model.step(tokens.to(device), model.begin(len(prompts)), counts.to(device))
    drawn: list[Tensor] = []
    for step in range(length):
        drawn.append(torch.multinomial(scores.float().softmax(1).cpu(), 1, generator=generator))
        if step < length - 1:
            scores, state = model.step(drawn[-1].to(device), state)
    texts = torch.cat(drawn, 1).tolist() if drawn else [[] for _ in prompts]
    return [text[: next((i for i, token in enumerate(text) if token in ends), len(text))] for text in texts]
