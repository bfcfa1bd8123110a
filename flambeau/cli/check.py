"""`flambeau check`: what is wrong with the data."""

from __future__ import annotations

from typing import Annotated, Any

from flambeau.cli import common

NAME = "check"
SHOWN = 60  # characters of an example
MOST_COLUMNS = 40


def command(
    data: common.DataPath,
    target: common.Target = None,
    input_: common.Input = None,
    pattern: common.Pattern = None,
    task: common.Task = None,
    encoding: common.Charset = None,
    no_header: common.NoHeader = False,
    read: common.Read = None,
    root: common.Root = None,
    time: common.Time = None,
    time_format: common.TimeFormat = None,
    id_: common.Id = None,
    objective: Annotated[
        str | None, common.option("What it is to be trained for; with one that takes no target the data needs none.")
    ] = None,
    json: common.Json = False,
) -> int:
    """Look for mistakes in labelled data: unreadable files, duplicates, leakage, label conflicts, imbalance.

    Exit status 1 if there are errors. Example: `flambeau check photos/`

    Example: `flambeau check photos/ --objective vae`
    """
    from flambeau.core.findings import has_errors, worst_first
    from flambeau.data.sources.opening import from_path
    from flambeau.objectives import OBJECTIVES

    reporter = common.reporter()
    options = common.dataset_options(target, input_, pattern, encoding=encoding, no_header=no_header, time=time, id=id_,
                                     time_format=time_format, read=read, root=root, task=task)  # fmt: skip
    if target is None and objective is not None and "target" not in OBJECTIVES[objective].takes:
        options["labels"] = False
    dataset = from_path(data, **options)
    reporter.say(dataset.describe())
    findings = worst_first([*dataset.findings, *dataset.check(reporter=reporter)])
    styles = {"error": "red", "warning": "yellow", "note": None}
    columns = dataset.readings()
    texts = [column for column in columns if "example" in column and not json]
    width = max((len(column["column"]) for column in texts[:MOST_COLUMNS]), default=0)
    for column in texts[:MOST_COLUMNS]:
        reporter.say(f"  {column['column']:<{width}}  {_told(column)}")
    if len(texts) > MOST_COLUMNS:
        reporter.say(f"  … and {len(texts) - MOST_COLUMNS} more columns, which --json tells")
    if json:
        common.emit({"data": dataset.describe(), "columns": columns, "findings": [f.to_dict() for f in findings]})
    else:
        for finding in findings:
            reporter.say(f"{finding} [{finding.check}]", style=styles[finding.severity])
        if not findings:
            reporter.say("nothing is wrong", style="green")
    return 1 if has_errors(findings) else 0


def _told(column: dict[str, Any]) -> str:
    """How a column is read, with an example."""
    way = column["form"] + (f" ({column['words']})" if column["words"] else "")
    short = column["example"] if len(column["example"]) <= SHOWN else column["example"][: SHOWN - 1] + "…"
    value = column["value"]
    return f"{way}, e.g. '{short}'" + (f" → {value}" if value != column["example"] else "")
