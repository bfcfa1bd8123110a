"""The report of a run: one self-contained HTML file, made from the run folder alone.

>>> from flambeau import report
>>> report.write("runs/photos")  # doctest: +SKIP
PosixPath('runs/photos/report.html')
"""

from __future__ import annotations

from pathlib import Path

from flambeau.core.files import values_of, write_atomic
from flambeau.report.facts import Facts
from flambeau.report.page import language_of, page
from flambeau.report.words import Words
from flambeau.run import Run


def build(run: Run, *, language: str = "en") -> str:
    """The report of a run, finished or not, as HTML text. It reads the run folder only: the data may be gone.

    Args:
        run: the run.
        language: `en` or `zh-CN`.

    Raises:
        RunError: a file of the run is missing or damaged, or a newer version wrote it.
        UsageError: the report does not speak the language.
    """
    facts, words = Facts(run), Words(language)
    with values_of(run.path / "evaluation.json"):  # all else was looked at when it was read
        return page(facts, words)


def write(run: Run | str | Path, *, language: str | None = None) -> Path:
    """Writes `report.html` into the run folder, whole or not at all, and gives its path.

    Args:
        language: `en` or `zh-CN`; that of the report that is there, or `en`, if not given.

    Raises:
        RunError, UsageError: as for `build`; or there is no such run, or the disk is full.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    path = run.path / "report.html"
    write_atomic(path, build(run, language=language or language_of(path)).encode("utf-8"))
    return path


__all__ = ["build", "write"]
