"""`flambeau predict`: files and folders in, predictions out."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import UsageError
from flambeau.core.files import to_json
from flambeau.core.printable import cell

if TYPE_CHECKING:
    from flambeau.cli.asked import Asked
    from flambeau.fields import Field

NAME = "predict"
ODDEST = 5  # rows that the summary names


def command(
    run: common.RunPath,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Files, and folders that are searched for files; or texts.", show_default=False),
    ] = None,
    top: Annotated[int, typer.Option(help="How many classes to show.", min=1)] = 3,
    csv_: Annotated[Path | None, option("Write a table there too.", "--csv")] = None,
    reject_below: Annotated[
        float, typer.Option(help="Under this confidence the answer is `unknown`.", min=0, max=1)
    ] = 0.0,
    batch_size: Annotated[int, typer.Option(help="Files to a forward pass.", min=1)] = 64,
    encoding: common.Charset = None,
    no_header: common.NoHeader = False,
    root: common.Root = None,
    out: Annotated[
        Path | None, option("The folder that files are written to: answers that are files, and those of --ray.")
    ] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="On a Ray cluster: tables (s3://… too) or files, answered into --out.")
    ] = False,
    format_: Annotated[
        str | None,
        option("Write boxes into --out as coco, voc, yolo, labelme, cvat, label-studio or box-table.", "--format"),
    ] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draw boxes or masks into the pictures, in --out.")] = False,
    tta: common.Tta = None,
    device: common.Device = "auto",
    json: common.Json = False,
) -> int:
    """Predict the class, labels or number of files, texts or rows.

    A file that cannot be read gets an error of its own; the others are predicted. Exit status 2 if any failed. For a
    run that was trained on texts, whatever is not the path of a file is a text, and of `-` each line of the standard
    input; where words are tagged, each sentence of a file is (CoNLL's columns, word/tag, or a sentence a line). Of a
    table (CSV, Parquet, …) each row is predicted; a row may be given as JSON: '{"age": 30, "city": "Lyon"}'. For a run
    that forecasts, give a table of what was up to now: what follows its last target is forecast, for each series.

    Example: `flambeau predict runs/churn s3://bucket/customers/*.parquet --ray --out answers/`

    Example: `flambeau predict runs/photos cat.jpg more/ --top 3 --csv out.csv`

    Example: `flambeau predict runs/street photos/ --out found/ --format coco --draw`
    """
    from flambeau.cli.annotating import check_asked, drawer, write_annotations
    from flambeau.cli.asked import Layout, asked
    from flambeau.predictor import Predictor
    from flambeau.run import Run

    if not inputs:
        raise UsageError("what is to be predicted?", fix="give files, tables or texts")
    if ray:
        unused = {"--csv": csv_, "--encoding": encoding, "--no-header": no_header, "--root": root}
        if odd := next((name for name, value in unused.items() if value), None):
            raise UsageError(f"{odd} means nothing with --ray", fix="leave it out")
        return _on_ray(run, inputs, out, json, top=top, reject_below=reject_below, batch_size=batch_size,
                       device=device, tta=tta)  # fmt: skip
    predictor = Predictor.load(run, device=device)
    predictor = predictor if tta is None else predictor.with_tta(tta)
    if decision := predictor.objective.decision:
        common.reporter().say(f"answers go by {run / 'decision.json'}: {decision['why']}")
    data = Run(run).recipe.data
    layout = Layout(
        encoding, data.get("token_column"), not no_header and data.get("header", True), data.get("columns"), root
    )
    target = predictor.fields.get(predictor.target or "")
    if target is not None and target.answers_as_files and out is None and not json:
        raise UsageError(f"each answer is a file of the kind {target.kind}", fix="give --out, a folder; or --json")
    check_asked(target, format_, draw, out)
    if out is not None and (target is None or not target.answers_as_files) and not (format_ or draw):
        raise UsageError(
            f"--out is for answers that are files, and {predictor.target or 'what is told'} is none",
            fix="leave it out; --csv FILE or --json keep what is printed",
        )
    as_files = out is not None and target is not None and target.answers_as_files
    write = _writer(predictor, out) if as_files and out is not None else None
    drawn = drawer(predictor, out) if draw and out is not None else None
    values = list(asked(inputs, predictor, layout))
    rows: list[dict[str, Any]] = []
    reporter = common.reporter()
    with reporter.bar("predicting", len(values)) as bar:
        for start in range(0, len(values), batch_size):
            rows += answered(predictor, values[start : start + batch_size], reject_below, top, write, drawn)
            bar.update(len(rows))
    if csv_ is not None:
        _write_csv(csv_, rows, top)
    if format_ is not None and target is not None and out is not None:
        reporter.say(write_annotations(rows, target, format_, out))
    oddest = _oddest(rows) if predictor.objective.tells_oddness else []
    if json:
        common.emit({"predictions": rows, **({"oddest": oddest} if oddest else {})})
    else:
        for row in rows:
            for line in _lines(row, target):
                common.echo(line)
        if len(oddest) > 1:
            reporter.say("the oddest: " + ", ".join(map(_odd, oddest)))
    return 2 if any("error" in row for row in rows) else 0


def _on_ray(run: Path, inputs: list[str], out: Path | None, json: bool, **options: Any) -> int:
    from flambeau.cli import on_ray

    if out is None:
        raise UsageError("--ray answers tables or files into a folder", fix="give them, and --out")
    told = on_ray.predict(run, inputs, out, **options)
    if json:
        common.emit(told)
    else:
        common.echo(f"{told['rows']:,} rows answered by {told['workers']} workers into {out}"
                    + (f", {told['failed']:,} of them with an error" if told["failed"] else ""))  # fmt: skip
    return 2 if told["failed"] else 0


def answered(
    predictor: Any, values: list[Asked], reject_below: float, top: int, write: Callable[[str, Any], str] | None = None,
    draw: Callable[[str, Any, Any], str] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """What is said of each value, or why nothing is: plain JSON."""
    import warnings

    from flambeau.core.errors import DataError

    encoded: list[Any] = []
    rows: list[dict[str, Any]] = []
    for kind, name, value, which in values:
        row: dict[str, Any] = {**which, kind: name}
        try:
            if isinstance(value, DataError):
                raise value
            encoded.append(predictor.encode(value))
        except DataError as error:
            row["error"] = error.found
        rows.append(row)
    if encoded:
        outputs = iter(predictor.outputs(encoded))
        for row, (_, name, value, _) in zip(rows, values, strict=True):
            if "error" not in row:
                with warnings.catch_warnings(record=True) as noticed:
                    warnings.simplefilter("always")
                    answer = predictor.decode(next(outputs), reject_below, value)
                    row |= answer.to_dict(top)
                if write is not None:
                    row["label"] = write(row.get("file", "answer"), answer.label)
                if draw is not None:
                    row["drawn"] = draw(row.get("file", "answer"), answer.label, value)
                for warning in noticed:
                    common.reporter().say(f"{name}: {warning.message}", style="yellow")
    return rows


def _writer(predictor: Any, folder: Path) -> Callable[[str, Any], str]:
    """What writes an answer into a folder, called as the file that it is of: over none that is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    taken = {file.stem for file in folder.iterdir()}

    def write(name: str, answer: Any) -> str:
        return str(predictor.fields[predictor.target].write(answer, folder / common.free_stem(Path(name).stem, taken)))

    return write


def _oddest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of rows that are told how odd they are a few of the oddest, the oddest first."""
    return sorted((row for row in rows if "error" not in row), key=lambda row: -row["label"])[:ODDEST]


def _odd(row: dict[str, Any]) -> str:
    name = row.get("series") or (_name(row) if "file" in row or "row" not in row else f"row {row['row']}")
    return f"{name} ({row['label']:.6g})"


def _name(row: dict[str, Any]) -> str:
    text = " ".join(row.get("text", "").split())
    return row.get("file") or (text if len(text) <= 60 else f"{text[:59]}…")


def _lines(row: dict[str, Any], target: Field | None) -> list[str]:
    name = f"{_name(row)}, {row['series']}" if row.get("series") else _name(row)
    if "error" in row:
        return [f"{name}: error: {row['error']}"]
    if "tokens" in row:
        return [" ".join(f"{token}/{tag}" for token, tag in zip(row["tokens"], row["label"], strict=True))]
    if "times" in row:
        bands = list(row.get("quantiles", {}).values())
        steps = [f"  {time}  {value:.6g}" for time, value in zip(row["times"], row["label"], strict=True)]
        steps = [f"{step}  ({bands[0][i]:.6g} … {bands[-1][i]:.6g})" if bands else step for i, step in enumerate(steps)]
        return [f"{name}:", *steps]
    label = row["label"]
    if isinstance(label, list):
        label = (target.told(label) if target is not None else ", ".join(map(str, label))) or "none"
    shown = "  ".join(f"{c} {p:.3f}" for c, p in row.get("probabilities", {}).items())
    return [f"{name}: {label if not isinstance(label, float) else f'{label:.6g}'}" + (f"  ({shown})" if shown else "")]


def _cell(label: Any) -> Any:
    """An answer as a cell of a table: several names with ; between, several things of more parts as JSON."""
    if not isinstance(label, list):
        return label
    plain = not any(isinstance(part, (dict, list)) for part in label)
    return ";".join(map(str, label)) if plain else to_json(label, indent=None)


def _write_csv(path: Path, rows: list[dict[str, Any]], top: int) -> None:
    if made := [row for row in rows if "times" in row]:
        return _write_steps(path, made)
    classes = any(row.get("probabilities") for row in rows)
    failed = ["error"] * any("error" in row for row in rows)
    top = min(top, max((len(row.get("probabilities", ())) for row in rows), default=0))
    named = ["confidence", *(f"{w}_{i + 1}" for i in range(top) for w in ("class", "probability"))]
    # the rows of a table have numbers, and the names that the table has for them: so it can be joined to this one
    which = list(itertools.takewhile(lambda key: key not in ("file", "text"), next(iter(rows), {})))
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        writer = csv.writer(handle)
        writer.writerow(map(cell, [*which, "file", "label", *(named if classes else ()), *failed]))
        for row in rows:
            label = row.get("label", "")
            name = row.get("file") or row["text"]
            if "tokens" in row:  # word by word, as the tags are
                cells = [" ".join(row["tokens"]), " ".join(label)]
            else:
                cells = [name, _cell(label)]
            if classes:
                best = list(row.get("probabilities", {}).items())
                best += [("", "")] * (top - len(best))
                cells += [row.get("confidence", ""), *(x for pair in best for x in pair)]
            more = [row.get(key, "") for key in which], [row.get(key, "") for key in failed]
            writer.writerow(map(cell, [*more[0], *cells, *more[1]]))


def _write_steps(path: Path, forecasts: list[dict[str, Any]]) -> None:
    """A row for each step of each forecast."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as handle:
        writer = csv.writer(handle)
        levels = [f"quantile_{q}" for q in forecasts[0].get("quantiles", {})]
        writer.writerow(["file", "series", "time", "forecast", *levels])
        for row in forecasts:
            steps = zip(row["times"], row["label"], *row.get("quantiles", {}).values(), strict=True)
            writer.writerows([*map(cell, (row["file"], row.get("series", ""), *step))] for step in steps)
