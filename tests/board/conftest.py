"""A folder of data with two runs in it, one of whose labels is wrong, and boards of it on the loopback."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from webpage import chromium, wait

import flambeau as fb
from flambeau import report
from flambeau.board import Workplace, background_board

CLASSES = ("0", "1", "4")


@pytest.fixture(scope="session")
def trained(digits_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`photos/` of three digits, and `runs/first` and `runs/second`; one 4 that is held out lies among the 1s."""
    folder = tmp_path_factory.mktemp("board")
    for name in CLASSES:
        (folder / "photos" / name).mkdir(parents=True)
        for file in sorted((digits_folder / name).iterdir())[:40]:
            shutil.copy(file, folder / "photos" / name)
    split = fb.Split(together=False)
    for file in sorted((folder / "photos" / "4").iterdir()):
        moved = file.rename(folder / "photos" / "1" / file.name)
        data = fb.Dataset.from_folder(folder / "photos", split=split)
        if f"1/{file.name}" in {data.place(row) for row in data.rows("valid")}:
            break
        moved.rename(file)
    for name, seed in (("first", 0), ("second", 1)):
        data = fb.Dataset.from_folder(folder / "photos", split=split)
        learner = fb.Learner(data, model="mlp", epochs=12, seed=seed, quiet=True, run=folder / "runs" / name)
        learner.fit()
        report.write(learner.run)
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy, whose runs may be changed; the data stays where it was."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    return tmp_path


@pytest.fixture
def board(folder: Path, trained: Path) -> Iterator[tuple[str, str, Workplace]]:
    """(address, token, workplace) of a board; what it has started is ended with it."""
    work = Workplace(folder / "runs", trained)
    with background_board(work) as (url, token):
        yield url, token, work
        for name in work.jobs.names("train"):
            if work.jobs.busy(name):
                work.jobs[name].process.kill()
                work.jobs[name].process.wait()


@pytest.fixture
def client(board: tuple[str, str, Workplace]) -> Iterator[httpx.Client]:
    """One that says the token."""
    url, token, _ = board
    with httpx.Client(base_url=url, timeout=60, headers={"Authorization": f"Bearer {token}"}) as opened:
        yield opened


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`browser(address, *switches, language="en-US")` opens a board in a fresh Chromium."""
    opened: list[Any] = []

    def open_page(address: str, *switches: str, language: str = "en-US") -> Any:
        page = chromium(tmp_path / f"profile-{len(opened)}", f"--lang={language}", *switches, language=language)
        opened.append(page)
        page.get(address)
        wait(page, lambda: page.find_element("id", "about").text.strip())
        return page

    yield open_page
    for page in opened:
        page.quit()
