"""Work in threads whose results come in order, with few of them waiting in memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

AHEAD = 4  # results that may wait, by thread

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_processors() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """What `work` gives for each item, in their order; one thread is the caller's own.

    >>> list(in_order(lambda n: n * n, range(5), threads=2))
    [0, 1, 4, 9, 16]

    Raises:
        what `work` raises, where its result would come; what has not begun then is not done.
    """
    return map(work, items) if threads == 1 else in_background(work, items, threads)


def in_background(work: Callable[[Item], Result], items: Iterable[Item], threads: int = 1) -> Iterator[Result]:
    """The same, all of it in threads of their own."""
    window: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="in-order")
    try:
        for item in items:
            window.append(pool.submit(work, item))
            if len(window) > AHEAD * threads:
                yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
