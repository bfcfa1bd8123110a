"""Whatever people hold numbers in, as NumPy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_array(value: Any) -> np.ndarray:
    """An array of anything: of a tensor on any device and of any dtype, in the memory order that it has.

    Raises:
        ValueError, TypeError: it is ragged, or of something that has no array.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value  # which NumPy has not
    return np.asarray(value)


def missing(value: Any) -> bool:
    """Whether a raw value is none: None, or NaN."""
    return value is None or (isinstance(value, (float, np.floating)) and bool(value != value))
