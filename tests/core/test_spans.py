"""Spans that documents have in common, against looking for each of them."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau.core.spans import Documents, covered, longest, shared


def documents(*parts: str) -> Documents:
    codes = np.frombuffer("".join(parts).encode("utf-32-le"), np.uint32)
    return Documents(codes, np.asarray([len(part) for part in parts], np.int64))


def drawn(seed: int, sizes: list[int]) -> list[str]:
    generator = np.random.default_rng(seed)
    return ["".join(generator.choice([*"abc"], n)) for n in sizes]


@pytest.mark.parametrize("chunk", [7, 2**20])
def test_each_span_is_found_where_it_stands_and_no_other(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("flambeau.core.spans.CHUNK", chunk)
    wanted, among = drawn(0, [40, 0, 3, 60, 1]), drawn(1, [90, 2, 0, 70, 5])
    text, source = "".join(wanted), "".join(among)
    for size in (1, 2, 4, 6, 9):
        starts = shared(documents(*wanted), documents(*among), size)
        expected, inside = [], np.zeros(len(text), bool)
        for part in wanted:
            for i in range(len(part)):
                span = part[i : i + size]
                there = len(span) == size and any(span in other for other in among)
                inside[len(expected) : len(expected) + size] |= there
                expected.append(there)
        assert ((starts >= 0) == expected).all()
        assert np.array_equal(covered(starts, size), inside)
        for at in np.flatnonzero(starts >= 0):
            assert source[starts[at] : starts[at] + size] == text[at : at + size]


def test_the_longest_is_found_with_its_source() -> None:
    secret = "".join(drawn(2, [77]))
    wanted, among = [*drawn(3, [200]), "xy" + secret + "z"], [*drawn(4, [3000]), secret[:70] + "q", "w" + secret]
    found = longest(documents(*wanted), documents(*among))
    assert (found.size, found.start, found.source) == (77, 202, 3072)
    assert documents(*among).document_of(found.source) == 2
    assert longest(documents("abc"), documents("xyz")).size == longest(documents(), documents("a")).size == 0
