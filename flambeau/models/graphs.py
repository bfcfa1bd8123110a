"""Graphs of models, for programs outside Python: any batch, any length."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_FLAGS = (
    "Tensor[] params, bool has_biases, int num_layers, float dropout, bool train, bool bidirectional, bool batch_first"
)


def traced(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None, dynamic_shapes: Any = None
) -> torch.export.ExportedProgram:
    """A model's graph by torch.export, in which a recurrent layer is one operation whatever the length; unrolled, as
    torch would have it, it would be for one length alone.

    Args:
        args, kwargs: what the model is called with; no size that is to be free may be 1, nor another's by chance.
        dynamic_shapes: which sizes are free, as torch.export has them.

    Raises:
        whatever torch.export raises where the model does what no graph can.
    """
    with torch.no_grad(), whole_layers(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*_flat_weights.* assigned during export")  # of nn.LSTM, which are the same
        return torch.export.export(model, tuple(args), dict(kwargs or {}), dynamic_shapes=dynamic_shapes, strict=False)


@contextmanager
def whole_layers() -> Iterator[None]:
    """Within it `aten.lstm` and `aten.gru` are not taken apart: where a graph is decomposed they become the operations
    `flambeau::lstm` and `flambeau::gru` of the same arguments, which a translator finds by `recurrent_operations`."""
    from torch.export._patches import _register_rnn_while_loop_decomposition as replaced

    lstm, gru = recurrent_operations()
    layers = torch.ops.aten.lstm.input, torch.ops.aten.gru.input
    try:
        with replaced(layers[0], lstm), replaced(layers[1], gru):
            for layer in layers:
                layer._dispatch_cache.clear()  # of what it was before
            yield
    finally:
        for layer in layers:
            layer._dispatch_cache.clear()  # else a compiler that comes later finds what nothing runs


@cache
def recurrent_operations() -> tuple[Any, Any]:
    """The operations that stand for a whole LSTM and a whole GRU. They have shapes only: nothing runs them here."""
    library = torch.library.Library("flambeau", "FRAGMENT")
    library.define(f"lstm(Tensor input, Tensor[] hx, {_FLAGS}) -> (Tensor, Tensor, Tensor)")
    library.define(f"gru(Tensor input, Tensor hx, {_FLAGS}) -> (Tensor, Tensor)")
    _LIBRARIES.append(library)
    for name in ("lstm", "gru"):
        torch.library.register_fake(f"flambeau::{name}", _shapes, lib=library)
    return torch.ops.flambeau.lstm.default, torch.ops.flambeau.gru.default


_LIBRARIES: list[Any] = []  # an operation lives as long as its library


def _shapes(input: Tensor, hx: Any, *flags: Any) -> tuple[Tensor, ...]:
    states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    bidirectional = flags[5]
    width = states[0].shape[2] * (2 if bidirectional else 1)
    return input.new_empty(*input.shape[:2], width), *(torch.empty_like(state) for state in states)
