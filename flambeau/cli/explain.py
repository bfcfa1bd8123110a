"""`flambeau explain`: what each part of a file, a text or a row weighed in the answer, drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flambeau.cli import common
from flambeau.cli.common import option

if TYPE_CHECKING:
    from flambeau.understand.explanation import Explanation

NAME = "explain"
SHOWN = 5


def command(
    run: common.RunPath,
    inputs: Annotated[list[str], typer.Argument(help="As `predict` takes them: files, folders, tables, texts.")],
    method: Annotated[
        str,
        typer.Option(
            help="cam, grad_cam, grad_cam_plus_plus, integrated_gradients, smooth_grad, occlusion or shapley; auto "
            "takes what suits of grad_cam, integrated_gradients and occlusion."
        ),
    ] = "auto",
    target: Annotated[str | None, option("The class that is explained; the likeliest if not given.")] = None,
    layer: Annotated[str | None, option("Class activation maps: a layer of the model by its name.")] = None,
    out: Annotated[Path, typer.Option(help="The folder that pictures and a page are written to.")] = Path("explained"),
    seed: Annotated[int, typer.Option(help="What random methods depend on.")] = 0,
    encoding: common.Charset = None,
    no_header: common.NoHeader = False,
    root: common.Root = None,
    device: common.Device = "auto",
    json: common.Json = False,
) -> int:
    """Show what answers hang on: heat on pictures and sounds, words, columns, steps that spoke for (orange) and against
    (blue) an answer. Writes a PNG of each picture and one page; with --json the numbers are printed.

    A file that cannot be read gets an error of its own; the others are explained. Exit status 2 if any failed.

    Example: `flambeau explain runs/photos cat.jpg more/ --method grad_cam --out heat/`

    Example: `flambeau explain runs/churn '{"age": 30, "city": "Lyon"}' --method shapley`
    """
    from flambeau.cli.asked import Layout, asked
    from flambeau.core.errors import DataError
    from flambeau.predictor import Predictor
    from flambeau.predictor.explaining import PredictorExplaining
    from flambeau.run import Run

    predictor = Predictor.load(run, device=device)
    explaining = PredictorExplaining(
        predictor, method, target, seed, **({} if layer is None else {"layer": layer})
    )  # told here what is wrong with them, before anything is read
    data = Run(run).recipe.data
    header = not no_header and data.get("header", True)
    values = list(
        asked(inputs, predictor, Layout(encoding, data.get("token_column"), header, data.get("columns"), root))
    )
    write = _writer(out)
    rows: list[dict[str, Any]] = []
    found: list[tuple[str, Explanation]] = []
    with common.reporter().bar("explaining", len(values)) as bar:
        for number, (kind, name, value, which) in enumerate(values, 1):
            row: dict[str, Any] = {**which, kind: name}
            rows.append(row)
            try:
                if isinstance(value, DataError):
                    raise value
                explanation = explaining(value)
            except DataError as error:
                row["error"] = error.found
            else:
                row |= explanation.to_dict() | {"pictures": write(name, explanation)}
                found.append((name, explanation))
            bar.update(number)
    page = out / "index.html"
    if found:
        out.mkdir(parents=True, exist_ok=True)
        page.write_text(_page(run.name, found), encoding="utf-8")
    if json:
        common.emit({"explanations": rows, "page": str(page) if found else None})
    else:
        for row in rows:
            common.echo(_line(row))
        if found:
            common.echo(f"{found[0][1].method}: {found[0][1].told}; next: open {page}")
    return 2 if any("error" in row for row in rows) else 0


def _writer(folder: Path) -> Callable[[str, Explanation], list[str]]:
    """What writes the pictures of an explanation, called as the file and the method: no file twice."""
    taken: set[str] = set()

    def write(name: str, explanation: Explanation) -> list[str]:
        written = []
        for column, heat in explanation.heats.items():
            if heat.picture is None:
                continue
            parts = [
                Path(name).stem[:80] or "input",
                *([column] if len(explanation.heats) > 1 else []),
                explanation.method,
            ]
            stem = common.free_stem("-".join(part.replace("/", "_") for part in parts), taken)
            folder.mkdir(parents=True, exist_ok=True)
            heat.picture.save(folder / f"{stem}.png")
            written.append(str(folder / f"{stem}.png"))
        return written

    return write


def _said(prediction: dict[str, Any]) -> str:
    label, confidence = prediction["label"], prediction.get("confidence")
    if isinstance(label, list):
        named = ", ".join(label) or "none" if all(isinstance(name, str) for name in label) else f"{len(label)} numbers"
    else:
        named = f"{label:.6g}" if isinstance(label, float) else str(label)
    return named if confidence is None else f"{named} ({confidence:.3f})"


def _line(row: dict[str, Any]) -> str:
    name = row.get("file") or " ".join(row.get("text", "").split())
    name = name if len(name) <= 60 else f"{name[:59]}…"
    if "error" in row:
        return f"{name}: error: {row['error']}"
    parts = [part for heat in row["inputs"].values() for part in heat.get("parts", [])]
    heaviest = sorted(parts, key=lambda part: -abs(part["weight"]))[:SHOWN]
    weights = ", ".join(f"{part['name']} {part['weight']:+.3g}" for part in heaviest)
    said = f"{_said(row)}; of {row['explained']}"
    return f"{name}: {said}: {', '.join(filter(None, [weights, *row['pictures']]))}"


def _page(run: str, found: list[tuple[str, Explanation]]) -> str:
    from flambeau.report.markup import fragment, tag
    from flambeau.report.page import document
    from flambeau.report.words import Words

    cards = []
    for name, one in found:
        said = f"{_said(one.prediction.to_dict())}; what speaks for {one.output} and against it"
        cards.append(
            tag(
                "article",
                tag("h2", name),
                tag("p", said, class_="note"),
                tag("div", fragment(one.html), class_="explained"),
                class_="card",
            )
        )
    first = found[0][1]
    title = f"{run}: what its answers hang on"
    told = f"{first.method}: {first.told}. Orange speaks for the answer, blue against it."
    return document(title, Words("en"), tag("h1", title), tag("p", told), tag("div", cards, class_="stack"))
