"""`flambeau augment`: more training texts, made by other runs."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common, train
from flambeau.cli.common import option

NAME = "augment"
OF_TRAIN = ("data", *train.READING, "time", *train.SPLIT, "seed")  # options that say how data is read and split
NOT_HERE = ("also", "task", "time", "time_format", "horizon", "id_", "known", "pattern", "root")
SHOWN = 5


def command(
    forth: Annotated[Path | None, option("By back-translation: a run that translates the texts.")] = None,
    back: Annotated[Path | None, option("And the run that translates what came of it back.")] = None,
    run: Annotated[Path | None, option("By a language model: the run that writes.")] = None,
    filter_: Annotated[
        Path | None, option("And a run that tells the classes apart, and keeps those right.", "--filter")
    ] = None,
    per_class: Annotated[int, typer.Option(help="Of --run: texts of each class.", min=1)] = 100,
    prompt: Annotated[
        str, typer.Option(help="Of --run: {label} is the class, {start} how a training text of it begins.")
    ] = "{start}",
    words: Annotated[int, typer.Option(help="Of --run: words of {start}.", min=1)] = 2,
    sure: Annotated[float, typer.Option(help="Of --run: what the filter's confidence must reach.", min=0, max=1)] = 0.5,
    temperature: Annotated[float, typer.Option(help="Of --run: as of generate.", min=0)] = 0.9,
    max_tokens: Annotated[int, typer.Option(help="Of --run: of a text, at most.", min=1)] = 60,
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("more.csv"),
    json: common.Json = False,
    **asked: Any,
) -> None:
    """Make more training texts by other runs. In other words, by way of another language; or as a language model goes
    on from how they begin. Rows that validate or test are never touched. Look the table through, then train with it by
    `--also`.

    Example: `flambeau augment reviews.csv --forth runs/en-de --back runs/de-en`

    Example: `flambeau augment reviews.csv --run runs/texts --filter runs/reviews --per-class 200`
    """
    from flambeau.core.errors import UsageError
    from flambeau.predictor.sampling import Sampling
    from flambeau.recipe import Recipe
    from flambeau.studies import augmented

    ways = {"--forth": forth, "--back": back}, {"--run": run, "--filter": filter_}
    chosen = [way for way in ways if any(value is not None for value in way.values())]
    if len(chosen) != 1:
        said = "both translations and a language model" if chosen else "how are texts to be made?"
        raise UsageError(said, fix="give --forth RUN --back RUN, or --run RUN --filter RUN")
    if absent := next((name for name, value in chosen[0].items() if value is None), None):
        raise UsageError(f"{absent} is missing", fix=f"give {absent} RUN")
    if out.suffix.lower() != ".csv":
        raise UsageError(f"'{out}' is no name of a table", expected="a name that ends in .csv")
    if asked["data"] is None:
        raise UsageError("what is to be augmented?", fix="give a table or a folder of texts")
    base = Recipe()
    data = train.dataset_of(asked, base if asked["seed"] is None else base.with_settings({"seed": asked["seed"]}))
    common.reporter().say(data.describe())
    if forth is not None and back is not None:
        found = augmented.back_translated(data, forth, back, reporter=common.reporter())
    else:
        assert run is not None and filter_ is not None
        sampling = Sampling(max_tokens=max_tokens, temperature=temperature, top_p=0.95, seed=asked["seed"] or 0)
        found = augmented.generated(data, run, filter_, per_class, prompt=prompt, words=words, sure=sure,
                                    sampling=sampling, reporter=common.reporter())  # fmt: skip
    augmented.write(found, data, out)
    following = f"flambeau train {common.as_typed(asked['data'], data.source)} --also {shlex.quote(str(out))}"
    if json:
        common.emit({"rows": len(found), "labels": augmented.counts(found), "table": str(out), "next": following})
        return
    told = ", ".join(f"{label} {count:,}" for label, count in augmented.counts(found).items())
    common.echo(f"{len(found):,} new texts of {len(data.rows('train')):,} training rows ({told}): {out}")
    for new in found[:SHOWN]:
        common.echo(f"  {new.label}: {new.text}")
    common.reporter().say(f"next: {following}")


train.share_options(command, without={n for n in train.names() if n not in OF_TRAIN or n in NOT_HERE})
