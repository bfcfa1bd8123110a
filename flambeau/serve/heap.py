"""Memory that is given back to the system while a server runs.

glibc keeps what threads have freed, in an arena for each of them, and how much that is hangs on the order in which
batches of many sizes came: resident memory climbs by steps for as long as new orders come. Fewer arenas, and what is
free in them given back every few seconds, keep it at what is used.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

ARENAS = 2
M_ARENA_MAX = -8  # malloc.h
SECONDS = 5.0
"""Between two returns."""


@cache
def _glibc() -> Any:
    """The C library, where it is glibc."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None


def limit_arenas() -> None:
    """Lets the threads of this process share a few arenas; for a process that does nothing but serve."""
    if (glibc := _glibc()) is not None:
        glibc.mallopt(M_ARENA_MAX, ARENAS)


async def give_back(count: Callable[[], int]) -> None:
    """Gives back what is free, as long as there is work, until it is cancelled.

    Args:
        count: how many inputs have been answered so far.
    """
    if (glibc := _glibc()) is None:
        return
    before = 0
    while True:
        await asyncio.sleep(SECONDS)
        if (now := count()) != before:
            before = now
            await asyncio.to_thread(glibc.malloc_trim, 0)
