"""What `flambeau predict` leaves beside its answers: annotations in a format, and pictures with the answers drawn."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flambeau.cli import common
from flambeau.core.errors import UsageError, check_known
from flambeau.fields import Field

DRAWN = "drawn"
"""The folder of drawn pictures in --out."""


def check_asked(target: Field | None, format_: str | None, draw: bool, out: Path | None) -> None:
    """Raises UsageError where a run's answers cannot be written so, or the folder is missing."""
    from flambeau.data.annotations.base import FORMATS, fresh

    if out is None and (format_ or draw):
        raise UsageError(
            f"where is what --{'format' if format_ else 'draw'} writes to lie?", fix="give --out, a folder"
        )
    kind = "nothing" if target is None else f"values of the kind {target.kind}"
    if draw and (target is None or type(target).drawn_in is Field.drawn_in):
        raise UsageError(f"--draw is for boxes and masks, and this run tells {kind}", fix="leave it out")
    if format_ is None:
        return
    check_known("there is no format", [format_], [*FORMATS])
    if target is None or not target.annotates:
        raise UsageError(f"--format is for boxes, and this run tells {kind}", fix="leave it out")
    assert out is not None
    fresh(out)


def write_annotations(rows: Sequence[dict[str, Any]], target: Field, format_: str, out: Path) -> str:
    """Writes the answers of pictures, rows of `file` and `label`; what was written, in a line. Boxes have their
    confidence where the format has one; pictures that could not be read are left out."""
    from flambeau.data.annotations.base import FORMATS
    from flambeau.data.annotations.files import size_of
    from flambeau.data.annotations.form import Annotations, Picture

    told = [row for row in rows if "error" not in row and row.get("file")]
    paths = [Path(os.path.abspath(row["file"])) for row in told]  # noqa: PTH100 -- without `..`, and links as they are
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    pictures = [
        Picture(path.relative_to(root).as_posix(), str(path), size_of(path), row["label"], place=row["file"])
        for path, row in zip(paths, told, strict=True)
    ]
    annotations = Annotations(pictures, [*target.classes])
    of = FORMATS[format_]
    lost = of.losses(annotations)
    of.save(annotations, out, "leave")
    boxes = sum(len(picture.boxes) for picture in pictures)
    left_out = f", without {', '.join(lost)}, which it cannot say" if lost else ""
    return f"{len(pictures):,} pictures with {boxes:,} boxes are written to {out} as {of.of}{left_out}"


def drawer(predictor: Any, out: Path) -> Callable[[str, Any, Any], str]:
    """What draws an answer into its picture and writes that into a folder, called as the file that it is of."""
    from PIL import Image as PILImage

    from flambeau.fields.decoding import decode

    folder, target = out / DRAWN, predictor.fields[predictor.target]
    folder.mkdir(parents=True, exist_ok=True)
    taken = {file.stem for file in folder.iterdir()}

    def draw(name: str, answer: Any, value: Any) -> str:
        drawn = target.drawn_in(answer, PILImage.fromarray(decode(value, 3)))
        path = folder / f"{common.free_stem(Path(name).stem, taken)}.jpg"
        drawn.save(path, quality=92)
        return str(path)

    return draw
