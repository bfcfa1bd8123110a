"""`flambeau generate`: new samples of a run that was trained to make them, or texts that go on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import UsageError
from flambeau.core.printable import quoted

if TYPE_CHECKING:
    from PIL import Image

    from flambeau.fields import Field
    from flambeau.predictor import Predictor

NAME = "generate"
ON_SHEET = 400  # samples at most
SEEN = 64  # pixels of a side that small pictures are enlarged to
TABLES = (".csv", ".parquet")

OF_DRAWING = ("temperature", "top_k", "top_p", "min_p")
COUNT = 64  # samples, if not said; of texts one

OfClass = Annotated[str | None, option("The class that samples are to be of, where the run knows classes.", "--class")]
Prompt = Annotated[
    str | None, typer.Argument(help="Texts: how it begins; - for what stdin has; of chats what the user says.",
                               show_default=False),
]  # fmt: skip
Prompts = Annotated[
    Path | None, option('Texts: a file with a prompt a line; .jsonl with a string, {"prompt": …} or {"messages": […]}.')
]
Stop = Annotated[list[str] | None, option("Texts: what it ends before; repeatable.")]
Seed = Annotated[int, typer.Option(help="The first samples of a seed are the same however many follow.")]
Out = Annotated[
    Path | None, option("A folder for a file each; of rows a table: .csv or .parquet; of texts .txt or .jsonl.")
]
Grid = Annotated[Path | None, option("A picture with the first 400 of them side by side, such as new.png.")]


def command(
    run: common.RunPath,
    prompt: Prompt = None,
    count: Annotated[int | None, option("How many; 64, or of texts one for each prompt, if not given.", min=1)] = None,
    of_class: OfClass = None,
    seed: Seed = 0,
    out: Out = None,
    grid: Grid = None,
    prompts: Prompts = None,
    system: Annotated[str | None, option("Chats: what is said before everything.")] = None,
    max_tokens: Annotated[int | None, option("Texts: tokens that come at most; 256 if not given.")] = None,
    temperature: Annotated[float | None, option("Texts: 0 for the likeliest token; 0.8 if not given.")] = None,
    top_k: Annotated[int | None, option("Texts: draw from so many of the likeliest tokens.")] = None,
    top_p: Annotated[float | None, option("Texts: draw from the fewest tokens whose chances reach this.")] = None,
    min_p: Annotated[float | None, option("Texts: only tokens of this part of the likeliest's chance.")] = None,
    repetition_penalty: Annotated[float | None, option("Texts: against tokens that came already, such as 1.1.")] = None,
    beams: Annotated[int | None, option("Texts: search the likeliest by so many beginnings, and draw nothing.")] = None,
    length_penalty: Annotated[float | None, option("Texts: of beams, the more the longer; 1 if not given.")] = None,
    stop: Stop = None,
    json_schema: Annotated[Path | None, option("Texts: a file with a JSON schema that they keep to.")] = None,
    regex: Annotated[str | None, option("Texts: a regular expression that the whole of each matches.")] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Texts: show the one text as it comes.")] = False,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Make new samples by a run that was trained to, by --objective vae, dcgan, diffusion and others; or let a text
    go on, by a run of a language model.

    Example: `flambeau generate runs/photos --count 64 --grid new.png`

    Example: `flambeau generate runs/fashion --class Sandal --count 1000 --out sandals/`

    Example: `flambeau generate runs/austen "It is a truth" --temperature 0.7 --max-tokens 200 --stream`
    """
    from flambeau.objectives.language import LanguageModel
    from flambeau.predictor import Predictor

    predictor = Predictor.load(run, device=device)
    drawing: dict[str, Any] = {
        "max_tokens": max_tokens, "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "beams": beams, "length_penalty": length_penalty,
        "stop": tuple(stop) if stop else None, "json_schema": json_schema, "regex": regex,
    }  # fmt: skip
    given = {name: value for name, value in drawing.items() if value is not None}
    if not isinstance(predictor.objective, LanguageModel):
        texts = {"a prompt": prompt, "prompts": prompts, "system": system, **given, "stream": stream or None}
        verb = predictor.objective.next_verb.format(run=quoted(run))
        refuse_others(texts, "runs that let texts go on, and this is none", f"leave it out, or flambeau {verb}")
        write_samples(predictor, count or COUNT, of_class, seed, out, grid, json)
        return
    from flambeau.cli.generate_texts import Wanted, prompts_of, schema_of, write
    from flambeau.predictor.sampling import Sampling

    refuse_others({"class": of_class, "grid": grid}, "samples, and this run writes texts")
    if json_schema is not None:
        given["json_schema"] = schema_of(json_schema)
    if given.get("beams", 1) > 1 and (drawn := next((name for name in OF_DRAWING if name in given), None)):
        raise UsageError(f"--{drawn.replace('_', '-')} says how tokens are drawn, and --beams draws none",
                         fix="leave one of them out")  # fmt: skip
    sampling = Sampling(seed=seed, **given)
    write(predictor, Wanted(prompts_of(prompt, prompts), sampling, count or 1, system, stream, out, json), run)


