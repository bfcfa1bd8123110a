"""Every technique trains on every kind of data, or says in one line why it has no meaning there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from kinds import KINDS, dataset
from tricks import SETTINGS

from flambeau.techniques import TECHNIQUES
from flambeau.testing.together import Data, refusal

NAMES = [name for name in TECHNIQUES if name in SETTINGS]


@pytest.fixture(scope="session")
def of_kind(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Data]:
    @cache
    def made(kind: str) -> Data:
        data, settings = dataset(kind, tmp_path_factory.mktemp(kind))
        return Data(kind, lambda: data, settings)

    return made


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_on_each_kind_of_data_or_is_refused_in_one_line(name: str, of_kind: Callable[[str], Data]) -> None:
    failures, refused = [], []
    for kind in KINDS:
        try:
            refused += [kind] if refusal({name: SETTINGS[name][0]}, of_kind(kind), stopped=False) else []
        except AssertionError as error:
            failures.append(f"{name} on {kind}: {error}")
    assert not failures, "\n".join(failures)
    assert set(refused) < set(KINDS), "it is refused everywhere"
