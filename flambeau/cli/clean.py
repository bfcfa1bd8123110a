"""`flambeau clean`: labels that are probably wrong, as a table to look through and give back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option

NAME = "clean"
SHOWN, DRAWN = 10, 200


def command(
    data: common.DataPath,
    from_: Annotated[Path, typer.Option("--from", help="The folder of a cross-validation of the data.")],
    out: Annotated[Path, typer.Option(help="The table to write.")] = Path("fixes.csv"),
    page: Annotated[Path | None, option("Write a page there too, with picture, text or sound of each.")] = None,
    json: common.Json = False,
) -> None:
    """Propose corrections of labels that are probably wrong: by answers of models that did not see them. Look through
    the table: change `suggested`, or write anything into `keep` where the label is right; then train with it.

    Example: `flambeau clean photos/ --from runs/photos-cv --page fixes.html`, then
    `flambeau train photos/ --corrections fixes.csv`
    """
    from flambeau.core.errors import DataError, UsageError
    from flambeau.core.files import write_atomic
    from flambeau.data.sources.opening import from_path, from_source
    from flambeau.studies import clean

    if not data.exists():
        raise DataError("there is no such file or folder", where=data)
    source = clean.fold_of(from_).recipe.data
    if out.exists():
        raise UsageError("the file is there already, and may hold your decisions", where=out, fix="give another --out")
    if not clean.judged(from_):
        raise UsageError("labels of this kind are not judged by answers", where=from_,
                         fix="see what flambeau check and the report of a run say of them")  # fmt: skip
    found = clean.suspects(from_)
    given = {k: v for k, v in source.items() if k != "fingerprint"} | {"path": str(data.resolve())}
    dataset = from_path(data) if source.get("kind", "memory") == "memory" else from_source(given)
    clean.check_same(dataset, found)
    clean.write(found, out)
    if page is not None:
        write_atomic(page, clean.page(dataset, found[:DRAWN]).encode("utf-8"))
    if json:
        common.emit({"suspects": [one._asdict() for one in found], "table": str(out), "page": page and str(page)})
        return
    if not found:
        common.echo("no label is suspected")
        return
    common.echo(f"{len(found):,} {'label' if len(found) == 1 else 'labels'} may be wrong, the surest first:")
    for one in found[:SHOWN]:
        change = f"{clean.as_text(one.given)} → {clean.as_text(one.suggested)}"
        common.echo(f"  {one.place}: {change} ({one.confidence:.2f})")
    common.reporter().say(f"all of them: {out}; look through it")
    common.reporter().say(f"next: flambeau train {common.as_typed(data, source)} --corrections {shlex.quote(str(out))}")
