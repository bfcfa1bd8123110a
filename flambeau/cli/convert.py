"""`flambeau convert`: annotations of one format to those of another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from flambeau.cli import common
from flambeau.cli.common import option
from flambeau.core.errors import check_known
from flambeau.core.printable import quoted

NAME = "convert"


def command(
    source: Annotated[Path, typer.Argument(help="Annotations of any format: a file or a folder.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    to: Annotated[str, option("coco, voc, yolo, labelme, cvat, label-studio or box-table (CSV).", "--to")],
    from_: Annotated[str | None, option("The format of the annotations; found out if not given.", "--from")] = None,
    pictures: Annotated[str, typer.Option(help="copy, link, or leave the pictures where they are.")] = "copy",
    json: common.Json = False,
) -> int:
    """Convert annotations, boxes and masks in pictures, from one format to another.

    What the other format cannot say is told. Example: `flambeau convert voc/ coco/ --to coco`
    """
    from flambeau.data.annotations.base import COPYING, FORMATS, format_of, fresh, usable
    from flambeau.data.annotations.form import Annotations

    check_known("there is no format", [to, *([from_] if from_ else [])], [*FORMATS])
    check_known("there is no way with pictures", [pictures], COPYING)
    reader, writer, reporter = FORMATS[from_] if from_ else format_of(source), FORMATS[to], common.reporter()
    found = reader.parse(source)
    kept, findings = usable(found, source, needed=pictures != "leave")
    annotations = Annotations(kept, found.classes)
    writer.save(annotations, fresh(out), pictures)
    lost = writer.losses(annotations)
    boxes = Counter(box["label"] for picture in kept for box in picture.boxes)
    if json:
        common.emit({
            "from": reader.registered(), "to": to, "out": str(out), "pictures": len(kept), "boxes": boxes.total(),
            "classes": {name: boxes[name] for name in found.classes}, "lost": lost,
            "findings": [finding.to_dict() for finding in findings],
        })  # fmt: skip
        return 0
    for finding in findings:
        reporter.say(str(finding), style="yellow")
    if lost:
        reporter.say(f"{writer.of} cannot say, and so leave out: {', '.join(lost)}", style="yellow")
    common.echo(f"{len(kept):,} pictures with {boxes.total():,} boxes of {len(found.classes)} classes, from "
                f"{reader.of} to {writer.of}: {out}")  # fmt: skip
    if pictures != "leave":  # else they are not there to be checked
        reporter.say(f"next: flambeau check {quoted(writer.entry(out))}")
    return 0
