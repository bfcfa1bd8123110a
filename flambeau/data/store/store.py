"""The Store: the columns of a Dataset encoded once, memory-mapped or on the device, and gathered by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from flambeau.core.findings import Finding
from flambeau.core.threads import in_background
from flambeau.fields import Encoding, Ragged

Gathered = dict[str, Any]


class Column(Protocol):
    """One encoded column."""

    nbytes: int

    def gather(self, rows: Tensor) -> Tensor | Ragged:
        """The encoded values of `rows`, int64 (B)."""
        ...

    def to(self, device: torch.device) -> Column:
        """The column on a device."""
        ...


class FixedColumn:
    """Values of one shape: a tensor (N, …), in memory, memory-mapped or on the device."""

    def __init__(self, values: Tensor):
        self.values = values
        self.nbytes = values.numel() * values.element_size()

    def gather(self, rows: Tensor) -> Tensor:
        return self.values.index_select(0, rows)

    def to(self, device: torch.device) -> FixedColumn:
        return FixedColumn(self.values.to(device))


class RaggedColumn:
    """Values whose first axis differs: all laid end to end in `flat` (sum of lengths, …), and offsets (N + 1)."""

    def __init__(self, flat: Tensor, offsets: Tensor, padded: bool = True, window: int = 0):
        self.flat, self.offsets, self.padded, self.window = flat, offsets, padded, window
        self.lengths = offsets[1:] - offsets[:-1]
        self.nbytes = flat.numel() * flat.element_size() + offsets.numel() * offsets.element_size()

    def gather(self, rows: Tensor) -> Ragged:
        lengths = self.lengths.index_select(0, rows)
        steps = torch.arange(int(lengths.max()), device=rows.device)
        inside = steps < lengths[:, None]  # (B, T)
        # rows end where the next begins, so steps past the end are pointed at step 0 and blanked below
        at = self.offsets.index_select(0, rows)[:, None] + torch.where(inside, steps, 0)
        at = at.clamp_max(max(self.flat.shape[0] - 1, 0))
        values = self.flat[at]  # (B, T, …)
        signed = values.view(torch.int16) if values.dtype == torch.uint16 else values  # which torch cannot fill
        signed.masked_fill_(~inside.view(*inside.shape, *(1,) * (values.ndim - 2)), 0)
        return Ragged(values, lengths)

    def to(self, device: torch.device) -> RaggedColumn:
        return RaggedColumn(self.flat.to(device), self.offsets.to(device), self.padded, self.window)


class ViewColumn:
    """Windows of one array: `flat` (T, …) is kept once, and a window is copied out of it when it is gathered.

    Args:
        flat: contiguous.
        starts: int64 (N), where each begins.
        length: steps of each.
    """

    def __init__(self, flat: Tensor, starts: Tensor, length: int):
        self.flat, self.starts, self.length = flat.contiguous(), starts, length
        self.nbytes = flat.numel() * flat.element_size() + starts.numel() * starts.element_size()
        step = flat[0].numel()
        # every window of the array as a row of a matrix that overlaps itself: none of it is in memory twice
        self._rows = self.flat.view(-1).as_strided((len(flat) - length + 1, length * step), (step, 1))

    def gather(self, rows: Tensor) -> Tensor:
        windows = self._rows.index_select(0, self.starts.index_select(0, rows))
        return windows.view(len(rows), self.length, *self.flat.shape[1:])

    def to(self, device: torch.device) -> ViewColumn:
        return ViewColumn(self.flat.to(device), self.starts.to(device), self.length)


class StreamedColumn:
    """Values decoded anew each time they are gathered, where the encoded ones would not fit on the disk."""

    nbytes = 0

    def __init__(self, encode: Callable[[int], np.ndarray], encoding: Encoding, threads: int):
        self.encode, self.encoding, self.threads = encode, encoding, threads
        self._pool: ThreadPoolExecutor | None = None

    def gather(self, rows: Tensor) -> Tensor | Ragged:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="decode")
        return collate(list(self._pool.map(self.encode, rows.tolist())), self.encoding)

    def to(self, device: torch.device) -> StreamedColumn:
        return self


def collate(arrays: Sequence[np.ndarray], encoding: Encoding) -> Tensor | Ragged:
    """Encoded values of B rows together, as a column gathers them."""
    if not encoding.ragged:
        return torch.from_numpy(np.stack(arrays))
    lengths = [len(a) for a in arrays]
    values = np.zeros((len(arrays), max(lengths, default=0), *encoding.shape), encoding.dtype)
    for row, array in zip(values, arrays, strict=True):
        row[: len(array)] = array
    return Ragged(torch.from_numpy(values), torch.tensor(lengths))


class Store:
    """Encoded columns of N rows.

    Attributes:
        columns: by name.
        good: rows that every column could encode, int64, ascending.
        findings: what was left out and why.
        fingerprint: what the encoded values depend on: source files and field settings.
        inputs: the columns that a model sees, whose lengths are what a batch costs; all if not given.
    """

    def __init__(
        self, columns: dict[str, Column], good: Tensor, findings: Sequence[Finding] = (), fingerprint: str = "",
        inputs: Sequence[str] | None = None,
    ):  # fmt: skip
        self.columns, self.good = columns, good
        self.inputs = [*columns] if inputs is None else [*inputs]
        self.findings, self.fingerprint = list(findings), fingerprint
        self.device = torch.device("cpu")

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return sum(c.nbytes for c in self.columns.values())

    @property
    def streamed(self) -> bool:
        """Whether any column is decoded on the fly."""
        return any(isinstance(c, StreamedColumn) for c in self.columns.values())

    def gather(self, rows: Tensor) -> Gathered:
        """The encoded values of `rows`, int64 (B), on the store's device, by column."""
        return {name: column.gather(rows) for name, column in self.columns.items()}

    def lengths(self) -> Tensor | None:
        """The longest length of each row over the ragged inputs, int64 (N); None if there are none."""
        ragged = [column.lengths for column in self._ragged()]
        return torch.stack(ragged).amax(0).cpu() if ragged else None

    @property
    def padded(self) -> bool:
        """Whether a model sees the padding of any input, so that rows of like length belong together."""
        return any(column.padded for column in self._ragged())

    @property
    def window(self) -> int:
        """How long the windows are that the inputs are cut into, laid end to end; 0 where a row is a sample."""
        return max((column.window for column in self._ragged()), default=0)

    def _ragged(self) -> list[RaggedColumn]:
        seen = [self.columns[name] for name in self.inputs if name in self.columns]
        return [column for column in seen if isinstance(column, RaggedColumn)]

    def stream(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Gathered]]:
        """(rows, gathered) for each of `batches`, in order; decoded ahead in the background where streamed."""
        one = in_background if self.streamed else map
        yield from one(lambda rows: (rows, self.gather(rows)), batches)

    def hold_on(self, device: torch.device, share: float = 0.4) -> bool:
        """Moves the columns to a CUDA device if they take at most `share` of its free memory; says whether it did."""
        if device.type != "cuda" or self.streamed:
            return False
        free, _ = torch.cuda.mem_get_info(device)
        if self.nbytes > share * free:
            return False
        self.columns = {name: column.to(device) for name, column in self.columns.items()}
        self.device = device
        return True
