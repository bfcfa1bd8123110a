"""Boxes and masks from one labelling tool's files to another's, and into a dataset: what both can say comes back.

    python examples/convert.py

Pictures of real cut-outs on photographs, as COCO has them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from realdata.scenes import write_scenes

import flambeau as fb
from flambeau.data.annotations import FORMATS
from flambeau.data.annotations.base import format_of
from flambeau.data.sources.opening import from_path
from flambeau.fields.picture.segments import filled

folder = Path(tempfile.mkdtemp())
scenes = write_scenes(folder / "scenes", 12, 96)
first = format_of(scenes).parse(scenes)  # pictures with their size and boxes, whatever the format

path = scenes
for name in ("yolo", "cvat", "labelme", "label-studio", "coco"):
    annotations = format_of(path).parse(path)
    assert FORMATS[name].losses(annotations) == [], "each of them has masks"
    FORMATS[name].save(annotations, folder / name)
    path = folder / name

pixels = 0
last = {picture.name.rsplit("/")[-1]: picture for picture in format_of(path).parse(path).pictures}
for picture in first.pictures:
    again = last[picture.name.rsplit("/")[-1]]
    assert [box["label"] for box in again.boxes] == [box["label"] for box in picture.boxes]
    for one, other in zip(picture.boxes, again.boxes, strict=True):
        assert picture.size is not None
        assert (filled(one["mask"], picture.size) == filled(other["mask"], picture.size)).all()
        pixels += int(filled(one["mask"], picture.size).sum())
boxes = sum(len(picture.boxes) for picture in first.pictures)
print(f"{boxes} objects of {pixels:,} pixels through five formats and back: none was lost")

data: fb.Dataset = from_path(path)
masks = from_path(path, target="mask")
assert data.fields["boxes"].classes == masks.fields["mask"].classes[1:]
assert len(data) == len(masks) == 12 and np.asarray(masks.columns["mask"][0]).shape == (96, 96)
print(data.describe())
