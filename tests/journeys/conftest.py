"""Folders and runs as a user has them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forkserver import Command, Forkserver


@pytest.fixture(scope="session")
def some_digits(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 digits of five classes; read only."""
    return copy_some(digits_folder, tmp_path_factory.mktemp("journeys") / "digits", classes=5, each=40)


@pytest.fixture
def digits(some_digits: Path, tmp_path: Path) -> Path:
    """The same in a folder of the test's own, to be spoiled."""
    return shutil.copytree(some_digits, tmp_path / "digits")


@pytest.fixture
def run(flambeau: Forkserver, tmp_path: Path) -> Callable[..., Command]:
    """`run("check", "digits")`: a command run to its end in the test's own folder."""

    def run(*arguments: Any, **options: Any) -> Command:
        return flambeau(*arguments, cwd=tmp_path, **options)

    return run


@pytest.fixture(scope="session")
def trained(flambeau: Forkserver, some_digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the 200 digits; read only."""
    folder = tmp_path_factory.mktemp("trained")
    done = flambeau("train", some_digits, "--model", "lenet", "--epochs", 6, "--batch-size", 20, cwd=folder)
    assert done.status == 0, done.err
    return folder / "runs" / "digits"


def copy_some(source: Path, to: Path, *, classes: int, each: int) -> Path:
    for label in sorted(p for p in source.iterdir() if p.is_dir())[:classes]:
        (to / label.name).mkdir(parents=True)
        for picture in sorted(label.iterdir())[:each]:
            shutil.copy2(picture, to / label.name / picture.name)
    return to
