"""What attention to earlier tokens needs: which may be seen, where they are, and what is kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from flambeau.models.language.base import State

ROOM = 64  # places that a store of keys and values has in the beginning; it doubles when it is full


def causal_mask(segments: Tensor | None) -> Tensor | None:
    """Which token sees which: bool (B, 1, T, T), those before it in its own document. None where each window is one
    document: then attention that is plainly causal, which is faster, does the same.

    Args:
        segments: int64 (B, T); one document if not given.
    """
    if segments is None:
        return None
    # On another device than the CPU to look would be to wait for it.
    on_cpu = segments.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_cpu and bool((segments == segments[:, :1]).all()):
        return None
    T = segments.shape[1]
    before = torch.ones(T, T, dtype=torch.bool, device=segments.device).tril()
    return (before & (segments[:, :, None] == segments[:, None, :]))[:, None]


def places_in(segments: Tensor) -> Tensor:
    """The place of each token in its document, int64 (B, T), from 0 on; `segments` (B, T) does not come back to a
    document that it has left."""
    steps = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    begins = F.pad(segments[:, 1:] != segments[:, :-1], (1, 0), value=True)
    return steps - torch.where(begins, steps, 0).cummax(1).values


def rotary(places: Tensor, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B or 1, 1, T, width) of the angles that pairs of numbers are turned by at some places, each
    angle twice: Su et al. 2021, arXiv:2104.09864, wavelengths up to 20,000π."""
    rates = 10_000 ** (-torch.arange(0, width, 2, device=places.device, dtype=torch.float32) / width)
    angles = places[:, None, :, None] * torch.cat([rates, rates])
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys (…, B, H, T, width), each pair turned; a pair is a number of the first half and its like of the
    second, as Llama has it."""
    first, second = x.chunk(2, -1)
    return torch.addcmul(x * cos.to(x.dtype), torch.cat([-second, first], -1), sin.to(x.dtype))


class KeysAndValues(State):
    """Keys and values of B texts, each from place 0 on; behind its length there is what does not count.

    Attributes:
        stored: (layers, 2, B, H, room, width).
        longest: of the lengths, so that nothing waits for the device to know it.
        even: whether all lengths are known to be alike.
    """

    def __init__(self, stored: Tensor, lengths: Tensor, longest: int, even: bool):
        self.stored, self.lengths, self.longest, self.even = stored, lengths, longest, even

    @classmethod
    def empty(cls, layers: int, count: int, heads: int, width: int, like: Tensor) -> KeysAndValues:
        """Of texts of which nothing was read, of the dtype and on the device of `like`."""
        stored = like.new_zeros(layers, 2, count, heads, ROOM, width)
        return cls(stored, torch.zeros(count, dtype=torch.int64, device=like.device), 0, True)

    def make_room(self, count: int) -> None:
        """For so many more tokens of each text."""
        room, wanted = self.stored.shape[4], self.longest + count
        if wanted > room:
            self.stored = F.pad(self.stored, (0, 0, 0, max(2 * room, wanted) - room))

    def places(self, count: int) -> Tensor:
        """Where the next tokens of each text are, int64 (B, count)."""
        return self.lengths[:, None] + torch.arange(count, device=self.lengths.device)

    def mask(self, places: Tensor) -> Tensor | None:
        """What tokens at `places` (B, T) see of what is stored and of themselves: bool (B, 1, T, S); None where
        that is all of it for one token, or plainly causal from the beginning on."""
        T = places.shape[1]
        if self.even and (T == 1 or self.longest == 0):
            return None
        seen = torch.arange(self.longest + T, device=places.device)
        return (seen <= places[:, :, None])[:, None]

    def part(self, layer: int) -> Part:
        """That of a layer."""
        return Part(self, layer)

    def moved_on(self, count: int, counts: Tensor | None) -> KeysAndValues:
        """Behind so many more tokens, int64 (B) or `count` of each."""
        if counts is None:
            return KeysAndValues(self.stored, self.lengths + count, self.longest + count, self.even)
        return self._cut(self.stored, self.lengths + counts)

    @staticmethod
    def _cut(stored: Tensor, lengths: Tensor) -> KeysAndValues:
        known = lengths.tolist()
        return KeysAndValues(stored, lengths, max(known, default=0), len(set(known)) < 2)

    def keep(self, rows: Tensor) -> KeysAndValues:
        return self._cut(self.stored.index_select(2, rows), self.lengths[rows])

    @classmethod
    def joined(cls, states: Sequence[State]) -> KeysAndValues:
        parts = [state for state in states if isinstance(state, KeysAndValues)]
        room = max(state.stored.shape[4] for state in parts)
        stored = torch.cat([F.pad(state.stored, (0, 0, 0, room - state.stored.shape[4])) for state in parts], 2)
        return cls._cut(stored, torch.cat([state.lengths for state in parts]))


class Part(NamedTuple):
    """What a layer keeps."""

    whole: KeysAndValues
    layer: int

    def extended(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Stores keys and values (B, H, T, width) behind each text's own, and gives all (B, H, S, width)."""
        state, T = self.whole, key.shape[2]
        stored, new, end = state.stored[self.layer], torch.stack([key, value]), state.longest + T
        if state.even:
            stored[:, :, :, state.longest : end] = new
        else:
            rows = torch.arange(key.shape[0], device=key.device)[:, None]
            # (B, T, 2, H, width): advanced indices come first
            stored[:, rows, :, state.places(T)] = new.permute(1, 3, 0, 2, 4).to(stored.dtype)
        keys, values = stored[:, :, :, :end]
        return keys, values
