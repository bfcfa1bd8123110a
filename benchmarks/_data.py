"""The data that the benchmarks run on: made once from real pictures, kept in a cache folder."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "examples"))  # `import _data` lets `realdata` be imported


def cache() -> Path:
    """The folder of made data, beside that of the packages that it is made from."""
    from realdata import default_cache

    return default_cache().parent / "benchmarks"


def cached_photos(count: int) -> Path:
    """A folder of class folders with `count` JPEGs of about 500×375, no two alike."""
    from realdata.photos import write_photos

    folder = cache() / f"photos-{count}"
    _tell(folder, f"{count} photos")
    return write_photos(folder, count=count)


def cached_scenes(count: int, part: Any = "train") -> Path:
    """Real cut-outs on photographs, 256×256, with boxes and masks; see `realdata.scenes.write_scenes`."""
    from realdata.scenes import write_scenes

    folder = cache() / f"scenes-{part}-{count}"
    _tell(folder, f"{count} scenes")
    return write_scenes(folder, count, part=part)


def cached_fashion_mnist(train: int = 60_000, test: int = 10_000) -> Path:
    """Fashion-MNIST as PNGs in `train/` and `test/` folders of class folders."""
    from realdata.pictures import write_fashion_mnist

    folder = cache() / f"fashion-mnist-{train}-{test}"
    _tell(folder, f"{train + test} pictures of Fashion-MNIST")
    return write_fashion_mnist(folder, train=train, test=test)


def cached_novels() -> Path:
    """Jane Austen's six novels, a text file each: `emma.txt`, `mansfield-park.txt` and so on."""
    from realdata.texts import write_novels

    return write_novels(cache() / "novels")


@functools.cache
def fashion_mnist_arrays() -> tuple[np.ndarray, list[str], np.ndarray, list[str]]:
    """Fashion-MNIST in memory: pictures (60,000, 28, 28) and the names of their classes, and the 10,000 to test on."""
    from realdata.pictures import fashion_mnist

    pictures = fashion_mnist()
    train, test = ([pictures.classes[y] for y in part] for part in (pictures.train_y, pictures.test_y))
    return pictures.train_x, train, pictures.test_x, test


def _tell(folder: Path, what: str) -> None:
    if not folder.exists():
        print(f"writing {what} to {folder}", file=sys.stderr, flush=True)
