"""Randomness as a pure function of its keys, so that any step can be replayed alone."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def mix(*keys: int | str) -> int:
    """A 63-bit seed from any keys: the same on every machine, unrelated for neighbouring keys.

    >>> mix(1, "order", 2) == mix(1, "order", 2), mix(1, "order", 2) == mix(1, "order", 3)
    (True, False)
    """
    digest = hashlib.blake2b("/".join(map(str, keys)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*keys: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A new generator on `device`, seeded by `mix(*keys)`."""
    return torch.Generator(device).manual_seed(mix(*keys))


def hashed(key: int, *parts: torch.Tensor) -> torch.Tensor:
    """Numbers from 0 up to 1, float64, each a pure function of the key and of what stands at its place in `parts`,
    int64 of one shape: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014)."""
    x = torch.full_like(parts[0], key)
    for part in parts:
        x = (x ^ part) * -0x61C8864680B583EB
        x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
        x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
        x = x ^ ((x >> 31) & 0x1FFFFFFFF)
    return ((x >> 11) & ((1 << 53) - 1)).double() / (1 << 53)


@contextlib.contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Global randomness of Python, NumPy and torch on the CPU begins at `seed`; afterwards it is as it was."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)  # of no other device
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
