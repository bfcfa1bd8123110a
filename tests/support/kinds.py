"""A little data of each kind, as a user has it: the arguments of `flambeau train`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from realdata.pictures import write_digits
from sklearn.datasets import load_digits, load_sample_image, load_wine
from tones import write_tones
from words import sentences

from flambeau.core.settings import parse_setting
from flambeau.data.dataset import Dataset
from flambeau.data.sources.opening import from_path

Kind = Callable[[Path], tuple[str, ...]]
"""Writes its data into a folder; returns what follows `flambeau train`."""


def light(rows: int = 1) -> pl.DataFrame:
    """The brightness along rows of a photo, an hour a pixel: series with a course, and no two alike."""
    china = load_sample_image("china.jpg")
    start = np.datetime64("2024-01-01T00:00")
    parts = [
        pl.DataFrame({
            "time": [str(start + np.timedelta64(h, "h")).replace("T", " ") for h in range(china.shape[1])],
            "row": [f"row {30 * row}"] * china.shape[1],
            "light": china[30 * row, :, 1].astype(np.float64),
            "red": china[30 * row, :, 0].astype(np.float64),
        })
        for row in range(rows)
    ]  # fmt: skip
    return pl.concat(parts)


def forecast(folder: Path) -> tuple[str, ...]:
    light(2).gather_every(4).write_csv(folder / "light.csv")
    return "light.csv", "--time", "time", "--id", "row", "--target", "light", "--horizon", "6"


def series(folder: Path) -> tuple[str, ...]:
    digits = load_digits()
    lines = [
        ",".join(f"{v:g}" for v in image.ravel()) + f":{t}"
        for image, t in zip(digits.images, digits.target, strict=True)
    ]
    for side, part in (("TRAIN", lines[:120]), ("TEST", lines[120:200])):
        text = "@problemName digits\n@classLabel true 0 1 2 3 4 5 6 7 8 9\n@data\n" + "\n".join(part)
        (folder / f"digits_{side}.ts").write_text(text, encoding="utf-8")
    return "digits_TRAIN.ts", "--model", "resnet-1d", "--set", "model.options.width=8"


def table(folder: Path) -> tuple[str, ...]:
    wine = load_wine()
    frame = pl.DataFrame(dict(zip(wine.feature_names[:5], wine.data.T[:5], strict=True)))
    names = pl.Series("kind", [f"kind {t}" for t in wine.target])
    frame.with_columns(names, pl.Series("strong", ["yes" if a > 13 else "no" for a in wine.data[:, 0]])).write_csv(
        folder / "wine.csv"
    )
    return "wine.csv", "--target", "kind"


def text(folder: Path) -> tuple[str, ...]:
    texts, topics = sentences()
    pl.DataFrame({"text": texts, "label": topics}).write_csv(folder / "topics.csv")
    return "topics.csv", "--set", "augment=light"


def pairs(folder: Path) -> tuple[str, ...]:
    texts, _ = sentences()
    cut = [words for words in map(str.split, texts) if len(words) > 8]
    parts = [(" ".join(words[: 2 * len(words) // 3]), " ".join(words[len(words) // 3 :])) for words in cut]
    rows = [(a, parts[i - k][1], "own" if k == 0 else "other") for i, (a, _) in enumerate(parts) for k in (0, 1)]
    pl.DataFrame(rows, schema=["first", "second", "match"], orient="row").write_csv(folder / "pairs.csv")
    return "pairs.csv", "--target", "match", "--input", "first", "--input", "second"


def pictures(folder: Path) -> tuple[str, ...]:
    write_digits(folder / "digits")
    return "digits", "--model", "lenet", "--valid", "0.9", "--test", "0"


def tags(folder: Path) -> tuple[str, ...]:
    lines = [" ".join(f"{w}/{'digit' if w[0].isdigit() else 'word'}" for w in s.split()) for s in sentences()[0][:150]]
    (folder / "words.pos").write_text("\n".join(lines), encoding="utf-8")
    return ("words.pos",)


def translation(folder: Path) -> tuple[str, ...]:
    lines = [f"{s},{' '.join(reversed(s.split()))}" for s in (t.replace(",", " ") for t in sentences()[0][:80])]
    (folder / "pairs.csv").write_text("\n".join(["forward,backward", *lines]), encoding="utf-8")
    small = "--set", "model.options.hidden_size=16", "--set", "fields.backward.max_length=8"
    return "pairs.csv", "--input", "forward", "--target", "backward", *small


def sound(folder: Path) -> tuple[str, ...]:
    write_tones(folder / "tones")
    return "tones", "--set", "augment=light"


def squares(folder: Path) -> None:
    """Photos with a bright square in each, as a table of boxes with a mask each and one of masks."""
    china = load_sample_image("china.jpg")
    boxes, masks = ["photo\tboxes"], ["photo\tmask"]
    for i in range(32):
        pixels, mask = china[8 * i : 8 * i + 32, 16 * i : 16 * i + 32].copy(), np.zeros((32, 32), np.uint8)
        x, y, k = i % 17, 3 * i % 17, i % 2
        place = np.s_[y : y + 14, x : x + 14]
        pixels[place], mask[place] = ((250, 40, 40), (40, 40, 250))[k], 1 + k
        Image.fromarray(pixels).save(folder / f"{i}.png")
        Image.fromarray(mask).save(folder / f"mask{i}.png")
        box = {"x1": x, "y1": y, "x2": x + 14, "y2": y + 14, "label": ("red", "blue")[k]}
        ring = [x, y, x + 14, y, x + 14, y + 14, x, y + 14]
        boxes.append(f"{i}.png\t{json.dumps([{**box, 'mask': [ring]}])}")
        masks.append(f"{i}.png\tmask{i}.png")
    (folder / "boxes.tsv").write_text("\n".join(boxes))
    (folder / "masks.tsv").write_text("\n".join(masks))


MADE_OF_SEVERAL = "--size", "32", "--set", "augment={mosaic: 0.5, copy_paste: 0.5, horizontal_flip: 0.5}"


def boxes(folder: Path) -> tuple[str, ...]:
    squares(folder)
    return "boxes.tsv", *MADE_OF_SEVERAL


def masks(folder: Path) -> tuple[str, ...]:
    squares(folder)
    asked = "--target", "mask", "--read", "mask=mask", "--input", "photo", "--set", "model.options.width=4"
    return "masks.tsv", *asked, "--model", "unet", *MADE_OF_SEVERAL


DENSE: dict[str, Kind] = {"boxes": boxes, "masks": masks}
"""Those with a place in a picture, which learn of pictures that are made of several."""
KINDS: dict[str, Kind] = {
    "pictures": pictures, "forecast": forecast, "series": series, "table": table, "text": text, "tags": tags,
    "sound": sound, "pairs": pairs, "translation": translation,
}  # fmt: skip


def dataset(kind: str, folder: Path, train: int = 24, valid: int = 8) -> tuple[Dataset, dict[str, Any]]:
    """A few rows of a kind, and the settings of a Learner on them."""
    path, *arguments = KINDS[kind](folder)
    options: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for option, value in zip(arguments[::2], arguments[1::2], strict=True):
        match option:
            case "--set":
                settings |= dict([parse_setting(value)])
            case "--model":
                settings["model"] = value
            case "--input":
                options.setdefault("inputs", []).append(value)
            case "--valid" | "--test":
                pass
            case _:
                options[option.removeprefix("--")] = int(value) if value.isdecimal() else value
    data = from_path(folder / path, **options)
    for split, rows in (("train", train), ("valid", valid), ("test", 0)):
        there = data.rows(split)
        data.split[np.setdiff1d(there, there[np.linspace(0, len(there) - 1, rows).astype(int)])] = -1
    return data, settings
