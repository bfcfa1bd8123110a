"""Attention and RMSNorm as a training on a processor computes them, beside torch's own, and a step of a small GPT.

    python benchmarks/attention.py
    python benchmarks/attention.py --rounds 9

Processor time of a forward and a backward pass on one thread, in turns: attention in bf16 over 4,096 tokens in texts of
some lengths (4 heads of 32 numbers), causal, and masked as padded texts are; the norm of 4,096 vectors of 128; and a
step of `gpt` of the size nano with a context of 256 in bf16, as it is and with torch's own of both. The ratio is ours
over torch's. Ends with status 1 where one is above 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from _timing import compare, interleave, table, verdict
from torch import Tensor, nn

from flambeau.models.language import gpt
from flambeau.models.layers import SHORT, RMSNorm, attended

TOKENS, HEADS, WIDTH, STEPS = 4096, 4, 32, 5
CONTEXT, BATCH, VOCABULARY = 256, 16, 100


def timed(work: Callable[[], Any]) -> Callable[[], float]:
    """Seconds of the processor that some work takes, once it is warm."""

    def taken() -> float:
        work()
        began = time.process_time()
        for _ in range(STEPS):
            work()
        return (time.process_time() - began) / STEPS

    return taken


def attention(length: int, padded: bool) -> dict[str, Callable[[], float]]:
    random, rows = torch.Generator().manual_seed(0), TOKENS // length
    mask = None
    if padded:
        lengths = torch.randint(length // 2, length + 1, (rows, 1), generator=random)
        mask = (torch.arange(length) < lengths)[:, None, None]
    given = torch.randn(rows, length, 3, HEADS, WIDTH, generator=random, dtype=torch.bfloat16)

    def passes(function: Callable[..., Tensor]) -> Callable[[], None]:
        def work() -> None:
            x = given.clone().requires_grad_()
            query, key, value = x.permute(2, 0, 3, 1, 4)
            function(query, key, value).transpose(1, 2).reshape(rows, length, -1).sum().backward()

        return work

    ours = passes(lambda q, k, v: attended(q, k, v, mask, causal=not padded))
    theirs = passes(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask, is_causal=not padded))
    return {"ours": timed(ours), "torch": timed(theirs)}


def norm() -> dict[str, Callable[[], float]]:
    given = torch.randn(TOKENS, HEADS * WIDTH, generator=torch.Generator().manual_seed(0))

    def passes(layer: nn.Module) -> Callable[[], None]:
        return lambda: layer(given.clone().requires_grad_()).backward(given)

    return {"ours": timed(passes(RMSNorm(HEADS * WIDTH))), "torch": timed(passes(nn.RMSNorm(HEADS * WIDTH)))}


@contextmanager
def of_torch() -> Iterator[None]:
    """Within it a GPT has torch's own attention."""
    own = gpt.attended
    gpt.attended = lambda q, k, v, mask, dropout, causal: F.scaled_dot_product_attention(  # type: ignore[assignment]
        q, k, v, mask, dropout, is_causal=causal
    )
    try:
        yield
    finally:
        gpt.attended = own


def step() -> dict[str, Callable[[], float]]:
    random = torch.Generator().manual_seed(0)
    tokens, target = (torch.randint(VOCABULARY, (BATCH, CONTEXT), generator=random) for _ in range(2))
    ours, theirs = (gpt.GPT(CONTEXT, VOCABULARY, size="nano") for _ in range(2))
    for name, module in [*theirs.named_modules()]:
        if isinstance(module, RMSNorm):
            place, _, own = name.rpartition(".")
            setattr(theirs.get_submodule(place), own, nn.RMSNorm(module.normalized_shape))

    def work(model: nn.Module) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(tokens).float().flatten(0, 1), target.flatten())
        model.zero_grad()
        loss.backward()

    def with_torch() -> None:
        with of_torch():
            work(theirs)

    return {"ours": timed(lambda: work(ours)), "torch": timed(with_torch)}


def main() -> int:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    lengths = [length for length in (32, 64, 128, 256, 512) if length <= SHORT]
    cases = {f"attention, {n} tokens{', padded' * padded}": attention(n, padded)
             for padded in (False, True) for n in lengths}  # fmt: skip
    cases |= {"RMSNorm": norm(), "a step of gpt nano": step()}
    rows, held = [["", "ours, ms", "torch, ms", "ratio"]], []
    for name, sides in cases.items():
        found = interleave(sides, asked.rounds)
        ratio = compare(found["ours"], found["torch"])
        medians = (1000 * sorted(found[side])[asked.rounds // 2] for side in ("ours", "torch"))
        rows.append([name, *(f"{one:.1f}" for one in medians), str(ratio)])
        held.append((ratio.of_medians <= 1, f"{name}: no slower than torch's own"))
    print(table(rows))
    for holds, promise in held:
        print(verdict(holds, promise))
    return int(not all(holds for holds, _ in held))


if __name__ == "__main__":
    sys.exit(main())
