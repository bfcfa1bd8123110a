"""Work in threads: results in order, few of them waiting, and errors where they belong."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flambeau.core.threads import AHEAD, in_order


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_order_whatever_ends_first(threads: int) -> None:
    later = threading.Event()

    def work(n: int) -> int:
        if n == 0 and threads > 1:
            assert later.wait(10), "the second begins beside the first"
        if n == 1:
            later.set()
        return n * n

    assert list(in_order(work, range(20), threads)) == [n * n for n in range(20)]


def test_no_more_is_begun_than_may_wait() -> None:
    asked = []

    def items() -> Iterator[int]:
        for n in range(1000):
            asked.append(n)
            yield n

    results = in_order(lambda n: n, items(), threads=2)
    assert next(results) == 0
    assert len(asked) <= 2 * AHEAD + 1
    results.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_where_its_result_would(threads: int) -> None:
    def work(n: int) -> int:
        if n == 3:
            raise ValueError("the third")
        return n

    results = in_order(work, range(10), threads)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the third"):
        next(results)
