"""Folders of pictures with a .txt beside each that holds its class.

flambeau train photos/ --plugin examples/plugins/captions.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flambeau.core.errors import DataError
from flambeau.data.dataset import Dataset
from flambeau.data.sources.base import SOURCES, Source

PICTURES = (".png", ".jpg")


@SOURCES.register("captions")
class Captions(Source):
    of, sign = "pictures with captions", "a folder of pictures with a .txt beside each"

    @staticmethod
    def claims(path: Path, options: Mapping[str, Any]) -> float:
        files = [*path.iterdir()] if path.is_dir() else []
        pictures = [file for file in files if file.suffix in PICTURES]
        return 0.6 * (bool(pictures) and all(file.with_suffix(".txt") in files for file in pictures))

    @staticmethod
    def read(path: str | Path, *, lower: bool = False) -> Dataset:
        pictures = sorted(file for file in Path(path).iterdir() if file.suffix in PICTURES)
        labels = []
        for picture in pictures:
            try:
                label = picture.with_suffix(".txt").read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"the caption cannot be read ({error})", where=picture) from None
            labels.append(label.lower() if lower else label)
        return Dataset({"image": [str(picture) for picture in pictures], "label": labels}, target="label")
