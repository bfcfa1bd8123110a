"""Checksums by block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flambeau.core.reporter import QUIET
from flambeau.data.store.checksums import BLOCK, Checksums, checksum, damaged


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 12345])
def test_they_are_those_of_the_blocks_however_the_bytes_came(size: int, tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    sums, left = Checksums(), data
    for count in (3, 1 << 20, 5 << 20, size):
        sums.add(left[:count])
        left = left[count:]
    sums.add(left)
    assert sums.all == [checksum(data[i : i + BLOCK]) for i in range(0, size, BLOCK)]
    path = tmp_path / "flat.bin"
    path.write_bytes(data.tobytes())
    assert not damaged(path, sums.all, 2, QUIET)
    for at in {0, size // 2, size - 1} if size else ():
        changed = data.copy()
        changed[at] ^= 128
        path.write_bytes(changed.tobytes())
        assert damaged(path, sums.all, 2, QUIET)
    path.write_bytes(data.tobytes() + b"x")
    assert damaged(path, sums.all, 1, QUIET)
