"""The performance page says what the benchmarks printed, as their files have it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_results", BENCHMARKS / "results.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_the_page_is_what_the_files_say(results: ModuleType, language: str) -> None:
    page = results.PAGES[language].read_text(encoding="utf-8")
    assert results.with_results(page, language) == page, "write it anew: python benchmarks/results.py"


def test_each_file_is_of_a_script_and_says_where_and_when(results: ModuleType) -> None:
    files = sorted(results.RESULTS.glob("*.json"))
    assert files
    for file in files:
        found = json.loads(file.read_text(encoding="utf-8"))
        assert (BENCHMARKS / f"{file.stem}.py").exists()
        assert found["command"].startswith(f"benchmarks/{file.stem}.py")
        assert {"date", "processor", "cores", "load", "versions", "holds", "printed"} < {*found}


def test_what_a_script_prints_is_kept(results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "HERE", tmp_path)
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    (tmp_path / "one.py").write_text("import sys\nprint('rows', *sys.argv[1:])\nsys.exit(1)\n")
    found = json.loads(results.keep("one.py", ["5"]).read_text(encoding="utf-8"))
    assert (found["command"], found["printed"], found["holds"]) == ("benchmarks/one.py 5", ["rows 5"], False)
    (tmp_path / "two.py").write_text("print('half')\nraise SystemExit(70)\n")
    with pytest.raises(SystemExit, match="nothing is kept"):
        results.keep("two.py", [])
    assert [file.name for file in (tmp_path / "results").iterdir()] == ["one.json"]