def refuse_others(given: dict[str, Any], what: str, fix: str = "leave it out") -> None:
    """Raises UsageError where an option was given that is for another kind of run."""
    if names := [name for name, value in given.items() if value is not None]:
        name = names[0] if " " in names[0] else f"--{names[0].replace('_', '-')}"
        raise UsageError(f"{name} is for {what}", fix=fix)


def write_samples(
    predictor: Predictor, count: int, of_class: str | None, seed: int, out: Path | None, grid: Path | None, json: bool
) -> None:
    """Makes samples, and writes them as files, a table or a picture."""
    from flambeau.predictor.generating import samples

    if out is None and grid is None:
        raise UsageError("where are the new samples to be written?", fix="give --out, a folder, or --grid, a picture")
    check_picture(grid)
    field = predictor.fields[predictor.inputs[0]]
    made, shown = samples(predictor, count, of_class, seed), []
    if grid is not None:
        shown = [*itertools.islice(made, ON_SHEET)]
        sheet(field, shown).save(grid)
    files = [] if out is None else written(field, itertools.chain(shown, made), out, count)
    if json:
        common.emit({"count": count, "class": of_class, "seed": seed, "generated": files,
                     "grid": None if grid is None else str(grid)})  # fmt: skip
        return
    said = f"{count:,} samples{f' of {of_class}' if of_class else ''}, seed {seed}"
    if grid is not None:
        said += f": {grid}" if len(shown) == count else f", the first {len(shown)} on {grid}"
    common.echo(said if out is None else f"{said}, each in {out}")


def check_picture(path: Path | None, endings: tuple[str, ...] = (".png", ".jpg", ".webp")) -> None:
    """Raises UsageError where a picture is to be written under a name that is of none."""
    if path is not None and path.suffix.lower() not in endings:
        raise UsageError(f"'{path}' is no name of a picture", expected=" or ".join(endings))


def sheet(field: Field, values: list[Any], columns: int | None = None) -> Image.Image:
    """Samples side by side, small ones enlarged; about as many rows as columns if not said.

    Raises:
        UsageError: they are no pictures.
    """
    columns = columns or next(side for side in itertools.count(1) if side * side >= len(values))
    picture = field.sheet(values, columns)
    if picture is None:
        raise UsageError(f"values of the kind {field.kind} are not drawn", fix="write them, with --out")
    times = max(1, SEEN * columns // picture.width)
    return picture.resize((picture.width * times, picture.height * times), 0)


def written(
    field: Field, values: Iterable[Any], out: Path, count: int, names: Iterable[str] | None = None
) -> list[str]:
    """Samples as files in a folder, numbered from 1 on, or as the rows of one table; which files.

    Args:
        names: of the samples, where a table has several rows of each; numbered from 1 on if not given.

    Raises:
        UsageError: rows are to be files, or others a table.
    """
    if out.suffix.lower() not in TABLES:
        if (out / "recipe.yaml").exists():
            raise UsageError(f"{out} is a run", fix="give --out another folder")
        out.mkdir(parents=True, exist_ok=True)
        digits = max(4, len(str(count)))
        with common.reporter().bar("generating", count) as bar:
            files = []
            for number, value in enumerate(values, 1):
                files.append(str(field.write(value, out / f"{number:0{digits}}")))
                bar.update(number)
        return files
    import polars as pl

    rows: list[dict[str, Any]] = []
    for name, value in zip(names or map(str, itertools.count(1)), values, strict=False):
        if not (own := field.table_rows(value, name)):
            raise UsageError(f"values of the kind {field.kind} are no rows of a table", fix="give --out a folder")
        rows += own
    frame = pl.DataFrame(rows, infer_schema_length=None)
    out.parent.mkdir(parents=True, exist_ok=True)
    frame.write_csv(out) if out.suffix.lower() == ".csv" else frame.write_parquet(out)
    return [str(out)]
