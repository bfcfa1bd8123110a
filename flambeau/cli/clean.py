"""`flambeau clean`: labels that are probably wrong, as a table to look through and give back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option

NAME = "clean"
SHOWN, DRAWN = 10, 200


def command(
    from_: Annotated[Path, typer.Option("--from", help="The folder of a cross-validation of the data, or of a run.")],
    data: Annotated[
        Path | None, typer.Argument(help="The data; what the run was trained on if not given.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("fixes.csv"),
    page: Annotated[Path | None, option("Write a page there too, with picture, text or sound of each.")] = None,
    unsure: Annotated[int, typer.Option(help="Of a run: rows that it is least sure of too, at most.", min=0)] = 0,
    samples: Annotated[Path | None, option("Write all that is to be looked through there too, as JSON.")] = None,
    device: common.Device = "auto",
    json: common.Json = False,
) -> None:
    """Propose corrections of labels that are probably wrong: by answers of models that did not see them. Look through
    the table: change `suggested`, or write anything into `keep` where the label is right; then train with it.

    Of a run the rows are looked at that it held out; a cross-validation looks at all.

    Example: `flambeau clean photos/ --from runs/photos-cv --page fixes.html`, then
    `flambeau train photos/ --corrections fixes.csv`

    Example: `flambeau clean --from runs/photos --unsure 50`
    """
    from flambeau.core.errors import UsageError
    from flambeau.core.files import write_atomic, write_json
    from flambeau.studies import clean

    if out.exists():
        raise UsageError("the file is there already, and may hold your decisions", where=out, fix="give another --out")
    of_run = (from_ / "recipe.yaml").is_file()
    if of_run and data is not None:
        raise UsageError("a run is asked about its own data", where=from_, fix="leave the data out")
    if unsure and not of_run:
        raise UsageError("--unsure means nothing of a cross-validation", fix="leave it out, or give a run")
    dataset, found, least = _of_run(from_, unsure, device) if of_run else _of_folds(from_, data)
    clean.write(found, out)
    if page is not None:
        write_atomic(page, clean.page(dataset, [*found, *least][:DRAWN]).encode("utf-8"))
    if samples is not None:
        write_json(samples, clean.samples(dataset, found, least))
    if json:
        common.emit({"suspects": [one._asdict() for one in found], "unsure": [one._asdict() for one in least],
                     "table": str(out), "page": page and str(page)})  # fmt: skip
        return
    if not found:
        common.echo("no label is suspected")
    if not (found or least):
        return
    several = f"{len(found):,} {'label' if len(found) == 1 else 'labels'} may be wrong, the surest first:"
    for listed, title in ((found, several), (least, f"the model is least sure of {len(least):,} others, such as:")):
        if listed:
            common.echo(title)
        for one in listed[:SHOWN]:
            change = f"{clean.as_text(one.given)} → {clean.as_text(one.suggested)}"
            common.echo(f"  {one.place}: {change} ({one.confidence:.2f})")
    common.reporter().say(f"all of them: {out}; look through it")
    anew = shlex.join(["--recipe", str(from_ / "recipe.yaml")]) if of_run else common.as_typed(data, dataset.source)
    common.reporter().say(f"next: flambeau train {anew} --corrections {shlex.quote(str(out))}")


def _of_run(run: Path, unsure: int, device: str) -> tuple[Any, list[Any], list[Any]]:
    from flambeau.run import Run
    from flambeau.studies import clean

    return clean.held_out(Run.open(run), unsure, device=device, reporter=common.reporter())


def _of_folds(folder: Path, data: Path | None) -> tuple[Any, list[Any], list[Any]]:
    from flambeau.core.errors import DataError, UsageError
    from flambeau.data.sources.opening import from_path, from_source
    from flambeau.studies import clean

    if data is not None and not data.exists():
        raise DataError("there is no such file or folder", where=data, code="not-found")
    source = clean.fold_of(folder).recipe.data
    if not clean.judged(folder):
        raise UsageError("labels of this kind are not judged by answers", where=folder,
                         fix="see what flambeau check and the report of a run say of them")  # fmt: skip
    found = clean.suspects(folder)
    path = data.resolve() if data is not None else source.get("path")
    given = {k: v for k, v in source.items() if k != "fingerprint"} | {"path": str(path)}
    dataset = from_path(data) if data and source.get("kind", "memory") == "memory" else from_source(given)
    clean.check_same(dataset, found)
    return dataset, found, []
