"""Packing: documents laid end to end and cut into windows, so that no part of a batch is padding.

What it costs: a search for the document of each token of a batch, a millisecond for 16,000 tokens. A window may hold
the end of one document and the beginning of the next; `Packed.segments` tells them apart, so that nothing is seen or
foretold across (block mask: Krell et al. 2021, "Efficient sequence packing without cross-contamination").
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from flambeau.core.errors import UsageError, require
from flambeau.core.randomness import generator
from flambeau.data.batches import Batches
from flambeau.data.samplers import Sampler
from flambeau.data.store.store import Gathered, RaggedColumn, Store
from flambeau.fields import Packed


class PackedBatches:
    """The windows of a Store's documents, epoch by epoch.

    With a seed the documents of an epoch lie in another order, and the first window begins elsewhere (the last goes on
    with the first document): no token is foretold twice in an epoch, and fewer tokens than a window has are left out.
    Without one every token behind a document's first is foretold once.

    Args:
        store: of one input, a ragged column with a `window`.
        rows: the documents to go through, int64.
        batch_size: windows in a batch.
        seed: with the epoch, what the order depends on; None for the order of `rows`.
        stride: without a seed, tokens that each window but the first foretells anew, behind those that it only looks
            back at; all of them if not given. Each token is foretold once nevertheless.

    Raises:
        UsageError: a size is below 1, or the stride is longer than a window.
    """

    def __init__(
        self, store: Store, rows: Tensor, batch_size: int, *, seed: int | None = None, stride: int | None = None
    ):
        require(batch_size >= 1, f"a batch size of {batch_size}", "1 or more")
        self.store, self.rows, self.batch_size, self.seed = store, rows.to(torch.int64), batch_size, seed
        (self._name,) = (name for name in store.inputs if name in store.columns)
        column = store.columns[self._name]
        assert isinstance(column, RaggedColumn)
        self._column, self._lengths = column, column.lengths.cpu()[self.rows]
        self.total = int(self._lengths.sum())
        """Tokens of all documents."""
        self.length = max(1, min(store.window, self.total - 1))
        """Tokens that a window foretells: it has one more."""
        if stride is not None:
            require(1 <= stride <= store.window, f"a stride of {stride} tokens", f"1 to {store.window}")
        self.stride = self.length if stride is None or seed is not None else min(stride, self.length)
        behind = max(0, self.total - 1 - self.length)
        self.windows = max(1, self.total // self.length) if seed is not None else 1 + -(-behind // self.stride)

    def count(self, epoch: int = 0) -> int:
        """How many batches an epoch has."""
        return -(-self.windows // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, Gathered]]:
        """(rows, gathered) of an epoch's batches, from batch `start` on; what came before costs nothing. A row is that
        of a window's first token."""
        if self.seed is None:
            random, order, shift = None, torch.arange(len(self.rows)), 0
            windows = torch.arange(self.windows)
        else:
            random = generator(self.seed, "order", epoch)
            order = torch.randperm(len(self.rows), generator=random)
            shift = int(torch.randint(self.length, (1,), generator=random))
            windows = torch.randperm(self.windows, generator=random)
        device = self.store.device
        documents, lengths = self.rows[order].to(device), self._lengths[order].to(device)
        ends, firsts = lengths.cumsum(0), self._column.offsets[documents]
        for chosen in windows.to(device).split(self.batch_size)[start:]:
            packed = self._gathered(chosen * self.stride + shift, documents, lengths, ends, firsts)
            assert packed.rows is not None and packed.counted is not None
            if self.stride < self.length:  # the window before foretold the others
                packed.counted[chosen > 0, : self.length + 1 - self.stride] = False
            yield packed.rows[:, 0], {self._name: packed}

    def _gathered(self, starts: Tensor, documents: Tensor, lengths: Tensor, ends: Tensor, firsts: Tensor) -> Packed:
        """The windows that begin at `starts` (B) of the documents laid end to end in their order."""
        at = starts[:, None] + torch.arange(self.length + 1, device=starts.device)  # (B, T)
        inside = at < self.total
        around = ~inside & (self.seed is not None)
        at = at - around * self.total if self.seed is not None else at.clamp_max(self.total - 1)
        place = torch.searchsorted(ends, at, right=True)  # the document, in the order of the epoch
        values = self._column.flat[firsts[place] + at - (ends - lengths)[place]].long()  # (B, T), or (B, T, 2)
        counted = inside | around
        if values.ndim == 3:
            counted, values = counted & values[..., 1].bool(), values[..., 0]
        segments = place + around * len(documents)
        return Packed(values, segments - segments[:, :1], counted, documents[place])


def batches(
    store: Store, rows: Tensor, batch_size: int, *, seed: int | None = None, tokens: int | None = None,
    drop_single: bool = False, sampler: Sampler | None = None, stride: int | None = None,
) -> Batches | PackedBatches:  # fmt: skip
    """What goes through rows of a store: samples, as `Batches` takes them, or windows where its input has such.

    Raises:
        UsageError: a stride is given, and its input has no windows.
    """
    if store.window:
        return PackedBatches(store, rows, batch_size, seed=seed, stride=stride)
    if stride is not None:
        raise UsageError("a stride is of the windows that texts are foretold in, and this run foretells none",
                         fix="leave it out")  # fmt: skip
    return Batches(store, rows, batch_size, seed=seed, tokens=tokens, drop_single=drop_single, sampler=sampler)
