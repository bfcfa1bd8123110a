"""Texts that go on by a GPT: with a store of keys and values against reading the whole text anew for each token, and
eight requests that join a running batch one after another against one at a time. Both must write the same tokens.
Seconds are those of the processors, so that what others do beside does not count.

python benchmarks/generation.py [--size tiny] [--tokens 256]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from flambeau.fields import Corpus
from flambeau.models.language.gpt import GPT
from flambeau.predictor.decoding import Decoder
from flambeau.predictor.sampling import Sampling

REQUESTS, APART = 8, 3  # requests, and steps between one that joins and the next


def timed(work: Callable[[], Any], times: int = 3) -> tuple[float, Any]:
    """The median of seconds of the processors, and what came of it."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        result = work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds), result


@torch.inference_mode()
def uncached(model: GPT, prompt: list[int], size: int) -> list[int]:
    """The likeliest tokens, each by a forward pass over all before it."""
    tokens = torch.tensor([prompt])
    for _ in range(size):
        tokens = torch.cat([tokens, model(tokens)[:, -1:].argmax(-1)], 1)
    return tokens[0, len(prompt) :].tolist()


def cached(decoder: Decoder, prompts: list[list[int]], settings: list[Sampling], apart: int = 0) -> list[list[int]]:
    """The tokens of each; one joins every so many steps."""
    requests = []
    for prompt, sampling in zip(prompts, settings, strict=True):
        requests.append(decoder.add(prompt, sampling))
        for _ in range(apart):
            decoder.advance()
    while decoder.busy:
        decoder.advance()
    return [request.tokens for request in requests]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="tiny", help="of the GPT")
    parser.add_argument("--tokens", type=int, default=256, help="that a text goes on by")
    asked = parser.parse_args()
    torch.manual_seed(0)
    field = Corpus(tokens="bytes", context=512)
    model = GPT(512, field.input_shape[0], size=asked.size).eval()
    with torch.no_grad():  # it has learned nothing: so that it is surer, and writes no end
        for weights in model.parameters():
            weights.mul_(2)
    print(f"gpt {asked.size}, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M numbers, {asked.tokens} tokens, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    decoder = Decoder(model, field)
    decoder._ends.clear()  # each goes on to its full length
    greedy = Sampling(max_tokens=asked.tokens, temperature=0)
    prompts = [field.prompt_of(f"It is a truth {number}, that a man") for number in range(REQUESTS)]
    cached(decoder, prompts[:1], [Sampling(max_tokens=4)])
    without, anew = timed(lambda: uncached(model, prompts[0], asked.tokens))
    with_store, (stored,) = timed(lambda: cached(decoder, prompts[:1], [greedy]))
    print(f"without a store {asked.tokens / without:8.1f} tokens/s")
    print(f"with            {asked.tokens / with_store:8.1f} tokens/s: {without / with_store:.1f}× (must be 5×), "
          f"the same tokens: {anew == stored}")  # fmt: skip
    settings = [Sampling(max_tokens=asked.tokens, temperature=1, seed=number) for number in range(REQUESTS)]
    alone, apart = timed(lambda: [cached(decoder, [p], [s])[0] for p, s in zip(prompts, settings, strict=True)], 1)
    beside, together = timed(lambda: cached(decoder, prompts, settings, APART))
    total = REQUESTS * asked.tokens
    print(f"one at a time   {total / alone:8.1f} tokens/s")
    print(f"{REQUESTS} that join    {total / beside:8.1f} tokens/s: {alone / beside:.1f}× (must be 3×), "
          f"the same tokens: {apart == together}")  # fmt: skip
    if anew != stored or apart != together or without / with_store < 5 or alone / beside < 3:
        raise SystemExit("a promised figure does not hold")


if __name__ == "__main__":
    main()
