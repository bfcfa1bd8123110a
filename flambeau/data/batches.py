"""Batches: the order of samples, a pure function of seed and epoch, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from flambeau.core.errors import require
from flambeau.core.randomness import generator
from flambeau.data.samplers import Sampler
from flambeau.data.store.store import Gathered, Store

POOL = 50  # batches whose rows are sorted by length together: short padding, and still a random order


class Batches:
    """The batches of a Store's rows, epoch by epoch.

    Args:
        store: what is gathered from.
        rows: the rows to go through, int64.
        batch_size: samples in a batch; the most, where `tokens` is given.
        seed: with the epoch, what the order depends on; None for the order of `rows`.
        tokens: for ragged stores, the budget of padded tokens (B × T) of one batch.
        drop_single: leave out a last batch of one sample, which batch normalisation cannot train on. Shuffling
            makes it another sample each epoch.
        sampler: in place of a shuffle; needs a seed.
    """

    def __init__(
        self,
        store: Store,
        rows: Tensor,
        batch_size: int,
        *,
        seed: int | None = None,
        tokens: int | None = None,
        drop_single: bool = False,
        sampler: Sampler | None = None,
    ):
        require(batch_size >= 1, f"a batch size of {batch_size}", "1 or more")
        self.store, self.rows = store, rows.to(torch.int64)
        self.batch_size, self.seed, self.tokens = batch_size, seed, tokens
        self.sampler = sampler
        self.drop_single = drop_single and batch_size > 1  # one sample a batch was asked for
        lengths = store.lengths()
        self.lengths = lengths[self.rows] if lengths is not None else None
        self._planned: tuple[int, list[Tensor]] = (-1, [])

    def plan(self, epoch: int) -> list[Tensor]:
        """The rows of each batch of an epoch, int64 (B)."""
        if self._planned[0] == epoch:
            return self._planned[1]
        if self.seed is None:
            order = torch.arange(len(self.rows))
            random = None
        else:
            random = generator(self.seed, "order", epoch)
            order = self.sampler.order(random) if self.sampler else torch.randperm(len(self.rows), generator=random)
        if self.lengths is None:
            batches = list(self.rows[order].to(self.store.device).split(self.batch_size))
        else:
            batches = self._by_length(order, self.lengths, random)
        if self.drop_single and len(batches) > 1 and len(batches[-1]) == 1 and self.lengths is None:
            batches.pop()
        self._planned = (epoch, batches)
        return batches

    def _by_length(self, order: Tensor, lengths: Tensor, random: torch.Generator | None) -> list[Tensor]:
        """Batches under the token budget, of rows of like length where a model sees the padding; their order is random
        again."""
        pools = order.split(self.batch_size * POOL)
        if self.store.padded:
            pools = tuple(pool[lengths[pool].argsort(stable=True)] for pool in pools)
        most = self.tokens if self.tokens is not None else math.inf
        sizes: list[int] = []
        for pool in pools:
            size = longest = 0
            for length in lengths[pool].tolist():
                longest = max(longest, length)  # the batch would be padded to its longest row
                if size == self.batch_size or (size and (size + 1) * longest > most):
                    sizes.append(size)
                    size, longest = 0, length
                size += 1
            sizes.append(size)
        batches = list(self.rows[torch.cat(pools)].to(self.store.device).split(sizes))
        if random is not None:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=random).tolist()]
        if self.drop_single:
            batches = [b for b in batches if len(b) > 1] or batches
        return batches

    def count(self, epoch: int = 0) -> int:
        """How many batches an epoch has."""
        if self.lengths is None:
            n, size = self.sampler.length if self.sampler else len(self.rows), self.batch_size
            return max(1, n // size) if self.drop_single and n % size == 1 else -(-n // size)
        return len(self.plan(epoch))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Gathered]]:
        """(rows, gathered) of an epoch's batches, from batch `start` on; what came before costs nothing."""
        return self.store.stream(self.plan(epoch)[start:])
