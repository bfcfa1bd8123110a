"""What the verbs share: options, the JSON document, and how a dataset is named on a command line."""

from __future__ import annotations

import functools
import inspect
import itertools
import shlex
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.core.errors import UsageError
from flambeau.core.files import to_json
from flambeau.core.printable import printable, printable_json
from flambeau.core.reporter import Reporter


def option(help: str, *names: str, **more: Any) -> Any:
    """An option that need not be given: its help says what is done then, so that no default is shown."""
    return typer.Option(*names, help=help, show_default=False, **more)


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; progress goes to stderr.")]


def _run(said: str) -> Path:
    """The folder of a run, which is fetched where an address is said."""
    if "://" not in said:
        return Path(said)
    from flambeau import hub

    return Path(hub.fetched(said))


RunPath = Annotated[
    Path,
    typer.Argument(help="A run folder, such as runs/photos; or one at hf://, s3://, gs:// or az://.", parser=_run,
                   show_default=False),
]  # fmt: skip
DataPath = Annotated[
    Path,
    typer.Argument(help="A folder of class folders, a CSV or Parquet file, or a zip of a folder.", show_default=False),
]
OtherData = Annotated[
    Path | None, typer.Argument(help="Other data; the run's held-out rows if not given.", show_default=False)
]
Target = Annotated[str | None, option("Tables: the column to predict (of CoNLL's columns its number).")]
Input = Annotated[
    list[str] | None,
    typer.Option("--input", help="Tables: a column to predict from (of CoNLL's columns its number); repeatable."),
]
Pattern = Annotated[str | None, option("What file names say: '{fold}-{clip}-{take}-{class}.wav'; --by takes any name.")]
Charset = Annotated[
    str | None, option("Texts and tables: utf-8, gb18030, cp1252, …; found out if not given.", "--encoding")
]
Read = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=FORM",
        help="Tables: how a column is read: number:de (1.234,50), number:en, date:%d.%m.%Y, category, labels:|, or "
        "text as it is written; repeatable. `flambeau check` shows how each is.",
    ),
]
Root = Annotated[Path | None, option("Tables of files: the folder that their names start from; found if not given.")]
NoHeader = Annotated[bool, typer.Option("--no-header", help="Tables: the first row holds data, not names.")]
Time = Annotated[str | None, option("Series: the column of times; the target is then forecast.")]
Id = Annotated[str | None, option("Series: the column that tells them apart.", "--id")]
Task = Annotated[
    str | None,
    option("A folder of sharp pictures alone: super-resolution, denoise or colourise; then options, as in "
           "'super-resolution scale=3 noise=0.05 jpeg=40'."),
]  # fmt: skip
Known = Annotated[
    list[str] | None, typer.Option(help="Series: a column that is known for the steps ahead too; repeatable.")
]
Horizon = Annotated[int | None, option("Series: steps ahead; one cycle of the data if not given.", min=1)]
TimeFormat = Annotated[
    str | None, option("Series: how times are written, such as '%d/%m/%Y %H:%M' or 'unix s'; found if not given.")
]
Metric = Annotated[str | None, option("What models are judged by, such as roc_auc or f1; by the target if not given.")]
Tta = Annotated[
    str | None,
    option(
        "Average over several views of each input: 8, '8 rotation=10', flip, five_crops, ten_crops; or filter it:"
        " jpeg, median, bits.",
        "--tta",
    ),
]
Processes = Annotated[
    int | None, option("Processes on this machine that share each batch; see the page on several processes.", min=1)
]
Shard = Annotated[
    bool, typer.Option("--shard", help="Each of several processes keeps a part of weights, gradients and optimizer.")
]
Ray = Annotated[int | None, option("Workers on a Ray cluster that share each batch, by Ray Train.", min=1)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Do not look for mistakes in the data first.")]
Language = Annotated[str, typer.Option(help="Of the page: en or zh-CN.")]
SameLanguage = Annotated[str | None, option("Of the page: en or zh-CN; as the report was, en at first, if not given.")]


class Ended(Exception):
    """Raised by a command that has said all there is to say; its exit status is what is left."""

    def __init__(self, status: Any):
        super().__init__(status)
        self.status = int(status or 0)


def _readings(given: list[str] | None) -> dict[str, str] | None:
    """COLUMN=FORM, some times, as a mapping."""
    pairs = [one.rpartition("=") if one.count("=") == 1 else one.partition("=") for one in given or ()]
    for (column, equals, form), one in zip(pairs, given or (), strict=True):
        if not (column and equals and form):
            raise UsageError(f"'{one}' does not say how a column is read", expected="such as price=number:de")
    return {column: form for column, _, form in pairs} or None


def emit(document: Any) -> None:
    """The one JSON document of a command, on stdout."""
    sys.stdout.write(printable_json(to_json(document, default=str)) + "\n")
    sys.stdout.flush()


def echo(text: object) -> None:
    """A line on stdout; what a terminal would obey is shown instead."""
    typer.echo(printable(text))


def reporter() -> Reporter:
    """Progress and remarks, on stderr."""
    return Reporter()


def reads_other_data(without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Lets a verb on a run's rows, which ends in `**reading`, take how other data is read, after its own options; it
    gets that as `from_path` does.

    Args:
        without: options that mean something else there.
    """

    def of(
        target: Target = None, pattern: Pattern = None, encoding: Charset = None, no_header: NoHeader = False,
        root: Root = None, time_format: TimeFormat = None,
    ) -> dict[str, Any]:  # fmt: skip
        return dataset_options(target, None, pattern, encoding=encoding, no_header=no_header, root=root,
                               time_format=time_format)  # fmt: skip

    shared = [p for name, p in inspect.signature(of, eval_str=True).parameters.items() if name not in without]

    def taken(verb: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(verb, eval_str=True).parameters.values() if p.name != "reading"]

        @functools.wraps(verb)
        def command(**asked: Any) -> None:
            reading = of(**{p.name: asked.pop(p.name) for p in shared})
            verb(**asked, **reading)

        vars(command)["__signature__"] = inspect.Signature([*own, *shared])
        return command

    return taken


def free_stem(stem: str, taken: set[str]) -> str:
    """A file's name without ending, or the first of NAME-2, NAME-3, … that is not taken; which it then is."""
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    free = next(name for name in names if name not in taken)
    taken.add(free)
    return free


def as_typed(data: Path | None, source: Mapping[str, Any]) -> str:
    """Data and how it is read, as a shell takes it, for the command that comes next.

    >>> as_typed(Path("iris.csv"), {"target": "petal width", "inputs": None, "header": False})
    "iris.csv --target 'petal width' --no-header"

    Args:
        source: the `data` of a recipe.
    """
    words = [str(data or source.get("path") or "DATA")]
    for name in ("target", "pattern", "encoding", "root", "time", "time_format", "horizon", "id"):
        if source.get(name) is not None:
            words += [f"--{name.replace('_', '-')}", str(source[name])]
    for option, several in (("--input", source.get("inputs")), ("--known", source.get("known"))):
        words += [word for one in several or () for word in (option, str(one))]
    words += [word for name, form in (source.get("read") or {}).items() for word in ("--read", f"{name}={form}")]
    return shlex.join([*words, *(["--no-header"] if source.get("header") is False else [])])


def show_metrics(metrics: dict[str, float]) -> str:
    """Metrics in a line."""
    return "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def dataset_options(
    target: str | None, inputs: list[str] | None, pattern: str | None, split: Any = None, *,
    encoding: str | None = None, no_header: bool = False, read: list[str] | None = None, **series: Any,
) -> dict[str, Any]:  # fmt: skip
    """The options of `from_path` that were given."""
    given = {"target": target, "inputs": inputs or None, "pattern": pattern, "split": split, "encoding": encoding,
             "header": False if no_header else None, "read": _readings(read), **series}  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}
